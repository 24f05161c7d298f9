"""The verdict on a run, and the rows on which none can be given.

Everything is still measured; the reasons are sentences that name the rows, weeks or labels.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from eval.metrics.scored_answer import Scored
from eval.metrics.skill import (
    RAREST_CALL,
    RAREST_CALL_WEEKS,
    SkillEstimate,
    detectable_skill,
    directional_skill,
)
from eval.metrics.statistics import ALPHA, MIN_CLUSTERS
from eval.metrics.weeks import Weeks, week_keys
from weekahead.schema.metrics import SkillMetrics, SkillVerdict
from weekahead.schema.rows import ScorableRow
from weekahead.task.answer import parse_answer

_CONTRADICTED = (0.01, 0.30)
"""Share of references that contradict their labels from which, and up to which, the labels are in
doubt. Above it the references are forecasts of their own: their author was not told the label,
unless the rows say so (`teacher_told`)."""
_SAME_TEXT, _SAME_SYNTHETIC_TEXT = 0.1, 0.9
"""From this share of the rows on, answers that equal their references are no answers. A fictional
market's references are made from few sentences, which a model learns by heart."""
_SHORTEST_TEXT = 40
"""Characters: shorter texts are equal by chance."""


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
        *repeated_rows(rows, weeks.windows),
        *contradicted_labels(known),
        *copied_references(known),
        *_too_few_weeks(weeks),
        *_one_sided_truths(truths),
        *rare_call(calls, weeks.keys),
    ]
    if reasons:
        return Judged(skill, "not judged", [*reasons, *_notes(weeks)])
    verdict, why = _verdict(skill, calls)
    return Judged(skill, verdict, [*why, *_notes(weeks)])


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


def _notes(weeks: Weeks) -> list[str]:
    return [weeks.note] if weeks.note else []


def firms_of(rows: Sequence[ScorableRow]) -> list[str] | None:
    """The firm of each row; None if a row has none."""
    firms = [_symbol(row) for row in rows]
    return firms if firms and all(firms) else None


def _symbol(row: ScorableRow) -> str:
    return str(row.get("symbol") or "").strip().upper()


def repeated_rows(rows: Sequence[ScorableRow], windows: Sequence[str] | None) -> list[str]:
    """A reason if rows are there twice: the same symbol and window, else the same reference."""
    keys: list[str] = []
    names: dict[str, str] = {}
    for index, row in enumerate(rows):
        symbol = _symbol(row)
        if symbol and windows:
            key = f"{symbol} in {windows[index]}"
        else:
            reference = (row["answer"] or "").strip()
            key = reference if len(reference) >= _SHORTEST_TEXT else f"row {index}"
            names.setdefault(key, f"row {index + 1}")
        keys.append(key)
    repeated = [key for key, count in Counter(keys).items() if count > 1]
    if not repeated:
        return []
    first = names.get(repeated[0], repeated[0])
    extra = len(keys) - len(set(keys))
    return [
        f"{extra} of {len(keys)} rows are there more than once, such as {first}: score each once"
    ]


def contradicted_labels(known: Sequence[Scored]) -> list[str]:
    """A reason if some labels contradict the references that were written for them."""
    compared, contradicted = 0, list[Scored]()
    for answer in known:
        if answer.row.get("label") is None or answer.row.get("teacher_told") is False:
            continue
        reference = parse_answer(answer.row["answer"])
        if reference.valid and reference.direction in (-1, 1) and answer.truth:
            compared += 1
            if reference.direction != answer.truth.direction:
                contradicted.append(answer)
    low, high = _CONTRADICTED
    if any(answer.row.get("teacher_told") is True for answer in known):
        high = 1.0
    if not compared or not low <= len(contradicted) / compared <= high:
        return []
    return [
        f"{len(contradicted)} of {compared} labels contradict their references, such as that of "
        f"{row_name(contradicted[0].row)}: one of the two is wrong"
    ]


def copied_references(known: Sequence[Scored]) -> list[str]:
    """A reason if answers are their references."""
    copies: list[Scored] = []
    for answer in known:
        reference = " ".join((answer.row["answer"] or "").split())
        written = " ".join((answer.row["generation"] or "").split())
        if len(reference) >= _SHORTEST_TEXT and written == reference:
            copies.append(answer)
    synthetic = any(answer.row.get("synthetic") is True for answer in known)
    limit = _SAME_SYNTHETIC_TEXT if synthetic else _SAME_TEXT
    if not copies or len(copies) < limit * len(known):
        return []
    return [
        f"{len(copies)} of {len(known)} answers equal their references, such as that of "
        f"{row_name(copies[0].row)}: references are no answers"
    ]


def _too_few_weeks(weeks: Weeks) -> list[str]:
    if weeks.keys is None:
        return [f"no interval: {weeks.reason}"]
    count = len(set(weeks.keys))
    if count >= MIN_CLUSTERS:
        return []
    return [f"the rows lie in {count} weeks: a verdict needs at least {MIN_CLUSTERS}"]


def _one_sided_truths(truths: Sequence[int]) -> list[str]:
    if len(set(truths)) != 1:
        return []
    return [f"every week went {'up' if truths[0] == 1 else 'down'}: no call can show skill"]


def rare_call(calls: Sequence[int | None], weeks: Sequence[Hashable] | None) -> list[str]:
    """A reason if a direction is called, but so rarely that a few rows decide."""
    counts: Mapping[int | None, int] = Counter(call for call in calls if call in (-1, 1))
    if len(counts) < 2 or weeks is None:
        return []
    rarer = min(counts, key=lambda call: counts[call])
    name, count, total = ("up" if rarer == 1 else "down"), counts[rarer], sum(counts.values())
    in_weeks = {week for call, week in zip(calls, weeks, strict=True) if call == rarer}
    if count < RAREST_CALL * total:
        return [
            f"{count} of {total} calls are {name}, fewer than {RAREST_CALL:.0%}: too few to judge"
        ]
    if len(in_weeks) < RAREST_CALL_WEEKS:
        return [f"{name} is called in {len(in_weeks)} weeks alone: too few to judge"]
    return []


def row_name(row: ScorableRow) -> str:
    """What a reader knows a row by."""
    name = str(row.get("id") or "").strip()
    return name or f"{row.get('symbol') or 'a row'} {row.get('period') or ''}".strip()
