"""Two more pictures: every difference on one axis, and how far stated probabilities can be believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.metrics.probability import reliability_points
from eval.report.comparisons import ACCURACY, Comparison
from eval.report.figures import GRID, INK, Picture, save, shorten
from eval.report.runs import Run

_COLORS = {"better": "#1a7f4b", "worse": "#b3381f", "not shown": "#5b6470"}
_LINES = ("#1f5fbf", "#b3381f", "#1a7f4b", "#7a48bd", "#a06a00", "#17191d")


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
        color = _COLORS[one.verdict if one.holds else "not shown"]
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


def draw_reliability(runs: Sequence[Run], path: Path) -> Picture | None:
    """The share of weeks that rose against the stated probability of a rise; None without likelihoods."""
    from matplotlib.figure import Figure

    scored = [(run, bins) for run in runs if (bins := reliability_points(run.metrics))]
    if not scored:
        return None
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="as stated")
    for place, (run, bins) in enumerate(scored):
        color = _LINES[place % len(_LINES)]
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
