"""The pictures of the report as PNG files: direction accuracy here, trainings as `tracking` draws them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metrics.probability import reliability_points
from eval.report.comparisons import ACCURACY, Comparison
from eval.report.runs import EvaluatedRun, Training, trainings_of
from weekahead.files import replacing
from weekahead.tracking.plots import plot_comparison, plot_training

INK, GRID, _RUN = "#1d2129", "#d9dce1", "#1f5fbf"
# Dashes tell the baselines apart as well as colours do, for print and for colour-blind readers. The train
# majority is most often one of the constants, so it is a broad band that they stay visible on.
_BASELINE_LINES: dict[str, dict[str, Any]] = {
    "train_majority": {"linestyle": "solid", "color": "#d9a63f", "linewidth": 6},
    "always_up": {"linestyle": (0, (6, 2)), "color": "#1a7f4b", "linewidth": 1.8},
    "always_down": {"linestyle": (0, (2, 2)), "color": "#b3381f", "linewidth": 1.8},
    "last_week": {"linestyle": (0, (6, 2, 1, 2)), "color": "#7a48bd", "linewidth": 1.8},
    "reversal": {"linestyle": (0, (1, 1.5)), "color": "#a06a00", "linewidth": 1.8},
}

_VERDICT_COLORS = {"better": "#1a7f4b", "worse": "#b3381f", "not shown": "#5b6470"}
_RUN_COLORS = ("#1f5fbf", "#b3381f", "#1a7f4b", "#7a48bd", "#a06a00", "#17191d")


@dataclass(frozen=True)
class Picture:
    """A PNG file with its title and its description in words."""

    path: Path
    title: str
    alt: str


def draw_accuracy(groups: Sequence[Sequence[EvaluatedRun]], path: Path) -> Picture:
    """Direction accuracy of each run with its 95 % interval, on the lines of the baselines of its own rows."""
    from matplotlib.figure import Figure

    count = sum(map(len, groups))
    figure = Figure(figsize=(5.6, 1.9 + 0.5 * count + 0.2 * len(groups)), layout="constrained")
    axes = figure.add_subplot()
    places, y = [], 0.0
    for group in groups:
        for run in group:
            _draw_run(axes, run, y)
            places.append(y)
            y += 1
        _draw_baselines(axes, group, y - len(group) - 0.45, y - 0.55)
        y += 0.4
    axes.set_yticks(places, [shorten(run.name) for group in groups for run in group])
    axes.set_ylim(y - 0.8, -0.65)
    _decorate(figure, axes)
    save(figure, path)
    runs = [run for group in groups for run in group]
    return Picture(path, "Direction accuracy beside the baselines", "; ".join(map(_in_words, runs)))


def draw_trainings(
    runs: Sequence[EvaluatedRun], folder: Path
) -> tuple[list[Picture], dict[str, list[Picture]]]:
    """The four-panel comparison, and for each training its loss, speed and GPU curves.

    Both are empty where no training log lies on this machine.
    """
    known = [training for training in trainings_of(runs) if training.log]
    if not known:
        return [], {}
    path = plot_comparison({one.name: one.log for one in known}, folder / "training.png")
    alt = f"Steps per second, runtime, samples per second and evaluation loss of {', '.join(o.name for o in known)}"
    pictures = {one.name: _draw_training(one, folder / f"{number}-{_slug(one.name)}")
                for number, one in enumerate(known, start=1)}  # fmt: skip
    return [Picture(path, "The trainings side by side", alt)], pictures


def _draw_training(training: Training, folder: Path) -> list[Picture]:
    return [
        Picture(path, f"{training.name}: {path.stem.replace('_', ' ').replace('gpu', 'GPU and host')}",
                f"Curve of {path.stem.replace('_', ' ')} during {training.name}")
        for path in plot_training(training.log, folder)
    ]  # fmt: skip


def _draw_run(axes: Any, run: EvaluatedRun, y: float) -> None:
    value, ci95 = run.metrics["bin_acc"], run.metrics.get("bin_acc_ci95")
    if value is None:
        axes.text(0.02, y, "no value", transform=axes.get_yaxis_transform(), va="center")
        return
    if ci95:
        axes.plot(ci95, [y, y], color=_RUN, linewidth=2.6, solid_capstyle="butt", zorder=3)
    axes.plot([value], [y], marker="o", markersize=8, color=_RUN, zorder=4)
    box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    axes.annotate(f"{value:.3f}", (value, y), (0, 9), textcoords="offset points", ha="center", color=INK, zorder=3.5,
                  bbox=box)  # fmt: skip


def _draw_baselines(axes: Any, group: Sequence[EvaluatedRun], low: float, high: float) -> None:
    for name, style in _BASELINE_LINES.items():
        entries = [run.metrics["baselines"].get(name) or {} for run in group]
        for value in sorted(
            {entry["bin_acc"] for entry in entries if entry.get("bin_acc") is not None}
        ):
            axes.plot([value, value], [low, high], zorder=2, label=name.replace("_", "-"), **style)


def _decorate(figure: Any, axes: Any) -> None:
    axes.set_xlabel("direction accuracy, 95 % interval clustered by week", color=INK)
    axes.grid(axis="x", linewidth=0.7, color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=11, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(
            list(unique.values()), list(unique), loc="outside lower center", ncols=2, frameon=False
        )


def _in_words(run: EvaluatedRun) -> str:
    value, ci95 = run.metrics["bin_acc"], run.metrics.get("bin_acc_ci95")
    if value is None:
        return f"{run.name}: no value"
    return f"{run.name}: {value:.3f}" + (
        f", interval {ci95[0]:.3f} to {ci95[1]:.3f}" if ci95 else ""
    )


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=160)


def _slug(name: str) -> str:
    """A folder name out of a run's, which a manifest from elsewhere may have filled with anything."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60]


def shorten(name: str, most: int = 28) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def draw_differences(comparisons: Sequence[Comparison], path: Path) -> Picture | None:
    """Each difference of direction accuracies with its 95 % interval; None where no comparison has one."""
    from matplotlib.figure import Figure

    accuracies = [one for one in comparisons if one.measure == ACCURACY]
    shown = [
        (one, one.difference, one.ci95)
        for one in accuracies
        if one.difference is not None and one.ci95
    ]
    if not shown:
        return None
    figure = Figure(figsize=(7.4, 1.0 + 0.33 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    for y, (one, difference, ci95) in enumerate(shown):
        color = _VERDICT_COLORS[one.verdict if one.holds else "not shown"]
        axes.plot(ci95, [y, y], color=color, linewidth=2.6, solid_capstyle="butt")
        axes.plot([difference], [y], marker="o", markersize=6, color=color)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(
        range(len(shown)), [f"{shorten(one.run)} − {shorten(one.other)}" for one, *_ in shown]
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(
        "difference of direction accuracies, 95 % interval\n(grey: not shown after Holm's correction)",
        color=INK,
    )
    _plain(axes)
    save(figure, path)
    alt = "; ".join(
        f"{one.run} minus {one.other}: {difference:+.2f}" for one, difference, _ in shown
    )
    return Picture(
        path, "Differences, those to the right of zero in favour of the first named", alt
    )


def draw_reliability(runs: Sequence[EvaluatedRun], path: Path) -> Picture | None:
    """The share of weeks that rose against the stated probability of a rise; None without likelihoods."""
    from matplotlib.figure import Figure

    scored = [(run, bins) for run in runs if (bins := reliability_points(run.metrics))]
    if not scored:
        return None
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="as stated")
    for place, (run, bins) in enumerate(scored):
        color = _RUN_COLORS[place % len(_RUN_COLORS)]
        x, y, sizes = zip(*bins, strict=True)
        axes.plot(x, y, color=color, linewidth=1.4, label=shorten(run.name))
        axes.scatter(x, y, s=[12 + 4 * size for size in sizes], color=color, alpha=0.7, zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("stated probability of a rise, mean of each tenth", color=INK)
    axes.set_ylabel("share of weeks that rose", color=INK)
    axes.legend(frameon=False, loc="upper left")
    _plain(axes)
    save(figure, path)
    alt = "; ".join(f"{run.name}: {len(bins)} tenths with rows" for run, bins in scored)
    return Picture(
        path, "Reliability: a point on the broken line came true as often as it was said to", alt
    )


def _plain(axes: Any) -> None:
    axes.grid(linewidth=0.7, color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
