"""The language models of a panel: the adapter, its base, its twin trained on shuffled labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval.generation.results_folder import adapter_fields
from forecast.company.call import call_of_answer, call_of_probabilities
from forecast.company.inputs import unlabeled_row
from forecast.company.model import LocalModel, Model, Said, ServedModel
from forecast.journal.panel import Call, Member, OnCall, normalized, unpinned
from weekahead.models.decoding import SamplingParams
from weekahead.models.loading import Adapter, Base, resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import Recipe
from weekahead.schema.journal import Forecaster
from weekahead.task.record import Record

Asked = Literal["text", "bins"]
NO_ADAPTER = "none"
_ONE_BY_ONE = SamplingParams(batch_size=1)
"""Greedy, and one row at a time: then no forecast depends on what else is asked."""


@dataclass(frozen=True)
class ModelNames:
    """What is asked, as the user names it."""

    recipe: Recipe
    adapter: str
    """Folder, user/name[@revision], or none for the base alone."""
    twin: str | None = None
    """The adapter of the same training on shuffled labels."""
    served: str | None = None
    """The name by which the server at OPENAI_BASE_URL knows the adapter."""
    text: bool = True
    """Whether answers are written; else the calls are those of the likelier direction."""

    @property
    def asked(self) -> Asked:
        """What a call comes from."""
        return "text" if self.text else "bins"


def model_members(names: ModelNames) -> list[Member]:
    """The adapter, the base that it was trained on, and its twin, as far as they are there.

    With `served` the adapter alone is asked, at the server. Raises ValueError or OSError for one
    that cannot be loaded or does not fit.
    """
    precision = choose_precision()
    if names.served:
        return [_member("adapter", names, names.adapter, precision)]
    roles = {"adapter": names.adapter, "base": NO_ADAPTER, "shuffled": names.twin}
    wanted = {
        role: adapter
        for role, adapter in roles.items()
        if adapter is not None and (role == "base" or adapter != NO_ADAPTER)
    }
    return [_member(role, names, adapter, precision) for role, adapter in wanted.items()]


def _member(role: str, names: ModelNames, adapter_name: str, precision: Precision) -> Member:
    is_base = role == "base"
    base, adapter = resolve_base_and_adapter(
        names.recipe, names.adapter if is_base else adapter_name, precision, pin=not names.served
    )
    adapter = None if is_base else adapter
    parts = (base, adapter, precision, _ONE_BY_ONE)
    if names.served:
        model = ServedModel(*parts, names.served, with_text=names.text, at_once=True)
    else:
        model = LocalModel(*parts, with_text=names.text, at_once=True)
    return ModelMember(_pinned(role, base, adapter, names.asked), model)


def _pinned(role: str, base: Base, adapter: Adapter | None, asked: Asked) -> Forecaster:
    facts, of_adapter = base.manifest_fields(), adapter_fields(adapter)
    return {
        **unpinned(role),
        "kind": "model",
        "adapter": of_adapter["adapter"],
        "adapter_sha256": of_adapter["adapter_sha256"],
        "base": facts.get("hub_id") or base.name,
        "base_revision": base.revision or base.weights_sample_sha256,
        "asked": asked,
    }


@dataclass(frozen=True)
class ModelMember:
    """A language model of the panel."""

    pinned: Forecaster
    model: Model

    def forecast(self, records: Sequence[Record], on_call: OnCall) -> None:
        """What each written answer predicts, or else the likelier direction.

        Raises what its model raises.
        """
        if records:
            rows = [unlabeled_row(record) for record in records]
            self.model.forecast(rows, lambda number, said: on_call(number, _call(said)))


def _call(said: Said) -> Call:
    """What an answer predicts, read as the report reads it; without one the likelier direction."""
    probabilities = normalized(said.probabilities) if said.probabilities else None
    stated = (
        call_of_probabilities(probabilities or {})
        if said.answer is None
        else call_of_answer(said.answer)
    )
    return Call(stated.direction, stated.prediction, probabilities)
