"""Read a metrics.json, with the keys that older files lack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from weekahead.schema.manifests import JsonObject, read_json_object
from weekahead.schema.metrics import (
    Breakdown,
    ClassMetrics,
    FingptMetrics,
    Metrics,
    ProbabilityEntry,
    SecondaryMean,
    SkillMetrics,
    TextQuality,
)
from weekahead.schema.shape import check_shape

REQUIRED_KEYS = ("n", "valid_strict", "valid_lenient", "bin_acc", "baselines", "versus")
_CLASSES: ClassMetrics = {
    "matthews": None,
    "matthews_reason": None,
    "confusion": {},
    "confusion_n": 0,
    "distance": None,
    "signed_distance": None,
    "distance_n": 0,
}
_BREAKDOWN: Breakdown = {
    "symbol": None,
    "sector": None,
    "week": None,
    "move": None,
    "stated_size": None,
    "cutoff": None,
    "reasons": {},
}
_TEXT_QUALITY: TextQuality = {
    "n": 0,
    "words": None,
    "words_n": 0,
    "sections": None,
    "complete": None,
    "repetition": None,
    "repetition_n": 0,
    "figures": None,
    "figures_not_in_prompt": None,
    "share_not_in_prompt": None,
    "figures_n": 0,
    "figures_reason": None,
}
_FINGPT: FingptMetrics = {
    "valid_count": 0,
    "bin_acc": None,
    "mse": None,
    "pros_rouge_scores": None,
    "cons_rouge_scores": None,
    "anal_rouge_scores": None,
}
_SKILL: SkillMetrics = {
    "excess_accuracy": None,
    "ci95": None,
    "p": None,
    "n": 0,
    "weeks": None,
    "up_share": None,
    "truth_up_share": None,
    "standard_error": None,
    "freedom": None,
    "detectable": None,
}
_BEFORE_WITHIN_WEEKS = "scored before it was measured: run eval.score again"
_SECONDARY: SecondaryMean = {
    "mean": None,
    "ci95": None,
    "p": None,
    "n": 0,
    "weeks": None,
    "reason": _BEFORE_WITHIN_WEEKS,
}
_MEANS = ("market_neutral_skill", "rank_correlation")
_OTHERS: JsonObject = {
    "verdict": "not judged",
    "verdict_scope": "run",
    "verdict_reasons": ["scored before skill was measured: run eval.score again"],
    "mse_reason": None,
    "n_no_truth": 0,
    "synthetic": False,
    "reasons": {},
    "reasons_strict": {},
    "weeks": None,
    "interval_reason": None,
    "bin_acc_ci95": None,
    "detectable_effect": None,
    "design_effect": None,
    "effective_n": None,
    "effective_n_reason": None,
    "directions": {},
    "bin12_acc": None,
    "bin12_n": 0,
    "book": None,
    "book_reason": _BEFORE_WITHIN_WEEKS,
    "bin_baselines": None,
    "bin_baselines_reason": "scored before bins had baselines: run eval.score again",
    "mse": None,
    "mse_uncapped": None,
    "mse_n": 0,
    "mse_versus_zero_move": None,
    "baseline_reasons": {},
    "rouge_n": {},
    "rouge_reasons": {},
    "pros_rouge_scores": None,
    "cons_rouge_scores": None,
    "anal_rouge_scores": None,
    "rouge_written": {},
    "rouge_written_n": {},
    "inference_seconds": None,
    "inference_seconds_n": 0,
    "latency": None,
    "stop_rate": None,
    "stop_rate_n": 0,
    "new_tokens": None,
    "new_tokens_n": 0,
    "tokens_per_second": None,
    "likelihood": None,
    "likelihood_reason": None,
}
_COMPARISON: JsonObject = {
    "ci95": None,
    "p": None,
    "corrected": False,
    "detectable_effect": None,
}
_ENTRY: ProbabilityEntry = {"mean": None, "ci95": None, "n": 0, "weeks": None}
_LIKELIHOOD: JsonObject = {
    "n": 0,
    "interval_reason": None,
    "prefixes": {},
    "mass": None,
    "direction_accuracy": _ENTRY,
    "brier": _ENTRY,
    "brier_skill": {"even": None, "train_share": None},
    "versus": {"even": None, "train_share": None},
    "rps": _ENTRY,
    "rps_skill": None,
    "log_score": _ENTRY,
    "calibration": [],
    "ece": None,
    "ece_perfect": None,
    "agreement": {"share": None, "n": 0},
    "n_missing": 0,
    "own": None,
    "direct": None,
}
_QUESTIONS = ("own", "direct")
_RUN = (*_QUESTIONS, "n_missing")
"""What only the scores of a whole run hold."""


def read_metrics(path: Path, remedy: str) -> Metrics:
    """Read a metrics.json. Keys that older files lack become null, empty, or 0 for a count;
    so does a null where a count or a group is expected.

    Raises ValueError naming the file, with `remedy`, if it is not one of eval.score.
    """
    return filled_metrics(read_json_object(path), origin=str(path), remedy=remedy)


def filled_metrics(stored: JsonObject, *, origin: str, remedy: str) -> Metrics:
    """What is stored in a metrics.json, with the keys that older files lack.

    Raises ValueError naming `origin`, with `remedy`, if it is not one of eval.score.
    """
    missing = [name for name in REQUIRED_KEYS if name not in stored]
    if missing:
        raise ValueError(
            f"{origin} has no {', '.join(missing)}; it is not one of eval.score: {remedy}"
        )
    groups: JsonObject = {
        "skill": _SKILL,
        "classes": _CLASSES,
        "breakdown": _BREAKDOWN,
        "text_quality": _TEXT_QUALITY,
        "fingpt_compatible": _FINGPT,
    }
    filled_groups = {name: _filled(empty, stored.get(name)) for name, empty in groups.items()}
    means = {name: _filled_mean(stored.get(name)) for name in _MEANS}
    filled = {**_filled(_OTHERS, stored), **filled_groups, **means}
    if isinstance(stored["versus"], dict):
        comparisons = cast("JsonObject", stored["versus"]).items()
        filled["versus"] = {name: _filled_comparison(entry) for name, entry in comparisons}
    filled["mse_versus_zero_move"] = _filled_comparison(filled["mse_versus_zero_move"])
    if filled["likelihood"]:
        filled["likelihood"] = _filled_likelihood(filled["likelihood"])
    if "mse_uncapped" not in stored:
        filled |= _of_uncapped_sizes(filled)
    check_shape(filled, Metrics, origin, remedy)
    return cast("Metrics", filled)


def _filled_likelihood(stored: Any) -> Any:
    """The scores of probabilities; those of a file from before the questions were told apart stand
    under the one question that all its rows were asked first, if it is one."""
    likelihood = _filled(_LIKELIHOOD, stored)
    if not isinstance(likelihood, dict):
        return likelihood
    scores = cast("JsonObject", likelihood)
    for question in _QUESTIONS:
        if scores[question]:
            scores[question] = _filled(_LIKELIHOOD, scores[question])
        elif _only_key(scores["prefixes"]) == question:
            scores[question] = {name: scores[name] for name in _LIKELIHOOD if name not in _RUN}
    return scores


def _only_key(stored: Any) -> str | None:
    keys = list(cast("JsonObject", stored)) if isinstance(stored, dict) else []
    return keys[0] if len(keys) == 1 else None


def _of_uncapped_sizes(older: JsonObject) -> JsonObject:
    """The squared errors of a file that was scored before sizes were capped, under their right
    name.

    One stated size beyond the outermost bin may own its `mse`, and the file does not say so.
    """
    return {"mse_uncapped": older["mse"], "mse": None, "mse_versus_zero_move": None}


def _filled(empty: Mapping[str, object], stored: Any) -> Any:
    """`stored`, with the values of `empty` for what it lacks or holds as null.

    What is no object comes back as it is; `check_shape` names it.
    """
    if stored is not None and not isinstance(stored, dict):
        return stored
    filled: JsonObject = {**empty, **(stored or {})}
    for name, value in empty.items():
        if filled[name] is None:
            filled[name] = value
    return filled


def _filled_mean(stored: Any) -> Any:
    return _filled({**_SECONDARY, "reason": None}, stored) if stored else _SECONDARY


def _filled_comparison(stored: Any) -> Any:
    return _filled(_COMPARISON, stored) if stored else None
