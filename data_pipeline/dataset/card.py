"""What is in a dataset, counted row by row, and the card that says it."""

from pathlib import Path
from typing import Any

from weekahead.files import Row, write_text
from weekahead.task.labels import BINS

_TEMPLATE = Path(__file__).with_name("card.md.jinja")


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
