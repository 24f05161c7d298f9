"""The journal as a page: one folder with index.html and the ledger, no script, nothing from
elsewhere."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from eval.metrics.betting import SHOWN, bet_on_skill
from eval.metrics.probability_scores import points_of_bins
from forecast.company.call import up_share
from forecast.journal.ledger import LEDGER, Ledger
from forecast.journal.score import Settled, bets_on, calls_by_week, score, settled_forecasts
from weekahead.files import write_text
from weekahead.schema.journal import ForecasterScore, ForecastLine, JournalScores, ReturnLine
from weekahead.visible import shown

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "page"
"""Folder of the page, inside the journal's."""
_DRAWN = 4
"""So many forecasters that are no baselines have a line in the figure."""
_WIDTH, _HEIGHT = 640.0, 200.0
"""Of the figure's frame, in its own units."""
_SQUARE = 200.0
_SMALLEST_E = 0.01
"""An e-value below it is drawn there: little capital is left to lose."""


@dataclass(frozen=True)
class Cell:
    """One forecaster's call of one company."""

    arrow: str
    word: str
    """For those who do not see the arrow."""
    detail: str
    """The bin, and the probability of a rise."""
    outcome: str
    """right, wrong or nothing yet."""


@dataclass(frozen=True)
class Company:
    """A row of this week's forecasts."""

    symbol: str
    happened: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class WeekRecord:
    """A row of the record."""

    week: str
    rose: str
    """How many of the companies whose return is known rose."""
    hits: tuple[str, ...]
    """By forecaster: right calls of those that are settled."""
    note: str


@dataclass(frozen=True)
class Curve:
    """The e-value of a forecaster over the weeks, as a line of the figure."""

    forecaster: str
    points: str


@dataclass(frozen=True)
class Dot:
    """A point of a calibration figure."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class Calibration:
    """What a forecaster stated and what happened."""

    forecaster: str
    dots: tuple[Dot, ...]
    n: int
    error: float | None


@dataclass(frozen=True)
class JournalPage:
    """Everything that the page shows."""

    scores: JournalScores
    lines: int
    week: str
    companies: tuple[Company, ...]
    left_out: dict[str, str]
    record: tuple[WeekRecord, ...]
    curves: tuple[Curve, ...]
    levels: tuple[tuple[float, str], ...]
    """(height, text) of the horizontal lines of the figure."""
    weeks_drawn: int
    calibrations: tuple[Calibration, ...]
    panel: tuple[tuple[str, str], ...]
    corrections: int

    @property
    def happened(self) -> bool:
        """Whether any return of the week is known."""
        return any(company.happened for company in self.companies)

    @property
    def names(self) -> list[str]:
        """The forecasters, in the order of the panel."""
        return [one["forecaster"] for one in self.scores["forecasters"]]


def build_page(ledger: Ledger) -> JournalPage:
    """The page of a ledger. Raises ValueError for an empty one."""
    scores = score(ledger)
    outcomes = {key: line for key, (line, _) in ledger.outcomes().items()}
    names = [one["forecaster"] for one in scores["forecasters"]]
    week = max((line["week_start"] for line in ledger.forecasts), default="")
    ended = ledger.weeks.get(week)
    settled = {
        name: settled_forecasts([f for f in ledger.forecasts if f["forecaster"] == name], outcomes)
        for name in names
    }
    assert ledger.start is not None  # score() refuses an empty ledger
    learned = [member["name"] for member in ledger.start["panel"] if member["kind"] != "baseline"]
    curves, levels, drawn = _curves({name: bets_on(name, ledger) for name in learned[:_DRAWN]})
    return JournalPage(
        scores=scores,
        lines=len(ledger.lines),
        week=week,
        companies=_companies(ledger, week, names, outcomes),
        left_out=ended["left_out"] if ended else {},
        record=_record(ledger, names, settled),
        curves=curves,
        levels=levels,
        weeks_drawn=drawn,
        calibrations=tuple(c for c in map(_calibration, scores["forecasters"]) if c),
        panel=tuple((member["name"], _pins(dict(member))) for member in ledger.start["panel"]),
        corrections=len(ledger.of("correction")),
    )


def _companies(
    ledger: Ledger, week: str, names: Sequence[str], outcomes: dict[str, ReturnLine]
) -> tuple[Company, ...]:
    forecasts = {
        (line["symbol"], line["forecaster"]): line
        for line in ledger.forecasts
        if line["week_start"] == week
    }
    companies: list[Company] = []
    for symbol in sorted({symbol for symbol, _ in forecasts}):
        outcome = outcomes.get(f"{symbol}-{week}")
        cells = [_cell(forecasts.get((symbol, name)), outcome) for name in names]
        companies.append(Company(symbol, _happened(outcome), tuple(cells)))
    return tuple(companies)


def _happened(outcome: ReturnLine | None) -> str:
    if outcome is None:
        return ""
    if outcome["label"] is None:
        return "in doubt: sources differ"
    return f"{100 * outcome['weekly_return']:+.1f} %"


def _cell(forecast: ForecastLine | None, outcome: ReturnLine | None) -> Cell:
    if forecast is None:
        return Cell("", "missing", "", "")
    direction, prediction = forecast["direction"], forecast["prediction"]
    arrow, word = {1: ("▲", "up"), -1: ("▼", "down")}.get(direction or 0, ("–", "no call"))
    details = [prediction.split(" by ")[1].replace("more than 5%", ">5%")] if prediction else []
    if forecast["probabilities"] is not None:
        details.append(f"P(up) {up_share(forecast['probabilities']):.2f}")
    if outcome is None or outcome["label"] is None:
        return Cell(arrow, word, ", ".join(details), "")
    came_true = "right" if word == outcome["label"].split(" ")[0] else "wrong"
    return Cell(arrow, word, ", ".join([*details, came_true]), came_true)


def _record(
    ledger: Ledger, names: Sequence[str], settled: dict[str, list[Settled]]
) -> tuple[WeekRecord, ...]:
    """The weeks, the latest first."""
    right: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    truths: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, ones in settled.items():
        for one in ones:
            week = one.forecast["week_start"]
            right[week, name] += one.forecast["direction"] == one.truth
            count[week, name] += 1
            truths[week][one.forecast["id"]] = one.truth
    rows: list[WeekRecord] = []
    for week in sorted({line["week_start"] for line in ledger.forecasts}, reverse=True):
        hits = [
            f"{right[week, name]}/{count[week, name]}" if count[week, name] else ""
            for name in names
        ]
        ended = ledger.weeks.get(week)
        note = (ended["unfinished"] or "") if ended else "the entry has not ended"
        rows.append(WeekRecord(week, _rose(truths[week].values()), tuple(hits), note))
    return tuple(rows)


def _rose(truths: Collection[int]) -> str:
    return f"{sum(truth == 1 for truth in truths)}/{len(truths)}" if truths else ""


def _curves(
    settled: dict[str, list[Settled]],
) -> tuple[tuple[Curve, ...], tuple[tuple[float, str], ...], int]:
    """(lines, horizontal levels, weeks) of the figure of e-values, on a logarithmic axis."""
    paths: dict[str, list[float]] = {}
    for name, ones in settled.items():
        _, weeks = calls_by_week(ones)
        paths[name] = [1.0, *map(float, bet_on_skill(weeks).capital)]
    if not any(path[1:] for path in paths.values()):
        return (), (), 0
    top = math.log10(max(SHOWN * 5, *(max(path) for path in paths.values())))
    bottom = math.log10(_SMALLEST_E)

    def height(value: float) -> float:
        share = (math.log10(max(value, _SMALLEST_E)) - bottom) / (top - bottom)
        return round(_HEIGHT * (1 - share), 1)

    length = max(map(len, paths.values())) - 1
    step = _WIDTH / max(length, 1)
    curves = [
        Curve(
            name,
            " ".join(f"{round(step * week, 1)},{height(e)}" for week, e in enumerate(path)),
        )
        for name, path in paths.items()
    ]
    levels = ((height(SHOWN), f"{SHOWN:g}: shown"), (height(1), "1: the start"))
    return tuple(curves), levels, length


def _calibration(one: ForecasterScore) -> Calibration | None:
    """The calibration of a forecaster; None without probabilities."""
    probabilities = one["probabilities"]
    if probabilities is None:
        return None
    dots = [
        Dot(
            x=round(_SQUARE * point.stated, 1),
            y=round(_SQUARE * (1 - point.rose), 1),
            radius=round(min(2.5 + math.sqrt(point.n) / 1.5, 14), 1),
            text=f"stated {point.stated:.2f}, rose {point.rose:.2f} of {point.n}",
        )
        for point in points_of_bins(probabilities["calibration"])
    ]
    return Calibration(one["forecaster"], tuple(dots), probabilities["n"], probabilities["ece"])


def _pins(member: dict[str, object]) -> str:
    """What the first line of the ledger says of a forecaster, in words."""
    facts = [f"{key} {value}" for key, value in member.items() if value and key != "name"]
    return ", ".join(facts)


def write_page(ledger: Ledger, folder: Path) -> Path:
    """Write the page and a copy of the ledger into `folder`/page; return its index.html.

    Raises ValueError for an empty ledger, OSError if the disk is full.
    """
    out = folder / PAGE
    write_text(out / LEDGER, (folder / LEDGER).read_text(encoding="utf-8"))
    html = _environment().get_template("page.html.jinja").render(page=build_page(ledger))
    write_text(out / "index.html", html + "\n")
    return out / "index.html"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
