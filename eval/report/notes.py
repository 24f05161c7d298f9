"""The sentences of the report: results, warnings, and the reasons for what is not there."""

from collections.abc import Sequence

from eval.report.comparisons import ACCURACY, ComparedRuns, RunComparison, no_interval
from eval.report.entries import Entry
from eval.report.rows import group_name, row_keys
from eval.report.runs import EvaluatedRun, Training, trainings_of
from weekahead.schema.manifests import DatasetFacts, TrainingResult, why_unusable

HINDSIGHT = (
    "The reference answers were written in hindsight: the teacher was told how the week ended and "
    "asked to argue for it. Likeness to them (ROUGE) therefore rewards their style and says "
    "nothing about foresight; only the direction and the size of a prediction are tested against "
    "what happened."
)
SKILL = (
    "A model that always says up is right as often as the market rises, and needs no skill for it. "
    "Skill is the share of right directions minus what the run's own mix of ups and downs would "
    "hit by chance. Zero is chance; the comparisons with simple forecasts below describe the rows."
)
ADVICE = "Not financial advice: a measurement of language models, for research. Do not trade on it."


def accuracy_sentence(entry: Entry) -> str:
    """The direction accuracy of an entry with its interval and number of rows."""
    metrics = entry.first.metrics
    accuracy, ci95 = metrics["bin_acc"], metrics["bin_acc_ci95"]
    if accuracy is None:
        return "no direction accuracy: no row has a truth"
    mean = ""
    if entry.has_seeds:
        accuracy, ci95 = entry.accuracy.mean, entry.accuracy.interval
        mean = f", mean of {len(entry.runs)} seeds"
    interval = f"95 % interval {ci95[0]:.3f} to {ci95[1]:.3f}" if ci95 else no_interval(entry.first)
    size = f"n = {metrics['n'] - metrics['n_no_truth']}"
    if metrics["weeks"]:
        size += f" over {metrics['weeks']} weeks"
    valid = sum(run.metrics["valid_lenient"] for run in entry.runs)
    total = sum(run.metrics["n"] for run in entry.runs)
    if valid != total:
        size += f"; {valid} of {total} answers could be read"
    return f"direction accuracy {accuracy:.3f}{mean} ({interval}; {size})"


def verdict_sentence(verdicts: Sequence[RunComparison]) -> str:
    """A run against its baselines in one sentence: what holds after Holm's correction."""
    tested = [
        verdict
        for verdict in verdicts
        if verdict.measure == ACCURACY and verdict.difference is not None
    ]
    better = [shown.other for shown in tested if shown.holds and shown.verdict == "better"]
    worse = [shown.other for shown in tested if shown.holds and shown.verdict == "worse"]
    open_ones = [verdict.other for verdict in tested if not verdict.holds]
    clauses: list[str] = []
    if better:
        clauses.append(f"better than {', '.join(better)}")
    if worse:
        clauses.append(f"worse than {', '.join(worse)}")
    if open_ones:
        clauses.append(f"no difference shown from {', '.join(open_ones)}")
    result = "; ".join(clauses) or "nothing was tested"
    return f"In direction, after Holm's correction: {result}."


def detectable_sentence(entry: Entry, verdicts: Sequence[RunComparison]) -> str:
    """How large a true effect the weeks of an entry could show."""
    differences = [
        verdict.detectable
        for verdict in verdicts
        if verdict.detectable is not None and verdict.measure == ACCURACY
    ]
    distance = entry.detectable
    if distance is None and not differences:
        return f"what these weeks could show cannot be said ({no_interval(entry.first)})"
    effects: list[str] = []
    if differences:
        ends = dict.fromkeys(f"{end:.3f}" for end in (min(differences), max(differences)))
        effects.append(f"a true difference of {' to '.join(ends)} from a baseline")
    if distance is not None:
        effects.append(f"a true accuracy {distance:.3f} away from a fixed value such as one half")
    return (
        f"{entry.first.metrics['weeks']} weeks of such rows show, four times in five, "
        f"{' or '.join(effects)}; smaller ones are easily missed"
    )


def fictional_notes(runs: Sequence[EvaluatedRun]) -> tuple[str, ...]:
    """The banner's sentences if any run's rows are made up."""
    made_up = [run for run in runs if run.synthetic]
    if not made_up:
        return ()
    names = "all runs" if len(made_up) == len(runs) else ", ".join(run.name for run in made_up)
    invented = (
        f"Every firm, price and headline in the rows of {names} is invented. "
        "Nothing here is about a real market."
    )
    ceilings = [_ceiling_note(run.manifest["dataset"]) for run in made_up]
    return (invented, *dict.fromkeys(note for note in ceilings if note))


def _ceiling_note(dataset: DatasetFacts) -> str | None:
    """The best accuracy that can be reached: as expected, and what the rule gets on these rows."""
    ceiling: object = dataset.get("ceiling")
    split = dataset.get("split", "")
    expected, on_rows = ceiling, None  # older manifests hold the number alone
    if isinstance(ceiling, dict):
        expected, on_rows = ceiling.get("expected"), ceiling.get("rule_on_rows")
    if isinstance(on_rows, dict):
        on_rows = on_rows.get(split)
    if not isinstance(expected, int | float):
        return None
    if on_rows is None:
        return f"Best reachable direction accuracy: {expected:.3f}."
    return (
        f"Best reachable direction accuracy: {expected:.3f} expected; "
        f"the rule that made the rows gets {on_rows:.3f} on split {split}."
    )


def warnings(compared: ComparedRuns) -> tuple[str, ...]:
    """What a reader must know before comparing: other rows, rows without names, missing files."""
    runs = compared.runs
    notes: list[str] = []
    if len(compared.groups) > 1:
        groups = [
            f"{group_name(index)}: {', '.join(run.name for run in group)}"
            for index, group in enumerate(compared.groups)
        ]
        notes.append(
            f"Not on the same rows, so numbers compare only within a group ({'; '.join(groups)})."
        )
    for missing in dict.fromkeys(run.missing for run in runs if run.missing):
        names = ", ".join(run.name for run in runs if run.missing == missing)
        notes.append(
            f"{names}: no {' and no '.join(missing)} in the folder; what depends on it is left out."
        )
    for run in runs:
        notes += _run_warnings(run, is_alone=len(runs) == 1)
    return tuple(notes)


def _run_warnings(run: EvaluatedRun, *, is_alone: bool) -> list[str]:
    notes: list[str] = []
    n = run.metrics["n"]
    if not is_alone and (not run.scored or row_keys(run) is None):
        notes.append(
            f"{run.name}: the rows it was scored on cannot be identified (no scored.jsonl, or rows "
            "without an id or symbol and period), so it is compared with no other run."
        )
    controls = sorted({str(row.get("control")) for row in run.generations if row.get("control")})
    if controls:
        notes.append(
            f"{run.name}: its rows are the control {', '.join(controls)}: not forecasts, but a "
            "test of what the model relies on."
        )
    in_training_weeks = run.manifest["rows_in_training_weeks"]
    if in_training_weeks:
        notes.append(
            f"{run.name}: {in_training_weeks} of {n} rows lie in weeks that its training reached, "
            "so they test memory as well as foresight."
        )
    notes += _training_warnings(run)
    no_truth = run.metrics["n_no_truth"]
    if no_truth:
        notes.append(f"{run.name}: {no_truth} of {n} rows have no truth and are in no accuracy.")
    return notes


def _training_warnings(run: EvaluatedRun) -> list[str]:
    """What went wrong in the training of a run's adapter."""
    if run.training is None:
        return []
    notes: list[str] = []
    result: TrainingResult = run.training.manifest["result"] or {}
    unusable = why_unusable(run.training.manifest)
    if unusable:
        notes.append(f"{run.name}: its adapter cannot be used: {unusable}.")
    if result.get("diverged"):
        notes.append(f"{run.name}: its training diverged: {result.get('diverged')}.")
    if result.get("skipped_steps"):
        notes.append(
            f"{run.name}: {result.get('skipped_steps')} steps of its training were left out, "
            "because gradients overflowed in fp16."
        )
    return notes


def training_notes(runs: Sequence[EvaluatedRun]) -> tuple[str, ...]:
    """Why a training has no curves, or curves without a GPU."""
    notes = [f"{run.name}: base model, not trained here." for run in runs if run.is_base]
    for training in trainings_of(runs):
        notes += _curve_notes(training)
    for run in runs:
        if not run.is_language_model:
            notes.append(
                f"{run.name}: TF-IDF and logistic regression; its answers hold a prediction and no "
                "text of their own."
            )
    for run in runs:
        if run.is_language_model and not run.is_base and run.training is None:
            notes.append(f"{run.name}: no manifest.json says how it was trained.")
    return tuple(notes)


def _curve_notes(training: Training) -> list[str]:
    if training.folder is None:
        return [
            f"{training.name}: its folder is not on this machine (outputs/{training.name}), "
            "so no curves."
        ]
    samples = [row for row in training.log if row["kind"] == "system"]
    if not training.log or any(row.get("gpu") for row in samples):
        return []
    reasons = [row.get("gpu_reason") for row in samples]
    reason = next((reason for reason in reasons if reason), "nothing was sampled")
    return [f"{training.name}: no GPU curves ({reason}); processor and memory are shown."]
