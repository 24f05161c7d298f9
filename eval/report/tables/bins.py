"""The table of exact bins and distances, beside forecasts that know how often each bin came."""

from collections.abc import Sequence

from eval.report.comparisons import ComparedRuns
from eval.report.runs import EvaluatedRun
from eval.report.table import Cell, Table, format_value, run_cell
from weekahead.schema.metrics import BinBaseline, Difference

_NO_TRUTH = "no row has a true bin"
_NO_BIN = "no answer states a bin"


def bins(compared: ComparedRuns) -> Table:
    """How often the bin is the true one, and how far it is from it."""
    rows = [_row(run) for run in compared.runs]
    note = (
        "Exact bin: over all rows, an answer without a bin is wrong. Distance: places between the "
        "predicted and the true one of the twelve bins, over the answers that state a bin; signed, "
        "above 0 is too high. Beside each stand two forecasts that are the same for every row, on "
        "those very rows: the bin that most training rows have, and a draw from the training rows. "
        "Below them is the run minus that forecast, with its 95 % interval over weeks."
    )
    modal = _modal_bins(compared.runs)
    if modal:
        note += f" Most frequent bin in training: {modal}."
    return Table(
        key="bins",
        title="Exact bins and distances",
        columns=(
            "Run",
            "Exact bin",
            "Train-modal bin",
            "Train frequencies",
            "Distance in bins",
            "Train-modal bin, same rows",
            "Train frequencies, same rows",
            "Signed distance",
        ),
        rows=tuple(rows),
        note=note,
    )


def _modal_bins(runs: Sequence[EvaluatedRun]) -> str:
    """The bin, or the bin of each run if they differ; empty if none is known."""
    bins_of: dict[str, str] = {}
    for run in runs:
        baselines = run.metrics["bin_baselines"]
        if baselines:
            bins_of[run.name] = str(baselines["train_modal_bin"]["label"])
    if len(set(bins_of.values())) < 2:
        return next(iter(bins_of.values()), "")
    return "; ".join(f"{name}: {label}" for name, label in bins_of.items())


def _row(run: EvaluatedRun) -> tuple[Cell, ...]:
    metrics, scores = run.metrics, run.metrics["classes"]
    baselines = metrics["bin_baselines"]
    why = metrics["bin_baselines_reason"]
    forecasts = (
        (baselines["train_modal_bin"], baselines["train_frequencies"])
        if baselines
        else (None, None)
    )
    n = scores["distance_n"]
    return (
        run_cell(run.name),
        Cell(metrics["bin12_acc"], n=metrics["bin12_n"], why=_NO_TRUTH),
        *(_exact_cell(forecast, why) for forecast in forecasts),
        Cell(scores["distance"], digits=2, n=n, why=_NO_BIN),
        *(_distance_cell(forecast, why) for forecast in forecasts),
        Cell(scores["signed_distance"], digits=2, n=n, why=_NO_BIN),
    )


def _exact_cell(forecast: BinBaseline | None, why: str | None) -> Cell:
    if forecast is None:
        return Cell(None, why=why)
    return Cell(forecast["bin12_acc"], note=_minus(forecast["bin12_difference"], 3), why=_NO_TRUTH)


def _distance_cell(forecast: BinBaseline | None, why: str | None) -> Cell:
    if forecast is None:
        return Cell(None, why=why)
    note = _minus(forecast["distance_difference"], 2)
    return Cell(forecast["distance"], digits=2, note=note, why=_NO_BIN)


def _minus(difference: Difference, digits: int) -> str | None:
    """The run minus a forecast in words, such as "run minus it: -0.12 (-0.31 to 0.07)"."""
    value, ci95 = difference["difference"], difference["ci95"]
    if value is None:
        return None
    interval = ""
    if ci95:
        interval = f" ({' to '.join(format_value(end, digits) for end in ci95)})"
    return f"run minus it: {format_value(value, digits)}{interval}"
