"""What is compared: a run, or the seeds of one recipe together, since one seed against one seed is noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eval.metrics.baselines import Prediction, compare_with_baselines
from eval.metrics.seeds import mean_hits, seed_groups
from eval.metrics.statistics import Estimate, clustered_share, detectable_effect
from eval.report.runs import EvaluatedRun, correctness, readable, row_keys, same_rows
from weekahead.files import Row


@dataclass(frozen=True)
class Entry:
    """One run, or several that differ in the training seed alone and were scored on the same rows."""

    runs: tuple[EvaluatedRun, ...]

    @property
    def name(self) -> str:
        """The run's name, or those of all seeds."""
        names = ", ".join(run.name for run in self.runs)
        return names if len(self.runs) == 1 else f"{len(self.runs)} seeds: {names}"

    @property
    def first(self) -> EvaluatedRun:
        """The run that speaks for rows, base and settings, which all seeds share."""
        return self.runs[0]

    @property
    def several(self) -> bool:
        """Whether this is more than one seed."""
        return len(self.runs) > 1

    @cached_property
    def hits(self) -> dict[str, float]:
        """Row key -> whether its direction was called right, the mean over the seeds."""
        return mean_hits([correctness(run)[0] for run in self.runs])

    @property
    def weeks(self) -> dict[str, str] | None:
        """Row key -> week; None where the rows do not all name one."""
        return correctness(self.first)[1]

    @property
    def readable(self) -> set[str]:
        """The keys of the rows whose answer could be read in every seed."""
        return set.intersection(*(readable(run) for run in self.runs))

    @property
    def share(self) -> Estimate:
        """The direction accuracy, mean over the seeds, with its interval over weeks."""
        weeks = self.weeks
        return clustered_share(
            list(self.hits.values()), [weeks[key] for key in self.hits] if weeks else None
        )

    @property
    def detectable(self) -> float | None:
        """The smallest distance of a true accuracy from a fixed value that these weeks show, four times in five."""
        return (
            detectable_effect(self.share)
            if self.several
            else self.first.metrics.get("detectable_effect")
        )

    def versus(self) -> tuple[dict[str, Any], Row]:
        """The comparisons with each baseline, and the reasons where there is none."""
        if not self.several:
            return self.first.metrics["versus"], self.first.metrics.get("baseline_reasons") or {}
        at = {key: place for place, key in enumerate(row_keys(self.first) or [])}
        scored = [self.first.scored[at[key]] for key in self.hits]
        weeks = self.weeks
        found = compare_with_baselines(
            rows=[self.first.generations[at[key]] for key in self.hits],
            truths=[Prediction(row["truth_direction"], row["truth_magnitude"]) for row in scored],
            hits=list(self.hits.values()),
            weeks=[weeks[key] for key in self.hits] if weeks else None,
        )
        return found["versus"], found["baseline_reasons"]


def entries(runs: Sequence[EvaluatedRun]) -> list[Entry]:
    """The runs in their order, the seeds of one recipe as one entry at the place of the first."""
    by_name = {run.name: run for run in runs}
    found: list[Entry] = []
    for names in seed_groups({run.name: run.manifest for run in runs}):
        group = [by_name[name] for name in names]
        alike = all(run.generations and same_rows(group[0], run) for run in group)
        found += [Entry(tuple(group))] if alike else [Entry((run,)) for run in group]
    return found
