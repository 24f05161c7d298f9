"""The sentences of the report: results, warnings, and the reasons for what is not there."""

from collections.abc import Sequence

from eval.report.comparisons import ComparedRuns
from eval.report.rows import group_name
from eval.report.runs import EvaluatedRun, Training, trainings_of
from weekahead.schema.manifests import DatasetFacts, TrainingResult, why_unusable

SKILL = (
    "Skill is the share of right directions minus the share that guesses with as many ups would "
    "get: +0.10 is ten more right of a hundred. A model that always says up has a skill of 0. "
    "A run is one model that has answered one set of rows. The bars are 95 % intervals over weeks, "
    "since shares move together within a week."
)
_UNSEEN = "test_unseen"
"""The split of the fictional market with other firms and other words."""
ADVICE = "Not financial advice: a measurement, for research. Do not trade on it."


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
    datasets = [run.manifest["dataset"] for run in made_up]
    notes = [invented, *_ceiling_notes(datasets)]
    if any(dataset.get("split") == _UNSEEN for dataset in datasets):
        notes.append(f"The firms of split {_UNSEEN}, and its wordings, are in no training row.")
    return tuple(notes)


def _ceiling_notes(datasets: Sequence[DatasetFacts]) -> list[str]:
    """The best accuracy that can be reached: as expected, and what the rule gets on the rows."""
    gets_of: dict[float, dict[str, None]] = {}
    for dataset in datasets:
        expected, on_rows = _ceiling(dataset)
        if expected is not None:
            gets = gets_of.setdefault(expected, {})
            if on_rows is not None:
                gets[f"{100 * on_rows:.0f} (split {dataset.get('split', '')})"] = None
    notes: list[str] = []
    for expected, gets in gets_of.items():
        if gets:
            share, end = " and ".join(gets), f", and over many rows {100 * expected:.0f}"
        else:
            share, end = f"{100 * expected:.0f}", ""
        notes.append(
            "The most that can be expected: whoever knew the rule behind these prices would get "
            f"{share}{end} of 100 directions right."
        )
    return notes


def _ceiling(dataset: DatasetFacts) -> tuple[float | None, float | None]:
    """The expected best accuracy, and that of the rule on the rows of the split."""
    ceiling: object = dataset.get("ceiling")
    expected, on_rows = ceiling, None  # older manifests hold the number alone
    if isinstance(ceiling, dict):
        expected, on_rows = ceiling.get("expected"), ceiling.get("rule_on_rows")
    if isinstance(on_rows, dict):
        on_rows = on_rows.get(dataset.get("split", ""))
    return (
        float(expected) if isinstance(expected, int | float) else None,
        float(on_rows) if isinstance(on_rows, int | float) else None,
    )


def warnings(compared: ComparedRuns) -> tuple[str, ...]:
    """What a reader must know before comparing: other rows, rows without names, missing files."""
    runs = compared.runs
    notes: list[str] = []
    names = [
        group_name(index)
        for index, group in enumerate(compared.groups)
        if _is_identified(group[0])  # of rows without names nobody knows whether they differ
    ]
    if len(names) > 1:
        notes.append(
            f"Compare runs only if they answered the same rows: {', '.join(names[:-1])} and "
            f"{names[-1]} are different rows."
        )
    for missing in dict.fromkeys(run.missing for run in runs if run.missing):
        names = ", ".join(run.name for run in runs if run.missing == missing)
        notes.append(
            f"{names}: no {' and no '.join(missing)} in the folder; what depends on it is left out."
        )
    for run in runs:
        notes += _run_warnings(run, is_alone=len(runs) == 1)
    return tuple(notes)


def _is_identified(run: EvaluatedRun) -> bool:
    return bool(run.scored) and run.keys is not None


def _run_warnings(run: EvaluatedRun, *, is_alone: bool) -> list[str]:
    notes: list[str] = []
    n = run.metrics["n"]
    if not is_alone and not _is_identified(run):
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
