"""Several training seeds of one recipe are one entry: their mean, their spread, and rows averaged over them.

The unit of intervals and paired tests is then a row's mean correctness over seeds, clustered by week: more
seeds steady a row, but only more weeks tell of other markets. Pure functions; the report gives them its runs.
"""

import json
from collections.abc import Mapping, Sequence
from statistics import stdev

from eval.metrics.statistics import MIN_CLUSTERS, clustered_share, mean
from weekahead.files import Row

_OF_THE_SEED = ("seed", "data_seed")


def training_seed(manifest: Row) -> int | None:
    """The seed that the run's adapter was trained with, from the manifest of eval.generate; None without one."""
    return ((manifest.get("train") or {}).get("settings") or {}).get("seed")


def recipe_key(manifest: Row) -> str | None:
    """A text that is equal for runs that differ in nothing but the training seed; None for no trained run.

    Compared are the training's settings, base and dataset (by its sha256), and what the answers were made
    with: rows, decoding, precision.
    """
    train = manifest.get("train") or {}
    if training_seed(manifest) is None:
        return None
    facts = {
        "settings": {
            name: value for name, value in train["settings"].items() if name not in _OF_THE_SEED
        },
        "trained_base": train.get("base"),
        "trained_on": (train.get("dataset") or {}).get("sha256"),
        "base": manifest.get("base"),
        "rows": {
            name: (manifest.get("dataset") or {}).get(name) for name in ("sha256", "split", "rows")
        },
        "generation": manifest.get("generation"),
        "precision": (manifest.get("precision") or {}).get("mode"),
    }
    return json.dumps(facts, sort_keys=True, default=str)


def seed_groups(manifests: Mapping[str, Row]) -> list[list[str]]:
    """Names of runs, those that differ in the training seed alone together, in the order given.

    A run that was not trained, and a second run of a seed that the group has already, stand alone: the same
    adapter scored twice says nothing of the spread over seeds.
    """
    groups: list[list[str]] = []
    homes: dict[str, tuple[list[str], set[int | None]]] = {}
    for name, manifest in manifests.items():
        key, seed = recipe_key(manifest), training_seed(manifest)
        if key is not None and key in homes and seed not in homes[key][1]:
            group, seeds = homes[key]
            group.append(name)
            seeds.add(seed)
            continue
        groups.append([name])
        if key is not None:
            homes.setdefault(key, (groups[-1], {seed}))
    return groups


def mean_hits(hits: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """Each row's mean correctness over seeds, in the order of the first; what paired tests take for "ours".

    `hits` is, for each seed, row key -> whether the direction was called right. Raises ValueError without a
    seed, and where the seeds were not scored on the same rows.
    """
    if not hits:
        raise ValueError("no seed; expected at least one run")
    for number, other in enumerate(hits[1:], start=2):
        if other.keys() != hits[0].keys():
            differing = sorted(other.keys() ^ hits[0].keys())
            raise ValueError(
                f"seed {number} of {len(hits)} was scored on other rows: {len(differing)} stand in one only, such as "
                f"{differing[0]}; score all seeds on the same rows"
            )
    return {key: sum(one[key] for one in hits) / len(hits) for key in hits[0]}


def seed_summary(hits: Sequence[Mapping[str, bool]], weeks: Mapping[str, str] | None) -> Row:
    """One entry for several seeds of a recipe; `weeks` is row key -> week, None where the rows name none.

    `bin_acc` is the mean over seeds with its interval over weeks, `seed_sd` the standard deviation of the
    seeds' accuracies (n - 1 in the denominator), null under two seeds. What is null has its word in `reason`.
    Raises the errors of `mean_hits`.
    """
    rows = mean_hits(hits)
    share = clustered_share(list(rows.values()), [weeks[key] for key in rows] if weeks else None)
    by_seed = [accuracy for one in hits if (accuracy := mean(list(one.values()))) is not None]
    reasons = []
    if len(by_seed) < 2:
        reasons.append(f"{len(by_seed)} seed{'s' * (len(by_seed) != 1)}; a spread needs at least 2")
    if share.ci95 is None:
        reasons.append(f"{share.clusters} weeks; an interval needs at least {MIN_CLUSTERS}")
    return {
        "n_seeds": len(hits),
        "n": len(rows),
        "bin_acc": share.mean,
        "bin_acc_ci95": list(share.ci95) if share.ci95 else None,
        "seed_sd": stdev(by_seed) if len(by_seed) > 1 else None,
        "bin_acc_by_seed": by_seed,
        "reason": "; ".join(reasons) or None,
    }
