"""The tables that `eval.score` prints: what was measured, against what, and why answers failed."""

from collections.abc import Mapping, Sequence

from weekahead.schema.metrics import Metrics, RougeScores

UNKNOWN = "-"
_SKILL_HEADER = (
    "run",
    "n",
    "weeks",
    "valid (strict)",
    "skill [95 %]",
    "p",
    "detectable",
    "verdict, run alone",
)
_METRICS_HEADER = (
    "run",
    "bin_acc [95 %]",
    "mse (n)",
    "no move",
    "R1 pros/cons/anal",
    "s/row",
)
_VERSUS_HEADER = ("run", "against", "its bin_acc", "difference [95 %]", "p", "detectable")
_REASONS_HEADER = ("run", "reading", "not valid because", "rows")
_NOTES = (
    "skill: bin_acc minus what calls in the run's own proportion of up and down hit by chance;",
    "  the verdict is its sign if p is below 0.05. It does not count how many runs were scored.",
    "bin_acc: share of right directions (up or down); an unreadable or neutral answer is wrong.",
    "Intervals are clustered by week. Accuracy and the differences from simple forecasts describe",
    "  the rows: in a rising market a run that says up is right without any skill.",
    "detectable: the smallest true skill or difference that these weeks show four times in five.",
    "mse: sizes are capped at 5.5, the outermost bin's; mse_uncapped in metrics.json is not.",
    "no move: the mse of a forecast of 0 on the same (n) rows.",
    "Market-neutral skill, ranks, a long-short book (metrics.json) describe the rows as well.",
    "valid: answers that the lenient (strict) reading accepts.",
)


def render(results: Mapping[str, Metrics]) -> str:
    """All tables as one text; `results` is name of the run -> content of its metrics.json."""
    results = _with_short_names(results)
    tables = [
        _skill_table(results),
        _metrics_table(results),
        _versus_table(results),
        _reasons_table(results),
        _notes(results),
    ]
    return "\n\n".join(table for table in tables if table)


_LONGEST_NAME = 24
"""Characters; with longer ones the table of skill is wider than 120."""


def _with_short_names(results: Mapping[str, Metrics]) -> Mapping[str, Metrics]:
    """Long names without their middle, if the runs can still be told apart."""
    half = _LONGEST_NAME // 2
    names = [" ".join(name.split()) for name in results]
    short = [
        name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}\u2026{name[-half:]}"
        for name in names
    ]
    distinct = short if len(set(short)) == len(results) else list(results)
    return dict(zip(distinct, results.values(), strict=True))


def table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns two spaces apart; the first `left` of them are left-aligned, the others right."""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows: list[str] = []
    for row in cells:
        aligned = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        rows.append("  ".join(aligned).rstrip())
    return "\n".join([rows[0], "-" * max(map(len, rows)), *rows[1:]])


def _number(value: float | None, decimals: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def _interval(value: float | None, ci95: Sequence[float] | None, number_format: str = ".3f") -> str:
    if value is None:
        return UNKNOWN
    if ci95 is None:
        return f"{value:{number_format}} [-]"
    low, high = ci95
    return f"{value:{number_format}} [{low:{number_format}}, {high:{number_format}}]"


def _p(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.0005 else _number(value)


def _skill_table(results: Mapping[str, Metrics]) -> str:
    """The one test that is made for each run, and below it why a run is not judged."""
    lines: list[list[str]] = []
    reasons: list[str] = []
    for name, metrics in results.items():
        skill = metrics["skill"]
        lines.append(
            [
                name,
                str(metrics["n"]),
                UNKNOWN if skill["weeks"] is None else str(skill["weeks"]),
                f"{metrics['valid_lenient']} ({metrics['valid_strict']})",
                _interval(skill["excess_accuracy"], skill["ci95"], "+.3f"),
                _p(skill["p"]),
                _number(skill["detectable"]),
                metrics["verdict"],
            ]
        )
        reasons += [f"{name}: {reason}" for reason in metrics["verdict_reasons"]]
    return "\n".join([table(_SKILL_HEADER, lines), *reasons])


def _metrics_table(results: Mapping[str, Metrics]) -> str:
    return table(
        _METRICS_HEADER, [_metrics_line(name, metrics) for name, metrics in results.items()]
    )


def _metrics_line(name: str, metrics: Metrics) -> list[str]:
    no_move = metrics["mse_versus_zero_move"]
    sections = ("pros_rouge_scores", "cons_rouge_scores", "anal_rouge_scores")
    rouge = [_rouge1(metrics[section]) for section in sections]
    return [
        name,
        _interval(metrics["bin_acc"], metrics["bin_acc_ci95"]),
        f"{_number(metrics['mse'], 2)} ({metrics['mse_n']})",
        _number(no_move["zero_move_mse"], 2) if no_move else UNKNOWN,
        "/".join(map(_number, rouge)),
        _number(metrics["inference_seconds"], 2),
    ]


def _rouge1(scores: RougeScores | None) -> float | None:
    return scores["rouge1"] if scores else None


def _versus_table(results: Mapping[str, Metrics]) -> str:
    """The direction accuracy minus that of each simple forecast: description, no verdict."""
    lines: list[list[str]] = []
    for run, metrics in results.items():
        for baseline, comparison in metrics["versus"].items():
            if comparison is None:
                continue
            stated = metrics["baselines"][baseline]
            lines.append(
                [
                    run,
                    baseline,
                    _number(stated["bin_acc"] if stated else None),
                    _interval(comparison["difference"], comparison["ci95"], "+.3f"),
                    _p(comparison["p"]),
                    _number(comparison["detectable_effect"]),
                ]
            )
    return table(_VERSUS_HEADER, lines, left=2) if lines else ""


def _reasons_table(results: Mapping[str, Metrics]) -> str:
    lines: list[list[str]] = []
    for run, metrics in results.items():
        for reason, count in metrics["reasons"].items():
            lines.append([run, "lenient", reason, str(count)])
        for reason, count in metrics["reasons_strict"].items():
            lines.append([run, "strict", reason, str(count)])
    return table(_REASONS_HEADER, lines, left=3) if lines else ""


def _notes(results: Mapping[str, Metrics]) -> str:
    """What the columns mean, and each note about runs with the runs that it is about."""
    runs_of_note: dict[str, list[str]] = {}
    for run, metrics in results.items():
        for note in _notes_of(metrics):
            runs_of_note.setdefault(note, []).append(run)
    notes: list[str] = list(_NOTES)
    for note, runs in runs_of_note.items():
        notes.append(f"{note}: {'every run' if len(runs) == len(results) else ', '.join(runs)}")
    return "\n".join(notes)


def _notes_of(metrics: Metrics) -> list[str]:
    notes = ["synthetic rows of a fictional market"] if metrics["synthetic"] else []
    if metrics["n_no_truth"]:
        notes.append(
            f"{metrics['n_no_truth']} rows without a truth are left out of bin_acc and mse"
        )
    if metrics["interval_reason"]:
        notes.append(f"no intervals, {metrics['interval_reason']}")
    if metrics["mse_reason"]:
        notes.append(f"no mse against no move, {metrics['mse_reason']}")
    rouge = [
        f"ROUGE of {name} leaves rows out, {reason}"
        for name, reason in metrics["rouge_reasons"].items()
    ]
    reasons = [f"no {name}, {reason}" for name, reason in metrics["baseline_reasons"].items()]
    notes += rouge
    return notes + reasons
