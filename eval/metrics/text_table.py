"""The tables that `eval.score` prints: what was measured, against what, and why answers failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics.statistics import holm
from weekahead.files import Row

UNKNOWN = "-"
_SHORT = {"always_up": "up", "always_down": "down", "train_majority": "majority", "last_week": "last week",
          "reversal": "reversal"}  # fmt: skip


def render(results: Mapping[str, Row]) -> str:
    """All tables as one text; `results` is name of the run -> content of its metrics.json."""
    parts = [
        _metrics_table(results),
        _versus_table(results),
        _reasons_table(results),
        _notes(results),
    ]
    return "\n\n".join(part for part in parts if part)


def table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns two spaces apart; the first `left` of them to the left, the others to the right."""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([rows[0], "-" * max(map(len, rows)), *rows[1:]])


def _number(value: float | None, decimals: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def _interval(value: float | None, ci95: Sequence[float] | None, form: str = ".3f") -> str:
    if value is None:
        return UNKNOWN
    return f"{value:{form}}" + (f" [{ci95[0]:{form}}, {ci95[1]:{form}}]" if ci95 else " [-]")


def _p(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.0005 else _number(value)


def _metrics_table(results: Mapping[str, Row]) -> str:
    header = ["run", "n", "valid (strict)", "bin_acc [95 %]", *_SHORT.values(), "vs majority", "mse (n)",
              "no move", "R1 pros/cons/anal", "s/row"]  # fmt: skip
    return table(header, [_metrics_line(name, metrics) for name, metrics in results.items()])


def _metrics_line(name: str, m: Row) -> list[str]:
    baselines = [(m["baselines"][key] or {}).get("bin_acc") for key in _SHORT]
    majority = m["versus"]["train_majority"]
    still = m["mse_versus_zero_move"]
    rouge = [(m[f"{part}_rouge_scores"] or {}).get("rouge1") for part in ("pros", "cons", "anal")]
    return [
        name,
        str(m["n"]),
        f"{m['valid_lenient']} ({m['valid_strict']})",
        _interval(m["bin_acc"], m["bin_acc_ci95"]),
        *map(_number, baselines),
        majority["verdict"] if majority else UNKNOWN,
        f"{_number(m['mse'], 2)} ({m['mse_n']})",
        _number(still["zero_move_mse"], 2) if still else UNKNOWN,
        "/".join(map(_number, rouge)),
        _number(m["inference_seconds"], 2),
    ]


def _versus_table(results: Mapping[str, Row]) -> str:
    """Every comparison made, with its p as it is and corrected for all those in this table."""
    made: list[tuple[str, str, dict[str, Any]]] = [
        (name, key, entry)
        for name, m in results.items()
        for key, entry in m["versus"].items()
        if entry
    ]
    adjusted = holm([entry["p"] for _, _, entry in made])
    lines = [
        [
            name,
            key,
            entry["verdict"],
            _interval(entry["difference"], entry["ci95"], "+.3f"),
            _p(entry["p"]),
            _p(p),
            _number(entry["detectable_effect"]),
        ]
        for (name, key, entry), p in zip(made, adjusted, strict=True)
    ]
    header = ["run", "against", "verdict", "difference [95 %]", "p", "p (Holm)", "could show"]
    return table(header, lines, left=3) if lines else ""


def _reasons_table(results: Mapping[str, Row]) -> str:
    lines = [
        [name, reading, reason, str(count)]
        for name, metrics in results.items()
        for reading, key in (("lenient", "reasons"), ("strict", "reasons_strict"))
        for reason, count in metrics[key].items()
    ]
    return table(["run", "reading", "not valid because", "rows"], lines, left=3) if lines else ""


def _notes(results: Mapping[str, Row]) -> str:
    runs: dict[str, list[str]] = {}
    for name, metrics in results.items():
        for note in _notes_of(metrics):
            runs.setdefault(note, []).append(name)
    return "\n".join(
        [
            "bin_acc: share of right directions (up or down); an unreadable or neutral answer is wrong.",
            "Intervals cluster by week. could show: the true difference these weeks show four times in five.",
            "no move: the mse of a forecast of 0 on the same (n) rows. valid: read leniently (strictly).",
            *(f"{note}: {'every run' if len(names) == len(results) else ', '.join(names)}"
              for note, names in runs.items()),
        ]
    )  # fmt: skip


def _notes_of(metrics: Row) -> list[str]:
    notes = ["synthetic rows of a fictional market"] if metrics["synthetic"] else []
    if metrics["n_no_truth"]:
        notes.append(
            f"{metrics['n_no_truth']} rows without a truth are left out of bin_acc and mse"
        )
    if metrics["interval_reason"]:
        notes.append(f"no intervals, {metrics['interval_reason']}")
    return notes + [f"no {name}, {why}" for name, why in metrics["baseline_reasons"].items()]
