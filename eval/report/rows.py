"""The rows that runs were scored on: what identifies each, how it came out, which runs share
them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eval.metrics.baselines import Prediction, is_right
from eval.metrics.weeks import week_keys
from eval.report.runs import EvaluatedRun
from weekahead.schema.rows import ScoredRow

SHUFFLED_LABELS = "shuffled_labels"
RIGHT, WRONG, UNREADABLE, UNKNOWN = "right", "wrong", "unreadable", "no truth"


class Correctness(NamedTuple):
    """The rows of a run that have a truth, by key."""

    hits: dict[str, bool]
    """Whether the direction was predicted right."""
    weeks: dict[str, str] | None
    """The week of each row; None if not every row has one."""


def outcome(scored: ScoredRow) -> str:
    """RIGHT, WRONG, UNREADABLE or UNKNOWN (no truth)."""
    if scored["truth_direction"] is None:
        return UNKNOWN
    if not scored["valid_lenient"]:
        return UNREADABLE
    return RIGHT if _is_right(scored) else WRONG


def correctness(run: EvaluatedRun) -> Correctness:
    """Whether each row with a truth was predicted right, and the weeks of those rows."""
    keys, sources = run.keys or [], _sources(run)
    with_truth = [
        index
        for index, row in enumerate(run.scored[: len(keys)])
        if row["truth_direction"] is not None
    ]
    weeks = week_keys([sources[index] for index in with_truth]).keys
    hits = {keys[index]: _is_right(run.scored[index]) for index in with_truth}
    return Correctness(hits, dict(zip(hits, weeks, strict=True)) if weeks else None)


def readable(run: EvaluatedRun) -> set[str]:
    """The keys of the rows whose answer could be read."""
    keys = run.keys or []
    return {key for key, row in zip(keys, run.scored, strict=False) if row["valid_lenient"]}


def row_scores(run: EvaluatedRun, score: Callable[[ScoredRow], float | None]) -> dict[str, float]:
    """Row key -> what `score` gives, without the rows for which it gives None."""
    pairs = zip(run.keys or [], map(score, run.scored), strict=False)
    return {key: value for key, value in pairs if value is not None}


def question(run: EvaluatedRun) -> str:
    """The control that changed what a run was asked, such as "no_news"; empty if none did.

    Shuffled labels are a control of training: test rows keep their prompts and truths.
    """
    controls = {str(row.get("control") or "") for row in run.generations}
    return "+".join(sorted(controls - {"", SHUFFLED_LABELS}))


def same_rows(first: EvaluatedRun, second: EvaluatedRun) -> bool:
    """Whether both runs were scored on the same rows with the same truths."""
    truths = _truths(first)
    return truths is not None and truths == _truths(second)


def row_groups(runs: Sequence[EvaluatedRun]) -> list[list[EvaluatedRun]]:
    """The runs, grouped by the rows they were scored on: numbers compare only within a group."""
    groups: list[list[EvaluatedRun]] = []
    for run in runs:
        group = next((group for group in groups if same_rows(group[0], run)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def group_name(index: int) -> str:
    """The name of a group of runs: A, B, ..., Z, 27, 28, ..."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _sources(run: EvaluatedRun) -> Sequence[Mapping[str, object]]:
    """The rows that carry ids and weeks: the answers, or without them the scores."""
    return run.generations or run.scored


def _truths(run: EvaluatedRun) -> dict[str, tuple[float | None, float | None]] | None:
    keys = run.keys
    if keys is None or not run.scored:
        return None
    truths = [(row["truth_direction"], row["truth_magnitude"]) for row in run.scored]
    return dict(zip(keys, truths, strict=True))


def _is_right(scored: ScoredRow) -> bool:
    prediction = Prediction(scored["direction"], None)
    return is_right(prediction, Prediction(scored["truth_direction"], None))
