"""The model that a forecast asks, and all that is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from eval.generation.results_folder import adapter_fields
from forecast.company.asked import ForecastOptions
from forecast.company.cautions import Knowledge, cautions
from forecast.company.inputs import Case
from forecast.company.measured import measured_record
from forecast.company.model import LocalModel, Model, Said, ServedModel
from forecast.company.result import ModelFacts, forecast_file
from weekahead.models.decoding import SamplingParams
from weekahead.models.loading import resolve_base_and_adapter
from weekahead.models.precision import choose_precision
from weekahead.recipe import read_cutoff, read_recipe
from weekahead.schema.forecasts import ForecastFile, MeasuredRecord
from weekahead.tracking.gpu import check_torch_sees_gpu


@dataclass(frozen=True, kw_only=True)
class ModelAsked:
    """A model as a user names it, and how it is asked."""

    config: Path
    """The recipe that names the base."""
    adapter: str
    """Folder, user/name[@revision], or none for the base alone."""
    run: str
    """Whose evaluation is the record, if there are several."""
    results: Path
    """Folder of evaluations."""
    sampling: SamplingParams
    served_as: str | None
    """The name by which the server at OPENAI_BASE_URL knows it; None if it is loaded here."""
    with_text: bool


def model_asked(options: ForecastOptions) -> ModelAsked:
    """The model that the flags name."""
    return ModelAsked(
        config=options.config,
        adapter=options.adapter,
        run=options.run,
        results=options.results,
        sampling=SamplingParams(
            max_new_tokens=options.max_new_tokens, batch_size=options.batch_size
        ),
        served_as=options.model,
        with_text=options.text == "full",
    )


@dataclass(frozen=True)
class Chosen:
    """A model, what identifies it, what it may know, and how it did before."""

    model: Model
    facts: ModelFacts
    knowledge: Knowledge
    record: MeasuredRecord

    def forecast_of(
        self, case: Case, said: Said, made_at: datetime, notes: Sequence[str]
    ) -> ForecastFile:
        """What is stored of one forecast; `notes` are those of its sources."""
        forecast = forecast_file(case, said, self.facts, self.record, made_at)
        forecast["warnings"] = cautions(case, self.knowledge, made_at)
        forecast["notes"] = list(notes)
        return forecast


def choose_model(asked: ModelAsked) -> Chosen:
    """The model that is asked for, not loaded yet.

    Raises ValueError or OSError if recipe or adapter cannot be read, or do not fit,
    RuntimeError if there is a GPU that torch cannot use.
    """
    if asked.served_as is None:
        check_torch_sees_gpu()
    recipe = read_recipe(asked.config)
    precision = choose_precision()
    base, adapter = resolve_base_and_adapter(
        recipe, asked.adapter, precision, pin=asked.served_as is None
    )
    stated, of_adapter = base.manifest_fields(), adapter_fields(adapter)
    sha256 = of_adapter["adapter_sha256"]
    parts, with_text = (base, adapter, precision, asked.sampling), asked.with_text
    model: Model = (
        ServedModel(*parts, asked.served_as, with_text=with_text)
        if asked.served_as
        else LocalModel(*parts, with_text=with_text)
    )
    run = asked.run or (Path(asked.adapter).name if adapter else asked.config.stem)
    return Chosen(
        model=model,
        facts=ModelFacts(
            adapter=of_adapter["adapter"],
            adapter_sha256=sha256,
            base=stated.get("hub_id") or base.name,
            base_revision=base.revision,
            served_as=asked.served_as,
        ),
        knowledge=Knowledge(
            training=adapter.manifest if adapter else None,
            has_adapter=adapter is not None,
            cutoff=read_cutoff(recipe),
        ),
        record=measured_record(asked.results, run, sha256, stated),
    )
