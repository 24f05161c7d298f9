"""The model card of an adapter, from its manifest and its metrics: no file is read but the template."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.families import EMBEDDED_HUB_ID, licence_of

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_NONE = "–"  # a value that could not be computed
_UNKNOWN_LICENCE = "as given on the base model's own page."

# Every name the template uses: a manifest that lacks one shows a dash.
_BASE: dict[str, Any] = {"revision": None, "quantization": None, "dtype": "bfloat16"}
_DATASET: dict[str, Any] = dict.fromkeys(
    ("source", "revision", "split", "sha256", "rows", "train_rows", "validation_rows", "max_tokens")
)
_RESULT = {
    "steps": "steps",
    "train_loss": "training loss, mean",
    "eval_loss": "validation loss, last",
    "tokens_per_second": "tokens a second",
    "runtime_seconds": "seconds",
    "peak_memory_bytes": "peak memory, bytes",
}
_ROUGE_SECTIONS = {
    "pros": "positive developments",
    "cons": "potential concerns",
    "anal": "analysis",
}


@dataclass(frozen=True)
class ModelCardFacts:
    """What a card is made of.

    `manifest` is the training manifest, `metrics` a metrics.json or None, `evaluation` the manifest of the
    evaluation behind the metrics or None, `dataset_id` the data's Hub id where it has one.
    """

    repo: str
    base_id: str
    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    dataset_id: str | None = None
    figures: tuple[str, ...] = ()


def model_card(facts: ModelCardFacts) -> str:
    """The README.md of an adapter repository: YAML metadata, then Markdown.

    The same facts give the same text, so pushing an unchanged folder again changes nothing.
    Raises KeyError where the manifest lacks `base`.
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
    manifest, metrics = facts.manifest, facts.metrics or {}
    embedded = is_embedded(manifest["base"])
    licence = licence_of(facts.base_id)
    return template.render(
        metadata=metadata(facts),
        repo=facts.repo,
        eval_command=eval_command(facts.repo, "<commit>", manifest),
        base=_BASE | manifest["base"],
        base_words=base_words(manifest["base"]),
        quantization=quantization_arguments(_BASE | manifest["base"]),
        base_id=facts.base_id,
        embedded=embedded,
        embedded_folder=DEFAULT_OUT.as_posix(),
        licence_note=licence.note if licence else _UNKNOWN_LICENCE,
        synthetic=bool(manifest.get("synthetic") or metrics.get("synthetic")),
        dataset=_DATASET | (manifest.get("dataset") or {}),
        settings=_rows(manifest.get("settings") or {}),
        result=[
            (words, number((manifest.get("result") or {}).get(name)))
            for name, words in _RESULT.items()
        ],
        precision=(manifest.get("precision") or {}).get("mode") or _NONE,
        evaluated=_DATASET | ((facts.evaluation or {}).get("dataset") or {}),
        evaluated_on=base_words((facts.evaluation or {}).get("base") or {}),
        metrics=metrics,
        metric_rows=metric_rows(metrics) if metrics else [],
        baseline_rows=baseline_rows(metrics),
        weeks=metrics.get("weeks"),
        figures=facts.figures,
        versions=", ".join(
            f"{name} {v}" for name, v in (manifest.get("packages") or {}).items() if v
        )
        or _NONE,
        commit=manifest.get("git_commit"),
    )


def eval_command(repo: str, commit: str, manifest: Mapping[str, Any]) -> str:
    """The suite's command that evaluates an adapter of the Hub, with the recipe it was trained with where known."""
    words = [str(word) for word in manifest.get("command") or []]
    recipe = next((value for flag, value in itertools.pairwise(words) if flag == "--config"), None)
    return f"make eval {f'MODEL={Path(recipe).stem} ' if recipe else ''}ADAPTER={repo}@{commit}"


def is_embedded(base: Mapping[str, Any]) -> bool:
    """Whether the base's weights are the embedded ones, converted here, and not those of the Hub id."""
    return base.get("hub_id") == EMBEDDED_HUB_ID and base["name"] != EMBEDDED_HUB_ID


def base_words(base: Mapping[str, Any]) -> str:
    """How exactly a base's weights are held, such as "4-bit nf4, double quantization, bfloat16"; "" if unknown."""
    if not base:
        return ""
    quantization = base.get("quantization") or {}
    parts = [
        f"4-bit {quantization.get('bnb_4bit_quant_type', '')}".strip()
        if quantization
        else "not quantized"
    ]
    if quantization.get("bnb_4bit_use_double_quant"):
        parts.append("double quantization")
    return ", ".join([*parts, *filter(None, [base.get("dtype")])])


def quantization_arguments(base: Mapping[str, Any]) -> list[str]:
    """A base's BitsAndBytesConfig as Python source, one `name=value` each; empty for a plain base."""
    if not base.get("quantization"):
        return []
    fields = {"bnb_4bit_compute_dtype": base["dtype"], **base["quantization"]}
    kept = {
        name: value
        for name, value in fields.items()
        if name.startswith(("load_in_4bit", "bnb_4bit_"))
    }
    return [
        f"{name}=torch.{str(value).removeprefix('torch.')}"
        if name.endswith("_dtype")
        else f"{name}={_source(value)}"
        for name, value in sorted(kept.items(), reverse=True)
    ]


def metadata(facts: ModelCardFacts) -> str:
    """The card's YAML block, without its fences.

    There is no `model-index`: it holds bare figures, and this task's mean nothing without interval and baseline.
    """
    import yaml

    synthetic = facts.manifest.get("synthetic")
    licence = licence_of(facts.base_id)
    values: dict[str, Any] = {
        "base_model": facts.base_id,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": ["en"],
        "license": licence.id if licence else None,
        "datasets": [facts.dataset_id] if facts.dataset_id else None,
        "tags": [
            "lora",
            "finance",
            "forecasting",
            "weekahead",
            *(["synthetic-data"] if synthetic else []),
        ],
    }
    kept = {name: value for name, value in values.items() if value is not None}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).strip()


def metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(metric, value, rows it is over) for the card's table; what is null shows as a dash."""

    def figure(name: str) -> str:
        return number(metrics.get(name))

    n, without_truth = metrics.get("n"), metrics.get("n_no_truth") or 0
    judged = number(None if n is None else n - without_truth)
    rows = [
        (
            "direction accuracy",
            f"{figure('bin_acc')}, 95 % interval {interval_text(metrics.get('bin_acc_ci95'))}",
            judged,
        ),
        ("accuracy over the twelve bins", figure("bin12_acc"), number(metrics.get("bin12_n"))),
        ("mean squared error, percent squared", figure("mse"), figure("mse_n")),
        ("valid answers, strict", figure("valid_strict"), number(n)),
        ("valid answers, lenient", figure("valid_lenient"), number(n)),
    ]
    for name, section in _ROUGE_SECTIONS.items():
        scores = metrics.get(f"{name}_rouge_scores") or {}
        values = " / ".join(number(scores.get(kind)) for kind in ("rouge1", "rouge2", "rougeL"))
        rows.append(
            (
                f"ROUGE-1 / 2 / L, {section}",
                values,
                number((metrics.get("rouge_n") or {}).get(name)),
            )
        )
    rows.append(
        ("share of answers that ended by themselves", figure("stop_rate"), figure("stop_rate_n"))
    )
    rows.append(("seconds an answer", figure("inference_seconds"), figure("inference_seconds_n")))
    return rows


def baseline_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(baseline, its direction accuracy, its squared error, the verdict in words), verdicts as they were scored.

    `zero_move` states no direction: it is there for its squared error alone, and is compared in that.
    """
    rows = []
    for name, scores in (metrics.get("baselines") or {}).items():
        scores = scores or {}
        if name == "zero_move":
            verdict = verdict_text(name, metrics.get("mse_versus_zero_move"))
            verdict = verdict if verdict == _NONE else f"squared error {verdict}"
            rows.append((_words(name), _NONE, number(scores.get("mse")), verdict))
        else:
            verdict = verdict_text(name, (metrics.get("versus") or {}).get(name))
            rows.append(
                (_words(name), number(scores.get("bin_acc")), number(scores.get("mse")), verdict)
            )
    return rows


def verdict_text(name: str, comparison: Mapping[str, Any] | None) -> str:
    """One comparison in words, such as "better than always-down: not shown (difference -0.030, ...)".

    Where nothing is shown, the smallest difference that these weeks could have shown stands beside.
    """
    if not comparison or comparison.get("difference") is None:
        return _NONE
    shown = comparison.get("verdict") in ("better", "worse")
    head = (
        f"{comparison['verdict']} than {_words(name)}"
        if shown
        else f"better than {_words(name)}: not shown"
    )
    figures = f"difference {comparison['difference']:+.3f}, 95 % interval {interval_text(comparison.get('ci95'))}"
    figures += f", p {number(comparison.get('p'))}"
    if not shown and comparison.get("detectable_effect") is not None:
        figures += f", {number(comparison['detectable_effect'])} could have been shown"
    return f"{head} ({figures})"


def number(value: float | int | None) -> str:
    """A figure as the card prints it: counts whole, others to three places, a dash for null."""
    if value is None:
        return _NONE
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def interval_text(pair: Any) -> str:
    """ "-0.100 to 0.050", or "not computable (too few weeks)" for null."""
    return "not computable (too few weeks)" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"


def _source(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _words(name: str) -> str:
    return name.replace("_", "-")


def _rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as table rows; a bar in a value would end its cell."""
    shown = {
        k: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in settings.items()
    }
    return [(name, str(value).replace("|", "\\|")) for name, value in shown.items()]
