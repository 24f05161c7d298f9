"""A log of Inspect (`inspect view`): the parts of its format, version 2, that are written here.

What is left out has a default there. Names and nesting are those of `EvalLog` in inspect-ai.
"""

from typing import Any, NotRequired, TypedDict

VERSION = 2

ScoreValue = str | float | bool | dict[str, float]
"""Of one answer. The texts are C (right), I (wrong) and N (no answer)."""


class LogMessage(TypedDict):
    """One message."""

    role: str
    content: str


class LogUsage(TypedDict):
    """Tokens."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class LogChoice(TypedDict):
    """The answer and why it ended."""

    message: LogMessage
    stop_reason: str


class LogOutput(TypedDict):
    """What the model wrote."""

    model: str
    choices: list[LogChoice]
    completion: str


class LogScore(TypedDict):
    """One score of one answer."""

    value: ScoreValue
    answer: NotRequired[str]
    explanation: NotRequired[str]


class LogSummary(TypedDict):
    """What the viewer lists of an answer."""

    id: str | int
    epoch: int
    input: list[LogMessage]
    target: str
    scores: dict[str, LogScore]
    metadata: dict[str, Any]
    model_usage: NotRequired[dict[str, LogUsage]]
    """By model."""
    total_time: NotRequired[float]
    """Seconds."""
    completed: NotRequired[bool]
    message_count: NotRequired[int]


class LogSample(LogSummary):
    """One answer."""

    messages: list[LogMessage]
    output: LogOutput


class LogMetric(TypedDict):
    """One number over all answers."""

    name: str
    value: float
    metadata: dict[str, Any]


class LogScorer(TypedDict):
    """The numbers of one kind of score."""

    name: str
    scorer: str
    scored_samples: int
    metrics: dict[str, LogMetric]


class LogHeader(TypedDict):
    """header.json: everything but the answers."""

    version: int
    status: str
    eval: dict[str, Any]
    results: dict[str, Any]
