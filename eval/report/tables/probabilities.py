"""The table of the probabilities that the models give to the twelve bins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eval.metrics.probability import QUESTIONS
from eval.report.comparisons import ComparedRuns
from eval.report.runs import EvaluatedRun
from eval.report.table import Cell, Table, format_value, run_cell
from weekahead.schema.metrics import (
    AskedScores,
    PerfectCalibration,
    ProbabilityEntry,
    RankedSkill,
)

_NOT_STATED = "its rows lack it"
_BEFORE = "scored before this was measured; run eval.score again"


def likelihood(compared: ComparedRuns) -> Table:
    """The probabilities of the bins, one row per run and question."""
    rows = [_row(run, scores) for run in compared.runs for scores in _questions_asked(run)]
    note = (
        "Each bin's text gets its probability in two ways. After the answer: the model's own "
        "answer up to its prediction comes first, so the answer has already chosen. At once: "
        "without any answer, which all runs have in common; for an answer that cannot be read this "
        "is the only way. Brier score: the mean squared difference of the probability of a rise "
        "and what happened, 0.25 for one half. Ranked probability: the score of that name, the "
        "same over the ordered bins. Of both, less is better; skill is 1 minus the score over that "
        "of the forecast named, so 0 is as good as it. Train frequencies: each bin with its share "
        "of the training rows. Calibration error: the mean gap between stated and observed share "
        "of rises by tenth; a forecaster whose probabilities are all right gets what stands beside "
        "it, from so few rows and weeks alone. Mass: the probability of the twelve texts together; "
        "if it is tiny, the rest describes what the model would say if it had to choose one of "
        "them."
    )
    without = ", ".join(run.name for run in compared.runs if not run.metrics["likelihood"])
    if without and rows:
        note += f" Without probabilities: {without}."
    return Table(
        key="likelihood",
        title="Probabilities of the twelve bins",
        columns=(
            "Run",
            "Asked",
            "Direction, likelier",
            "Brier score",
            "Ranked probability",
            "Skill over train frequencies",
            "Calibration error",
            "Of a perfect forecaster",
            "Mass on the twelve",
            "Same direction",
        ),
        rows=tuple(rows),
        note=note,
    )


def _questions_asked(run: EvaluatedRun) -> Sequence[AskedScores]:
    """The scores after the run's answers and at once; of older files that mixed them, as stored."""
    scores = run.metrics["likelihood"]
    if scores is None:
        return []
    asked = [question for question in (scores["own"], scores["direct"]) if question]
    return asked or [scores]


def _row(run: EvaluatedRun, scores: AskedScores) -> tuple[Cell, ...]:
    prefixes = scores["prefixes"].items()
    words: Mapping[str, str] = {**QUESTIONS}
    asked = ", ".join(f"{words.get(name, name)}: {n}" for name, n in prefixes)
    agreement = scores["agreement"]
    return (
        run_cell(run.name),
        Cell(asked or None, why=_NOT_STATED),
        _entry_cell(scores["direction_accuracy"]),
        _brier_cell(scores),
        _entry_cell(scores["rps"]),
        _skill_cell(scores["rps_skill"], run.metrics["bin_baselines_reason"]),
        Cell(scores["ece"], why=_NOT_STATED),
        _perfect_cell(scores["ece_perfect"]),
        Cell(scores["mass"], why=_NOT_STATED),
        Cell(agreement["share"], n=agreement["n"], why=_NOT_STATED),
    )


def _entry_cell(entry: ProbabilityEntry) -> Cell:
    return Cell(entry["mean"], ci95=entry["ci95"], n=entry["n"], why=_NOT_STATED)


def _brier_cell(scores: AskedScores) -> Cell:
    skill = scores["brier_skill"]["even"]
    note = None if skill is None else f"skill over one half: {format_value(skill)}"
    return replace(_entry_cell(scores["brier"]), note=note)


def _skill_cell(skill: RankedSkill | None, reason: str | None) -> Cell:
    if skill is None:
        return Cell(None, why=reason or _BEFORE)
    theirs = format_value(skill["train_frequencies"])
    return Cell(skill["skill"], ci95=skill["ci95"], note=f"their score: {theirs}", why=_NOT_STATED)


def _perfect_cell(perfect: PerfectCalibration | None) -> Cell:
    if perfect is None:
        return Cell(None, why=_BEFORE)
    return Cell(perfect["mean"], note=f"at most {perfect['p95']:.3f} in 19 of 20 cases")
