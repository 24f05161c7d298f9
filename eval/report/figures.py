"""The figures of the report as PNG files; those of trainings are drawn by weekahead.tracking."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metrics.probability import QUESTIONS, reliability_points
from eval.metrics.probability_scores import ReliabilityPoint
from eval.report.comparisons import ComparedRuns
from eval.report.runs import EvaluatedRun, Training, trainings_of
from eval.report.skills import SkillResult
from weekahead.files import replacing
from weekahead.tracking.plots import plot_comparison, plot_training

FONT = 13
"""Points: a narrow figure of 5.6 inches is shown at 0.89 pixels per point on a phone."""
INK, GRID, _RUN_COLOR = "#1d2129", "#d9dce1", "#1f5fbf"
_RUN_COLORS = ("#1f5fbf", "#b3381f", "#1a7f4b", "#7a48bd", "#a06a00", "#17191d")
_RUN_STYLES = ("solid", "dashed", "dotted", "dashdot")
"""One for each round of the colors."""
_SKILL_COLORS = {
    "skill shown": "#1a7f4b",
    "negative skill shown": "#b3381f",
    "no skill shown": "#5b6470",
    "not judged": "#a3a9b2",
}
# Dashes separate the baselines as well as colors do, for print and for color-blind readers. The
# train majority is most often one of the constants, so it is a broad line below them.
_BASELINE_LINES: dict[str, dict[str, Any]] = {
    "train_majority": {"linestyle": "solid", "color": "#d9a63f", "linewidth": 6},
    "always_up": {"linestyle": (0, (6, 2)), "color": "#1a7f4b", "linewidth": 1.8},
    "always_down": {"linestyle": (0, (2, 2)), "color": "#b3381f", "linewidth": 1.8},
    "last_week": {"linestyle": (0, (6, 2, 1, 2)), "color": "#7a48bd", "linewidth": 1.8},
    "reversal": {"linestyle": (0, (1, 1.5)), "color": "#a06a00", "linewidth": 1.8},
}


@dataclass(frozen=True)
class DrawnFigure:
    """A PNG file."""

    path: Path
    title: str
    alt: str
    """What it shows, in words."""
    narrow: bool = False


@dataclass(frozen=True)
class TrainingFigures:
    """The curves of one training."""

    training: str
    figures: tuple[DrawnFigure, ...]


def draw_skill(results: Sequence[SkillResult], folder: Path) -> DrawnFigure | None:
    """Skill of each run, and what tuning added, with intervals and the line of no skill."""
    from matplotlib.figure import Figure

    drawn = [result for result in results if result.estimate.excess_accuracy is not None]
    if not drawn:
        return None
    figure = Figure(figsize=(5.6, 1.4 + 0.5 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    texts: list[str] = []
    for y, result in enumerate(drawn):
        value, ci95 = result.estimate.excess_accuracy or 0.0, result.estimate.ci95
        color = _SKILL_COLORS[result.verdict]
        if ci95:
            axes.plot(ci95, [y, y], color=color, linewidth=2.6, solid_capstyle="butt")
        axes.plot([value], [y], marker="o", markersize=8, color=color)
        texts.append(f"{_skill_name(result)}: {result.verdict}")
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(drawn)), [shorten(_skill_name(result)) for result in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlabel("skill (0 is chance), 95 % interval", color=INK, fontsize=FONT)
    _style_axes(axes)
    path = folder / "skill.png"
    save(figure, path)
    return DrawnFigure(path, "Skill: to the right of zero is skill", "; ".join(texts), narrow=True)


def _skill_name(result: SkillResult) -> str:
    return f"{result.run} − {result.base}" if result.base else result.run


def draw_accuracy(compared: ComparedRuns, folder: Path) -> DrawnFigure:
    """Direction accuracy of each run with its interval, on lines of the baselines of its rows."""
    from matplotlib.figure import Figure

    groups, runs = compared.groups, [run for group in compared.groups for run in group]
    height = 1.9 + 0.5 * len(runs) + 0.2 * len(groups)
    figure = Figure(figsize=(5.6, height), layout="constrained")
    axes = figure.add_subplot()
    ticks: list[float] = []
    y = 0.0
    for group in groups:
        for run in group:
            _draw_run(axes, run, y)
            ticks.append(y)
            y += 1
        _draw_baselines(axes, group, low=y - len(group) - 0.45, high=y - 0.55)
        y += 0.4
    axes.set_yticks(ticks, [shorten(run.name) for run in runs])
    axes.set_ylim(y - 0.8, -0.65)
    axes.set_xlabel("direction accuracy, 95 % interval over weeks", color=INK, fontsize=FONT)
    axes.grid(axis="x", linewidth=0.7, color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    _draw_legend(figure, axes)
    path = folder / "accuracy.png"
    save(figure, path)
    alt = "; ".join(map(_accuracy_text, runs))
    return DrawnFigure(path, "Direction accuracy beside the baselines", alt, narrow=True)


def _draw_run(axes: Any, run: EvaluatedRun, y: float) -> None:
    accuracy, ci95 = run.metrics["bin_acc"], run.metrics["bin_acc_ci95"]
    if accuracy is None:
        axes.text(
            0.02, y, "no value", transform=axes.get_yaxis_transform(), va="center", fontsize=FONT
        )
        return
    if ci95:
        axes.plot(ci95, [y, y], color=_RUN_COLOR, linewidth=2.6, solid_capstyle="butt", zorder=3)
    axes.plot([accuracy], [y], marker="o", markersize=8, color=_RUN_COLOR, zorder=4)
    axes.annotate(
        f"{accuracy:.3f}",
        (accuracy, y),
        (0, 9),
        textcoords="offset points",
        ha="center",
        color=INK,
        fontsize=FONT,
        zorder=3.5,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )


def _draw_baselines(axes: Any, group: Sequence[EvaluatedRun], *, low: float, high: float) -> None:
    for name, style in _BASELINE_LINES.items():
        baselines = [run.metrics["baselines"].get(name) for run in group]
        accuracies = {baseline["bin_acc"] for baseline in baselines if baseline}
        for value in sorted(accuracy for accuracy in accuracies if accuracy is not None):
            axes.plot([value, value], [low, high], zorder=2, label=name.replace("_", "-"), **style)


def _draw_legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    handle_of_label = dict(zip(labels, handles, strict=True))
    if handle_of_label:
        figure.legend(
            list(handle_of_label.values()),
            list(handle_of_label),
            loc="outside lower center",
            ncols=2,
            frameon=False,
            fontsize=FONT,
        )


def _accuracy_text(run: EvaluatedRun) -> str:
    accuracy, ci95 = run.metrics["bin_acc"], run.metrics["bin_acc_ci95"]
    if accuracy is None:
        return f"{run.name}: no value"
    interval = f", interval {ci95[0]:.3f} to {ci95[1]:.3f}" if ci95 else ""
    return f"{run.name}: {accuracy:.3f}{interval}"


def draw_reliability(compared: ComparedRuns, folder: Path) -> DrawnFigure | None:
    """The share of weeks that rose against the stated probability, a panel for each question: at
    once, and after the model's own answer. None without likelihoods."""
    from matplotlib.figure import Figure

    panels: list[tuple[str, dict[str, list[ReliabilityPoint]]]] = []
    for question, words in QUESTIONS.items():
        points = {run.name: reliability_points(run.metrics, question) for run in compared.runs}
        if any(points.values()):
            panels.append((words, points))
    if not panels:
        return None
    height = 0.4 + 4.6 * len(panels) + 0.28 * len(compared.runs)
    figure = Figure(figsize=(5.6, height), layout="constrained")
    texts: list[str] = []
    all_axes = list(figure.subplots(len(panels), squeeze=False)[:, 0])
    for axes, (words, points) in zip(all_axes, panels, strict=True):
        _draw_reliability_panel(axes, f"asked {words}", points)
        texts += [
            f"{name}, asked {words}: {len(found)} tenths with rows"
            for name, found in points.items()
            if found
        ]
    _draw_legend_of_panels(figure, all_axes)
    path = folder / "reliability.png"
    save(figure, path)
    title = "Reliability: points on the broken line came true as often as stated"
    return DrawnFigure(path, title, "; ".join(texts), narrow=True)


def _draw_legend_of_panels(figure: Any, all_axes: Sequence[Any]) -> None:
    """One legend for all panels, below them: inside it would hide points."""
    handles: dict[str, Any] = {}
    for axes in all_axes:
        handles |= {line.get_label(): line for line in axes.get_lines()}
    figure.legend(
        handles.values(), handles, loc="outside lower center", frameon=False, fontsize=FONT
    )


def _draw_reliability_panel(
    axes: Any, title: str, points_of_run: Mapping[str, Sequence[ReliabilityPoint]]
) -> None:
    """A run keeps its color in every panel."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="as stated")
    for index, (name, points) in enumerate(points_of_run.items()):
        if not points:
            continue
        turn, color_index = divmod(index, len(_RUN_COLORS))
        color, style = _RUN_COLORS[color_index], _RUN_STYLES[turn % len(_RUN_STYLES)]
        x = [point.stated for point in points]
        y = [point.rose for point in points]
        sizes = [12 + 4 * point.n for point in points]
        axes.plot(x, y, color=color, linestyle=style, linewidth=1.4, label=shorten(name))
        axes.scatter(x, y, s=sizes, color=color, alpha=0.7, zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.04, 1.04)
    axes.set_title(title, loc="left", fontsize=FONT, color=INK)
    axes.set_xlabel("stated probability of a rise, mean of each tenth", color=INK, fontsize=FONT)
    axes.set_ylabel("share of weeks that rose", color=INK, fontsize=FONT)
    _style_axes(axes)


def draw_trainings(runs: Sequence[EvaluatedRun], folder: Path) -> DrawnFigure | None:
    """The trainings side by side; None if no training log is on this machine."""
    logs = {training.name: training.log for training in _logged_trainings(runs)}
    if not logs:
        return None
    path = plot_comparison(logs, folder / "training.png")
    measures = "Steps per second, runtime, samples per second and evaluation loss"
    return DrawnFigure(path, "The trainings side by side", f"{measures} of {', '.join(logs)}")


def draw_each_training(runs: Sequence[EvaluatedRun], folder: Path) -> list[TrainingFigures]:
    """The loss, speed and GPU curves of each training whose log is on this machine."""
    drawn: list[TrainingFigures] = []
    for number, training in enumerate(_logged_trainings(runs), start=1):
        # A manifest from elsewhere may hold any name, a path included.
        folder_name = re.sub(r"[^A-Za-z0-9_-]+", "_", training.name)[:60]
        paths = plot_training(training.log, folder / f"{number}-{folder_name}")
        figures = tuple(_training_figure(training.name, path) for path in paths)
        drawn.append(TrainingFigures(training.name, figures))
    return drawn


def _logged_trainings(runs: Sequence[EvaluatedRun]) -> list[Training]:
    return [training for training in trainings_of(runs) if training.log]


def _training_figure(training: str, path: Path) -> DrawnFigure:
    quantity = path.stem.replace("_", " ")
    title = f"{training}: {quantity.replace('gpu', 'GPU and host')}"
    return DrawnFigure(path, title, f"Curve of {quantity} during {training}")


def _style_axes(axes: Any) -> None:
    axes.grid(linewidth=0.7, color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=FONT, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=160)


def shorten(name: str, most: int = 28) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
