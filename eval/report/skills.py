"""The verdicts of the page: the skill of every run, and what tuning added, each corrected for their
number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import cast

import numpy

from eval.metrics.firms import firms_of
from eval.metrics.judging import verdict_of
from eval.metrics.seeds import seed_error
from eval.metrics.skill import (
    Array,
    Error,
    SkillEstimate,
    detectable_skill,
    mean_with_error,
    skill_values,
)
from eval.metrics.statistics import holm, mean
from eval.metrics.weeks import Weeks, week_keys
from eval.report.entries import Entry
from eval.report.rows import question, same_rows
from eval.report.runs import EvaluatedRun
from weekahead.schema.metrics import SkillMetrics, SkillVerdict


@dataclass(frozen=True)
class SkillResult:
    """Skill, or its difference between two runs, with its verdict on this page."""

    run: str
    estimate: SkillEstimate
    alone: SkillVerdict
    """The verdict if this were the only test."""
    reasons: Sequence[str] = ()
    base: str | None = None
    """The run whose skill is subtracted; None for the skill of `run` itself."""
    p_holm: float | None = None
    tests: int = 1
    """How many tests the correction is over."""

    @property
    def verdict(self) -> SkillVerdict:
        """The verdict after the correction."""
        if self.alone in ("not judged", "no skill shown"):
            return self.alone
        return verdict_of(self.estimate.excess_accuracy, self.p_holm)

    @property
    def detectable(self) -> float | None:
        """The smallest true skill, or difference, that such rows show four times in five if it is
        corrected for the tests of this page. None if that cannot be said."""
        return detectable_skill(self.estimate, max(self.tests, 1))


def skill_results(entries: Sequence[Entry]) -> list[SkillResult]:
    """The skill of each entry, corrected over the entries that are judged."""
    return _corrected([_skill(entry) for entry in entries])


def tuning_results(entries: Sequence[Entry]) -> list[SkillResult]:
    """The skill of each tuned entry minus that of its base on the same rows, corrected."""
    return _corrected([_difference(tuned, base) for tuned, base in tuned_pairs(entries)])


def tuned_pairs(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """(tuned entry, its base), both asked the same about the same rows."""
    return [
        (tuned, base)
        for tuned, base in product(entries, entries)
        if base.first.is_base
        and tuned.first.is_language_model
        and not tuned.first.is_base
        and _base_name(tuned) == _base_name(base) is not None
        and question(tuned.first) == question(base.first)
        and same_rows(tuned.first, base.first)
    ]


def _corrected(results: Sequence[SkillResult]) -> list[SkillResult]:
    p_values = [None if result.alone == "not judged" else result.estimate.p for result in results]
    tests = sum(p is not None for p in p_values)
    return [
        replace(result, p_holm=p, tests=tests)
        for result, p in zip(results, holm(p_values), strict=True)
    ]


def _base_name(entry: Entry) -> str | None:
    """The base of an entry by its name on the Hub, whose case does not count; else its path."""
    base = entry.first.manifest["base"]
    name = (base.get("hub_id") or base.get("name")) if base else None
    return name.casefold() if name else None


def _other_revisions(tuned: Entry, base: Entry) -> list[str]:
    """A reason if the base was run at another revision than the one that was tuned."""
    revisions = [(entry.first.manifest["base"] or {}).get("revision") for entry in (tuned, base)]
    if None in revisions or len(set(revisions)) == 1:
        return []
    return [
        f"{tuned.name} was tuned from revision {revisions[0]} of its base, and {base.name} ran "
        f"revision {revisions[1]}: run the same one"
    ]


def _skill(entry: Entry) -> SkillResult:
    metrics = entry.first.metrics
    stored = metrics["skill"]
    ci95 = stored["ci95"]
    estimate = SkillEstimate(
        excess_accuracy=stored["excess_accuracy"],
        ci95=(ci95[0], ci95[1]) if ci95 else None,
        p=stored["p"],
        n=stored["n"],
        weeks=stored["weeks"],
        up_share=stored["up_share"],
        truth_up_share=stored["truth_up_share"],
        error=_stored_error(stored),
    )
    if not entry.has_seeds:
        return SkillResult(entry.name, estimate, metrics["verdict"], metrics["verdict_reasons"])
    reasons = _reasons_by_run(entry.runs, entry.runs)
    of_seeds = _of_all_seeds(entry)
    unjudged = any(run.metrics["verdict"] == "not judged" for run in entry.runs)
    alone = verdict_of(of_seeds.excess_accuracy, of_seeds.p)
    return SkillResult(entry.name, of_seeds, "not judged" if unjudged else alone, reasons)


def _of_all_seeds(entry: Entry) -> SkillEstimate:
    """The mean over the seeds; its error holds the spread between them."""
    weeks, firms = _weeks_and_firms(entry)
    by_seed = _values_by_seed(entry)
    values: Array = numpy.mean(by_seed, axis=0)
    stored = [run.metrics["skill"] for run in entry.runs]
    estimate = replace(
        _mean_of(values, weeks),
        up_share=mean([skill["up_share"] for skill in stored if skill["up_share"] is not None]),
        truth_up_share=stored[0]["truth_up_share"],
    )
    if weeks.keys is None:
        return estimate
    return mean_with_error(estimate, values, weeks.keys, firms, more=seed_error(by_seed))


def _mean_of(values: Array, weeks: Weeks) -> SkillEstimate:
    """The mean of what rows add, without an error yet."""
    return SkillEstimate(
        excess_accuracy=float(values.mean()) if len(values) else None,
        ci95=None,
        p=None,
        n=len(values),
        weeks=len(set(weeks.keys)) if weeks.keys else None,
        up_share=None,
        truth_up_share=None,
    )


def _reasons_by_run(runs: Sequence[EvaluatedRun], compared: Sequence[EvaluatedRun]) -> list[str]:
    """The reasons of `runs`; one that not all that are compared share says whose it is."""
    of_runs = {run.name: run.metrics["verdict_reasons"] for run in runs}
    every = dict.fromkeys(reason for reasons in of_runs.values() for reason in reasons)
    return [
        reason if len(names) == len(compared) else f"{' and '.join(names)}: {reason}"
        for reason in every
        if (names := [name for name, reasons in of_runs.items() if reason in reasons])
    ]


def _stored_error(stored: SkillMetrics) -> Error | None:
    size, freedom = stored["standard_error"], stored["freedom"]
    return None if size is None or freedom is None else Error(size, freedom)


def _difference(tuned: Entry, base: Entry) -> SkillResult:
    runs = (*tuned.runs, *base.runs)
    unjudged = [run for run in runs if run.metrics["verdict"] == "not judged"]
    reasons = [*_other_revisions(tuned, base), *_reasons_by_run(unjudged, runs)]
    weeks, firms = _weeks_and_firms(tuned)
    if weeks.keys is None and not reasons:
        reasons = [f"no interval: {weeks.reason}"]
    ours, theirs = _values_by_seed(tuned), _values_by_seed(base)
    difference: Array = numpy.mean(ours, axis=0) - numpy.mean(theirs, axis=0)
    estimate = _mean_of(difference, weeks)
    if weeks.keys is not None and difference.any():
        more = seed_error(ours, theirs)
        estimate = mean_with_error(estimate, difference, weeks.keys, firms, more=more)
    if reasons:
        return SkillResult(tuned.name, estimate, "not judged", reasons, base.name)
    alone = verdict_of(estimate.excess_accuracy, estimate.p)
    return SkillResult(tuned.name, estimate, alone, (), base.name)


def _values_by_seed(entry: Entry) -> list[Array]:
    """What each row adds to the skill of each seed."""
    return [skill_values(*_calls(rows)) for rows in _rows_of(entry)]


Rows = Mapping[str, tuple[int | None, int]]
"""Row key -> (call, truth), of the rows with a truth, in the order of the entry's first run."""


def _rows_of(entry: Entry) -> list[Rows]:
    """The rows of each seed."""
    order = list(entry.hits)
    found: list[Rows] = []
    for run in entry.runs:
        keys = run.keys or []
        by_key = {
            key: (row["direction"], cast("int", row["truth_direction"]))
            for key, row in zip(keys, run.scored, strict=False)
            if row["truth_direction"] is not None
        }
        found.append({key: by_key[key] for key in sorted(order)})
    return found


def _calls(rows: Rows) -> tuple[list[int | None], list[int]]:
    return [call for call, _ in rows.values()], [truth for _, truth in rows.values()]


def _weeks_and_firms(entry: Entry) -> tuple[Weeks, list[str] | None]:
    """Weeks and firms of the rows in the order of `_rows_of`."""
    run = entry.first
    sources = run.generations or run.scored
    by_key = dict(zip(run.keys or [], sources, strict=False))
    rows = [by_key[key] for key in sorted(entry.hits)]
    return week_keys(rows), firms_of(rows)
