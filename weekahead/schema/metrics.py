"""metrics.json: every key, in the order in which it is written.

A value that cannot be computed is null, never 0. `metrics_files` reads what is stored.
"""

from typing import Literal, NotRequired, TypedDict

from weekahead.schema.rows import RougeScores

Verdict = Literal["better", "worse", "not shown"]
SkillVerdict = Literal["skill shown", "no skill shown", "negative skill shown", "not judged"]


class SkillMetrics(TypedDict):
    """Accuracy minus what the run's own mix of calls would hit by chance (eval.metrics.skill)."""

    excess_accuracy: float | None
    ci95: list[float] | None
    p: float | None
    """Two-sided, against no skill."""
    n: int
    weeks: int | None
    up_share: float | None
    """Of the calls."""
    truth_up_share: float | None
    """Of the truths, on the rows with a call."""
    standard_error: float | None
    """The largest of those that apply; null if an exact test gives p."""
    freedom: float | None
    """Degrees of freedom of the t test with this error."""
    detectable: float | None
    """The smallest true skill that such rows show four times in five, this run alone."""


class VerdictMetrics(TypedDict):
    """The verdict on a run alone, from the one test that is made for it."""

    skill: SkillMetrics
    verdict: SkillVerdict
    verdict_scope: Literal["run"]
    """Not corrected for other runs."""
    verdict_reasons: list[str]
    """Sentences: why a run is not judged, or what was done to its weeks."""


class Comparison(TypedDict):
    """A run's measure minus another's on the same rows; the interval is clustered by week."""

    difference: float | None
    ci95: list[float] | None
    p: float | None
    """Two-sided, against no difference."""
    verdict: Verdict
    corrected: bool
    """False: the verdict is not corrected for the number of comparisons."""
    detectable_effect: float | None
    """The smallest true difference that these weeks show four times in five."""
    n: int


class _SquaredErrors(TypedDict):
    mse: float | None
    zero_move_mse: float | None


class ErrorComparison(_SquaredErrors, Comparison):
    """Squared errors against a forecast of no move, on the rows whose answer states a size."""


class _ConstantBrier(TypedDict):
    brier: float | None
    """The Brier score of the constant."""


class BrierComparison(_ConstantBrier, Comparison):
    """Brier scores against a constant probability."""


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
    """Direction accuracy by group.

    A cut is null if a row lacks what the cut needs; `reasons` says what.
    """

    symbol: list[GroupMetrics] | None
    sector: list[GroupMetrics] | None
    week: list[GroupMetrics] | None
    move: list[GroupMetrics] | None
    stated_size: list[GroupMetrics] | None
    cutoff: list[GroupMetrics] | None
    reasons: dict[str, str]


class TextQuality(TypedDict):
    """How answers are written, whatever they predict."""

    n: int
    words: float | None
    words_n: int
    """The answers in scripts with spaces between words."""
    sections: float | None
    complete: float | None
    repetition: float | None
    repetition_n: int
    figures: int | None
    figures_not_in_prompt: int | None
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


class ErrorMetrics(TypedDict):
    """Squared errors in squared percent, over the rows whose answer states a size."""

    mse: float | None
    """Of sizes capped at 5.5, the outermost bin's, in either direction."""
    mse_uncapped: float | None
    """Of the sizes as they are stated."""
    mse_n: int
    mse_versus_zero_move: ErrorComparison | None
    """Null as well if so few answers state a size that they are a choice of rows."""
    mse_reason: str | None


class Difference(TypedDict):
    """A mean of ours minus theirs on the same rows, with what tells chance from more."""

    difference: float | None
    ci95: list[float] | None
    p: float | None
    """Two-sided, against no difference; not corrected for other tests."""
    n: int


class SecondaryMean(TypedDict):
    """A mean that describes the rows and is no verdict."""

    mean: float | None
    ci95: list[float] | None
    p: float | None
    """Two-sided, against 0; not corrected for other tests."""
    n: int
    weeks: int | None
    reason: str | None
    """Why something is null."""


class LongShortBook(SecondaryMean):
    """The return of a book per week, as a fraction of the capital: one unit long in the firms that
    are called up, one unit short in those called down, in equal parts, set anew each week."""

    turnover: float
    """Bought and sold per week, in units of the capital, with the first purchase and the last
    sale."""
    break_even_bp: float
    """The cost of a trade, in basis points of what is traded, at which nothing is left: mean /
    turnover. Below 0 the book loses before costs."""
    weeks_held: int
    """In the others one side is empty: the book is in cash and earns 0."""


class WithinWeekMetrics(TypedDict):
    """What a run tells apart within a week, whatever the market does."""

    market_neutral_skill: SecondaryMean
    """The part of the skill that lies within weeks (eval.metrics.market_neutral)."""
    rank_correlation: SecondaryMean
    """Of signed stated sizes and returns, in each week, the mean over weeks."""
    book: LongShortBook | None
    book_reason: str | None


class BinBaseline(TypedDict):
    """A forecast of bins that is the same for every row, made of the training labels."""

    label: str | None
    """The bin that it states; null if it states probabilities."""
    bin12_acc: float | None
    """Over the rows that the run's is over. Of probabilities: that of the true bin."""
    bin12_difference: Difference
    """The run's share of exact bins minus this one."""
    distance: float | None
    """In bins, over the rows that the run's is over. Of probabilities: as expected."""
    distance_difference: Difference
    """The run's distance minus this one: below 0 is closer."""
    rps: float | None
    """Ranked probability score over the rows with a true bin; less is better."""


class BinBaselines(TypedDict):
    """Forecasts that need to know how often each bin came, and nothing else."""

    train_modal_bin: BinBaseline
    """The bin that most training labels have."""
    train_frequencies: BinBaseline
    """Each bin with its share of the training labels."""


class BinMetrics(TypedDict):
    """What exact bins and distances are to be measured by."""

    bin_baselines: BinBaselines | None
    bin_baselines_reason: str | None


class BaselineComparisons(TypedDict):
    """The baselines on the same rows, and the run's direction accuracy against theirs."""

    baselines: dict[str, BaselineMetrics | None]
    baseline_reasons: dict[str, str]
    """Why a baseline is null."""
    versus: dict[str, Comparison | None]


class DirectionMetrics(TypedDict):
    """Directions and bins, over the rows with a truth."""

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


class AccuracyMetrics(
    DirectionMetrics, WithinWeekMetrics, BinMetrics, ErrorMetrics, BaselineComparisons
):
    """Directions, bins, errors and baselines, over the rows with a truth."""


class RougeMetrics(TypedDict):
    """Mean F1 per section over all rows whose reference has it."""

    rouge_n: dict[str, int]
    rouge_reasons: dict[str, str]
    """Why rows are missing from a section's mean."""
    pros_rouge_scores: RougeScores | None
    cons_rouge_scores: RougeScores | None
    anal_rouge_scores: RougeScores | None
    rouge_written: dict[str, RougeScores | None]
    """pros, cons and anal -> the same over the sections that were written."""
    rouge_written_n: dict[str, int]


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
    """A tenth of the range of the probability of up: what was stated in it and what happened."""

    low: float
    high: float
    n: int
    mean_p: float | None
    share_up: float | None


class Agreement(TypedDict):
    """How often the likelier direction is the generated one."""

    share: float | None
    n: int


class Skill(TypedDict):
    """1 - Brier score / that of a constant probability: above 0 is better than the constant."""

    even: float | None
    """Against one half."""
    train_share: float | None
    """Against the share of rises among the training rows."""


class BrierVersus(TypedDict):
    """The Brier score against the same two constants."""

    even: BrierComparison | None
    train_share: BrierComparison | None


class RankedSkill(TypedDict):
    """1 - ranked probability score / that of the train frequencies: above 0 is better than them."""

    skill: float | None
    ci95: list[float] | None
    train_frequencies: float | None
    """Their ranked probability score on the same rows."""
    n: int
    weeks: int | None


class PerfectCalibration(TypedDict):
    """The calibration error of a forecaster whose probabilities are right, on as many rows in as
    many weeks (simulated)."""

    mean: float
    p95: float
    """Exceeded in one case of twenty."""


class ProbabilityScores(TypedDict):
    """Scores of the probabilities of the twelve bins."""

    n: int
    interval_reason: str | None
    prefixes: dict[str, int]
    """What came before the bins (own, direct) -> rows."""
    mass: float | None
    direction_accuracy: ProbabilityEntry
    brier: ProbabilityEntry
    brier_skill: Skill
    versus: BrierVersus
    rps: ProbabilityEntry
    rps_skill: RankedSkill | None
    """Null if the training labels are not known (`bin_baselines_reason`)."""
    log_score: ProbabilityEntry
    calibration: list[CalibrationBin]
    ece: float | None
    ece_perfect: PerfectCalibration | None


class AskedScores(ProbabilityScores):
    """The scores of one question, with the answers that stand beside them."""

    agreement: Agreement


class ProbabilityMetrics(AskedScores):
    """Scores of a run, over all rows; a row counts by what it was asked first."""

    n_missing: int
    """Answers without probabilities."""
    own: AskedScores | None
    """The rows that were asked after the model's own answer."""
    direct: AskedScores | None
    """The rows that were asked at once, without an answer before the bins."""


class SourceFile(TypedDict):
    """The file that was scored."""

    file: str
    sha256: str


class SourceMetrics(TypedDict):
    """What was scored."""

    source: NotRequired[SourceFile]


class CountMetrics(TypedDict):
    """How many rows there are and how many of them can be read."""

    n: int
    n_no_truth: int
    synthetic: bool
    valid_strict: int
    valid_lenient: int
    reasons: dict[str, int]
    """Why the lenient reading failed -> rows."""
    reasons_strict: dict[str, int]


class TextMetrics(TypedDict):
    """How the answers are written."""

    text_quality: TextQuality


class UpstreamMetrics(TypedDict):
    """The public benchmark's own numbers."""

    fingpt_compatible: FingptMetrics


class LikelihoodMetrics(TypedDict):
    """What likelihoods.jsonl beside the answers adds."""

    likelihood: ProbabilityMetrics | None
    likelihood_reason: str | None


class AnswerMetrics(
    CountMetrics,
    VerdictMetrics,
    AccuracyMetrics,
    TextMetrics,
    RougeMetrics,
    SpeedMetrics,
    UpstreamMetrics,
):
    """What the answers alone give."""


class Metrics(SourceMetrics, AnswerMetrics, LikelihoodMetrics):
    """The content of metrics.json."""
