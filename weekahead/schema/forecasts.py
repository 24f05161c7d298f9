"""A forecast as `make forecast` writes it, `forecasts/<date>/<symbol>.json`."""

from typing import Literal, TypedDict

from weekahead.schema.metrics import SkillVerdict
from weekahead.schema.rows import Message


class ForecastInput(TypedDict):
    """One fact that the prompt shows."""

    kind: Literal["prices", "news", "financials", "capitalization", "prompt"]
    """prompt: a text that the user gave as a whole."""
    known_at: str | None
    """When it became known, ISO 8601 in UTC; null for a prompt that the user gave."""
    source: str
    """Who said it, or the file that it was read from."""
    link: str | None
    """Where it stands on the web; null if its source does not say it."""
    text: str


class MeasuredRecord(TypedDict):
    """What an evaluation of the same adapter, or the same base alone, has shown."""

    verdict: SkillVerdict | Literal["not measured"]
    sentence: str
    """The verdict with its interval, the accuracy, and always-down beside it, in words."""
    run: str | None
    """The folder of the evaluation; null like all below if there is none."""
    skill: float | None
    """Share of right directions minus what the mix of calls would hit by chance."""
    ci95: list[float] | None
    n: int | None
    weeks: int | None
    accuracy: float | None
    """Share of right directions."""
    always_down: float | None
    """The share that "always down" gets right on the same rows."""
    synthetic: bool
    """Whether it was measured on a fictional market."""


class ForecastFile(TypedDict):
    """The content of a forecast's JSON file."""

    id: str
    """Symbol and first day of the forecast week: AAPL-2024-03-17."""
    symbol: str
    company: str
    week_start: str
    week_end: str
    decision_time: str
    """Nothing that became known later is in the inputs, ISO 8601 in UTC."""
    made_at: str
    """When the forecast was made, by this machine's clock."""
    prediction: str | None
    """One of the twelve bins; null if the answer states none that can be read."""
    prediction_from: Literal["answer", "probabilities"]
    """probabilities: no answer was asked for; the prediction is the likeliest bin of the likelier
    direction."""
    direction: int | None
    """1 up, -1 down; null if the answer states none that can be read."""
    probabilities: dict[str, float] | None
    """By bin; they add up to 1. Null if a server answered that does not give them."""
    probabilities_after: Literal["own", "direct"] | None
    """own: after the answer's own sections; direct: the prediction was asked for at once."""
    why_none: str | None
    """Why there are no probabilities."""
    answer: str | None
    """As it came; null if none was asked for."""
    unreadable: str | None
    """Why the answer's prediction cannot be read."""
    figures_not_in_inputs: list[str] | None
    """Figures of the answer that stand nowhere in the prompt; null without an answer."""
    inputs: list[ForecastInput]
    prompt: list[Message]
    adapter: str | None
    """Null for the base alone."""
    adapter_sha256: str | None
    base: str
    base_revision: str | None
    served_as: str | None
    """The name by which a server knows the model; null if it answered in this process."""
    record: MeasuredRecord
    warnings: list[str]
    """What a reader must know before believing the forecast."""
    notes: list[str]
    """What the sources said of what they did not have."""
