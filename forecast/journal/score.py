"""The record of each forecaster: the measures of the report, and the verdict for weekly looks."""

import math
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

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
    waiting = _weeks_that_wait(forecasts, settled, ledger.lines[-1]["written_at"])
    anytime = anytime_skill([one for one in settled if one.forecast["week_start"] not in waiting])
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


def _weeks_that_wait(
    forecasts: Sequence[ForecastLine], settled: Sequence[Settled], now: str
) -> set[str]:
    """Weeks with returns to come: a bet that was settled is never settled anew."""
    known = {one.forecast["id"] for one in settled}
    return {
        line["week_start"]
        for line in forecasts
        if line["id"] not in known and moment(now) < moment(line["week_end"]) + _PATIENCE
    }


def anytime_skill(settled: Sequence[Settled]) -> AnytimeSkill:
    """The verdict of the bet on skill over settled forecasts, looked at after every week.

    It counts the highest capital so far: skill that was shown stays shown.
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
    """(first day of each week, its calls and truths), in the order of time."""
    ordered = sorted(settled, key=lambda one: one.forecast["week_start"])
    names: list[str] = []
    weeks: list[FirmCalls] = []
    for week, group in groupby(ordered, lambda one: one.forecast["week_start"]):
        ones = list(group)
        calls = [one.forecast["direction"] for one in ones]
        names.append(week)
        weeks.append(FirmCalls(calls, [one.truth for one in ones]))
    return names, weeks


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
