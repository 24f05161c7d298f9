"""Pictures of a training from the rows of its `train_log.jsonl` alone; no W&B, no display, no global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
Point = tuple[float, float]

# Okabe and Ito's palette, told apart with any colour vision (https://jfly.uni-koeln.de/color/); yellow left out.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_GRID = "#D9D9D9"
_GIB = 2**30


def plot_training(rows: Sequence[Row], folder: Path | str) -> list[Path]:
    """Write loss.png, learning_rate.png, speed.png and gpu.png into `folder` and return their paths.

    `rows` are those of one `train_log.jsonl`; what they do not hold is said in the picture. Without a GPU the
    last picture shows CPU and memory, and its title says why.
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


def plot_comparison(runs: Mapping[str, Sequence[Row]], path: Path | str) -> Path:
    """Write the four-panel picture of several trainings: steps/s, runtime, samples/s and evaluation loss.

    `runs` is the name of a run -> the rows of its `train_log.jsonl`. Speeds are means over the whole training,
    evaluation and saving included; the runtime is the whole of an interrupted and resumed training.
    """
    figure = _figure(11.0, max(6.0, 2.8 + 0.7 * len(runs)), "Training, run by run")
    panels = figure.subplots(2, 2).flatten()
    names = list(runs)
    _bars(
        panels[0],
        names,
        [_end(runs[n], "train_steps_per_second") for n in names],
        "optimizer steps per second",
    )
    _bars(
        panels[2],
        names,
        [_end(runs[n], "train_samples_per_second") for n in names],
        "samples per second",
    )
    seconds = [_end(runs[n], "time") for n in names]
    unit, scale = _time_unit(max((s for s in seconds if s is not None), default=0.0))
    _bars(
        panels[1], names, [None if s is None else s / scale for s in seconds], f"runtime ({unit})"
    )
    for number, name in enumerate(names):
        _line(
            panels[3],
            _series(runs[name], "eval", "eval_loss", "epoch"),
            number,
            _short(name),
            marked=True,
        )
    _finish(panels[3], "epoch", "evaluation loss (nats per token)")
    panels[1].tick_params(
        labelleft=False
    )  # the same runs in the same order as in the panel to its left
    _shared_legend(figure, panels[3])
    return _save(figure, Path(path))


def _loss(rows: Sequence[Row]) -> "Figure":
    figure = _figure(8.0, 4.5, "Loss")
    axes = figure.subplots()
    train = _series(rows, "train", "loss", "step")
    _line(axes, train, 0, "training", marked=len(train) < 30)
    _line(axes, _series(rows, "eval", "eval_loss", "step"), 1, "evaluation", marked=True)
    _finish(axes, "optimizer step", "cross-entropy (nats per token)", legend=True)
    return figure


def _learning_rate(rows: Sequence[Row]) -> "Figure":
    figure = _figure(8.0, 3.5, "Learning rate")
    axes = figure.subplots()
    points = _series(rows, "train", "learning_rate", "step")
    _line(axes, points, 0, "learning rate", marked=len(points) < 30)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    _finish(axes, "optimizer step", "learning rate", from_zero=True)
    return figure


def _speed(rows: Sequence[Row]) -> "Figure":
    names = ("tokens_per_second", "samples_per_second", "steps_per_second")
    labels = ("tokens/s\n(without padding)", "samples/s", "optimizer steps/s")
    figure = _figure(8.0, 6.5, "Training speed, evaluation and saving left out")
    for number, (axes, name, label) in enumerate(
        zip(figure.subplots(3, 1, sharex=True), names, labels, strict=True)
    ):
        points = _series(rows, "train", name, "step")
        _line(axes, points, number, label, marked=len(points) < 30)
        _finish(axes, "optimizer step" if number == 2 else "", label, from_zero=True)
    return figure


def _system(rows: Sequence[Row]) -> "Figure":
    samples = [row for row in rows if row["kind"] == "system"]
    if not any(row.get("gpu") for row in samples):
        return _host(samples)
    unit, scale = _time_unit(samples[-1]["time"])
    figure = _figure(10.0, 6.5, "GPU during training")
    fields: tuple[tuple[str, str, float], ...] = (
        ("utilization_percent", "utilization (%)", 1),
        ("memory_used_bytes", "memory used (GiB)", _GIB),
        ("power_watts", "power (W)", 1),
        ("temperature_celsius", "temperature (°C)", 1),
    )
    cards = max(len(row.get("gpu") or []) for row in samples)
    panels = figure.subplots(2, 2, sharex=True).flatten()
    for axes, (name, label, divisor) in zip(panels, fields, strict=True):
        for card in range(cards):
            points = _card_series(samples, card, name, scale, divisor)
            _line(axes, points, card, _card_name(samples, card), marked=len(points) < 10)
        lower = axes in panels[2:]
        _finish(axes, f"time since start ({unit})" if lower else "", label, from_zero=True)
    _shared_legend(figure, next((axes for axes in panels if axes.lines), panels[0]))
    return figure


def _host(samples: Sequence[Row]) -> "Figure":
    reason = next(
        (row["gpu_reason"] for row in samples if row.get("gpu_reason")), "nothing was sampled"
    )
    unit, scale = _time_unit(samples[-1]["time"] if samples else 0.0)
    figure = _figure(8.0, 5.0, f"CPU and memory during training (no GPU figures: {reason})")
    fields: tuple[tuple[str, str, float], ...] = (
        ("cpu_percent", "CPU (%, 100 is one core)", 1),
        ("rss_bytes", "resident memory (GiB)", _GIB),
    )
    for number, (axes, (name, label, divisor)) in enumerate(
        zip(figure.subplots(2, 1, sharex=True), fields, strict=True)
    ):
        points = [(x / scale, y / divisor) for x, y in _series(samples, "system", name, "time")]
        _line(axes, points, number, label, marked=len(points) < 10)
        _finish(axes, f"time since start ({unit})" if number else "", label, from_zero=True)
    return figure


def _series(rows: Sequence[Row], kind: str, name: str, along: str) -> list[Point]:
    """The points (row[along], row[name]) of one kind of row; unknown values are left out."""
    return [
        (row[along], row[name]) for row in rows if row["kind"] == kind and row.get(name) is not None
    ]


def _card_series(
    samples: Sequence[Row], card: int, name: str, scale: float, divisor: float
) -> list[Point]:
    cards = [
        (row["time"] / scale, row["gpu"][card])
        for row in samples
        if len(row.get("gpu") or []) > card
    ]
    return [(x, values[name] / divisor) for x, values in cards if values.get(name) is not None]


def _card_name(samples: Sequence[Row], card: int) -> str:
    found = next(row["gpu"][card] for row in samples if len(row.get("gpu") or []) > card)
    return f"{found['index']}: {found['name']}"


def _end(rows: Sequence[Row], name: str) -> float | None:
    """A value of the row that ended the training; None where it did not end."""
    return next((row.get(name) for row in reversed(rows) if row["kind"] == "end"), None)


def _time_unit(longest: float) -> tuple[str, float]:
    """The unit for times up to `longest` seconds, and its length in seconds."""
    return (
        ("hours", 3600.0)
        if longest > 2 * 3600
        else ("minutes", 60.0)
        if longest > 180
        else ("seconds", 1.0)
    )


def _short(name: str, length: int = 28) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _figure(width: float, height: float, title: str) -> "Figure":
    """A figure in inches. Not made with pyplot, so no display or backend is ever asked for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure


def _line(axes: "Axes", points: Sequence[Point], number: int, label: str, marked: bool) -> None:
    if not points:
        return
    style = {"marker": _MARKERS[number % len(_MARKERS)], "markersize": 5} if marked else {}
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=_COLOURS[number % len(_COLOURS)], linewidth=1.8, label=label, **style)


def _bars(axes: "Axes", names: Sequence[str], values: Sequence[float | None], label: str) -> None:
    places = range(len(names))
    colours = [_COLOURS[n % len(_COLOURS)] for n in places]
    bars = axes.barh(places, [value or 0.0 for value in values], color=colours, height=0.6)
    axes.bar_label(
        bars, ["unknown" if v is None else f"{v:.3g}" for v in values], padding=4, fontsize=9
    )
    axes.set_yticks(places, [_short(name) for name in names])
    spare = max(0, 3 - len(names)) / 2  # room for three: one or two runs are bars, not walls
    axes.set_ylim(len(names) - 0.5 + spare, -0.5 - spare)
    axes.margins(x=0.18)
    _decorate(axes, label, "", grid="x")


def _finish(axes: "Axes", x: str, y: str, legend: bool = False, from_zero: bool = False) -> None:
    _decorate(axes, x, y, grid="both")
    if not axes.lines:
        axes.text(
            0.5, 0.5, "nothing was recorded", ha="center", va="center", transform=axes.transAxes
        )
        axes.set(xticks=[], yticks=[])
        return
    if legend:
        axes.legend(frameon=False, fontsize=9)
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
            fontsize=9,
        )


def _decorate(axes: "Axes", x: str, y: str, grid: Any) -> None:
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
