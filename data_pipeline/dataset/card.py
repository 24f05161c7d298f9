"""What is in a dataset, counted row by row, and the card that says it."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from weekahead.files import Row, write_text
from weekahead.task.labels import BINS, direction_of

_TEMPLATE = Path(__file__).with_name("card.md.jinja")


class Facts:
    """Counts over the rows of a dataset: one pass, memory for weeks and labels alone."""

    def __init__(self) -> None:
        self.synthetic = False
        self.without_reference = 0
        """Test rows whose reference answer is empty; their truth is the label."""
        self._labels: dict[str, Counter[str]] = defaultdict(Counter)
        self._weeks: dict[str, dict[str, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0])
        )
        self._dropped: Counter[str] = Counter()

    def add(self, row: Row, split: str, reason: str | None) -> None:
        """Count one row of `split`, or one dropped for `reason`."""
        self.synthetic |= bool(row.get("synthetic"))
        if reason:
            self._dropped[reason] += 1
            return
        self.without_reference += not row["completion"][0]["content"]
        self._labels[split][row["label"]] += 1
        week = self._weeks[split][row["week_start"]]
        week[0] += 1
        week[1] += direction_of(row["label"]) > 0

    def splits(self) -> dict[str, Row]:
        """Rows, weeks, first and last week of each split that has rows, in the order of time."""
        ordered = sorted(self._weeks.items(), key=lambda item: min(item[1]))
        return {
            name: {
                "rows": sum(rows for rows, _ in weeks.values()),
                "weeks": len(weeks),
                "first_week": min(weeks),
                "last_week": max(weeks),
            }
            for name, weeks in ordered
        }

    def dropped(self) -> dict[str, int]:
        """Dropped rows by reason."""
        return dict(sorted(self._dropped.items()))

    def labels(self) -> dict[str, dict[str, int]]:
        """Rows of each bin by split, from the worst week to the best."""
        return {
            name: {label: self._labels[name][label] for label in BINS} for name in self.splits()
        }

    def weeks(self) -> dict[str, dict[str, list[int]]]:
        """Rows and up rows of each week by split."""
        return {
            name: {week: self._weeks[name][week] for week in sorted(self._weeks[name])}
            for name in self.splits()
        }

    def train_majority(self) -> int | None:
        """The direction most training labels have: +1 (also for a tie) or -1; None without training rows."""
        weeks = self._weeks.get("train")
        if not weeks:
            return None
        return (
            1
            if 2 * sum(ups for _, ups in weeks.values()) >= sum(rows for rows, _ in weeks.values())
            else -1
        )


def write_card(path: Path, name: str, manifest: Row) -> None:
    """Write a dataset's card, with the Hub's metadata on top, from its manifest alone."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True, autoescape=False)  # fmt: skip
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    write_text(path, template.render(name=name, bins=BINS, ups=_ups, **manifest))


def _ups(weeks: dict[str, Any]) -> list[tuple[str, int, float]]:
    """(week, rows, share of them that rose) of each week."""
    return [(week, rows, ups / rows) for week, (rows, ups) in weeks.items()]
