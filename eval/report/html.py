"""The report as one HTML file that needs nothing else: pictures inside, no script, no request."""

import base64
from pathlib import Path

from eval.report.page import ADVICE, HINDSIGHT, Report


def render_html(report: Report) -> str:
    """The page. Every text is escaped: models, manifests and folder names are not to be trusted."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    page = environment.get_template("page.html.jinja")
    return page.render(report=report, advice=ADVICE, hindsight=HINDSIGHT) + "\n"


def data_uri(path: Path) -> str:
    """A PNG file as the text of an image source."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
