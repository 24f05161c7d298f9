"""Reads a prediction line: which direction it states, and how many percent.

`prediction_pieces` cuts the line into words and numbers, `prediction_figures` reads percentages,
`prediction_tokens` finds the phrases of `prediction_words`, and `prediction_scan` is the grammar.
"""

from weekahead.task.prediction_context import Line
from weekahead.task.prediction_reading import Reading
from weekahead.task.prediction_scan import Scan
from weekahead.task.prediction_tokens import tokens_of


def read_prediction(text: str) -> Reading:
    """Read one prediction, a phrase ("Up by 1-2%") or a few sentences, in linear time.

    A range counts as its middle; "more than 5%", ">5%" and "5+%" as the figure plus 0.5; "less than
    1%" as half of the figure; no move as 0. Without a figure, or with several as alternatives, the
    magnitude is None; the direction may still be read.
    """
    return Scan(Line(tokens_of(text))).read()
