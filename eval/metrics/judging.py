"""The verdict on a run, and the rows on which none can be given.

Everything is still measured; the reasons are sentences that name the rows, weeks or labels.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

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
from eval.metrics.text_quality import prompt_text
from eval.metrics.weeks import Weeks, plural, week_keys
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import GenerationManifest
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
_LONG_TEXT = 200
"""Characters from which on two rows with one text are one row, and a text that holds most of
another is its copy. Shorter ones may come from a template."""
_SAME_PHRASES = 0.8
"""Share of the phrases of a reference that make an answer its copy. On the public rows real answers
share at most 0.15; a reference with every "and" made "&" still 0.83."""
_PHRASE = 3
"""Words."""
_DISTINCT = 0.5
"""Share of references that are texts of their own, if they are not made from templates."""


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
        *_one_sided_truths(calls, truths),
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


def manifest_doubts(manifest: GenerationManifest, rows: int) -> list[str]:
    """Reasons not to judge a run that only its manifest tells; `rows` is the number scored."""
    doubts: list[str] = []
    stated = manifest["dataset"].get("rows")
    if stated is not None and rows < stated:
        doubts.append(
            f"{rows} rows are here and {MANIFEST} states {stated}: rows that were left out may be "
            "those that were wrong"
        )
    seen = manifest["rows_in_training_weeks"]
    if seen:
        doubts.append(
            f"{seen} of {stated or rows} rows lie in weeks that the adapter was trained on"
        )
    return doubts


def repeated_rows(rows: Sequence[ScorableRow], windows: Sequence[str] | None) -> list[str]:
    """A reason if rows are there twice: the same firm and window, the same prompt, the same text of
    a reference, or the same reference with the same answer."""
    references = [_words(row["answer"] or "") for row in rows]
    own_texts = len(set(references)) >= _DISTINCT * len(references)
    first_names: dict[tuple[str, ...], str] = {}
    repeated: list[str] = []
    extra = 0
    for index, row in enumerate(rows):
        window = windows[index] if windows else None
        name = f"{row.get('symbol')} in {window}" if firm_of(row) and window else ""
        name = name or row_name(row, index)
        known_by = list(_identities(row, references[index], window, own_text=own_texts))
        before = [first_names[identity] for identity in known_by if identity in first_names]
        if before:
            extra += 1
            repeated += [name, *before]
        for identity in known_by:
            first_names.setdefault(identity, name)
    if not repeated:
        return []
    return [
        f"{extra} of {len(rows)} rows are there more than once, such as {min(repeated)}: "
        "score each once"
    ]


def _identities(
    row: ScorableRow, reference: str, window: str | None, *, own_text: bool
) -> Iterator[tuple[str, ...]]:
    """What no two rows share; `own_text` is whether a reference is that of one row."""
    firm, label = firm_of(row), str(row.get("label"))
    prompt = prompt_text(row.get("prompt") or "")
    if firm and window:
        yield ("firm and week", firm, window)
    elif len(reference) >= _SHORTEST_TEXT:
        yield ("reference", reference)
    if len(prompt) >= _LONG_TEXT:
        yield ("prompt", " ".join(prompt.split()), label)
    # The references of a fictional market are made from few sentences.
    if len(reference) < _LONG_TEXT or row.get("synthetic") is True:
        return
    yield ("reference", reference) if own_text else (reference, _words(row["generation"] or ""))


@lru_cache(maxsize=1 << 12)  # runs on one dataset have the same references
def _words(text: str) -> str:
    """The words of a text in small letters: marks, line ends and emphasis do not count."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


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
    """A reason if answers are their references, among the fictional rows or among the others."""
    copies: list[Scored] = []
    for synthetic, limit in ((False, _SAME_TEXT), (True, _SAME_SYNTHETIC_TEXT)):
        part = [each for each in known if (each.row.get("synthetic") is True) == synthetic]
        found = [answer for answer in part if _is_copy(answer)]
        if found and len(found) >= limit * len(part):
            copies += found
    if not copies:
        return []
    return [
        f"{len(copies)} of {len(known)} answers equal their references, such as that of "
        f"{row_name(copies[0].row)}: references are no answers"
    ]


def _is_copy(scored: Scored) -> bool:
    """Whether an answer says what its reference says in the reference's own words."""
    reference, written = scored.row["answer"] or "", scored.row["generation"] or ""
    if len(reference.strip()) < _SHORTEST_TEXT:
        return False
    if _words(reference) == _words(written):
        return True
    if len(reference) < _LONG_TEXT or scored.row.get("synthetic") is True:
        return False
    read = parse_answer(reference)
    if read.valid and read.direction != scored.prediction.direction:
        return False
    # Words that differ are found sooner than phrases.
    return all(
        _shared(_parts(reference, length), _parts(written, length)) >= _SAME_PHRASES
        for length in (1, _PHRASE)
    )


def _parts(text: str, length: int) -> set[tuple[str, ...]]:
    """All runs of `length` words of a text."""
    words = _words(text).split()
    return set(zip(*(words[start:] for start in range(length)), strict=False))


def _shared(parts: set[tuple[str, ...]], others: set[tuple[str, ...]]) -> float:
    return len(parts & others) / max(1, len(parts))


def _too_few_weeks(weeks: Weeks) -> list[str]:
    if weeks.keys is None:
        return [f"no interval: {weeks.reason}"]
    count = len(set(weeks.keys))
    if count >= MIN_CLUSTERS:
        return []
    return [f"the rows lie in {plural(count, 'week')}: a verdict needs at least {MIN_CLUSTERS}"]


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


def row_name(row: ScorableRow, index: int | None = None) -> str:
    """What a reader knows a row by; its number, counted from an `index` of 0, if nothing else."""
    row_id = row.get("id")
    name = "" if row_id is None else str(row_id).strip()
    other = "a row" if index is None else f"row {index + 1}"
    return name or f"{row.get('symbol') or other} {row.get('period') or ''}".strip()
