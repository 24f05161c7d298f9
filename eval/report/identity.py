"""What identifies the rows of the runs on one page, so that equal rows have equal names."""

from collections.abc import Iterable, Mapping, Sequence

from eval.metrics.firms import firm_of
from eval.metrics.weeks import week_keys

Rows = Sequence[Mapping[str, object]]


def common_keys(rows_of_runs: Sequence[Rows]) -> list[tuple[str, ...] | None]:
    """The key of each row of each run; None for a run whose rows cannot be told apart.

    Firm and week identify a row, else its id: runs that number their rows otherwise, or not at
    all, are then compared. The printed name is the id that the first run gives a firm and week.
    """
    ids_of = [_unique(map(_id, rows)) for rows in rows_of_runs]
    pairs_of = [_pairs(rows) for rows in rows_of_runs]
    names: dict[str, str] = {}
    for ids, pairs in zip(ids_of, pairs_of, strict=True):
        taken = set(names.values())
        for name, pair in zip(ids or (), pairs or (), strict=False):
            if name not in taken:
                names.setdefault(pair, name)
    return [
        tuple(names.get(pair, pair) for pair in pairs) if pairs else ids
        for ids, pairs in zip(ids_of, pairs_of, strict=True)
    ]


def _id(row: Mapping[str, object]) -> str:
    row_id = row.get("id")
    return "" if row_id is None else str(row_id)


def _pairs(rows: Rows) -> tuple[str, ...] | None:
    """Firm and week of each row; None if a row lacks one of them, or two rows share both."""
    firms, windows = list(map(firm_of, rows)), week_keys(rows).windows
    if not all(firms) or windows is None:
        return None
    return _unique(f"{firm} {window}" for firm, window in zip(firms, windows, strict=True))


def _unique(keys: Iterable[str]) -> tuple[str, ...] | None:
    found = tuple(keys)
    return found if found and all(found) and len(set(found)) == len(found) else None
