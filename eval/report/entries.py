"""What is compared: a run, or the seeds of one recipe together, since a single seed is too
noisy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from eval.metrics.baselines import Prediction, compare_with_baselines
from eval.metrics.seeds import mean_hits, seed_groups
from eval.metrics.statistics import Estimate, clustered_share
from eval.report.rows import correctness, readable, row_scores, same_rows
from eval.report.runs import EvaluatedRun
from weekahead.schema.metrics import Comparison
from weekahead.schema.rows import ScoredRow


class BaselineVerdicts(NamedTuple):
    """An entry against each baseline, by its name."""

    versus: Mapping[str, Comparison | None]
    reasons: Mapping[str, str]
    """Why there is no comparison."""


@dataclass(frozen=True)
class Entry:
    """One run, or several that differ only in the training seed and were scored on the same
    rows."""

    runs: tuple[EvaluatedRun, ...]

    @property
    def name(self) -> str:
        """The run's name, or those of all seeds."""
        names = ", ".join(run.name for run in self.runs)
        return f"{len(self.runs)} seeds: {names}" if self.has_seeds else names

    @property
    def first(self) -> EvaluatedRun:
        """The run that stands for rows, base and settings, which all seeds share."""
        return self.runs[0]

    @property
    def has_seeds(self) -> bool:
        """Whether this is more than one seed."""
        return len(self.runs) > 1

    @cached_property
    def hits(self) -> dict[str, float]:
        """Row key -> whether its direction was predicted right, the mean over the seeds."""
        return mean_hits([correctness(run).hits for run in self.runs])

    @cached_property
    def weeks(self) -> dict[str, str] | None:
        """Row key -> week; None if not every row has one."""
        return correctness(self.first).weeks

    @cached_property
    def readable(self) -> set[str]:
        """The keys of the rows whose answer could be read in every seed."""
        return set.intersection(*(readable(run) for run in self.runs))

    @property
    def asked_at_once(self) -> bool:
        """Whether every seed was asked for the probabilities of the bins without its answer."""
        return all(
            (likelihood := run.metrics["likelihood"]) and likelihood["direct"] for run in self.runs
        )

    def row_scores(self, score: Callable[[ScoredRow], float | None]) -> dict[str, float]:
        """Row key -> what `score` gives, the mean over the seeds; without rows that one of them
        lacks."""
        by_seed = [row_scores(run, score) for run in self.runs]
        common = set.intersection(*map(set, by_seed))
        return {key: sum(seed[key] for seed in by_seed) / len(by_seed) for key in common}

    @property
    def accuracy(self) -> Estimate:
        """The direction accuracy, mean over the seeds, with its interval over weeks."""
        return clustered_share(list(self.hits.values()), self._weeks_of_hits())

    def versus_baselines(self) -> BaselineVerdicts:
        """The comparisons with each baseline: of a single run as metrics.json holds them."""
        metrics = self.first.metrics
        if not self.has_seeds:
            return BaselineVerdicts(metrics["versus"], metrics["baseline_reasons"])
        index_of = {key: index for index, key in enumerate(self.first.keys or [])}
        scored = [self.first.scored[index_of[key]] for key in self.hits]
        comparisons = compare_with_baselines(
            rows=[self.first.generations[index_of[key]] for key in self.hits],
            truths=[Prediction(row["truth_direction"], row["truth_magnitude"]) for row in scored],
            hits=list(self.hits.values()),
            weeks=self._weeks_of_hits(),
        )
        return BaselineVerdicts(comparisons["versus"], comparisons["baseline_reasons"])

    def _weeks_of_hits(self) -> list[str] | None:
        weeks = self.weeks
        return [weeks[key] for key in self.hits] if weeks else None


def group_entries(runs: Sequence[EvaluatedRun]) -> list[Entry]:
    """The runs in their order; the seeds of one recipe are one entry where the first of them
    stands."""
    run_of_name = {run.name: run for run in runs}
    entries: list[Entry] = []
    for names in seed_groups({run.name: run.manifest for run in runs}):
        group = [run_of_name[name] for name in names]
        if all(run.generations and same_rows(group[0], run) for run in group):
            entries.append(Entry(tuple(group)))
        else:
            entries += [Entry((run,)) for run in group]
    return entries
