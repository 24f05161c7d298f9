"""Lines of a journal's ledger.jsonl; each holds the SHA-256 of the line before it."""

from typing import Literal, NotRequired, TypedDict

from weekahead.schema.metrics import (
    ProbabilityScores,
    SecondaryMean,
    SkillVerdict,
    VerdictMetrics,
)

VERSION = 1
"""Of the lines below."""
NO_LINE = "0" * 64
"""`previous` of the first line."""

Clock = Literal["machine", "simulated"]


class LedgerLine(TypedDict):
    """What every line holds."""

    previous: str
    """SHA-256, in hex, of the bytes of the line before, without its line end."""
    kind: str
    written_at: str
    """The journal's clock, ISO 8601 in UTC."""


class Forecaster(TypedDict):
    """A member of the panel, pinned when the journal starts."""

    name: str
    kind: Literal["model", "tfidf", "baseline"]
    adapter: str | None
    adapter_sha256: str | None
    """Of the adapter's weights; null for a base and for what is no language model."""
    base: str | None
    base_revision: str | None
    asked: Literal["text", "bins"] | None
    """What a model's call comes from: the answer that it writes, or the probabilities of the bins;
    null for the others."""
    dataset_sha256: str | None
    """Of the training rows of `tfidf`; null for the others."""


class JournalLine(LedgerLine):
    """The first line, kind `journal`."""

    version: int
    clock: Clock
    """simulated: `written_at` is the DATE that was given, so the ledger is a rehearsal."""
    panel: list[Forecaster]
    code_commit: str | None


class ForecastLine(LedgerLine):
    """One forecast, kind `forecast`."""

    id: str
    """Symbol and first day of the forecast week: AAPL-2024-03-17."""
    symbol: str
    week_start: str
    week_end: str
    forecaster: str
    direction: int | None
    """1 up, -1 down; null if the answer states none."""
    prediction: str | None
    """One of the twelve bins."""
    probabilities: dict[str, float] | None
    """By bin; they add up to 1."""
    inputs_sha256: str
    """Of the prompt and last week's return (forecast.journal.enter.inputs_sha256)."""
    decision_time: str
    """Nothing that became known later is in the inputs."""
    opens_at: str
    """When the first session of the week opens: from then on nothing is accepted."""
    code_commit: str | None


class WeekLine(LedgerLine):
    """The end of an entry, kind `week`."""

    week_start: str
    forecasts: int
    """How many lines of kind forecast the week has."""
    left_out: dict[str, str]
    """Symbol -> why nothing was forecast."""
    unfinished: str | None
    """Why forecasts are missing; null if the panel forecast every symbol."""


class ReturnLine(LedgerLine):
    """What happened, kind `return`."""

    id: str
    symbol: str
    week_start: str
    weekly_return: float
    """A fraction, of the first source."""
    label: str | None
    """The bin of the return; null if the sources contradict each other."""
    sources: dict[str, float]
    """Source of prices -> its return."""
    doubt: str | None
    """Why there is no label."""


class CorrectionLine(ReturnLine):
    """A return that turned out to be another, kind `correction`. The last one counts."""

    corrects: str
    """SHA-256 of the line that it replaces, which stays."""


AnyLine = JournalLine | ForecastLine | WeekLine | ReturnLine | CorrectionLine
LINE_TYPES: dict[str, type] = {
    "journal": JournalLine,
    "forecast": ForecastLine,
    "week": WeekLine,
    "return": ReturnLine,
    "correction": CorrectionLine,
}
"""`kind` -> the type of its line."""
TIMES = ("written_at", "decision_time", "opens_at")
"""Keys that hold a time."""
DAYS = ("week_start", "week_end")
"""Keys that hold a day."""


class KeptInputs(TypedDict):
    """The first row of inputs/<week>.jsonl; its records follow."""

    left_out: dict[str, str]
    """Symbol -> why there is no record."""
    sources: NotRequired[dict[str, str]]
    """prices, news and facts -> who gave them."""
    notes: NotRequired[list[str]]
    """What the sources said of what they did not have."""


class AnytimeSkill(TypedDict):
    """The verdict that may be looked at every week (eval.metrics.betting)."""

    verdict: SkillVerdict
    reason: str | None
    """Why it is not judged, or why nothing was bet."""
    e_value: float | None
    """Now; null if no week has two companies or more."""
    largest_e_value: float | None
    p: float | None
    """1 / largest_e_value, at most 1: right whenever one looks."""
    mean_skill: float | None
    """Within the weeks, divided by companies - 1."""
    weeks: int
    """Weeks with both calls of up and of down."""
    shown_in: str | None
    """First day of the week whose returns brought the e-value to 20."""


class ForecasterScore(TypedDict):
    """A forecaster's record over the weeks whose returns are known."""

    forecaster: str
    n: int
    weeks: int
    awaited: int
    """Forecasts whose return is not known, or in doubt."""
    accuracy: float | None
    """The share of right directions; no call is wrong."""
    accuracy_ci95: list[float] | None
    fixed: VerdictMetrics
    """The verdict of the report, right for one look that was planned."""
    within_weeks: SecondaryMean
    """Market-neutral skill as in the report."""
    anytime: AnytimeSkill
    difference: str
    """What the two verdicts say together, in a sentence."""
    probabilities: ProbabilityScores | None
    """Null if it states none."""


class JournalScores(TypedDict):
    """The content of scores.json."""

    head: str
    """Hash of the last line of the ledger that was scored."""
    as_of: str
    """When that line was written."""
    clock: Clock
    weeks_entered: int
    weeks_settled: int
    forecasters: list[ForecasterScore]
