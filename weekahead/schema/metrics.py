"""metrics.json: every key, in the order in which it is written. A value that cannot be computed is null, never 0."""

from typing import Any, Literal, NotRequired, TypedDict

from weekahead.schema.rows import RougeScores

Verdict = Literal["better", "worse", "not shown"]


class Comparison(TypedDict):
    """A run's measure minus another's on the same rows, with interval and two-sided p clustered by week."""

    difference: float | None
    ci95: list[float] | None
    p: float | None
    verdict: Verdict
    detectable_effect: float | None
    """The smallest true difference that these weeks show four times in five."""
    n: int


class ErrorComparison(Comparison):
    """Squared errors against a forecast of no move, on the rows whose answer states a size."""

    mse: float
    zero_move_mse: float


class BrierComparison(Comparison):
    """Brier scores against a constant probability."""

    brier: float | None


class BaselineMetrics(TypedDict):
    """A simple forecast on the same rows."""

    bin_acc: float | None
    bin_acc_ci95: list[float] | None
    mse: float | None
    mse_n: int
    n: int


class Latency(TypedDict):
    """Seconds from a request to its whole answer."""

    mean: float | None
    p50: float
    p95: float


class ClassMetrics(TypedDict):
    """How predicted bins and true bins meet."""

    matthews: float | None
    matthews_reason: str | None
    confusion: dict[str, dict[str, int]]
    """True bin -> predicted bin -> rows."""
    confusion_n: int
    distance: float | None
    """Mean distance in bins."""
    signed_distance: float | None
    distance_n: int


class GroupMetrics(TypedDict):
    """The direction accuracy of one group of rows."""

    name: str
    n: int
    bin_acc: float | None
    ci95: NotRequired[list[float] | None]


class Breakdown(TypedDict):
    """Direction accuracy by group; null for a cut that a row lacks something for, and `reasons` says what."""

    symbol: list[GroupMetrics] | None
    sector: list[GroupMetrics] | None
    week: list[GroupMetrics] | None
    move: list[GroupMetrics] | None
    cutoff: list[GroupMetrics] | None
    reasons: dict[str, str]


class TextQuality(TypedDict):
    """How answers are written, whatever they predict."""

    n: int
    words: float | None
    sections: float | None
    complete: float | None
    repetition: float | None
    repetition_n: int
    figures: float | None
    figures_not_in_prompt: float | None
    share_not_in_prompt: float | None
    figures_n: int
    figures_reason: str | None


class FingptMetrics(TypedDict):
    """What the public benchmark's own script gives, faults included."""

    valid_count: int
    bin_acc: float | None
    mse: float | None
    pros_rouge_scores: RougeScores | None
    cons_rouge_scores: RougeScores | None
    anal_rouge_scores: RougeScores | None


class AccuracyMetrics(TypedDict):
    """Directions, bins, errors and baselines, over the rows with a truth."""

    weeks: int | None
    interval_reason: str | None
    bin_acc: float | None
    bin_acc_ci95: list[float] | None
    detectable_effect: float | None
    design_effect: float | None
    effective_n: float | None
    effective_n_reason: str | None
    directions: dict[str, int]
    bin12_acc: float | None
    bin12_n: int
    classes: ClassMetrics
    breakdown: Breakdown
    mse: float | None
    mse_n: int
    mse_versus_zero_move: ErrorComparison | None
    baselines: dict[str, BaselineMetrics | None]
    baseline_reasons: dict[str, str]
    versus: dict[str, Comparison | None]


class RougeMetrics(TypedDict):
    """Mean F1 per section over all rows whose reference has it."""

    rouge_n: dict[str, int]
    pros_rouge_scores: RougeScores | None
    cons_rouge_scores: RougeScores | None
    anal_rouge_scores: RougeScores | None


class SpeedMetrics(TypedDict):
    """Seconds, tokens and stops, each over the rows that state it."""

    inference_seconds: float | None
    inference_seconds_n: int
    latency: Latency | None
    stop_rate: float | None
    stop_rate_n: int
    new_tokens: float | None
    new_tokens_n: int
    tokens_per_second: float | None


class ProbabilityEntry(TypedDict):
    """A mean over rows with its interval clustered by week."""

    mean: float | None
    ci95: list[float] | None
    n: int
    weeks: int | None


class CalibrationBin(TypedDict):
    """A tenth of the probability of up: what was said in it and what came."""

    low: float
    high: float
    n: int
    mean_p: float | None
    share_up: float | None


class Agreement(TypedDict):
    """How often the likelier direction is the generated one."""

    share: float | None
    n: int


class ProbabilityMetrics(TypedDict):
    """Scores of the probabilities of the twelve bins."""

    n: int
    interval_reason: str | None
    prefixes: dict[str, int]
    mass: float | None
    direction_accuracy: ProbabilityEntry
    brier: ProbabilityEntry
    brier_skill: dict[str, float | None]
    versus: dict[str, BrierComparison | None]
    rps: ProbabilityEntry
    log_score: ProbabilityEntry
    calibration: list[CalibrationBin]
    ece: float | None
    agreement: NotRequired[Agreement]
    n_missing: NotRequired[int]
    direct: NotRequired["ProbabilityMetrics | None"]


class LikelihoodMetrics(TypedDict):
    """The two keys that likelihoods add."""

    likelihood: ProbabilityMetrics | None
    likelihood_reason: str | None


class Metrics(AccuracyMetrics, RougeMetrics, SpeedMetrics):
    """The content of metrics.json."""

    source: NotRequired[dict[str, Any]]
    n: int
    n_no_truth: int
    synthetic: bool
    valid_strict: int
    valid_lenient: int
    reasons: dict[str, int]
    reasons_strict: dict[str, int]
    text_quality: TextQuality
    fingpt_compatible: FingptMetrics
    likelihood: NotRequired[ProbabilityMetrics | None]
    likelihood_reason: NotRequired[str | None]
