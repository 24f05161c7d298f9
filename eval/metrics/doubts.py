"""What in the rows of a run, or in the manifest beside them, forbids a verdict: sentences that name
the rows, weeks or labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from eval.metrics.firms import firms_by_row
from eval.metrics.scored_answer import Scored
from eval.metrics.text_quality import prompt_text
from eval.metrics.weeks import first_days, in_one_spelling
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import GenerationManifest
from weekahead.schema.rows import ScorableRow
from weekahead.task.times import read_day

_CONTRADICTED = (0.01, 0.30)
"""Share of references that contradict their labels from which, and up to which, the labels are in
doubt. Above it the references are forecasts of their own: their author was not told the label,
unless the rows say so (`teacher_told`)."""
_NO_FORECASTS = 0.8
"""From this share of contradictions on references are no forecasts of their own either: those are
right about half of the time."""
_FEW = 5
"""References, of which such a share says nothing."""
_TOO_OFTEN_RIGHT = 0.95
"""Share of right calls, beside wrong references, from which on labels were made from the calls."""
_SAME_TEXT, _SAME_MADE_TEXT = 0.1, 0.9
"""From this share of the rows on, answers that equal their references are no answers. References
of a fictional market, or from a template, are few texts, which a model learns by heart."""
_SHORTEST_TEXT = 40
"""Characters: shorter texts are equal by chance."""
_LONG_TEXT = 200
"""Characters from which on a text tells a row from others."""
_DISTINCT = 0.25
"""Share of the rows that must have a text of their own; else the texts are made from templates, and
equal ones prove nothing."""
_SAME_TEMPLATE = 0.85
"""Share of words that two texts for one label have in common if they are from one template."""
_SAME_WORDS, _OWN_WORDS = 0.7, 0.25
"""Share of words that an answer has in common with its reference from which on it is a copy, if it
has so many fewer in common with the reference of another row. On the public rows real answers have
at most 0.61, and 0.21 more than with another; a reference of which every fourth word is replaced
has 0.75."""
_MISSING_TRUTHS = 0.05
"""Share of the rows of past weeks that may lack their truth."""
_LOOK_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u03bf\u03b1", "aeopcyxioa"
)
"""Cyrillic and Greek letters that look like Latin ones."""


def manifest_doubts(
    manifest: GenerationManifest, rows: Sequence[Mapping[str, object]], count: int
) -> list[str]:
    """Reasons not to judge a run that its manifest tells; `count` rows were scored.

    `rows` are those rows, or none if they are not here.
    """
    doubts: list[str] = []
    stated = max(manifest["dataset"].get("rows") or 0, manifest.get("n") or 0)
    if count < stated:
        doubts.append(
            f"{count} rows are here and {MANIFEST} states {stated}: rows that were left out may be "
            "those that were wrong"
        )
    seen = max(manifest["rows_in_training_weeks"] or 0, _in_training_weeks(manifest, rows))
    if seen:
        doubts.append(
            f"{seen} of {max(stated, count)} rows lie in weeks that the adapter was trained on"
        )
    return doubts


def _in_training_weeks(manifest: GenerationManifest, rows: Sequence[Mapping[str, object]]) -> int:
    """How many rows lie in weeks up to the last one that the adapter was trained on."""
    train = manifest["train"]
    stated = train["dataset"].get("last_train_week") if train else None
    if not stated:
        return 0
    last = read_day(stated, f"last_train_week of {MANIFEST}")
    return sum(day is not None and day <= last for day in first_days(rows))


def missing_truths(scored: Sequence[Scored]) -> list[str]:
    """A reason if rows lack their truth that are not of weeks after all others: still to come."""
    days = first_days([answer.row for answer in scored])
    pairs = list(zip(days, scored, strict=True))
    last = max((day for day, answer in pairs if answer.truth and day), default=None)
    missing = [
        answer.row
        for day, answer in pairs
        if answer.truth is None and not (day and last and day > last)
    ]
    known = sum(answer.truth is not None for answer in scored)
    if not known or len(missing) < _MISSING_TRUTHS * (known + len(missing)):
        return []
    return [
        f"{len(missing)} of {len(scored)} rows have no truth, such as {row_name(missing[0])}: "
        "those may be the ones that were wrong"
    ]


def repeated_rows(rows: Sequence[ScorableRow], windows: Sequence[str] | None) -> list[str]:
    """A reason if rows are there twice: the same firm and window, or a text that is one row's own,
    which is its prompt or its reference, and beside a row without a firm its answer in one window.
    """
    first_names: dict[tuple[str, ...], str] = {}
    repeated: list[str] = []
    extra = 0
    for index, (row, known_by) in enumerate(zip(rows, _identities(rows, windows), strict=True)):
        in_window = f"{row.get('symbol')} in {windows[index]}" if windows else ""
        name = in_window if row.get("symbol") and in_window else row_name(row, index)
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
    rows: Sequence[ScorableRow], windows: Sequence[str] | None
) -> Iterator[list[tuple[str, ...]]]:
    """For each row what no other one shares."""
    firms = firms_by_row(rows)
    windows = in_one_spelling(windows) if windows else None
    shortest = [_LONG_TEXT if firm and windows else _SHORTEST_TEXT for firm in firms]
    # What is made for a fictional market is made from few sentences.
    made = [row.get("synthetic") is True for row in rows]
    prompts = [" ".join(prompt_text(row.get("prompt") or "").split()) for row in rows]
    references = [_words(row["answer"] or "") for row in rows]
    answers = [_words(row["generation"] or "") for row in rows]
    labels = [str(row.get("label")) for row in rows]
    own = {
        "prompt": not _are_states(prompts, labels),
        "reference": not _are_templates(references, labels),
    }
    # A weak model may give one answer to several firms: it tells only who a nameless row copies.
    nameless = {answer for answer, firm in zip(answers, firms, strict=True) if not firm}
    nameless = nameless if any(firms) else set[str]()
    for index, firm in enumerate(firms):
        found: list[tuple[str, ...]] = []
        window = windows[index] if windows else ""
        if firm and window:
            found.append(("firm", firm, window))
        if own["prompt"] and len(prompts[index]) >= _LONG_TEXT:
            found.append(("prompt", prompts[index], labels[index]))
        if own["reference"] and not made[index] and len(references[index]) >= shortest[index]:
            found.append(("reference", references[index]))
        if window and len(answers[index]) >= _LONG_TEXT and answers[index] in nameless:
            found.append(("answer", answers[index], window, labels[index]))
        yield found


def _are_states(prompts: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether prompts name one of a few states, so that one is of many rows: most of those that
    stand more than once stand beside several labels, which a copied row does not."""
    by_prompt: dict[str, list[str]] = {}
    for prompt, label in zip(prompts, labels, strict=True):
        if len(prompt) >= _LONG_TEXT:
            by_prompt.setdefault(prompt, []).append(label)
    repeated = [found for found in by_prompt.values() if len(found) > 1]
    return sum(len(set(found)) > 1 for found in repeated) > len(repeated) / 2


def _are_templates(texts: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether texts are made from templates, so that equal ones prove nothing: few differ, one
    belongs to each label, or those of a label differ in a few words, such as the firm's name."""
    by_label: dict[str, set[str]] = {}
    for text, label in zip(texts, labels, strict=True):
        by_label.setdefault(label, set()).add(text)
    distinct = sum(map(len, by_label.values()))
    if distinct < _DISTINCT * len(texts) or (distinct == len(by_label) and distinct < len(texts)):
        return True
    alike, compared = 0, 0
    for found in map(sorted, by_label.values()):
        # Half of them apart: neighbours would be a text and its disguised copy.
        for first, other in zip(found, found[len(found) // 2 :], strict=False):
            if first != other:
                compared += 1
                alike += _shared(_counted(first), _counted(other)) >= _SAME_TEMPLATE
    return compared > 0 and alike >= compared / 2


@lru_cache(maxsize=1 << 12)  # runs on one dataset have the same references
def _words(text: str) -> str:
    """The words of a text in small letters: marks, accents, line ends and emphasis do not count,
    nor what is not seen."""
    letters = unicodedata.normalize("NFKC", text).casefold()
    if not letters.isascii():
        split = unicodedata.normalize("NFKD", letters)
        kept = (each for each in split if unicodedata.category(each) not in ("Mn", "Cf"))
        letters = "".join(kept).translate(_LOOK_ALIKE)
    return " ".join(re.findall(r"[^\W_]+", letters))


def contradicted_labels(known: Sequence[Scored]) -> list[str]:
    """A reason if some labels contradict the references that were written for them."""
    untold = [answer for answer in known if answer.row.get("teacher_told") is False]
    others = [answer for answer in known if answer.row.get("teacher_told") is not False]
    low, high = _CONTRADICTED
    if any(answer.row.get("teacher_told") is True for answer in known):
        high = 1.0
    found: list[str] = []
    for part, least, most in ((others, low, high), (untold, _NO_FORECASTS, 1.0)):
        compared, wrong = _contradictions(part)
        if not wrong or not least <= len(wrong) / compared <= most:
            continue
        if part is untold and compared < _FEW:
            continue
        found.append(
            f"{len(wrong)} of {compared} labels contradict their references, such as that of "
            f"{row_name(wrong[0].row)}: one of the two is wrong"
        )
    return found or _labels_of_the_run(others)


def _labels_of_the_run(answers: Sequence[Scored]) -> list[str]:
    """A reason if labels contradict references where the run is right, and almost only there: a
    reference that nobody told the label is wrong where the run is wrong, too."""
    compared, wrong = _contradictions(answers)
    called = [answer for answer in wrong if answer.prediction.direction in (-1, 1)]
    right = [
        answer
        for answer in called
        if answer.truth and answer.prediction.direction == answer.truth.direction
    ]
    if len(called) < _FEW or len(right) < _TOO_OFTEN_RIGHT * len(called):
        return []
    return [
        f"{len(wrong)} of {compared} labels contradict their references, and of those rows "
        f"{len(right)} of {len(called)} calls are right, such as that of {row_name(right[0].row)}: "
        "the labels look like the run's answers"
    ]


def other_forecasts(known: Sequence[Scored]) -> list[str]:
    """What is taken of references that contradict too many labels to be their explanations."""
    compared, wrong = _contradictions(
        [answer for answer in known if answer.row.get("teacher_told") is None]
    )
    if not wrong or len(wrong) <= _CONTRADICTED[1] * compared:
        return []
    return [
        f"{len(wrong)} of {compared} labels contradict their references, which are therefore taken "
        "as forecasts of their own; `teacher_told` in the rows would say it"
    ]


def _contradictions(answers: Sequence[Scored]) -> tuple[int, list[Scored]]:
    """How many references state a direction beside a label, and those that state the other."""
    compared, wrong = 0, list[Scored]()
    for answer in answers:
        if answer.row.get("label") is None or answer.truth is None:
            continue
        reference = answer.reference
        if reference.valid and reference.direction in (-1, 1):
            compared += 1
            if reference.direction != answer.truth.direction:
                wrong.append(answer)
    return compared, wrong


def copied_references(known: Sequence[Scored]) -> list[str]:
    """A reason if answers are their references, among the fictional rows or among the others."""
    copies: list[Scored] = []
    for synthetic in (False, True):
        part = [each for each in known if (each.row.get("synthetic") is True) == synthetic]
        references = [_words(answer.row["answer"] or "") for answer in part]
        labels = [str(answer.row.get("label")) for answer in part]
        made = synthetic or _are_templates(references, labels)
        # Beside each reference stands that of another row.
        others = [*references[1:], *references[:1]]
        found = [
            answer
            for answer, reference, other in zip(part, references, others, strict=True)
            if _is_copy(answer, reference, "" if made else other)
        ]
        if found and len(found) >= (_SAME_MADE_TEXT if made else _SAME_TEXT) * len(part):
            copies += found
    if not copies:
        return []
    return [
        f"{len(copies)} of {len(known)} answers equal their references, such as that of "
        f"{row_name(copies[0].row)}: references are no answers"
    ]


def _is_copy(scored: Scored, reference: str, other: str) -> bool:
    """Whether an answer is its reference, or, with the reference of another row beside it, has far
    more words of its own one."""
    written = _words(scored.row["generation"] or "")
    if len(reference) < _SHORTEST_TEXT:
        return False
    glued, own = reference.replace(" ", ""), written.replace(" ", "")
    if own == glued or (other and glued in own):
        return True
    if not other or len(reference) < _LONG_TEXT:
        return False
    read = scored.reference
    if read.valid and read.direction != scored.prediction.direction:
        return False
    ours = Counter(written.split())
    shared = _shared(ours, _counted(reference))
    return shared >= _SAME_WORDS and shared - _shared(ours, _counted(other)) >= _OWN_WORDS


@lru_cache(maxsize=1 << 12)
def _counted(words: str) -> Counter[str]:
    return Counter(words.split())


def _shared(words: Counter[str], others: Counter[str]) -> float:
    """The share of words that two texts have in common (Dice)."""
    return 2 * (words & others).total() / max(1, words.total() + others.total())


def row_name(row: ScorableRow, index: int | None = None) -> str:
    """What a reader knows a row by; its number, counted from an `index` of 0, if nothing else."""
    row_id = row.get("id")
    name = "" if row_id is None else str(row_id).strip()
    other = "a row" if index is None else f"row {index + 1}"
    return name or f"{row.get('symbol') or other} {row.get('period') or ''}".strip()
