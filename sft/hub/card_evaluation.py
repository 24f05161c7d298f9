"""What a model card says about an evaluation of its adapter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from weekahead.hub.eval_results import interval_text
from weekahead.schema.manifests import BackendFacts, BaseFacts, DatasetFacts, GenerationManifest
from weekahead.schema.metrics import Comparison, Metrics
from weekahead.schema.verdicts import ReportedRun

NONE = "–"
"""A value that could not be computed."""
_ROUGE_SECTIONS = {
    "pros": "positive developments",
    "cons": "potential concerns",
    "anal": "analysis",
}


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
    difference: str
    """The run's direction accuracy minus that of the baseline."""


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
    scope: str
    """What the verdict is corrected for."""
    metrics: list[MetricRow]
    baselines: list[BaselineRow]


def evaluation_section(
    metrics: Metrics, manifest: GenerationManifest | None, reported: ReportedRun | None = None
) -> EvaluationSection:
    """What the card says about an evaluation."""
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
        skill=skill_sentence(metrics, reported),
        scope=scope_sentence(metrics, reported),
        metrics=metric_rows(metrics),
        baselines=baseline_rows(metrics),
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
    """The card's table of baselines, with the run's difference from each: no verdicts.

    `zero_move` states no direction: it is compared by its squared error alone.
    """
    rows: list[BaselineRow] = []
    for name, scores in metrics["baselines"].items():
        accuracy = number(scores["bin_acc"] if scores else None)
        squared_error = number(scores["mse"] if scores else None)
        if name == "zero_move":
            difference = difference_text(metrics["mse_versus_zero_move"])
            difference = difference if difference == NONE else f"squared error {difference}"
            accuracy = NONE
        else:
            difference = difference_text(metrics["versus"].get(name))
        rows.append(BaselineRow(name.replace("_", "-"), accuracy, squared_error, difference))
    return rows


def skill_sentence(metrics: Metrics, reported: ReportedRun | None = None) -> str:
    """The verdict on a run, such as "Skill shown: +0.370 (95 % interval ...), p below 0.001."."""
    skill = metrics["skill"]
    words = (reported["verdict"] if reported else metrics["verdict"]).capitalize()
    if skill["excess_accuracy"] is not None and skill["ci95"] is not None:
        words += f": {skill['excess_accuracy']:+.3f} (95 % interval {interval_text(skill['ci95'])})"
        words += f", p {_p_text(skill['p'])}"
    if reported and reported["p_corrected"] is not None and reported["tests"] > 1:
        words += f", corrected {_p_text(reported['p_corrected'])}"
    reasons = "; ".join(metrics["verdict_reasons"])
    return f"{words} ({reasons})." if reasons else f"{words}."


def scope_sentence(metrics: Metrics, reported: ReportedRun | None) -> str:
    """What the verdict is corrected for, and what it would be without."""
    if not reported or reported["tests"] < 2:
        return "The verdict is on this run alone."
    scope = f"The verdict is corrected for the {reported['tests']} runs that were compared (Holm)."
    if reported["verdict"] == metrics["verdict"]:
        return scope
    return f"{scope} On this run alone it would be: {metrics['verdict']}."


def difference_text(comparison: Comparison | None) -> str:
    """One difference, such as "+0.297 (95 % interval 0.130 to 0.464, p 0.002)"."""
    if not comparison or comparison["difference"] is None:
        return NONE
    interval = interval_text(comparison["ci95"])
    figures = f"95 % interval {interval}, p {_p_text(comparison['p'])}"
    return f"{comparison['difference']:+.3f} ({figures})"


def _p_text(p: float | None) -> str:
    return "below 0.001" if p is not None and p < 0.001 else number(p)


def number(value: float | int | None) -> str:
    """A figure as the card prints it: counts whole, others to three places, a dash for null."""
    if value is None:
        return NONE
    return str(value) if isinstance(value, int) else f"{value:.3f}"
