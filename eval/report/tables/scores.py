"""The tables of measured values. Every number is taken from metrics.json as it stands."""

from collections.abc import Iterator, Sequence

from eval.report.runs import EvaluatedRun
from eval.report.table import Cell, Table
from weekahead.files import Row

SECTION_NAMES = {"pros": "Positives", "cons": "Concerns", "anal": "Analysis"}
_ROUGE = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
_SIZE = "the mean over the answers that state a size"


def group_name(place: int) -> str:
    """A letter for a group of runs on the same rows: A, B, ..., Z, 27, 28, ..."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def leaderboard(groups: Sequence[Sequence[EvaluatedRun]]) -> Table:
    """Accuracy and squared error of runs and baselines, those on the same rows together."""
    several = len(groups) > 1
    rows = tuple(
        (row[0], *([Cell(group_name(place))] if several else []), *row[1:])
        for place, group in enumerate(groups)
        for row in [*map(_run_row, group), *_baseline_rows(group)]
    )
    names = ("Name", "Rows") if several else ("Name",)
    columns = (
        "Direction accuracy",
        "Exact bin of twelve",
        "Squared error",
        "Zero move on those rows",
    )
    return Table(
        "leaderboard",
        "Leaderboard",
        names + columns,
        rows,
        "Direction accuracy is the share of right directions over all rows with a truth; an answer that is neutral "
        "or cannot be read is wrong. Intervals are 95 % and clustered by week. Squared error is in squared percent, "
        f"{_SIZE}; beside it stands what a forecast of no move gets on exactly those rows.",
    )


def _run_row(run: EvaluatedRun) -> tuple[Cell, ...]:
    m = run.metrics
    still = m.get("mse_versus_zero_move") or {}
    no_size = "no answer states a size" if not m.get("mse_n") else None
    acc_n = m["n"] - (m.get("n_no_truth") or 0)
    note = (
        None
        if m.get("bin_acc_ci95")
        else f"no interval: {m.get('interval_reason') or 'not computed'}"
    )
    return (
        Cell(run.name, mark="run"),
        Cell(
            m["bin_acc"], ci95=m.get("bin_acc_ci95"), n=acc_n, note=note, why="no row has a truth"
        ),
        Cell(m.get("bin12_acc"), n=m.get("bin12_n"), why="no row has a truth"),
        Cell(m.get("mse"), digits=2, n=m.get("mse_n"), why=no_size),
        Cell(still.get("zero_move_mse"), digits=2, n=m.get("mse_n"), why=no_size),
    )


def _baseline_rows(group: Sequence[EvaluatedRun]) -> Iterator[tuple[Cell, ...]]:
    """One row a baseline; one a run where runs have different ones, as with two training sets."""
    for name in dict.fromkeys(name for run in group for name in run.metrics["baselines"]):
        versions: dict[str, tuple[tuple[Cell, ...], list[str]]] = {}
        for run in group:
            cells = _baseline_cells(run.metrics, name)
            versions.setdefault(str(run.metrics["baselines"].get(name)), (cells, []))[1].append(
                run.name
            )
        for cells, runs in versions.values():
            title = name.replace("_", "-") + (
                f" (beside {', '.join(runs)})" if len(versions) > 1 else ""
            )
            yield (Cell(title, mark="baseline"), *cells)


def _baseline_cells(metrics: Row, name: str) -> tuple[Cell, ...]:
    entry = metrics["baselines"].get(name) or {}
    why = (metrics.get("baseline_reasons") or {}).get(name, "not computed")
    silent = (
        bool(entry) and name == "zero_move"
    )  # it calls no direction, so its share of right ones is no result
    accuracy = Cell(
        None if silent else entry.get("bin_acc"),
        ci95=entry.get("bin_acc_ci95"),
        n=entry.get("n"),
        why="calls no direction" if silent else why,
    )
    error = Cell(entry.get("mse"), digits=2, n=entry.get("mse_n"), why=why)
    return (
        accuracy,
        Cell(None, why="states no bin"),
        error,
        Cell(None, why="see the row of zero-move"),
    )


def validity(runs: Sequence[EvaluatedRun]) -> Table:
    """How many answers could be read, what they called, and how many ended by themselves."""
    calls = ("up", "down", "neutral", "unreadable")
    titles = (*(f"Called {word}" for word in calls[:-1]), "Unreadable")
    columns = ("Run", "Rows", "Valid, lenient", "Valid, strict", *titles, "Stop rate")
    rows = []
    for run in runs:
        m, called = run.metrics, run.metrics.get("directions")
        counts = [
            Cell(called.get(word, 0) if called else None, why="not recorded") for word in calls
        ]
        stop = Cell(
            m.get("stop_rate"),
            n=m.get("stop_rate_n") or None,
            why="the rows state no finish_reason",
        )
        valid = [Cell(m[key], n=m["n"]) for key in ("valid_lenient", "valid_strict")]
        rows.append((Cell(run.name, mark="run"), Cell(m["n"]), *valid, *counts, stop))
    return Table(
        "validity", "Could the answers be read?", columns, tuple(rows),
        "Strict: exactly the layout that was asked for. Lenient: the same three sections, forgiving bold headers, "
        "a missing colon or a think block. Calls are the lenient reading, over the rows with a truth. Stop rate: the "
        "share of answers that ended by themselves and not at the length limit.",
    )  # fmt: skip


def rouge(runs: Sequence[EvaluatedRun]) -> Table:
    """F1 of each section against the reference answers."""
    rows = []
    for run in runs:
        for key, section in SECTION_NAMES.items():
            scores = run.metrics.get(f"{key}_rouge_scores") or {}
            n = (run.metrics.get("rouge_n") or {}).get(key)
            cells = [Cell(scores.get(kind), why="no reference has this section") for kind in _ROUGE]
            rows.append(
                (Cell(run.name, mark="run"), Cell(section), *cells, Cell(n, why="not recorded"))
            )
    return Table(
        "rouge", "Likeness to the reference answers", ("Run", "Section", *_ROUGE.values(), "n"), tuple(rows),
        "Mean F1 of rouge-score with stemmer. A section that was not written scores 0. The references were written in "
        "hindsight: this measures style, not foresight.",
    )  # fmt: skip


def speed(runs: Sequence[EvaluatedRun]) -> Table:
    """Seconds and tokens; latencies only where they were measured one answer at a time."""
    columns = (
        "Run",
        "Seconds a row",
        "Tokens a second",
        "New tokens a row",
        "Latency, mean",
        "Latency, p50",
        "Latency, p95",
    )
    rows = []
    for run in runs:
        m, latency = run.metrics, run.metrics.get("latency") or {}
        rows.append((
            Cell(run.name, mark="run"),
            Cell(m.get("inference_seconds"), n=m.get("inference_seconds_n") or None, why="the rows state no seconds"),
            Cell(m.get("tokens_per_second"), digits=1, why="some row states no seconds or new_tokens"),
            Cell(m.get("new_tokens"), digits=1, n=m.get("new_tokens_n") or None, why="the rows state no new_tokens"),
            *(Cell(latency.get(key), why="measured at batch size 1 only") for key in ("mean", "p50", "p95")),
        ))  # fmt: skip
    return Table(
        "speed", "Speed of generation", columns, tuple(rows),
        "Seconds a row are a batch's seconds divided by its rows. They compare only on the same machine.",
    )  # fmt: skip


def reasons(runs: Sequence[EvaluatedRun]) -> Table:
    """Why answers could not be read, counted for each run."""
    rows = []
    for reading, key in (("lenient", "reasons"), ("strict", "reasons_strict")):
        counts = [run.metrics.get(key) or {} for run in runs]
        for reason in dict.fromkeys(reason for one in counts for reason in one):
            rows.append(
                (Cell(reason), Cell(reading), *(Cell(one.get(reason, 0)) for one in counts))
            )
    note = (
        "Rows whose answer failed the reading, by the first thing that was wrong."
        if rows
        else "No answer failed."
    )
    return Table(
        "reasons",
        "Why answers failed",
        ("Reason", "Reading", *(run.name for run in runs)),
        tuple(rows),
        note,
    )


def upstream(runs: Sequence[EvaluatedRun]) -> Table:
    """The numbers as the public benchmark's own script gives them, for comparison with published ones."""
    columns = (
        "Run",
        "valid_count",
        "bin_acc",
        "mse",
        *(f"{name} {kind}" for name in SECTION_NAMES.values() for kind in _ROUGE.values()),
    )
    rows = []
    for run in runs:
        scores = run.metrics.get("fingpt_compatible") or {}
        why = "no pair of texts that upstream's parser accepts"
        parts = [
            (scores.get(f"{key}_rouge_scores") or {}).get(kind)
            for key in SECTION_NAMES
            for kind in _ROUGE
        ]
        rows.append((
            Cell(run.name, mark="run"),
            Cell(scores.get("valid_count"), n=run.metrics["n"], why=why),
            Cell(scores.get("bin_acc"), why=why),
            Cell(scores.get("mse"), digits=2, why=why),
            *(Cell(part, why=why) for part in parts),
        ))  # fmt: skip
    return Table(
        "fingpt_compatible", "As the public benchmark's script scores it", columns, tuple(rows),
        "Only for comparison with published numbers: answers that its parser rejects are left out of every mean, and "
        "its reading of direction and size has known faults.",
    )  # fmt: skip
