"""Tables of what stands beside right and wrong: probabilities, seeds, distances of bins, text, parts of the rows."""

from collections.abc import Sequence
from typing import Any

from eval.metrics.seeds import seed_summary, training_seed
from eval.report.entries import entries
from eval.report.runs import EvaluatedRun, correctness
from eval.report.table import Cell, Table
from weekahead.files import Row

_PREFIXES = {"own": "after its answer", "direct": "at once"}
_WAYS = {"move": "size of the true move", "cutoff": "knowledge cut-off", "sector": "sector"}


def likelihood(runs: Sequence[EvaluatedRun]) -> Table:
    """What the models make of the twelve bins, beside what they wrote."""
    columns = ("Run", "Asked", "Direction, likelihood", "Direction, written", "Brier score", "Skill over one half",
               "Ranked probability", "Calibration error", "Mass on the twelve", "Same direction")  # fmt: skip
    rows = []
    for run, found in ((one, found) for one in runs for found in _asked(one)):
        why = "its rows lack it"
        agreement = found.get("agreement") or {}
        skill = (found.get("brier_skill") or {}).get("even")
        ways = ", ".join(
            f"{_PREFIXES.get(name, name)}: {n}" for name, n in (found.get("prefixes") or {}).items()
        )
        rows.append((
            Cell(run.name, mark="run"),
            Cell(ways or None, why=why),
            _score(found.get("direction_accuracy"), why),
            Cell(run.metrics["bin_acc"], ci95=run.metrics.get("bin_acc_ci95"), why="no row has a truth"),
            _score(found.get("brier"), why),
            Cell(skill, why=why),
            _score(found.get("rps"), why),
            Cell(found.get("ece"), why=why),
            Cell(found.get("mass"), why=why),
            Cell(agreement.get("share"), n=agreement.get("n"), why=why),
        ))  # fmt: skip
    absent = ", ".join(run.name for run in runs if not run.metrics.get("likelihood"))
    return Table(
        "likelihood", "Probabilities of the twelve bins", columns, tuple(rows),
        "Each bin's text gets its probability: after the answer up to its prediction, where the answer chose, and at "
        "once, without any answer, which all runs have in common; an answer that cannot be read leaves the second "
        "alone. Brier score: the mean squared distance of the probability of a rise from what came, 0.25 for "
        "one half; ranked probability score: over the ordered bins; of both less is better. Mass: what the model puts "
        "on the twelve texts at all; where it is tiny, the rest is what it would say if made to."
        + (f" Not asked for any: {absent}." if absent and rows else ""),
    )  # fmt: skip


def _asked(run: EvaluatedRun) -> list[Row]:
    """The likelihoods of a run: after its answers and, where it was asked both ways, at once."""
    found: Row = run.metrics.get("likelihood") or {}
    own = "own" in (found.get("prefixes") or {})
    both = [found, found.get("direct")] if own or not found.get("direct") else [found["direct"]]
    return [one for one in both if one]


def _score(found: Row | None, why: str) -> Cell:
    one = found or {}
    return Cell(one.get("mean"), ci95=one.get("ci95"), n=one.get("n"), why=why)


def _any(runs: Sequence[EvaluatedRun], key: str) -> bool:
    return any(run.metrics.get(key) for run in runs)


def seeds(runs: Sequence[EvaluatedRun]) -> Table:
    """Trainings that differ in their seed alone, as one entry with their spread."""
    rows = []
    for entry in entries(runs):
        if not entry.several:
            continue
        summary = seed_summary([correctness(run)[0] for run in entry.runs], entry.weeks)
        rows.append((
            Cell(", ".join(run.name for run in entry.runs), mark="run"),
            Cell(", ".join(str(training_seed(run.manifest)) for run in entry.runs)),
            Cell(summary["bin_acc"], ci95=summary["bin_acc_ci95"], n=summary["n"], note=summary["reason"]),
            Cell(summary["seed_sd"], n=summary["n_seeds"], why=summary["reason"]),
        ))  # fmt: skip
    return Table(
        "seeds", "Seeds of one recipe", ("Runs", "Seeds", "Direction accuracy, mean", "Spread over seeds"),
        tuple(rows),
        "The interval is over weeks, of each row's mean over the seeds: more seeds steady a row, only more weeks tell "
        "of other markets. Spread: the standard deviation of the seeds' accuracies." if rows else "",
    )  # fmt: skip


def classes(runs: Sequence[EvaluatedRun]) -> Table:
    """How far the called bins lie from the true ones, and what the weeks are worth."""
    columns = (
        "Run",
        "Matthews correlation",
        "Distance in bins",
        "Signed distance",
        "Effective rows",
        "Design effect",
    )
    rows = []
    for run in runs:
        m, found = run.metrics, run.metrics.get("classes") or {}
        why = "not scored"
        rows.append((
            Cell(run.name, mark="run"),
            Cell(found.get("matthews"), why=found.get("matthews_reason") or why),
            Cell(found.get("distance"), digits=2, n=found.get("distance_n"), why="no answer names a bin"),
            Cell(found.get("signed_distance"), digits=2, n=found.get("distance_n"), why="no answer names a bin"),
            Cell(m.get("effective_n"), digits=0, why=m.get("effective_n_reason") or why),
            Cell(m.get("design_effect"), digits=2, why=m.get("effective_n_reason") or why),
        ))  # fmt: skip
    return Table(
        "classes", "Bins and weeks", columns, tuple(rows) if _any(runs, "classes") else (),
        "Distance: places between the called and the true of the twelve bins. Effective rows: how many independent "
        "rows would tell as much as these, which share their weeks' market.",
    )  # fmt: skip


def text(runs: Sequence[EvaluatedRun]) -> Table:
    """What the answers are like as texts."""
    columns = ("Run", "Words", "Sections of 3", "Complete", "Repeated", "Figures not in the prompt")
    rows = []
    for run in runs:
        found = run.metrics.get("text_quality") or {}
        rows.append((
            Cell(run.name, mark="run"),
            Cell(found.get("words"), digits=0, n=found.get("n"), why="not scored"),
            Cell(found.get("sections"), digits=2, why="not scored"),
            Cell(found.get("complete"), why="not scored"),
            Cell(found.get("repetition"), n=found.get("repetition_n"), why="no answer is long enough"),
            Cell(found.get("share_not_in_prompt"), n=found.get("figures"), why=found.get("figures_reason")),
        ))  # fmt: skip
    return Table(
        "text_quality", "The texts", columns, tuple(rows) if _any(runs, "text_quality") else (),
        "Complete: all sections, with two to four items in the first two. Repeated: the share of runs of four words "
        "that came before in the answer. Figures not in the prompt, of all figures: a computed one counts too.",
    )  # fmt: skip


def breakdown(runs: Sequence[EvaluatedRun]) -> Table:
    """Direction accuracy on parts of the rows; symbols and weeks are in metrics.json."""
    rows = [
        (Cell(run.name, mark="run"), Cell(words), Cell(part["name"]),
         Cell(part["bin_acc"], ci95=part.get("ci95"), n=part["n"], note=None if part.get("ci95") else "no interval"))
        for run in runs
        for way, words in _WAYS.items()
        for part in _parts(run, way)
    ]  # fmt: skip
    return Table(
        "breakdown", "Parts of the rows", ("Run", "By", "Part", "Direction accuracy"), tuple(rows),
        "Looked at after the fact: a part that stands out among many is no finding." if rows else "",
    )  # fmt: skip


def _parts(run: EvaluatedRun, way: str) -> list[dict[str, Any]]:
    return (run.metrics.get("breakdown") or {}).get(way) or []
