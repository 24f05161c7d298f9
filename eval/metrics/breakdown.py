"""Where a run is right and where it is wrong.

Direction accuracy by symbol, sector, week, size of move and knowledge cut-off; and how predicted
bins and true bins meet.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from math import sqrt
from pathlib import Path

from eval.metrics.baselines import Prediction
from eval.metrics.firms import firm_of
from eval.metrics.scored_answer import bin_of
from eval.metrics.statistics import clustered_share, mean
from eval.metrics.text_quality import prompt_text
from eval.metrics.weeks import first_days
from weekahead.recipe import read_cutoff
from weekahead.schema.manifests import GenerationManifest
from weekahead.schema.metrics import Breakdown, ClassMetrics, GroupMetrics
from weekahead.schema.rows import ScorableRow
from weekahead.task.labels import BINS, label_of_magnitude
from weekahead.task.prompt_reader import sector_of

NONE = "none"
"""The column of predictions without a bin: unreadable, neutral, or a direction without a size."""
NO_SIZE = "no direction or no size"
"""The group of predictions that cannot be read, are neutral, or state a direction alone."""
_MOVES_WITH_OWN_GROUP = ("0-1%", "1-2%", "more than 5%")
_OTHER_MOVES = "2-5%"
_CUTS_WITHOUT_INTERVAL = ("symbol", "week")
"""Their groups are many and small."""


def breakdown(
    *,
    rows: Sequence[ScorableRow],
    predictions: Sequence[Prediction],
    truths: Sequence[Prediction],
    hits: Sequence[bool],
    weeks: Sequence[str] | None,
    knowledge_cutoff: date | None = None,
) -> Breakdown:
    """Direction accuracy by group, over rows with a truth; `hits` is whether each one was right.

    Each cut is a list of groups, with an interval (clustered by week, null under six weeks) if the
    groups of that cut are few. A cut is null if a row lacks what it needs, and `reasons` says why.
    `move` is the size of the true move, `stated_size` that of the prediction. `cutoff` separates
    the rows whose forecast week begins on or before the day up to which the base has read
    ("before": it may know the outcome) from those after it. The day is `knowledge_cutoff`, else the
    rows' own key of that name. Raises ValueError for a cut-off that is not a date.
    """
    cutoffs = [knowledge_cutoff or read_cutoff(row) for row in rows]
    sides = list(map(_side_of_cutoff, first_days(rows), cutoffs))
    symbols = _symbols(rows)
    sectors = [_sector(row) for row in rows]
    moves = [_move(truth) for truth in truths]
    no_side = "no first day of the forecast week, or no `knowledge_cutoff` of the base"
    cuts: dict[str, tuple[Sequence[str | None], str]] = {
        "symbol": (symbols, "no `symbol`"),
        "sector": (sectors, "no `sector`, none in a prompt"),
        "week": (weeks or [None] * len(rows), "no week that every row has"),
        "move": (moves, "no size of the true move"),
        "stated_size": ([_stated_size(prediction) for prediction in predictions], ""),
        "cutoff": (sides, no_side),
    }
    groups: dict[str, list[GroupMetrics] | None] = {}
    reasons: dict[str, str] = {}
    for cut, (labels, needed) in cuts.items():
        names = [label for label in labels if label is not None]
        groups[cut] = None
        if not rows:
            reasons[cut] = "no row with a truth"
        elif len(names) < len(rows):
            reasons[cut] = f"{len(rows) - len(names)} of {len(rows)} rows: {needed}"
        elif cut in _CUTS_WITHOUT_INTERVAL:
            groups[cut] = _groups(names, hits)
        else:
            groups[cut] = _groups_with_intervals(names, hits, weeks)
    return {
        "symbol": groups["symbol"],
        "sector": groups["sector"],
        "week": groups["week"],
        "move": groups["move"],
        "stated_size": groups["stated_size"],
        "cutoff": groups["cutoff"],
        "reasons": reasons,
    }


def knowledge_cutoff(manifest: GenerationManifest, cutoffs: Mapping[str, date]) -> date | None:
    """The day up to which the base of a run has read, or None if it is not stated.

    `manifest` is the one that eval.generate writes. `cutoffs` maps the last part of a base's name
    to its day, as `weekahead.recipe.knowledge_cutoffs` reads it from the recipes.
    """
    base = manifest["base"]
    if base is None:
        return None
    ids = (base.get("hub_id"), base.get("name"))
    names = [Path(str(base_id)).name for base_id in ids if base_id]
    return next((cutoffs[name] for name in names if name in cutoffs), None)


def _indices_by_name(names: Sequence[str]) -> dict[str, list[int]]:
    """Group name -> the positions of its rows, in the order of the names."""
    indices: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for index, name in enumerate(names):
        indices[name].append(index)
    return indices


def _groups(names: Sequence[str], hits: Sequence[bool]) -> list[GroupMetrics]:
    groups: list[GroupMetrics] = []
    for name, indices in _indices_by_name(names).items():
        accuracy = mean([float(hits[index]) for index in indices])
        groups.append({"name": name, "n": len(indices), "bin_acc": accuracy})
    return groups


def _groups_with_intervals(
    names: Sequence[str], hits: Sequence[bool], weeks: Sequence[str] | None
) -> list[GroupMetrics]:
    groups: list[GroupMetrics] = []
    for name, indices in _indices_by_name(names).items():
        group_weeks = [weeks[index] for index in indices] if weeks else None
        share = clustered_share([hits[index] for index in indices], group_weeks)
        groups.append(
            {"name": name, "n": len(indices), "bin_acc": share.mean, "ci95": share.interval}
        )
    return groups


def _text(value: str | None) -> str | None:
    return str(value or "").strip() or None


def _sector(row: ScorableRow) -> str | None:
    """The row's own sector, else the one that its prompt states."""
    return _text(row.get("sector")) or sector_of(prompt_text(row.get("prompt") or ""))


def _move(truth: Prediction) -> str | None:
    if truth.magnitude is None:
        return None
    size = label_of_magnitude(truth.magnitude).split(" by ")[1]
    return size if size in _MOVES_WITH_OWN_GROUP else _OTHER_MOVES


def _stated_size(prediction: Prediction) -> str:
    label = bin_of(prediction)
    return label.split(" by ")[1] if label else NO_SIZE


def _side_of_cutoff(first_day: date | None, cutoff: date | None) -> str | None:
    if cutoff is None or first_day is None:
        return None
    return "before" if first_day <= cutoff else "after"


def _symbols(rows: Sequence[ScorableRow]) -> list[str | None]:
    """The symbol of each row, as the first row of its firm that states one spells it."""
    spelt: dict[str, str] = {}
    for row in rows:
        if symbol := _text(row.get("symbol")):
            spelt.setdefault(firm_of(row), symbol)
    return [spelt.get(firm_of(row)) or firm_of(row) or None for row in rows]


def class_metrics(predictions: Sequence[Prediction], truths: Sequence[Prediction]) -> ClassMetrics:
    """How predicted bins and true bins meet, over rows with a truth.

    `confusion` is true bin -> predicted bin (or "none") -> rows, over the rows whose truth has a
    bin, worst bin first, without zeros. `distance` is the mean number of bins between predicted and
    true, `signed_distance` the mean of predicted minus true (above 0: too optimistic), both over
    the `distance_n` rows of which both have a bin.
    """
    correlation = matthews(
        truths=[truth.direction for truth in truths],
        predictions=[_stated_direction(prediction) for prediction in predictions],
    )
    bins: list[tuple[str, str | None]] = []
    for prediction, truth in zip(predictions, truths, strict=True):
        true_bin = bin_of(truth)
        if true_bin is not None:
            bins.append((true_bin, bin_of(prediction)))
    steps: list[int] = []
    for true_bin, predicted in bins:
        if predicted is not None:
            steps.append(BINS.index(predicted) - BINS.index(true_bin))
    undefined = "all calls, or all truths, are the same"
    return {
        "matthews": correlation,
        "matthews_reason": undefined if correlation is None else None,
        "confusion": _confusion(bins),
        "confusion_n": len(bins),
        "distance": mean([abs(step) for step in steps]),
        "signed_distance": mean(steps),
        "distance_n": len(steps),
    }


def matthews(*, truths: Sequence[int | None], predictions: Sequence[int | None]) -> float | None:
    """Matthews correlation of directions, -1 to 1; 0 is chance.

    A prediction of None is a class that is never true. An unreadable or neutral prediction is then
    wrong, but not a forecast of the opposite: counted as the opposite, a model that says nothing
    would seem to know the truth and to lie. For up and down alone this is the usual coefficient of
    four cells; with the third class it is its form for several classes (Gorodkin, Computational
    Biology and Chemistry 28, 2004). None if all predictions or all truths are one class.
    Raises ValueError if the lengths differ.
    """
    # Written out: importing sklearn.metrics takes longer than scoring a run.
    n = len(truths)
    right = sum(truth == guess for truth, guess in zip(truths, predictions, strict=True))
    true_counts, predicted_counts = Counter(truths), Counter(predictions)
    chance = sum(true_counts[name] * predicted_counts[name] for name in true_counts)
    true_spread = n * n - sum(count * count for count in true_counts.values())
    predicted_spread = n * n - sum(count * count for count in predicted_counts.values())
    if not true_spread * predicted_spread:
        return None
    return (right * n - chance) / sqrt(predicted_spread * true_spread)


def _stated_direction(prediction: Prediction) -> int | None:
    return prediction.direction if prediction.direction in (-1, 1) else None


def _confusion(bins: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, int]]:
    counts = Counter(bins)
    confusion: dict[str, dict[str, int]] = {}
    for true_bin in BINS:
        row = {predicted or NONE: counts[true_bin, predicted] for predicted in (*BINS, None)}
        if any(row.values()):
            confusion[true_bin] = {name: count for name, count in row.items() if count}
    return confusion
