"""The model card of an adapter, from its manifest and its metrics: no other file is read."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.families import EMBEDDED_HUB_ID, licence_of
from weekahead.schema.manifests import (
    BackendFacts,
    BaseFacts,
    DatasetFacts,
    GenerationManifest,
    JsonObject,
    TrainingDatasetFacts,
    TrainingManifest,
    TrainingResult,
)
from weekahead.schema.metrics import Comparison, Metrics

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_NONE = "–"  # a value that could not be computed
_UNKNOWN_LICENCE = "as given on the base model's own page."
_RESULT_NAMES = {
    "steps": "steps",
    "train_loss": "training loss, mean",
    "eval_loss": "validation loss, last",
    "tokens_per_second": "tokens per second",
    "runtime_seconds": "seconds",
    "peak_memory_bytes": "peak memory, bytes",
}
_ROUGE_SECTIONS = {
    "pros": "positive developments",
    "cons": "potential concerns",
    "anal": "analysis",
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


class MetricRow(NamedTuple):
    """A row of the table of metrics; `rows` is how many answers the value is over."""

    name: str
    value: str
    rows: str


class BaselineRow(NamedTuple):
    """A row of the table of baselines."""

    name: str
    accuracy: str
    squared_error: str
    verdict: str


@dataclass(frozen=True)
class EvaluationSection:
    """What was measured, as the card prints it."""

    source: str | None
    split: str | None
    sha256: str | None
    rows: int | None
    base_weights: str
    """How the weights of the base were held while answering; "" if that is unknown."""
    backend: str
    """What answered; "" without a manifest."""
    weeks: int | None
    skill: str
    """The verdict on its skill, as a sentence."""
    metrics: list[MetricRow]
    baselines: list[BaselineRow]


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
        dataset=_dataset_section(manifest["dataset"]),
        settings=_setting_rows(manifest["settings"]),
        precision=manifest["precision"].get("mode") or _NONE,
        result=_result_rows(manifest["result"]),
        evaluation=_evaluation_section(metrics, facts.evaluation) if metrics else None,
        eval_command=eval_command(facts.repo, "<commit>", manifest),
        figures=facts.figures,
        versions=versions or _NONE,
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

    It has no `model-index`, which holds bare figures: those of this task mean nothing without
    interval and baseline.
    """
    # Here and not above: the client reads HF_ENDPOINT as it is imported, which may be set by .env.
    from huggingface_hub import ModelCardData

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


def weights_in_words(base: BaseFacts) -> str:
    """How weights are held, such as "4-bit nf4, double quantization, bfloat16"; "" if unknown."""
    if not base:
        return ""
    quantization = base.get("quantization")
    if quantization:
        words = [f"4-bit {quantization.get('bnb_4bit_quant_type', '')}".strip()]
        if quantization.get("bnb_4bit_use_double_quant"):
            words.append("double quantization")
    else:
        words = ["not quantized"]
    dtype = base.get("dtype")
    return ", ".join([*words, dtype] if dtype else words)


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


def _dataset_section(dataset: TrainingDatasetFacts) -> DatasetSection:
    return DatasetSection(
        source=dataset.get("source"),
        revision=dataset.get("revision"),
        sha256=dataset.get("sha256"),
        train_rows=number(dataset.get("train_rows")),
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


def _evaluation_section(metrics: Metrics, manifest: GenerationManifest | None) -> EvaluationSection:
    dataset: DatasetFacts = manifest["dataset"] if manifest else {}
    base = manifest["base"] if manifest else None
    return EvaluationSection(
        source=dataset.get("source"),
        split=dataset.get("split"),
        sha256=dataset.get("sha256"),
        rows=dataset.get("rows"),
        base_weights=weights_in_words(base) if base else "",
        backend=_backend_in_words(manifest["backend"]) if manifest else "",
        weeks=metrics["weeks"],
        skill=skill_sentence(metrics),
        metrics=metric_rows(metrics),
        baselines=baseline_rows(metrics),
    )


def _backend_in_words(backend: BackendFacts) -> str:
    if backend["runs_locally"]:
        return f"Answered by the backend `{backend['name']}` of this suite."
    name = backend.get("model")
    model = f", which calls the model `{name}`" if name else ""
    return (
        f"Answered by a server (backend `{backend['name']}`{model}): its weights are not known to "
        "be these."
    )


def metric_rows(metrics: Metrics) -> list[MetricRow]:
    """The card's table of metrics; a null shows as a dash."""
    n = number(metrics["n"])
    with_truth = number(metrics["n"] - metrics["n_no_truth"])
    interval = interval_text(metrics["bin_acc_ci95"])
    accuracy = f"{number(metrics['bin_acc'])}, 95 % interval {interval}"
    bin12, bin12_n = number(metrics["bin12_acc"]), number(metrics["bin12_n"])
    error, error_n = number(metrics["mse"]), number(metrics["mse_n"])
    rows = [
        MetricRow("direction accuracy", accuracy, with_truth),
        MetricRow("accuracy over the twelve bins", bin12, bin12_n),
        MetricRow("mean squared error, percent squared, sizes capped at 5.5", error, error_n),
        MetricRow("valid answers, strict", number(metrics["valid_strict"]), n),
        MetricRow("valid answers, lenient", number(metrics["valid_lenient"]), n),
    ]
    for key, section in _ROUGE_SECTIONS.items():
        scores: Mapping[str, float] = metrics[f"{key}_rouge_scores"] or {}
        values = [number(scores.get(kind)) for kind in ("rouge1", "rouge2", "rougeL")]
        section_n = number(metrics["rouge_n"].get(key))
        reason = metrics["rouge_reasons"].get(key)
        left_out = f" ({reason})" if reason else ""
        name = f"ROUGE-1 / 2 / L, {section}{left_out}"
        rows.append(MetricRow(name, " / ".join(values), section_n))
    stops, stops_n = number(metrics["stop_rate"]), number(metrics["stop_rate_n"])
    rows.append(MetricRow("share of answers that ended with a stop token", stops, stops_n))
    seconds = number(metrics["inference_seconds"])
    rows.append(MetricRow("seconds per answer", seconds, number(metrics["inference_seconds_n"])))
    return rows


def baseline_rows(metrics: Metrics) -> list[BaselineRow]:
    """The card's table of baselines, with the verdicts as they were scored.

    `zero_move` states no direction: it is compared by its squared error alone.
    """
    rows = []
    for name, scores in metrics["baselines"].items():
        label = _in_words(name)
        accuracy = number(scores["bin_acc"] if scores else None)
        squared_error = number(scores["mse"] if scores else None)
        if name == "zero_move":
            verdict = verdict_text(name, metrics["mse_versus_zero_move"])
            if verdict != _NONE:
                verdict = f"squared error {verdict}"
            accuracy = _NONE
        else:
            verdict = verdict_text(name, metrics["versus"].get(name))
        rows.append(BaselineRow(label, accuracy, squared_error, verdict))
    return rows


def skill_sentence(metrics: Metrics) -> str:
    """The verdict on a run alone, such as "Skill shown: +0.370 (95 % interval ...), p 0.001."."""
    skill = metrics["skill"]
    words = metrics["verdict"].capitalize()
    if skill["excess_accuracy"] is not None and skill["ci95"] is not None:
        words += f": {skill['excess_accuracy']:+.3f} (95 % interval {interval_text(skill['ci95'])})"
        p = skill["p"]
        words += ", p below 0.001" if p is not None and p < 0.001 else f", p {number(p)}"
    reasons = "; ".join(metrics["verdict_reasons"])
    return f"{words} ({reasons})." if reasons else f"{words}."


def verdict_text(name: str, comparison: Comparison | None) -> str:
    """One comparison, such as "better than always-down: not shown (difference -0.030, ...)".

    If no difference is shown, the smallest one that these weeks could have shown is added.
    """
    if not comparison or comparison["difference"] is None:
        return _NONE
    baseline, verdict = _in_words(name), comparison["verdict"]
    shown = verdict in ("better", "worse")
    head = f"{verdict} than {baseline}" if shown else f"better than {baseline}: not shown"
    figures = [
        f"difference {comparison['difference']:+.3f}",
        f"95 % interval {interval_text(comparison['ci95'])}",
        f"p {number(comparison['p'])}",
    ]
    detectable = comparison["detectable_effect"]
    if not shown and detectable is not None:
        figures.append(f"{number(detectable)} could have been shown")
    return f"{head} ({', '.join(figures)})"


def number(value: float | int | None) -> str:
    """A figure as the card prints it: counts whole, others to three places, a dash for null."""
    if value is None:
        return _NONE
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def interval_text(bounds: list[float] | None) -> str:
    """An interval such as "-0.100 to 0.050"; null is "not computable (too few weeks)"."""
    if bounds is None:
        return "not computable (too few weeks)"
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _in_words(name: str) -> str:
    return name.replace("_", "-")
