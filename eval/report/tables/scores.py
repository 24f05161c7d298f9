"""The tables of right and wrong, of reading, ROUGE and speed. Every number is that of
metrics.json."""

from collections.abc import Iterator, Sequence

from eval.report.comparisons import ComparedRuns, no_interval
from eval.report.rows import group_name
from eval.report.runs import EvaluatedRun
from eval.report.table import Cell, Table, run_cell
from weekahead.schema.metrics import Metrics

_SECTION_TITLES = {"pros": "Positives", "cons": "Concerns", "anal": "Analysis"}
_ROUGE_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
_NO_TRUTH = "no row has a truth"
_BEFORE_WRITTEN = "scored before written sections were; run eval.score again"
_BEFORE_CAP = "scored before sizes were capped at 5.5; run eval.score again"


def leaderboard(compared: ComparedRuns) -> Table:
    """Accuracy and squared error of runs and baselines, those on the same rows together."""
    has_groups = len(compared.groups) > 1
    rows: list[tuple[Cell, ...]] = []
    for index, group in enumerate(compared.groups):
        for name, *scores in (*map(_run_row, group), *_baseline_rows(group)):
            group_cells = [Cell(group_name(index))] if has_groups else []
            rows.append((name, *group_cells, *scores))
    return Table(
        key="leaderboard",
        title="Leaderboard",
        columns=(
            "Name",
            *(("Rows",) if has_groups else ()),
            "Direction accuracy",
            "Squared error",
            "Zero move on those rows",
        ),
        rows=tuple(rows),
        note="Direction accuracy is the share of right directions over all rows with a truth; an "
        "answer that is neutral or cannot be read is wrong. Intervals are 95 % and clustered by "
        "week. Squared error is in squared percent, the mean over the answers that state a size, "
        "sizes capped at 5.5, the outermost bin's (`mse_uncapped` in metrics.json is not); "
        "beside it is what a forecast of no move gets on exactly those rows.",
    )


def _run_row(run: EvaluatedRun) -> tuple[Cell, ...]:
    metrics = run.metrics
    no_move = metrics["mse_versus_zero_move"]
    no_size = _BEFORE_CAP if metrics["mse_n"] else "no answer states a size"
    accuracy = Cell(
        metrics["bin_acc"],
        ci95=metrics["bin_acc_ci95"],
        n=metrics["n"] - metrics["n_no_truth"],
        note=None if metrics["bin_acc_ci95"] else no_interval(run),
        why=_NO_TRUTH,
    )
    no_move_error = no_move["zero_move_mse"] if no_move else None
    return (
        run_cell(run.name),
        accuracy,
        Cell(metrics["mse"], digits=2, n=metrics["mse_n"], why=no_size),
        Cell(no_move_error, digits=2, n=metrics["mse_n"], why=no_size),
    )


def _baseline_rows(group: Sequence[EvaluatedRun]) -> Iterator[tuple[Cell, ...]]:
    """One row per baseline; one per version if runs have different ones, as with two training
    sets."""
    names = dict.fromkeys(name for run in group for name in run.metrics["baselines"])
    for name in names:
        cells_of_version: dict[str, tuple[Cell, ...]] = {}
        runs_of_version: dict[str, list[str]] = {}
        for run in group:
            version = str(run.metrics["baselines"].get(name))
            cells_of_version.setdefault(version, _baseline_cells(run.metrics, name))
            runs_of_version.setdefault(version, []).append(run.name)
        for version, cells in cells_of_version.items():
            title = name.replace("_", "-")
            if len(cells_of_version) > 1:
                title += f" (beside {', '.join(runs_of_version[version])})"
            yield (Cell(title, mark="baseline"), *cells)


def _baseline_cells(metrics: Metrics, name: str) -> tuple[Cell, ...]:
    baseline = metrics["baselines"].get(name)
    see_below = Cell(None, why="see the row of zero-move")
    if baseline is None:
        empty = Cell(None, why=metrics["baseline_reasons"].get(name, "not computed"))
        return empty, empty, see_below
    accuracy = Cell(baseline["bin_acc"], ci95=baseline["bin_acc_ci95"], n=baseline["n"])
    if name == "zero_move":  # without a direction, its share of right ones is not a result
        accuracy = Cell(None, n=baseline["n"], why="predicts no direction")
    return accuracy, Cell(baseline["mse"], digits=2, n=baseline["mse_n"]), see_below


def validity(compared: ComparedRuns) -> Table:
    """How many answers could be read, what they predicted, and how many ended by themselves."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        metrics, directions = run.metrics, run.metrics["directions"]
        counts = [
            Cell(directions.get(direction, 0) if directions else None, why="not recorded")
            for direction in ("up", "down", "neutral", "unreadable")
        ]
        stop_rate = Cell(
            metrics["stop_rate"],
            n=metrics["stop_rate_n"] or None,
            why="the rows state no finish_reason",
        )
        n = metrics["n"]
        valid = (Cell(metrics["valid_lenient"], n=n), Cell(metrics["valid_strict"], n=n))
        rows.append((run_cell(run.name), Cell(n), *valid, *counts, stop_rate))
    return Table(
        key="validity",
        title="Could the answers be read?",
        columns=(
            "Run",
            "Rows",
            "Valid, lenient",
            "Valid, strict",
            "Predicted up",
            "Predicted down",
            "Predicted neutral",
            "Unreadable",
            "Stop rate",
        ),
        rows=tuple(rows),
        note="Strict: exactly the layout that was asked for. Lenient: the same three sections, "
        "with bold headers, a missing colon or a think block allowed. Predictions are those of the "
        "lenient reading, over the rows with a truth. Stop rate: the share of answers that ended "
        "by themselves and not at the length limit.",
    )


def rouge(compared: ComparedRuns) -> Table:
    """F1 of each section against the reference answers."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        for section, title in _SECTION_TITLES.items():
            scores = run.metrics[f"{section}_rouge_scores"] or {}
            reason = run.metrics["rouge_reasons"].get(section)
            why = reason or "no reference has this section"
            cells = [Cell(scores.get(kind), note=reason, why=why) for kind in _ROUGE_TITLES]
            n = Cell(run.metrics["rouge_n"].get(section), why="not recorded")
            rows.append((run_cell(run.name), Cell(title), *cells, n, *_written(run, section)))
    return Table(
        key="rouge",
        title="Likeness to the reference answers",
        columns=(
            "Run",
            "Section",
            *_ROUGE_TITLES.values(),
            "Rows",
            *(f"{kind}, written" for kind in _ROUGE_TITLES.values()),
            "Sections written",
        ),
        rows=tuple(rows),
        note="Mean F1 of rouge-score with stemmer. In the first columns a section of an answer "
        "that cannot be read scores 0; those named written are over the sections that have a text, "
        "so they compare what was written and not how often the layout was kept. The "
        "references were written in hindsight: this measures style, not foresight.",
    )


def _written(run: EvaluatedRun, section: str) -> list[Cell]:
    """The scores over the sections that were written, and their number."""
    n = run.metrics["rouge_written_n"].get(section)
    why = _BEFORE_WRITTEN if n is None else "no such section was written"
    scores = run.metrics["rouge_written"].get(section) or {}
    return [*(Cell(scores.get(kind), why=why) for kind in _ROUGE_TITLES), Cell(n, why=why)]


def speed(compared: ComparedRuns) -> Table:
    """Seconds and tokens; latencies only if they were measured one answer at a time."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        metrics = run.metrics
        seconds = Cell(
            metrics["inference_seconds"],
            n=metrics["inference_seconds_n"] or None,
            why="the rows state no seconds",
        )
        tokens_per_second = Cell(
            metrics["tokens_per_second"],
            digits=1,
            why="some row states no seconds or new_tokens",
        )
        new_tokens = Cell(
            metrics["new_tokens"],
            digits=1,
            n=metrics["new_tokens_n"] or None,
            why="the rows state no new_tokens",
        )
        latency = metrics["latency"] or {}
        latencies = [
            Cell(latency.get(key), why="measured only at batch size 1")
            for key in ("mean", "p50", "p95")
        ]
        rows.append((run_cell(run.name), seconds, tokens_per_second, new_tokens, *latencies))
    return Table(
        key="speed",
        title="Speed of generation",
        columns=(
            "Run",
            "Seconds per row",
            "Tokens per second",
            "New tokens per row",
            "Latency, mean",
            "Latency, p50",
            "Latency, p95",
        ),
        rows=tuple(rows),
        note="Seconds per row are the seconds of a batch divided by its rows. Compare them only "
        "between runs on the same machine.",
    )


def reasons(compared: ComparedRuns) -> Table:
    """Why answers could not be read, counted for each run."""
    runs = compared.runs
    readings = {
        "lenient": [run.metrics["reasons"] for run in runs],
        "strict": [run.metrics["reasons_strict"] for run in runs],
    }
    rows: list[tuple[Cell, ...]] = []
    for reading, counts in readings.items():
        for reason in dict.fromkeys(reason for run_counts in counts for reason in run_counts):
            cells = [Cell(run_counts.get(reason, 0)) for run_counts in counts]
            rows.append((Cell(reason), Cell(reading), *cells))
    return Table(
        key="reasons",
        title="Why answers failed",
        columns=("Reason", "Reading", *(run.name for run in runs)),
        rows=tuple(rows),
        note="Rows whose answer could not be read, by the first thing that was wrong.",
    )


def upstream(compared: ComparedRuns) -> Table:
    """The numbers as the public benchmark's own script gives them, to compare with published
    ones."""
    why = "no pair of texts that upstream's parser accepts"
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        metrics = run.metrics["fingpt_compatible"]
        cells = [
            Cell(metrics["valid_count"], n=run.metrics["n"], why=why),
            Cell(metrics["bin_acc"], why=why),
            Cell(metrics["mse"], digits=2, why=why),
        ]
        for section in _SECTION_TITLES:
            scores = metrics[f"{section}_rouge_scores"] or {}
            cells += [Cell(scores.get(kind), why=why) for kind in _ROUGE_TITLES]
        rows.append((run_cell(run.name), *cells))
    rouge_columns = [
        f"{section} {kind}"
        for section in _SECTION_TITLES.values()
        for kind in _ROUGE_TITLES.values()
    ]
    return Table(
        key="fingpt_compatible",
        title="As the public benchmark's script scores it",
        columns=("Run", "valid_count", "bin_acc", "mse", *rouge_columns),
        rows=tuple(rows),
        note="Only for comparison with published numbers: answers that the benchmark's parser "
        "rejects are left out of every mean, its sizes are not capped, and its reading of "
        "direction and size has known faults.",
    )
