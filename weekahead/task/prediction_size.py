"""Which figure of a prediction is the size of its call."""

from dataclasses import dataclass, field, replace

from weekahead.task.prediction_context import Line
from weekahead.task.prediction_figures import Figure
from weekahead.task.prediction_kinds import Kind

_BARE_LIMIT = 20.0
"""A bare figure beside "up" of this many percent or more may be odds: it is not read as a size."""
_MORE_THAN = 0.5
"""What "more than" adds to its figure: "more than 5%" is 5.5, as in the public benchmark."""
_NOUN_AFTER_FIGURE = (Kind.UNKNOWN, Kind.FOREIGN, Kind.ODDS, Kind.MAYBE)
_AFTER_UPSIDE = (Kind.FILLER, Kind.INTO, Kind.STOP)
_WORTH = frozenset(("value", "price", "stock price", "share price", "stock value", "share value"))
_FIGURE_IS_OF = frozenset(("of", "above", "below", "under", "off", "more than", "less than"))
"""Words behind a figure that make it a share or a distance: "12% above its average"."""


@dataclass
class Size:
    """The size of a call, while its line is read from left to right."""

    taken: Figure | None = None
    is_due: bool = False
    """Whether a call directly before may take a figure."""
    pending: Figure | None = None
    """A figure directly before a call."""
    lone: list[Figure] = field(default_factory=list[Figure])
    """The figures before any call."""

    def expect(self, *, is_due: bool = True) -> None:
        """After a call or the name of a size: the next figure is the size, if it has none yet."""
        self.is_due = is_due and self.taken is None

    def close(self) -> None:
        """Neither the call before nor the one behind takes a figure from here."""
        self.is_due = False
        self.pending = None

    def take(self, figure: Figure, *, is_bare: bool) -> bool:
        """Whether `figure` is the size now; a large bare one may be odds."""
        self.close()
        if is_bare and (figure.size or 0) >= _BARE_LIMIT:
            return False
        self.taken = figure
        return True


def upside_figure(line: Line, at: int) -> Figure | None:
    """The figure of "upside of 2% next week" if that ends the line and nothing is weighed with it.

    "Limited downside of 1%, upside of 3%" and "upside of 12% to our target" state no forecast.
    """
    index = line.skip(at + 1)
    figure = line.tokens[index].figure if index < len(line.tokens) else None
    if figure is None or (figure.size or 0) >= _BARE_LIMIT:
        return None
    ends = all(token.kind in _AFTER_UPSIDE for token in line.tokens[index + 1 :])
    is_alone = ends and all(token.kind is not Kind.ODDS for token in line.tokens[:at])
    return figure if is_alone else None


def belongs_to_noun(line: Line, at: int) -> bool:
    """Whether the figure at `at` is about what follows: "12% growth", "12% above its average"."""
    is_share = line.text(at + 1) in _FIGURE_IS_OF and not _is_of_its_value(line, at)
    return is_share or line.kind(line.skip(at + 1)) in _NOUN_AFTER_FIGURE


def _is_of_its_value(line: Line, at: int) -> bool:
    """Whether "of its value" follows: a share of the price is a size."""
    index = at + 2 + (line.text(at + 2) in ("its", "their", "the"))
    return line.text(at + 1) == "of" and line.text(index) in _WORTH


def bounded_figure(line: Line, at: int) -> Figure:
    """The figure at `at` with its bound: "more than 5%" and "5+%" are 5.5, "under 1%" is 0.5."""
    figure, before = line.tokens[at].figure or Figure(None), line.kind(at - 1)
    if figure.size is None or figure.is_range:
        return figure
    if figure.is_open or before is Kind.LEAST:
        return replace(figure, size=figure.size + _MORE_THAN)
    return replace(figure, size=figure.size / 2) if before is Kind.MOST else figure
