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
_FIGURE_IS_OF = frozenset(("of", "above", "below", "under", "off"))
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


def belongs_to_noun(line: Line, at: int) -> bool:
    """Whether the figure at `at` is about what follows: "12% growth", "12% above its average"."""
    is_share = line.text(at + 1) in _FIGURE_IS_OF
    return is_share or line.kind(line.skip(at + 1)) in _NOUN_AFTER_FIGURE


def bounded_figure(line: Line, at: int) -> Figure:
    """The figure at `at`, with the bound before it: "more than 5%" is 5.5, "under 1%" is 0.5."""
    figure, before = line.tokens[at].figure or Figure(None), line.kind(at - 1)
    if before not in (Kind.MOST, Kind.LEAST) or figure.size is None or figure.is_range:
        return figure
    is_most = before is Kind.MOST
    return replace(figure, size=figure.size / 2 if is_most else figure.size + _MORE_THAN)
