"""The verdict on a run, and the rows on which none can be given.

Everything is still measured; the reasons are sentences that name the rows, weeks or labels.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from eval.metrics.doubts import (
    contradicted_labels,
    copied_references,
    missing_truths,
    other_forecasts,
    repeated_rows,
)
from eval.metrics.firms import firm_of, firms_of
from eval.metrics.scored_answer import Scored
from eval.metrics.skill import (
    RAREST_CALL,
    RAREST_CALL_WEEKS,
    SkillEstimate,
    detectable_skill,
    directional_skill,
)
from eval.metrics.statistics import ALPHA, MIN_CLUSTERS
from eval.metrics.weeks import Weeks, plural, week_keys
from weekahead.schema.metrics import SkillMetrics, SkillVerdict
from weekahead.schema.rows import ScorableRow


class Judged(NamedTuple):
    """What a run's calls show."""

    skill: SkillEstimate
    verdict: SkillVerdict
    reasons: list[str]


def judge(scored: Sequence[Scored], doubts: Sequence[str] = ()) -> Judged:
    """The skill of a run and the verdict on it, over the rows with a truth.

    `doubts` are reasons not to judge that the rows do not tell, such as a manifest of more rows.
    """
    known = [answer for answer in scored if answer.truth is not None]
    rows = [answer.row for answer in known]
    weeks = week_keys(rows)
    calls = [answer.prediction.direction for answer in known]
    truths = [answer.truth.direction or 0 for answer in known if answer.truth]
    skill = directional_skill(calls, truths, weeks.keys, firms_of(rows))
    reasons = [
        *doubts,
        *missing_truths(scored),
        *repeated_rows(rows, weeks.windows),
        *contradicted_labels(known),
        *copied_references(known),
        *_too_few_weeks(weeks),
        *_weeks_of_their_own(rows, weeks),
        *_one_sided_truths(calls, truths),
        *rare_call(calls, weeks.keys),
    ]
    notes = [weeks.note] if weeks.note else []
    if reasons:
        return Judged(skill, "not judged", [*reasons, *notes])
    verdict, why = _verdict(skill, calls)
    return Judged(skill, verdict, [*why, *notes, *other_forecasts(known)])


def skill_metrics(skill: SkillEstimate) -> SkillMetrics:
    """The content of `skill` in metrics.json."""
    return {
        "excess_accuracy": skill.excess_accuracy,
        "ci95": list(skill.ci95) if skill.ci95 else None,
        "p": skill.p,
        "n": skill.n,
        "weeks": skill.weeks,
        "up_share": skill.up_share,
        "truth_up_share": skill.truth_up_share,
        "standard_error": skill.error.size if skill.error else None,
        "freedom": float(skill.error.freedom) if skill.error else None,
        "detectable": detectable_skill(skill),
    }


def verdict_of(excess: float | None, p: float | None) -> SkillVerdict:
    """The sign of a skill whose p is below 0.05."""
    if excess is None or p is None or p >= ALPHA or excess == 0:
        return "no skill shown"
    return "skill shown" if excess > 0 else "negative skill shown"


def _verdict(
    skill: SkillEstimate, calls: Sequence[int | None]
) -> tuple[SkillVerdict, Sequence[str]]:
    made = {call for call in calls if call in (-1, 1)}
    if not made:
        return "no skill shown", ["no answer states a direction that can be read"]
    if len(made) == 1:
        return "no skill shown", [f"every call is {'up' if made == {1} else 'down'}"]
    return verdict_of(skill.excess_accuracy, skill.p), []


def _too_few_weeks(weeks: Weeks) -> list[str]:
    if weeks.keys is None:
        return [f"no interval: {weeks.reason}"]
    count = len(set(weeks.keys))
    if count >= MIN_CLUSTERS:
        return []
    return [f"the rows lie in {plural(count, 'week')}: a verdict needs at least {MIN_CLUSTERS}"]


def _weeks_of_their_own(rows: Sequence[ScorableRow], weeks: Weeks) -> list[str]:
    """A reason if rows of several firms have no week in common, as if every week had one firm."""
    firms = {firm for firm in map(firm_of, rows) if firm}
    if weeks.keys is None or len(firms) < 2 or len(set(weeks.keys)) < _OWN_WEEKS * len(rows):
        return []
    count = len(set(weeks.keys))
    return [
        f"{count} weeks for {len(rows)} rows of {len(firms)} firms: rows of one week share their "
        "market, so state the true week of each, the same for all of its firms"
    ]


_OWN_WEEKS = 0.95
"""Weeks per row from which on rows of several firms have none in common."""


def _one_sided_truths(calls: Sequence[int | None], truths: Sequence[int]) -> list[str]:
    called = {truth for call, truth in zip(calls, truths, strict=True) if call in (-1, 1)}
    if len(set(truths)) == 1:
        return [f"every week went {_name(truths[0])}: no call can show skill"]
    if len(called) == 1:
        return [
            f"every week for which a direction is called went {_name(*called)}: no call can show "
            "skill"
        ]
    return []


def _name(direction: int) -> str:
    return "up" if direction == 1 else "down"


def rare_call(calls: Sequence[int | None], weeks: Sequence[Hashable] | None) -> list[str]:
    """A reason if a direction is called, but so rarely that a few rows decide."""
    counts: Mapping[int | None, int] = Counter(call for call in calls if call in (-1, 1))
    if len(counts) < 2 or weeks is None:
        return []
    rarer = min(counts, key=lambda call: counts[call])
    name, count, total = _name(rarer or 0), counts[rarer], len(calls)
    in_weeks = {week for call, week in zip(calls, weeks, strict=True) if call == rarer}
    if count < RAREST_CALL * total:
        return [
            f"{name} is called on {count} of {plural(total, 'row')}, fewer than "
            f"{RAREST_CALL:.0%}: too few to judge"
        ]
    if len(in_weeks) < RAREST_CALL_WEEKS:
        return [f"{name} is called in {plural(len(in_weeks), 'week')} alone: too few to judge"]
    return []
