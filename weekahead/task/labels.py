"""The twelve weekly bins: what a return is called, and what a call is worth in percent."""

import math

_STEPS = ("0-1%", "1-2%", "2-3%", "3-4%", "4-5%", "more than 5%")
# Ordered from the worst week to the best, so that the distance of two bins is a difference of places.
BINS: tuple[str, ...] = tuple(f"down by {s}" for s in reversed(_STEPS)) + tuple(
    f"up by {s}" for s in _STEPS
)

_PERCENT_NOISE = 9  # decimals kept of a percentage: 100 * 0.07 is 7.000000000000001, and is 7


def label_of_return(weekly_return: float) -> str:
    """The bin of a weekly return given as a fraction (0.012 is 1.2 percent).

    The bin is the return's size in percent, rounded up to a whole number; above 5 it is
    "more than 5%". A return of exactly zero is "up by 0-1%": twelve bins leave no room for a
    thirteenth, and the public dataset counts r >= 0 as up.

    Raises ValueError for NaN and infinities: a week without a price has no label.
    """
    if not math.isfinite(weekly_return):
        raise ValueError(
            f"weekly_return is {weekly_return}; a label needs a finite fraction such as 0.012. "
            "Drop the week or repair its prices."
        )
    percent = round(abs(100 * weekly_return), _PERCENT_NOISE)
    step = _STEPS[min(max(math.ceil(percent), 1), 6) - 1]
    return f"{'up' if weekly_return >= 0 else 'down'} by {step}"


def check_label(text: str) -> str:
    """The bin that `text` names, with case and outer white space set right.

    Raises ValueError when it names none of the twelve.
    """
    label = " ".join(str(text).split()).lower()
    if label not in BINS:
        raise ValueError(f"unknown label {text!r}; expected one of: {', '.join(BINS)}")
    return label


def direction_of(label: str) -> int:
    """+1 for an up bin, -1 for a down bin. Raises ValueError for an unknown label."""
    return 1 if check_label(label).startswith("up") else -1


def magnitude_of(label: str) -> float:
    """What a bin counts as, signed and in percent: the middle of its step, 5.5 for "more than 5%".

    The values are those of the public benchmark (FinGPT Forecaster), so mean squared errors compare.
    Raises ValueError for an unknown label.
    """
    place = _STEPS.index(check_label(label).split(" by ", 1)[1])
    return direction_of(label) * (place + 0.5)


def label_of_magnitude(magnitude: float) -> str:
    """The bin of a signed size in percent as a text states it; the inverse of `magnitude_of`.

    Raises ValueError for NaN and infinities.
    """
    return label_of_return(magnitude / 100)
