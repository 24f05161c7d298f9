"""Pictures of a training from the rows of its `train_log.jsonl`; no W&B, display or pyplot."""

# matplotlib's own annotations leave its keyword arguments open.
# pyright: reportUnknownMemberType=false

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from weekahead.schema.rows import GpuSample, TrainLogRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]
Rows = Sequence[TrainLogRow]
"""The rows of one train_log.jsonl."""

# Okabe and Ito's palette, which any colour vision can tell apart (https://jfly.uni-koeln.de/color/),
# without its yellow.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_GRID = "#D9D9D9"
_GIB = 2**30


class _Panel(NamedTuple):
    """What one panel shows: a value of the rows, its axis label, and what it is divided by."""

    name: str
    label: str
    divisor: float = 1.0


_SPEED_PANELS = (
    _Panel("tokens_per_second", "tokens/s\n(without padding)"),
    _Panel("samples_per_second", "samples/s"),
    _Panel("steps_per_second", "optimizer steps/s"),
)
_GPU_PANELS = (
    _Panel("utilization_percent", "utilization (%)"),
    _Panel("memory_used_bytes", "memory used (GiB)", _GIB),
    _Panel("power_watts", "power (W)"),
    _Panel("temperature_celsius", "temperature (°C)"),
)
_HOST_PANELS = (
    _Panel("cpu_percent", "CPU (%, 100 is one core)"),
    _Panel("rss_bytes", "resident memory (GiB)", _GIB),
)


def plot_training(rows: Rows, folder: Path | str) -> list[Path]:
    """Write loss.png, learning_rate.png, speed.png and gpu.png into `folder`; return their paths.

    A picture says if the rows hold nothing for it. Without a GPU the last picture shows CPU and
    memory, and its title says why.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "loss.png": _loss(rows),
        "learning_rate.png": _learning_rate(rows),
        "speed.png": _speed(rows),
        "gpu.png": _system(rows),
    }
    return [_save(figure, folder / name) for name, figure in figures.items()]


def plot_live(rows: Rows, path: Path | str) -> Path:
    """Write one picture of a training that may still run: loss, speed, and what the GPUs do.

    Without a GPU it shows CPU and memory in their place.
    """
    step = max((row["step"] for row in rows), default=0)
    ended = "ended" if _end_row(rows) else "now"
    samples = [row for row in rows if row["kind"] == "system"]
    gpus = max((len(row.get("gpu") or []) for row in samples), default=0)
    figure = _figure(9.0, 8.0 if gpus else 5.5, f"Training, {ended} at step {step}")
    loss, speed, *machine = _axes(figure, 3 if gpus else 2, 2)
    for number, (kind, name) in enumerate((("train", "loss"), ("eval", "eval_loss"))):
        points = _series(rows, kind, name, along="step")
        _line(loss, points, number, kind, marked=kind == "eval" or len(points) < 30)
    _finish(loss, x="optimizer step", y="loss (nats per token)", legend=True)
    points = _series(rows, "train", "tokens_per_second", along="step")
    _line(speed, points, 0, "tokens/s", marked=len(points) < 30)
    _finish(speed, x="optimizer step", y="tokens/s\n(without padding)", from_zero=True)
    unit, scale = _time_unit(samples[-1]["time"] if samples else 0.0)
    for axes, panel in zip(machine, _GPU_PANELS if gpus else _HOST_PANELS, strict=True):
        _machine_panel(axes, samples, panel, scale)
        _finish(axes, x=f"time since start ({unit})", y=panel.label, from_zero=True)
    return _save(figure, Path(path))


def _machine_panel(axes: "Axes", samples: Rows, panel: _Panel, scale: float) -> None:
    """One figure of every GPU, or of the host if there is none, over the time."""
    count = max((len(row.get("gpu") or []) for row in samples), default=0)
    for position in range(count):
        points = _gpu_series(samples, position, panel, scale)
        _line(axes, points, position, _gpu_name(samples, position), marked=len(points) < 10)
    if not count:
        series = _series(samples, "system", panel.name, along="time")
        points = [(x / scale, y / panel.divisor) for x, y in series]
        _line(axes, points, 0, panel.label, marked=len(points) < 10)


def plot_comparison(runs: Mapping[str, Rows], path: Path | str) -> Path:
    """Write a picture that compares trainings: steps/s, runtime, samples/s and evaluation loss.

    `runs` maps the name of a run to its rows. Speeds are means over the whole training, with
    evaluation and saving; the runtime counts all attempts of an interrupted training.
    """
    figure = _figure(8.0, max(6.0, 2.8 + 0.7 * len(runs)), "Training, run by run")
    steps, runtime, samples, losses = _axes(figure, 2, 2)
    names = list(runs)
    ends = [_end_row(rows) for rows in runs.values()]
    _bars(steps, names, _numbers(ends, "train_steps_per_second"), "optimizer steps per second")
    _bars(samples, names, _numbers(ends, "train_samples_per_second"), "samples per second")
    seconds = _numbers(ends, "time")
    unit, scale = _time_unit(max((value for value in seconds if value is not None), default=0.0))
    scaled = [None if value is None else value / scale for value in seconds]
    _bars(runtime, names, scaled, f"runtime ({unit})")
    runtime.tick_params(labelleft=False)  # the same runs as in the panel to its left
    for number, (name, rows) in enumerate(runs.items()):
        points = _series(rows, "eval", "eval_loss", along="epoch")
        _line(losses, points, number, _short(name), marked=True)
    _finish(losses, x="epoch", y="evaluation loss (nats per token)")
    _shared_legend(figure, losses)
    return _save(figure, Path(path))


def _loss(rows: Rows) -> "Figure":
    figure = _figure(8.0, 4.5, "Loss")
    (axes,) = _axes(figure)
    training = _series(rows, "train", "loss", along="step")
    _line(axes, training, 0, "training", marked=len(training) < 30)
    evaluation = _series(rows, "eval", "eval_loss", along="step")
    _line(axes, evaluation, 1, "evaluation", marked=True)
    _finish(axes, x="optimizer step", y="loss (nats per token)", legend=True)
    return figure


def _learning_rate(rows: Rows) -> "Figure":
    figure = _figure(8.0, 3.5, "Learning rate")
    (axes,) = _axes(figure)
    points = _series(rows, "train", "learning_rate", along="step")
    _line(axes, points, 0, "learning rate", marked=len(points) < 30)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    _finish(axes, x="optimizer step", y="learning rate", from_zero=True)
    return figure


def _speed(rows: Rows) -> "Figure":
    figure = _figure(8.0, 6.5, "Training speed, evaluation and saving left out")
    all_axes = _axes(figure, 3, one_x=True)
    for number, (axes, panel) in enumerate(zip(all_axes, _SPEED_PANELS, strict=True)):
        points = _series(rows, "train", panel.name, along="step")
        _line(axes, points, number, panel.label, marked=len(points) < 30)
        lowest = axes is all_axes[-1]
        _finish(axes, x="optimizer step" if lowest else "", y=panel.label, from_zero=True)
    return figure


def _system(rows: Rows) -> "Figure":
    samples = [row for row in rows if row["kind"] == "system"]
    count = max((len(row.get("gpu") or []) for row in samples), default=0)
    if not count:
        return _host(samples)
    unit, scale = _time_unit(samples[-1]["time"])
    figure = _figure(8.0, 6.5, "GPU during training")
    all_axes = _axes(figure, 2, 2, one_x=True)
    for axes, panel in zip(all_axes, _GPU_PANELS, strict=True):
        _machine_panel(axes, samples, panel, scale)
        lower = axes in all_axes[2:]
        time_label = f"time since start ({unit})" if lower else ""
        _finish(axes, x=time_label, y=panel.label, from_zero=True)
    _shared_legend(figure, next((axes for axes in all_axes if axes.lines), all_axes[0]))
    return figure


def _host(samples: Rows) -> "Figure":
    reasons = (row.get("gpu_reason") for row in samples)
    reason = next(filter(None, reasons), "nothing was sampled")
    unit, scale = _time_unit(samples[-1]["time"] if samples else 0.0)
    figure = _figure(8.0, 5.0, f"CPU and memory during training (no GPU figures: {reason})")
    all_axes = _axes(figure, 2, one_x=True)
    for number, (axes, panel) in enumerate(zip(all_axes, _HOST_PANELS, strict=True)):
        series = _series(samples, "system", panel.name, along="time")
        points = [(x / scale, y / panel.divisor) for x, y in series]
        _line(axes, points, number, panel.label, marked=len(points) < 10)
        lowest = axes is all_axes[-1]
        time_label = f"time since start ({unit})" if lowest else ""
        _finish(axes, x=time_label, y=panel.label, from_zero=True)
    return figure


def _series(
    rows: Rows, kind: str, name: str, *, along: Literal["step", "epoch", "time"]
) -> list[Point]:
    """The points (row[along], row[name]) of one kind of row; unknown values are left out."""
    of_kind = [row for row in rows if row["kind"] == kind]
    points = ((row[along], _number(row, name)) for row in of_kind)
    return [(x, y) for x, y in points if y is not None]


def _gpu_series(samples: Rows, position: int, panel: _Panel, scale: float) -> list[Point]:
    points = ((time, _number(gpu, panel.name)) for time, gpu in _one_gpu(samples, position))
    return [(time / scale, value / panel.divisor) for time, value in points if value is not None]


def _one_gpu(samples: Rows, position: int) -> Iterator[tuple[float, GpuSample]]:
    """(time, sample) of the GPU at one position of the lists."""
    for row in samples:
        gpus = row.get("gpu") or []
        if len(gpus) > position:
            yield row["time"], gpus[position]


def _gpu_name(samples: Rows, position: int) -> str:
    _, gpu = next(_one_gpu(samples, position))
    return f"{gpu['index']}: {gpu['name']}"


def _end_row(rows: Rows) -> TrainLogRow | None:
    """The row that ended the training; None if it did not end."""
    return next((row for row in reversed(rows) if row["kind"] == "end"), None)


def _numbers(rows: Sequence[TrainLogRow | None], name: str) -> list[float | None]:
    return [_number(row, name) if row else None for row in rows]


def _number(row: Mapping[str, object], name: str) -> float | None:
    """A value whose name is only known here; the rows hold numbers and null under these names."""
    return cast("float | None", row.get(name))


def _time_unit(longest: float) -> tuple[str, float]:
    """The unit for times up to `longest` seconds, and its length in seconds."""
    if longest > 2 * 3600:
        return "hours", 3600.0
    if longest > 180:
        return "minutes", 60.0
    return "seconds", 1.0


def _short(name: str, length: int = 28) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _figure(width: float, height: float, title: str) -> "Figure":
    """A figure in inches. Not made with pyplot, so no display or backend is ever asked for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure


def _axes(
    figure: "Figure", rows: int = 1, columns: int = 1, *, one_x: bool = False
) -> list["Axes"]:
    """Panels row by row; with `one_x` they share their x axis."""
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=one_x)
    return list(grid.flatten())


def _line(axes: "Axes", points: Sequence[Point], number: int, label: str, *, marked: bool) -> None:
    """Draw a line in the colour of its number; `marked` shows its points."""
    if not points:
        return
    xs, ys = zip(*points, strict=True)
    colour = _COLOURS[number % len(_COLOURS)]
    marker = _MARKERS[number % len(_MARKERS)] if marked else ""
    axes.plot(xs, ys, color=colour, linewidth=1.8, label=label, marker=marker, markersize=5)


def _bars(axes: "Axes", names: Sequence[str], values: Sequence[float | None], label: str) -> None:
    positions = range(len(names))
    colours = [_COLOURS[position % len(_COLOURS)] for position in positions]
    bars = axes.barh(positions, [value or 0.0 for value in values], color=colours, height=0.6)
    texts = ["unknown" if value is None else f"{value:.3g}" for value in values]
    axes.bar_label(bars, texts, padding=4, fontsize=10)
    axes.set_yticks(positions, [_short(name) for name in names])
    spare = max(0, 3 - len(names)) / 2  # room for three: one or two runs are bars, not walls
    axes.set_ylim(len(names) - 0.5 + spare, -0.5 - spare)
    axes.margins(x=0.18)
    _decorate(axes, x=label, y="", grid="x")


def _finish(axes: "Axes", *, x: str, y: str, legend: bool = False, from_zero: bool = False) -> None:
    """Label the axes, and say so if nothing was drawn."""
    _decorate(axes, x=x, y=y, grid="both")
    if not axes.lines:
        middle = axes.transAxes
        axes.text(0.5, 0.5, "nothing was recorded", ha="center", va="center", transform=middle)
        axes.set(xticks=[], yticks=[])
        return
    if legend:
        axes.legend(frameon=False, fontsize=10)
    if from_zero:
        top = axes.dataLim.ymax
        axes.set_ylim(0, 1.1 * top if top > 0 else 1)
    if "step" in x:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def _shared_legend(figure: "Figure", axes: "Axes") -> None:
    """One legend under all panels, with the names that `axes` has."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(len(names), 3),
            frameon=False,
            fontsize=10,
        )


def _decorate(axes: "Axes", *, x: str, y: str, grid: Literal["x", "both"]) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", path: Path) -> Path:
    """Write the PNG whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png")
    return temporary.replace(path)
