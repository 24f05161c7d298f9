"""The model card of an adapter, from its manifest and its metrics: no other file is read."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.hub.card_evaluation import (
    NONE,
    EvaluationSection,
    evaluation_section,
    number,
    weights_in_words,
)
from weekahead.hub.eval_results import evaluated, model_index_results
from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.families import EMBEDDED_HUB_ID, licence_of
from weekahead.schema.manifests import (
    BaseFacts,
    GenerationManifest,
    JsonObject,
    TrainingManifest,
    TrainingResult,
    training_rows_in_words,
)
from weekahead.schema.metrics import Metrics
from weekahead.schema.verdicts import ReportedRun

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_UNKNOWN_LICENCE = "as given on the base model's own page."
_RESULT_NAMES = {
    "steps": "steps",
    "train_loss": "training loss, mean",
    "eval_loss": "validation loss, last",
    "tokens_per_second": "tokens per second",
    "runtime_seconds": "seconds",
    "peak_memory_bytes": "peak memory, bytes",
}
_METADATA_ORDER = [
    "base_model",
    "base_model_relation",
    "library_name",
    "pipeline_tag",
    "language",
    "license",
    "datasets",
    "tags",
    "model-index",
]


@dataclass(frozen=True)
class ModelCardFacts:
    """What a card is made of."""

    repo: str
    """user/name on the Hub."""
    base_id: str
    """The Hub id of the base."""
    manifest: TrainingManifest
    metrics: Metrics | None = None
    """None if the adapter was not evaluated: the card then claims nothing."""
    evaluation: GenerationManifest | None = None
    """The manifest beside the metrics; None if there is none."""
    reported: ReportedRun | None = None
    """The verdict of a report on these metrics; None if no report holds them."""
    dataset_id: str | None = None
    """The Hub id of the training rows; None if they are on no Hub."""
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaseSection:
    """The base model, as the card prints it."""

    id: str
    revision: str | None
    dtype: str
    weights: str
    """How the weights are held, in words."""
    quantization: list[str]
    """The arguments of BitsAndBytesConfig as Python source; empty for a base without."""
    licence: str
    embedded_folder: str | None
    """Where the embedded weights are written; None for a base whose weights are the Hub's."""


@dataclass(frozen=True)
class DatasetSection:
    """The training rows, as the card prints them."""

    source: str | None
    revision: str | None
    sha256: str | None
    train_rows: str
    validation_rows: str
    longest: str


@dataclass(frozen=True)
class ModelCard:
    """What the template prints."""

    repo: str
    metadata: str
    synthetic: bool
    base: BaseSection
    dataset: DatasetSection
    settings: list[tuple[str, str]]
    precision: str
    result: list[tuple[str, str]]
    evaluation: EvaluationSection | None
    """None if nothing was measured."""
    eval_command: str
    figures: tuple[str, ...]
    versions: str
    commit: str | None


def model_card(facts: ModelCardFacts) -> str:
    """The README.md of an adapter repository: YAML metadata, then Markdown.

    The same facts give the same text, so a second push of an unchanged folder changes nothing.
    Raises KeyError if the manifest does not name its base.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    manifest, metrics = facts.manifest, facts.metrics
    packages = manifest["packages"].items()
    versions = ", ".join(f"{name} {version}" for name, version in packages if version)
    card = ModelCard(
        repo=facts.repo,
        metadata=metadata(facts),
        synthetic=manifest["synthetic"] or (metrics is not None and metrics["synthetic"]),
        base=_base_section(facts.base_id, manifest["base"]),
        dataset=_dataset_section(manifest),
        settings=_setting_rows(manifest["settings"]),
        precision=manifest["precision"].get("mode") or NONE,
        result=_result_rows(manifest["result"]),
        evaluation=evaluation_section(metrics, facts.evaluation, facts.reported)
        if metrics
        else None,
        eval_command=eval_command(facts.repo, "<commit>", manifest),
        figures=facts.figures,
        versions=versions or NONE,
        commit=manifest["git_commit"],
    )
    return template.render(card=card)


def eval_command(repo: str, commit: str, manifest: TrainingManifest) -> str:
    """The command that evaluates an adapter of the Hub, with its training's recipe if known."""
    pairs = itertools.pairwise(map(str, manifest["command"]))
    recipe = next((value for flag, value in pairs if flag == "--config"), None)
    model = f"MODEL={Path(recipe).stem} " if recipe else ""
    return f"make eval {model}ADAPTER={repo}@{commit}"


def metadata(facts: ModelCardFacts) -> str:
    """The card's YAML block, without its fences.

    The name of each metric in its `model-index` holds the interval: a bare figure of this task
    means nothing.
    """
    # Here and not above: the client reads HF_ENDPOINT as it is imported, which may be set by .env.
    from huggingface_hub import ModelCardData

    results: list[EvalResult] = []
    if facts.metrics:
        figures = evaluated(facts.metrics, facts.evaluation, facts.reported)
        results = model_index_results(figures)
    licence = licence_of(facts.base_id)
    tags = ["lora", "finance", "forecasting", "weekahead"]
    if facts.manifest["synthetic"]:
        tags.append("synthetic-data")
    data = ModelCardData(
        base_model=facts.base_id,
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        language=["en"],
        license=licence.id if licence else None,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        tags=tags,
        model_name=facts.repo.partition("/")[2] if results else None,
        eval_results=results or None,
    )
    return data.to_yaml(original_order=_METADATA_ORDER)


def _base_section(base_id: str, base: BaseFacts) -> BaseSection:
    embedded = base.get("hub_id") == EMBEDDED_HUB_ID and base.get("name") != EMBEDDED_HUB_ID
    licence = licence_of(base_id)
    return BaseSection(
        id=base_id,
        revision=base.get("revision"),
        dtype=base.get("dtype", "bfloat16"),
        weights=weights_in_words(base),
        quantization=quantization_arguments(base),
        licence=licence.note if licence else _UNKNOWN_LICENCE,
        embedded_folder=DEFAULT_OUT.as_posix() if embedded else None,
    )


def quantization_arguments(base: BaseFacts) -> list[str]:
    """A base's BitsAndBytesConfig as Python source, one `name=value` each; empty if it has none."""
    quantization = base.get("quantization")
    if not quantization:
        return []
    fields = {"bnb_4bit_compute_dtype": base.get("dtype", "bfloat16"), **quantization}
    arguments = []
    for name, value in sorted(fields.items(), reverse=True):
        if not name.startswith(("load_in_4bit", "bnb_4bit_")):
            continue
        if name.endswith("_dtype"):
            arguments.append(f"{name}=torch.{str(value).removeprefix('torch.')}")
        else:
            arguments.append(f'{name}="{value}"' if isinstance(value, str) else f"{name}={value!r}")
    return arguments


def _dataset_section(manifest: TrainingManifest) -> DatasetSection:
    dataset = manifest["dataset"]
    return DatasetSection(
        source=dataset.get("source"),
        revision=dataset.get("revision"),
        sha256=dataset.get("sha256"),
        train_rows=training_rows_in_words(manifest) or number(None),
        validation_rows=number(dataset.get("validation_rows")),
        longest=number(dataset.get("max_tokens")),
    )


def _setting_rows(settings: JsonObject) -> list[tuple[str, str]]:
    """(setting, value); a bar in a value would end its cell."""
    rows = []
    for name, value in settings.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        rows.append((name, text.replace("|", "\\|")))
    return rows


def _result_rows(result: TrainingResult | None) -> list[tuple[str, str]]:
    values: Mapping[str, Any] = result or {}
    rows = [(words, number(values.get(name))) for name, words in _RESULT_NAMES.items()]
    diverged = values.get("diverged")
    return [*rows, ("the training diverged", diverged)] if diverged else rows
