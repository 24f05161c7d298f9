"""Which rows a run was scored on, and how each of them came out; what decides whether two runs compare."""

from collections.abc import Sequence

from eval.metrics.baselines import Call, is_right
from eval.metrics.scored_answer import week_keys
from eval.report.runs import Run
from weekahead.files import Row

RIGHT, WRONG, UNREADABLE, UNKNOWN = "right", "wrong", "unreadable", "no truth"


def row_keys(run: Run) -> list[str] | None:
    """What names each row: its id, else symbol and period. None where that does not tell rows apart."""
    sources = run.generations or run.scored
    keys = [str(row.get("id") or "") or _symbol_period(row) for row in sources]
    return keys if keys and all(keys) and len(set(keys)) == len(keys) else None


def outcome(scored: Row) -> str:
    """One of right, wrong, unreadable, no truth, for a row of scored.jsonl."""
    if scored.get("truth_direction") is None:
        return UNKNOWN
    if not scored.get("valid_lenient"):
        return UNREADABLE
    return RIGHT if _right(scored) else WRONG


def correctness(run: Run) -> tuple[dict[str, bool], dict[str, str] | None]:
    """Whether each row with a truth was called right, by key, and the weeks of those rows.

    The weeks are None where the rows do not all name one.
    """
    keys, sources = row_keys(run) or [], run.generations or run.scored
    known = [
        i for i, row in enumerate(run.scored[: len(keys)]) if row.get("truth_direction") is not None
    ]
    weeks, _ = week_keys([sources[i] for i in known])
    hits = {keys[i]: _right(run.scored[i]) for i in known}
    return hits, dict(zip(hits, weeks, strict=True)) if weeks else None


def readable(run: Run) -> set[str]:
    """The keys of the rows whose answer could be read."""
    keys = row_keys(run) or []
    return {key for key, row in zip(keys, run.scored, strict=False) if row.get("valid_lenient")}


def same_rows(first: Run, second: Run) -> bool:
    """Whether both runs were scored on the same rows with the same truths."""
    mine, theirs = _truths(first), _truths(second)
    return mine is not None and mine == theirs


def row_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs, grouped by the rows they were scored on; only within a group do numbers compare."""
    groups: list[list[Run]] = []
    for run in runs:
        home = next((group for group in groups if same_rows(group[0], run)), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return groups


def _truths(run: Run) -> dict[str, tuple[float | None, float | None]] | None:
    keys = row_keys(run)
    if keys is None or not run.scored:
        return None
    truths = [(row.get("truth_direction"), row.get("truth_magnitude")) for row in run.scored]
    return dict(zip(keys, truths, strict=True))


def _right(scored: Row) -> bool:
    return is_right(Call(scored.get("direction"), None), Call(scored.get("truth_direction"), None))


def _symbol_period(row: Row) -> str:
    return f"{row['symbol']} {row['period']}" if row.get("symbol") and row.get("period") else ""
