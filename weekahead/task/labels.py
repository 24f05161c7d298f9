"""The twelve weekly bins: the label of a return, and the size in percent that it stands for."""

import math

from weekahead.schema.shape import is_finite, shortened

_STEPS = ("0-1%", "1-2%", "2-3%", "3-4%", "4-5%", "more than 5%")
_DOWN = tuple(f"down by {step}" for step in reversed(_STEPS))
_UP = tuple(f"up by {step}" for step in _STEPS)
BINS = _DOWN + _UP
"""From the worst week to the best: the distance of two bins is the difference of their indices."""

_PERCENT_DECIMALS = 9
"""Percentages are rounded to these: 100 * 0.07 gives 7.000000000000001, which counts as 7."""


LARGEST_NUMBER = 1e15
"""Of a return, and of what else is measured: sums and squares of such numbers stay finite."""
RETURNS = f"a fraction from -1 to {LARGEST_NUMBER:g}, such as 0.012"
"""What a return is, for an error."""


def is_return(value: float) -> bool:
    """Whether a number can be the return of a week: nobody loses more than everything."""
    return -1 <= value <= LARGEST_NUMBER


def label_of_return(weekly_return: float) -> str:
    """The bin of a weekly return given as a fraction (0.012 is 1.2 percent).

    The size in percent, rounded up to a whole number, is the upper end of the bin; above 5 the
    bin is "more than 5%". A return of exactly zero is "up by 0-1%": there is no thirteenth bin,
    and the public dataset counts r >= 0 as up.

    Raises ValueError for NaN, infinities and what is no number: a week without a price has no
    label.
    """
    if not is_finite(weekly_return):
        raise ValueError(
            f"weekly_return is {shortened(weekly_return)}; a label needs a finite fraction such as "
            "0.012. Drop the week or repair its prices."
        )
    percent = round(100 * min(abs(weekly_return), 1.0), _PERCENT_DECIMALS)
    step = _STEPS[min(max(math.ceil(percent), 1), 6) - 1]
    return f"{'up' if weekly_return >= 0 else 'down'} by {step}"


def check_label(text: str) -> str:
    """The bin that `text` names; case and white space are ignored.

    Raises ValueError if it is none of the twelve.
    """
    label = " ".join(str(text).split()).lower()
    if label not in BINS:
        raise ValueError(f"unknown label {text!r}; expected one of: {', '.join(BINS)}")
    return label


def direction_of(label: str) -> int:
    """+1 for an up bin, -1 for a down bin. Raises ValueError for an unknown label."""
    return 1 if check_label(label).startswith("up") else -1


def magnitude_of(label: str) -> float:
    """The size that a bin stands for, signed and in percent.

    This is the middle of the bin, and 5.5 for "more than 5%", as in the public benchmark (FinGPT
    Forecaster), so that mean squared errors are comparable. Raises ValueError for an unknown label.
    """
    step = check_label(label).split(" by ", 1)[1]
    return direction_of(label) * (_STEPS.index(step) + 0.5)


def label_of_magnitude(magnitude: float) -> str:
    """The bin of a signed size in percent; the inverse of `magnitude_of`.

    Raises ValueError for NaN, infinities and what is no number.
    """
    if not is_finite(magnitude):
        raise ValueError(
            f"the magnitude is {shortened(magnitude)}; expected a finite size in percent, such as "
            "-2.5"
        )
    return label_of_return(magnitude / 100)
