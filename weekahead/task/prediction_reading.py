"""What the reader of a prediction line returns, and the reasons it gives if it read none."""

from dataclasses import dataclass

NO_DIRECTION = "the prediction states no direction"
CONTRADICTS = "the prediction contradicts itself"
NEGATED = "the prediction negates a direction"
UNKNOWN_WORDS = "the prediction has unknown words"
ASKS = "the prediction asks"
READING_FAILURES = (NO_DIRECTION, CONTRADICTS, NEGATED, UNKNOWN_WORDS, ASKS)


@dataclass(frozen=True)
class Reading:
    """What a line states."""

    direction: int | None
    """-1, 0 or +1; None if it was not read."""
    magnitude: float | None = None
    """In percent, with the sign of the direction."""
    reason: str | None = None
    """Why there is no direction: one of READING_FAILURES; unknown words stand after ": "."""


def kind_of_failure(reason: str | None) -> str | None:
    """`reason` without the words that it names, so that it can be counted."""
    return UNKNOWN_WORDS if reason and reason.startswith(UNKNOWN_WORDS) else reason
