"""What tuning changed in the calls, whether or not they are right: the first effect that can be
shown at all.

Each change is a tuned run minus its base on the same rows, paired, with the error by week. They
describe: no verdict, no p is corrected.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy

from eval.metrics.baselines import LARGEST_SIZE, read_number
from eval.metrics.secondary import secondary_mean, unknown_mean
from eval.metrics.seeds import seed_error
from eval.metrics.skill import Array
from eval.metrics.statistics import MIN_CLUSTERS
from eval.metrics.weeks import plural
from eval.report.comparisons import ComparedRuns, p_text
from eval.report.entries import Entry
from eval.report.forest import signed
from eval.report.rows import question, row_scores, same_rows
from eval.report.runs import EvaluatedRun
from eval.report.skills import tuned_pairs
from eval.report.table import format_value
from weekahead.schema.metrics import SecondaryMean
from weekahead.schema.rows import ScoredRow

_NO_SPREAD = 1e-12
_OF_CONTROL = {
    "no_news": "without the news",
    "swapped_news": "with the news of another firm",
    "masked_names": "without the names of the firms",
}
"""What a control does to a question, in the words of a sentence."""

RowScores = Mapping[str, float]
"""Row key -> a value."""


@dataclass(frozen=True)
class Wording:
    """How a measure is printed."""

    title: str
    """Of a row of the table."""
    sentence: str
    """With {run}, {base}: names, and {ours}, {theirs}: values."""
    unit: str
    """Behind the values of a sentence."""
    scale: float = 1.0
    """Of the values of a sentence; 100 for shares."""
    digits: int = 0
    with_sign: bool = False


@dataclass(frozen=True)
class TuningChange:
    """One measure of a tuned run and of its base, on the rows that both have."""

    run: str
    base: str
    wording: Wording
    ours: float | None
    """The tuned run's."""
    theirs: float | None
    """The base's."""
    change: SecondaryMean
    """Ours minus theirs, paired."""

    @property
    def sentence(self) -> str:
        """The change with its interval, such as "tuned says up in 55 % of its calls and base in
        82 % (49 rows; difference -27, 95 % interval -42 to -11, p 0.004)."."""
        if self.ours is None or self.theirs is None:
            return f"{self.wording.title}, {self.run} and {self.base}: {self.change['reason']}."
        said = self.wording.sentence.format(
            run=self.run,
            base=self.base,
            ours=self._text(self.ours) + self.wording.unit,
            theirs=self._text(self.theirs) + self.wording.unit,
        )
        return f"{said} ({plural(self.change['n'], 'row')}; {self._difference()})."

    def _difference(self) -> str:
        difference, ci95 = self.change["mean"], self.change["ci95"]
        said = f"difference {self._text(difference)}"
        if ci95 is None:
            return f"{said}, no interval: {self.change['reason']}"
        interval = " to ".join(map(self._text, ci95))
        return f"{said}, 95 % interval {interval}, p {p_text(self.change['p'])}"

    def _text(self, value: float | None) -> str:
        scaled = None if value is None else self.wording.scale * value
        if self.wording.with_sign and scaled is not None:
            return signed(scaled, self.wording.digits)
        return format_value(scaled, self.wording.digits)


@dataclass(frozen=True)
class _Measure:
    """A number for each row of a run; the measure is their mean, or a slope."""

    wording: Wording
    scores: Callable[[EvaluatedRun], RowScores | None]
    """None if this run has no such numbers at all."""
    slope_on: Callable[[EvaluatedRun], RowScores] | None = None
    """What the numbers are regressed on; without it their mean is the measure."""
    without: str = "no row on which both state it"
    """Why it cannot be computed."""
    largest: float = math.inf
    """No difference is larger."""


def tuning_changes(compared: ComparedRuns) -> tuple[TuningChange, ...]:
    """What each tuned entry does otherwise than its base: share of up, size of calls, slope on
    last week's move, and calls that change under a control, for controls that both were run on."""
    measures = [_UP, _SIZE, _SLOPE, *_control_measures(compared.runs)]
    return tuple(
        found
        for tuned, base in tuned_pairs(compared.entries)
        if not question(tuned.first) and tuned.hits
        for measure in measures
        if (found := _change(measure, tuned, base)) is not None
    )


def change_sentences(found: Sequence[TuningChange]) -> tuple[str, ...]:
    """One sentence per change that can be computed, one per base with which runs share no call."""
    sentences = [change.sentence for change in found if change.ours is not None]
    without: dict[str, list[str]] = {}
    for change in found:
        if change.ours is None and change.wording is _UP.wording:
            without.setdefault(change.base, []).append(change.run)
    for base, runs in without.items():
        whose = f"one of {', '.join(runs)}" if len(runs) > 1 else runs[0]
        sentences.append(
            f"There is no row for which both {base} and {whose} state a direction, so what they "
            "say cannot be compared."
        )
    return tuple(dict.fromkeys(sentences))


def _change(measure: _Measure, tuned: Entry, base: Entry) -> TuningChange | None:
    """None if one of the two has no such numbers at all."""
    by_run = [measure.scores(run) for run in (*tuned.runs, *base.runs)]
    columns = [scores for scores in by_run if scores is not None]
    if len(columns) < len(by_run):
        return None
    if measure.slope_on is not None:
        columns.append(measure.slope_on(tuned.first))
    keys = [key for key in tuned.hits if all(key in column for column in columns)]
    weeks = [tuned.weeks[key] for key in keys] if tuned.weeks else None
    n, values = len(keys), [numpy.array([column[key] for key in keys]) for column in columns]
    if measure.slope_on is not None:
        values, weeks = slope_values(values[:-1], values[-1], weeks)
    found = partial(TuningChange, tuned.name, base.name, measure.wording)
    if not keys or not values:
        return found(None, None, unknown_mean(measure.without, n=n))
    ours, theirs = values[: len(tuned.runs)], values[len(tuned.runs) :]
    difference: Array = numpy.mean(ours, axis=0) - numpy.mean(theirs, axis=0)
    change = secondary_mean(
        difference.tolist(),
        weeks,
        more=seed_error(ours, theirs),
        largest=measure.largest,
        by_week_alone=True,
    )
    return found(float(numpy.mean(ours)), float(numpy.mean(theirs)), {**change, "n": n})


class SlopeValues(NamedTuple):
    """For each column one number per week: their mean is the slope, their error that of it."""

    columns: list[Array]
    """Empty if what the slope is on does not vary."""
    weeks: list[str] | None


def slope_values(columns: Sequence[Array], x: Array, weeks: Sequence[str] | None) -> SlopeValues:
    """The least-squares slope of each column on `x`, with the jackknife over weeks: the slope moved
    by what leaving out a week does to it (Efron, The Jackknife, the Bootstrap and Other Resampling
    Plans, 1982, chapter 3). Without weeks one number, the slope."""
    names = list(dict.fromkeys(weeks)) if weeks else []
    left = names if len(names) >= MIN_CLUSTERS else []  # with fewer there is no interval
    without = [numpy.array([other != name for other in weeks or ()]) for name in left]
    everywhere = numpy.ones(len(x), dtype=bool)
    if not all(_varies(x[kept]) for kept in (everywhere, *without)):
        return SlopeValues([], None)
    found: list[Array] = []
    for column in columns:
        slope = _slope(column, x)
        left_out = numpy.array(
            [_slope(column[kept], x[kept]) for kept in without] or [slope] * max(1, len(names))
        )
        found.append(slope + (len(left_out) - 1) * (left_out.mean() - left_out))
    return SlopeValues(found, names or None)


def _varies(x: Array) -> bool:
    return len(x) > 1 and float(x.var()) > _NO_SPREAD


def _slope(column: Array, x: Array) -> float:
    centered = x - x.mean()
    return float(centered @ column) / float(centered @ centered)


def _up(row: ScoredRow) -> float | None:
    return float(row["direction"] == 1) if row["direction"] in (-1, 1) else None


def _size(row: ScoredRow) -> float | None:
    size = row["magnitude"]
    return None if size is None or _up(row) is None else min(abs(size), LARGEST_SIZE)


def _last_moves(run: EvaluatedRun) -> RowScores:
    """Last week's move of each row that states it, in percent."""
    pairs = zip(run.keys or [], run.generations, strict=False)
    moves = {key: read_number(row, "last_week_return") for key, row in pairs}
    return {key: 100 * move for key, move in moves.items() if move is not None}


_UP = _Measure(
    Wording(
        title="Share of up",
        sentence="{run} says up in {ours} of its calls and {base} in {theirs}",
        unit=" %",
        scale=100,
    ),
    partial(row_scores, score=_up),
    largest=1.0,
)
_SIZE = _Measure(
    Wording(
        title="Size of a call, percent",
        sentence="{run} states a move of {ours} on average and {base} one of {theirs}",
        unit=" %",
        digits=1,
    ),
    partial(row_scores, score=_size),
)
_SLOPE = _Measure(
    Wording(
        title="Slope of the call on last week's move",
        sentence="For each percent that a stock rose last week, the share of up changes by "
        "{ours} in the calls of {run} and by {theirs} in those of {base}",
        unit=" points",
        scale=100,
        digits=1,
        with_sign=True,
    ),
    partial(row_scores, score=_up),
    slope_on=_last_moves,
    without="last week's moves are not known or do not differ on the rows on which both state it",
)


def _control_measures(runs: Sequence[EvaluatedRun]) -> Iterator[_Measure]:
    """For each control that runs were asked under: the calls that differ from those without it."""
    for control in dict.fromkeys(filter(None, map(question, runs))):
        words = _OF_CONTROL.get(control, f"under the control {control}")
        yield _Measure(
            Wording(
                f"Calls that change {words}",
                f"{words.capitalize()}, {{run}} changes {{ours}} of its calls and {{base}} "
                "{theirs}",
                " %",
                100,
            ),
            partial(_changed_calls, control=control, runs=runs),
            largest=1.0,
        )


def _changed_calls(
    run: EvaluatedRun, *, control: str, runs: Sequence[EvaluatedRun]
) -> RowScores | None:
    """Whether each call differs from that of the same model under a control, on the rows whose
    prompt the control changed; None if the model was not asked under it."""
    for other in runs:
        if question(other) == control and _model(other) == _model(run) and same_rows(run, other):
            before, after = row_scores(run, _up), row_scores(other, _up)
            same = _prompts(run).items() & _prompts(other).items()
            asked_otherwise = before.keys() & after.keys() - {key for key, _ in same}
            return {key: float(before[key] != after[key]) for key in asked_otherwise}
    return None


def _prompts(run: EvaluatedRun) -> dict[str, str]:
    """The prompts of the rows that state one."""
    pairs = zip(run.keys or [], run.generations, strict=False)
    return {key: str(prompt) for key, row in pairs if (prompt := row.get("prompt"))}


def _model(run: EvaluatedRun) -> tuple[str | None, ...]:
    """What tells the models of a page apart."""
    manifest = run.manifest
    base = manifest["base"]
    return (
        manifest["adapter_sha256"] or manifest["adapter"],
        base.get("name") if base else None,
        manifest["backend"].get("model"),
    )
