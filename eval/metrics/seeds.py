"""Several trainings that differ in their seed alone, as one entry.

The unit of intervals and paired tests is then a row's mean correctness over seeds, clustered by
week: more seeds make a row's value steadier, but only more weeks tell about other markets. Pure
functions; the report gives them its runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import stdev

from eval.metrics.skill import Array, Error
from eval.metrics.statistics import clustered_share, mean
from eval.metrics.weeks import too_few_weeks
from weekahead.schema.manifests import GenerationManifest

_SEED_SETTINGS = ("seed", "data_seed")
_ROWS = ("sha256", "split", "rows")


@dataclass(frozen=True)
class SeedSummary:
    """Several seeds of a recipe; what cannot be computed is None."""

    n_seeds: int
    n: int
    bin_acc: float | None
    """Mean over the seeds."""
    bin_acc_ci95: list[float] | None
    """Over weeks."""
    seed_sd: float | None
    """The standard deviation of the seeds' accuracies, with n - 1 in the denominator."""
    bin_acc_by_seed: list[float]
    reason: str | None
    """Why something is None."""


def training_seed(manifest: GenerationManifest) -> int | None:
    """The seed that the run's adapter was trained with; None if it was not trained with one."""
    train = manifest["train"]
    return train["settings"].get("seed") if train else None


def recipe_key(manifest: GenerationManifest) -> str | None:
    """A text that is equal for runs that differ only in the training seed; None without a training.

    It is made of the training's settings, base and dataset (by its sha256), and of what the answers
    depend on: rows, decoding, precision.
    """
    train = manifest["train"]
    if train is None or training_seed(manifest) is None:
        return None
    settings = train["settings"]
    key = {
        "settings": {name: settings[name] for name in settings if name not in _SEED_SETTINGS},
        "trained_base": train["base"],
        "trained_on": train["dataset"].get("sha256"),
        "base": manifest["base"],
        "rows": {name: manifest["dataset"].get(name) for name in _ROWS},
        "generation": manifest["generation"],
        "precision": manifest["precision"].get("mode"),
    }
    return json.dumps(key, sort_keys=True, default=str)


def seed_groups(manifests: Mapping[str, GenerationManifest]) -> list[list[str]]:
    """Names of runs in the order given; runs that differ only in the training seed are one group.

    A run that was not trained stands alone. So does a second run of a seed that the group already
    has: the same adapter scored twice says nothing about the spread over seeds.
    """
    groups: list[list[str]] = []
    group_by_key: dict[str, list[str]] = {}
    seeds_by_key: dict[str, set[int | None]] = {}
    for name, manifest in manifests.items():
        key, seed = recipe_key(manifest), training_seed(manifest)
        if key in group_by_key and seed not in seeds_by_key[key]:
            group_by_key[key].append(name)
            seeds_by_key[key].add(seed)
            continue
        group = [name]
        groups.append(group)
        if key is not None and key not in group_by_key:
            group_by_key[key] = group
            seeds_by_key[key] = {seed}
    return groups


def mean_hits(hits: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """Each row's mean correctness over seeds, in the order of the first seed.

    `hits` is, for each seed, row key -> whether the direction was right. Raises ValueError without
    a seed, and if the seeds were not scored on the same rows.
    """
    if not hits:
        raise ValueError("no seed; expected at least one run")
    first = hits[0]
    for number, other in enumerate(hits[1:], start=2):
        if other.keys() != first.keys():
            differing = sorted(other.keys() ^ first.keys())
            raise ValueError(
                f"seed {number} of {len(hits)} was scored on other rows: {len(differing)} are in "
                f"only one of the two, such as {differing[0]}; score all seeds on the same rows"
            )
    return {key: sum(seed_hits[key] for seed_hits in hits) / len(hits) for key in first}


def seed_summary(
    hits: Sequence[Mapping[str, bool]], weeks: Mapping[str, str] | None
) -> SeedSummary:
    """Summarize several seeds of a recipe.

    `hits` is as in `mean_hits`, which says what is raised. `weeks` is row key -> week, None if the
    rows do not have one.
    """
    rows = mean_hits(hits)
    share = clustered_share(list(rows.values()), [weeks[key] for key in rows] if weeks else None)
    accuracies = [mean(list(seed_hits.values())) for seed_hits in hits]
    by_seed = [accuracy for accuracy in accuracies if accuracy is not None]
    reasons: list[str] = []
    if len(by_seed) < 2:
        seeds = "1 seed" if len(by_seed) == 1 else f"{len(by_seed)} seeds"
        reasons.append(f"{seeds}; a spread needs at least 2")
    if share.ci95 is None:
        reasons.append(too_few_weeks(share.clusters))
    return SeedSummary(
        n_seeds=len(hits),
        n=len(rows),
        bin_acc=share.mean,
        bin_acc_ci95=share.interval,
        seed_sd=stdev(by_seed) if len(by_seed) > 1 else None,
        bin_acc_by_seed=by_seed,
        reason="; ".join(reasons) or None,
    )


def seed_error(*entries: Sequence[Array]) -> Error | None:
    """The error that the spread between seeds adds to the mean of an entry, or to the difference of
    two. Each entry is a list of columns, one per seed. None if none has two seeds with rows.
    """
    errors = [
        Error(stdev(float(seed.mean()) for seed in seeds) / len(seeds) ** 0.5, len(seeds) - 1)
        for seeds in entries
        if len(seeds) > 1 and len(seeds[0])
    ]
    return reduce(Error.with_variance_of, errors) if errors else None
