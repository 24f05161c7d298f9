"""The record of each forecaster: the measures of the report, and the verdict for weekly looks."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from eval.metrics.baselines import Prediction
from eval.metrics.betting import SHOWN, FirmCalls, bet_on_skill
from eval.metrics.firms import firms_of
from eval.metrics.judging import judge, skill_metrics
from eval.metrics.market_neutral import market_neutral_skill
from eval.metrics.probability import probability_metrics
from eval.metrics.scored_answer import Scored
from eval.metrics.statistics import clustered_share
from eval.metrics.text_table import UNKNOWN, table
from eval.metrics.weeks import week_keys
from forecast.company.call import up_share
from forecast.journal.ledger import Ledger
from weekahead.schema.journal import (
    AnytimeSkill,
    ForecasterScore,
    ForecastLine,
    JournalScores,
    ReturnLine,
)
from weekahead.schema.metrics import ProbabilityScores, SkillVerdict, VerdictMetrics
from weekahead.schema.rows import LikelihoodRow, ScorableRow
from weekahead.task.answer import Answer
from weekahead.task.labels import direction_of, magnitude_of
from weekahead.task.times import moment

SCORES = "scores.json"
_PATIENCE = timedelta(weeks=4)
"""A week waits this long for its last return before it is bet on without it."""
_SMALLEST = 1e-300
"""What a probability of 0 has the logarithm of."""
_ALL_WAIT = "no week is bet on before all of its returns are known, or four weeks have passed"
_TOO_FEW_FIRMS = "in no settled week does it call two companies or more: nothing can be compared"


class Settled(NamedTuple):
    """A forecast and what happened."""

    forecast: ForecastLine
    label: str
    weekly_return: float

    @property
    def truth(self) -> int:
        """1 or -1."""
        return direction_of(self.label)


def score(ledger: Ledger) -> JournalScores:
    """The scores of every forecaster of the panel. Raises ValueError for an empty ledger."""
    if ledger.start is None:
        raise ValueError("the ledger is empty; journal-enter starts one")
    outcomes = {key: line for key, (line, _) in ledger.outcomes().items()}
    known = {key for key, line in outcomes.items() if line["label"] is not None}
    scores = [
        _score_forecaster(member["name"], ledger, outcomes) for member in ledger.start["panel"]
    ]
    return {
        "head": ledger.head,
        "as_of": ledger.lines[-1]["written_at"],
        "clock": ledger.start["clock"],
        "weeks_entered": len(ledger.weeks),
        "weeks_settled": len({outcomes[key]["week_start"] for key in known}),
        "forecasters": scores,
    }


def _score_forecaster(
    name: str, ledger: Ledger, outcomes: dict[str, ReturnLine]
) -> ForecasterScore:
    forecasts = [line for line in ledger.forecasts if line["forecaster"] == name]
    settled = settled_forecasts(forecasts, outcomes)
    rows = [_row(one) for one in settled]
    calls = [one.forecast["direction"] for one in settled]
    truths = [one.truth for one in settled]
    weeks = week_keys(rows)
    right = [float(truth == call) for truth, call in zip(truths, calls, strict=True)]
    accuracy = clustered_share(right, weeks.keys)
    fixed = _fixed_verdict(settled, rows)
    bets = bets_on(name, ledger)
    anytime = anytime_skill(bets)
    if settled and not bets:
        anytime = _not_bet("not judged", _ALL_WAIT, None)
    return {
        "forecaster": name,
        "n": len(settled),
        "weeks": len({one.forecast["week_start"] for one in settled}),
        "awaited": len(forecasts) - len(settled),
        "accuracy": accuracy.mean,
        "accuracy_ci95": accuracy.interval,
        "fixed": fixed,
        "within_weeks": market_neutral_skill(calls, truths, weeks.keys, firms_of(rows)),
        "anytime": anytime,
        "difference": verdicts_in_words(fixed["verdict"], anytime),
        "probabilities": _probabilities(settled),
    }


def settled_forecasts(
    forecasts: Sequence[ForecastLine], outcomes: dict[str, ReturnLine]
) -> list[Settled]:
    """The forecasts whose label is known, in their order."""
    found: list[Settled] = []
    for forecast in forecasts:
        outcome = outcomes.get(forecast["id"])
        if outcome is not None and outcome["label"] is not None:
            found.append(Settled(forecast, outcome["label"], outcome["weekly_return"]))
    return found


def _row(one: Settled) -> ScorableRow:
    forecast = one.forecast
    return {
        "id": forecast["id"],
        "symbol": forecast["symbol"],
        "period": f"{forecast['week_start']} to {forecast['week_end']}",
        "label": one.label,
        "weekly_return": one.weekly_return,
        "generation": None,
        "answer": None,
    }


def _fixed_verdict(settled: Sequence[Settled], rows: Sequence[ScorableRow]) -> VerdictMetrics:
    """The verdict that eval.score would give on these rows."""
    judged = judge(
        [_scored(one, row) for one, row in zip(settled, rows, strict=True)],
        () if settled else ("no forecast is settled",),
    )
    return {
        "skill": skill_metrics(judged.skill),
        "verdict": judged.verdict,
        "verdict_scope": "run",
        "verdict_reasons": list(dict.fromkeys(judged.reasons)),
    }


def _scored(one: Settled, row: ScorableRow) -> Scored:
    direction, prediction = one.forecast["direction"], one.forecast["prediction"]
    return Scored(
        row=row,
        answer=Answer(),
        prediction=Prediction(direction, magnitude_of(prediction) if prediction else None),
        truth=Prediction(one.truth, magnitude_of(one.label)),
        valid_strict=direction is not None,
        valid_lenient=direction is not None,
        reason=None,
        reason_strict=None,
        rouge={},
        unread=frozenset(),
        rouge_written={},
        reference=Answer(),
    )


def bets_on(name: str, ledger: Ledger) -> list[Settled]:
    """The forecasts of `name` that are bet on, by week, in the order in which weeks were settled.

    A week is bet on when its last return is written, or four weeks after its end with those that
    are there by then. What is written later changes no bet: the bets of a ledger are the first of
    those of every longer one, so skill that was shown stays shown.
    """
    history = _outcomes_by_place(ledger)
    times = [moment(line["written_at"]) for line in ledger.lines]
    by_week: dict[str, list[ForecastLine]] = {}
    for forecast in ledger.forecasts:
        if forecast["forecaster"] == name:
            by_week.setdefault(forecast["week_start"], []).append(forecast)
    bets: list[tuple[int, str, list[Settled]]] = []
    for week, forecasts in by_week.items():
        place = _place_of_bet(forecasts, history, times)
        if place is not None:
            held = {one["id"]: _held(history.get(one["id"], ()), place) for one in forecasts}
            known = {key: line for key, line in held.items() if line is not None}
            bets.append((place, week, settled_forecasts(forecasts, known)))
    return [one for _, _, settled in sorted(bets, key=lambda bet: bet[:2]) for one in settled]


_History = Mapping[str, Sequence[tuple[int, ReturnLine]]]
"""Id -> its returns and corrections, each with the number of lines before it."""


def _outcomes_by_place(ledger: Ledger) -> _History:
    history: dict[str, list[tuple[int, ReturnLine]]] = {}
    for place, line in enumerate(ledger.lines):
        if line["kind"] in ("return", "correction"):
            outcome = cast("ReturnLine", line)
            history.setdefault(outcome["id"], []).append((place, outcome))
    return history


def _held(outcomes: Sequence[tuple[int, ReturnLine]], place: int) -> ReturnLine | None:
    """What was known of a return in the first `place` lines."""
    return next((line for number, line in reversed(outcomes) if number < place), None)


def _place_of_bet(
    forecasts: Sequence[ForecastLine], history: _History, times: Sequence[datetime]
) -> int | None:
    """How many lines stand before a week is bet on; None if it still waits for a return.

    `times` are those of the ledger's lines.
    """
    closed = bisect_left(times, moment(forecasts[0]["week_end"]) + _PATIENCE)
    first = [
        next((n for n, line in history.get(one["id"], ()) if line["label"] is not None), None)
        for one in forecasts
    ]
    known = [number for number in first if number is not None]
    if len(known) == len(first) and max(known) < closed:
        return max(known) + 1
    return closed if closed < len(times) else None


def anytime_skill(settled: Sequence[Settled]) -> AnytimeSkill:
    """The verdict of the bet on skill over settled forecasts, in the order of the bets.

    It is as if looked at after every week, and counts the highest capital so far: skill that was
    shown stays shown.
    """
    names, weeks = calls_by_week(settled)
    most_calls = max((sum(call in (-1, 1) for call in week.calls) for week in weeks), default=0)
    if most_calls < 2:
        return _not_bet("not judged", _TOO_FEW_FIRMS, None)
    bet = bet_on_skill(weeks)
    if not bet.weeks:
        return _not_bet("no skill shown", "in no week are both up and down called", 1.0)
    largest = float(bet.capital.max())
    first = int((bet.capital >= SHOWN).argmax()) if largest >= SHOWN else None
    verdict: SkillVerdict = "no skill shown"
    if first is not None:
        verdict = "skill shown" if bet.on_skill[first] > 0.5 else "negative skill shown"
    return {
        "verdict": verdict,
        "reason": None,
        "e_value": float(bet.capital[-1]),
        "largest_e_value": largest,
        "p": min(1.0, 1 / largest),
        "mean_skill": bet.mean_skill,
        "weeks": bet.weeks,
        "shown_in": None if first is None else names[first],
    }


def calls_by_week(settled: Sequence[Settled]) -> tuple[list[str], list[FirmCalls]]:
    """(first day of each week, its calls and truths), in the order in which weeks come first."""
    by_week: dict[str, list[Settled]] = {}
    for one in settled:
        by_week.setdefault(one.forecast["week_start"], []).append(one)
    weeks = [
        FirmCalls([one.forecast["direction"] for one in ones], [one.truth for one in ones])
        for ones in by_week.values()
    ]
    return list(by_week), weeks


def _not_bet(verdict: SkillVerdict, reason: str, e_value: float | None) -> AnytimeSkill:
    return {
        "verdict": verdict,
        "reason": reason,
        "e_value": e_value,
        "largest_e_value": e_value,
        "p": e_value,
        "mean_skill": None,
        "weeks": 0,
        "shown_in": None,
    }


def verdicts_in_words(fixed: SkillVerdict, anytime: AnytimeSkill) -> str:
    """What the fixed verdict and the anytime-valid one say together, for a reader who looks every
    week."""
    ours, week, e_value = anytime["verdict"], anytime["shown_in"], anytime["largest_e_value"]
    if e_value is None:
        return f"Not judged for weekly looks: {anytime['reason']}."
    evidence = f"its largest e-value is {e_value:.3g}, and {SHOWN:g} are needed"
    is_fixed = fixed in ("skill shown", "negative skill shown")
    if week is None and not is_fixed:
        return f"Neither verdict shows skill; for weekly looks {evidence}."
    if week is None:
        return (
            f"The fixed verdict says {fixed}, which holds for one look that was planned. For "
            f"weekly looks nothing is shown yet: {evidence}."
        )
    since = f"{ours} since the week of {week}, however often one looks"
    if fixed == ours:
        return f"Both verdicts agree: {since}."
    return (
        f"For weekly looks: {since}. The fixed verdict, which also counts the timing of the market "
        f"and the weeks since, says {fixed}."
    )


def _probabilities(settled: Sequence[Settled]) -> ProbabilityScores | None:
    """The scores of the stated probabilities; None if any forecast states none."""
    rows: list[LikelihoodRow] = []
    for one in settled:
        probabilities = one.forecast["probabilities"]
        if probabilities is None:
            return None
        rows.append(
            {
                "id": one.forecast["id"],
                "symbol": one.forecast["symbol"],
                "period": f"{one.forecast['week_start']} to {one.forecast['week_end']}",
                "week_end": one.forecast["week_end"],
                "label": one.label,
                "logprobs": {
                    label: math.log(max(share, _SMALLEST)) for label, share in probabilities.items()
                },
                "probs": probabilities,
                "up": up_share(probabilities),
            }
        )
    return probability_metrics(rows) if rows else None


_HEADER = (
    "forecaster",
    "n",
    "weeks",
    "accuracy",
    "skill [95 %]",
    "fixed verdict",
    "e-value",
    "verdict for weekly looks",
)


def scores_in_words(scores: JournalScores) -> str:
    """The scores as a table, with what each pair of verdicts says below it."""
    clock = " (a rehearsal: its clock was given)" if scores["clock"] == "simulated" else ""
    lines = [
        f"{scores['weeks_entered']} weeks entered, {scores['weeks_settled']} with returns, up to "
        f"{scores['as_of']}{clock}",
        "",
        table(_HEADER, [_cells(one) for one in scores["forecasters"]]),
        "",
        *(f"{one['forecaster']}: {one['difference']}" for one in scores["forecasters"]),
    ]
    return "\n".join(lines)


def _cells(one: ForecasterScore) -> list[str]:
    skill, anytime = one["fixed"]["skill"], one["anytime"]
    interval = skill["ci95"]
    ends = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
    excess = skill["excess_accuracy"]
    return [
        one["forecaster"],
        str(one["n"]),
        str(one["weeks"]),
        UNKNOWN if one["accuracy"] is None else f"{one['accuracy']:.3f}",
        UNKNOWN if excess is None else f"{excess:+.3f}{ends}",
        one["fixed"]["verdict"],
        UNKNOWN if anytime["e_value"] is None else f"{anytime['e_value']:.3g}",
        anytime["verdict"],
    ]
