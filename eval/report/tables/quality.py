"""The tables beside right and wrong: seeds, weeks, text, parts of the rows."""

from collections.abc import Sequence

from eval.metrics.seeds import seed_summary, training_seed
from eval.report.comparisons import ComparedRuns
from eval.report.rows import correctness
from eval.report.runs import EvaluatedRun
from eval.report.table import Cell, Table, run_cell
from weekahead.schema.metrics import ClassMetrics, GroupMetrics

_CUT_TEXTS = {
    "stated_size": "size as stated",
    "move": "size of the true move",
    "cutoff": "knowledge cut-off",
    "sector": "sector",
}
_NOT_SCORED = "not scored"
_NO_SPACES = "the answers are in a script without spaces between words"


def seeds(compared: ComparedRuns) -> Table:
    """Trainings that differ only in their seed, as one entry with their spread."""
    rows: list[tuple[Cell, ...]] = []
    for entry in compared.entries:
        if not entry.has_seeds:
            continue
        summary = seed_summary([correctness(run).hits for run in entry.runs], entry.weeks)
        accuracy = Cell(
            summary.bin_acc, ci95=summary.bin_acc_ci95, n=summary.n, note=summary.reason
        )
        rows.append(
            (
                run_cell(", ".join(run.name for run in entry.runs)),
                Cell(", ".join(str(training_seed(run.manifest)) for run in entry.runs)),
                accuracy,
                Cell(summary.seed_sd, n=summary.n_seeds, why=summary.reason),
            )
        )
    return Table(
        key="seeds",
        title="Seeds of one recipe",
        columns=("Runs", "Seeds", "Direction accuracy, mean", "Spread over seeds"),
        rows=tuple(rows),
        note="The interval is over weeks, of each row's mean over the seeds: more seeds make a "
        "row's value steadier, only more weeks tell about other markets. Spread: the standard "
        "deviation of the seeds' accuracies.",
    )


def classes(compared: ComparedRuns) -> Table:
    """How predicted and true directions go together, and how many rows the weeks are worth."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        metrics, scores = run.metrics, run.metrics["classes"]
        inflation_why = metrics["effective_n_reason"] or _NOT_SCORED
        rows.append(
            (
                run_cell(run.name),
                Cell(scores["matthews"], why=scores["matthews_reason"] or _NOT_SCORED),
                Cell(metrics["effective_n"], digits=0, why=inflation_why),
                Cell(metrics["design_effect"], digits=2, why=inflation_why),
            )
        )
    has_scores = any(_is_scored(run.metrics["classes"]) for run in compared.runs)
    return Table(
        key="classes",
        title="Directions and weeks",
        columns=(
            "Run",
            "Matthews correlation",
            "Effective rows",
            "Design effect",
        ),
        rows=tuple(rows) if has_scores else (),
        note="Matthews correlation: of predicted and true directions, 0 without a relation. "
        "Effective rows: how many independent rows would be as informative as these, because the "
        "rows of one week share its market. Design effect: how many times larger that makes the "
        "variance.",
    )


def _is_scored(scores: ClassMetrics) -> bool:
    """False for a file from before there were class metrics, which has neither of the two."""
    return scores["matthews"] is not None or scores["matthews_reason"] is not None


def text_quality(compared: ComparedRuns) -> Table:
    """What the answers are like as texts."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        scores = run.metrics["text_quality"]
        repetition = Cell(
            scores["repetition"],
            n=scores["repetition_n"],
            why="no answer is long enough and in a script with spaces",
        )
        # Older files do not state words_n: they counted every answer.
        words_n = scores["words_n"] or scores["n"] if scores["words"] is not None else None
        no_words = _NO_SPACES if scores["n"] else _NOT_SCORED
        made_up = Cell(
            scores["share_not_in_prompt"], n=scores["figures"], why=scores["figures_reason"]
        )
        rows.append(
            (
                run_cell(run.name),
                Cell(scores["words"], digits=0, n=words_n, why=no_words),
                Cell(scores["sections"], digits=2, why=_NOT_SCORED),
                Cell(scores["complete"], why=_NOT_SCORED),
                repetition,
                made_up,
            )
        )
    has_scores = any(run.metrics["text_quality"]["n"] for run in compared.runs)
    return Table(
        key="text_quality",
        title="The texts",
        columns=(
            "Run",
            "Words",
            "Sections of 3",
            "Complete",
            "Repeated",
            "Figures not in the prompt",
        ),
        rows=tuple(rows) if has_scores else (),
        note="Complete: the share of answers with all sections and two to four items in each of "
        "the first two. Repeated: the share of sequences of four words that came before in the "
        "answer. Figures not in the prompt: their share of all figures; one that was computed from "
        "figures of the prompt is counted too.",
    )


def breakdown(compared: ComparedRuns) -> Table:
    """Direction accuracy on parts of the rows; symbols and weeks are in metrics.json."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        for cut, text in _CUT_TEXTS.items():
            for group in _groups(run, cut):
                interval = group.get("ci95")
                note = None if interval else "no interval"
                accuracy = Cell(group["bin_acc"], ci95=interval, n=group["n"], note=note)
                rows.append((run_cell(run.name), Cell(text), Cell(group["name"]), accuracy))
    return Table(
        key="breakdown",
        title="Parts of the rows",
        columns=("Run", "By", "Part", "Direction accuracy"),
        rows=tuple(rows),
        note="Looked at after the fact: a part that stands out among many is not a finding.",
    )


def _groups(run: EvaluatedRun, cut: str) -> Sequence[GroupMetrics]:
    return run.metrics["breakdown"].get(cut) or ()
