"""The card of a dataset, from its manifest."""

from collections.abc import Mapping
from pathlib import Path

from weekahead.files import write_text
from weekahead.schema.manifests import BuiltManifest
from weekahead.task.labels import BINS

_TEMPLATE = Path(__file__).with_name("card.md.jinja")


def write_card(path: Path, name: str, manifest: BuiltManifest) -> None:
    """Write a dataset's card, with the Hub's metadata on top, from its manifest."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    write_text(path, template.render(name=name, bins=BINS, up_shares=_up_shares, **manifest))


def _up_shares(weeks: Mapping[str, list[int]]) -> list[tuple[str, int, float]]:
    """(week, rows, share of them with an up bin) of each week."""
    return [(week, rows, ups / rows) for week, (rows, ups) in weeks.items()]
