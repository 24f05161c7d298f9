"""The verdicts of the page: the skill of every run, and what tuning added, each corrected for their
number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import stdev
from typing import cast

import numpy

from eval.metrics.judging import verdict_of
from eval.metrics.skill import (
    Array,
    Error,
    SkillEstimate,
    detectable_skill,
    mean_with_error,
    skill_values,
)
from eval.metrics.statistics import holm
from eval.metrics.weeks import week_keys
from eval.report.entries import Entry
from eval.report.rows import question, row_keys, same_rows
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
    base = entry.first.manifest["base"]
    return base.get("name") if base else None


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
    reasons = list(
        dict.fromkeys(reason for run in entry.runs for reason in run.metrics["verdict_reasons"])
    )
    if any(run.metrics["verdict"] == "not judged" for run in entry.runs):
        return SkillResult(entry.name, estimate, "not judged", reasons)
    weeks, firms = _weeks_and_firms(entry)
    if weeks is not None:
        values, spread = _values(entry)
        estimate = mean_with_error(estimate, values, weeks, firms, more=spread)
    return SkillResult(
        entry.name, estimate, verdict_of(estimate.excess_accuracy, estimate.p), reasons
    )


def _stored_error(stored: SkillMetrics) -> Error | None:
    size, freedom = stored["standard_error"], stored["freedom"]
    return None if size is None or freedom is None else Error(size, freedom)


def _difference(tuned: Entry, base: Entry) -> SkillResult:
    reasons = [
        reason
        for entry in (tuned, base)
        for run in entry.runs
        if run.metrics["verdict"] == "not judged"
        for reason in run.metrics["verdict_reasons"]
    ]
    weeks, firms = _weeks_and_firms(tuned)
    (ours, spread), (theirs, other_spread) = _values(tuned), _values(base)
    difference = ours - theirs
    spreads = [error for error in (spread, other_spread) if error is not None]
    more = spreads[0].with_variance_of(spreads[1]) if len(spreads) == 2 else (*spreads, None)[0]
    estimate = SkillEstimate(
        excess_accuracy=float(difference.mean()),
        ci95=None,
        p=None,
        n=len(difference),
        weeks=len(set(weeks)) if weeks else None,
        up_share=None,
        truth_up_share=None,
    )
    if weeks is not None and difference.any():
        estimate = mean_with_error(estimate, difference, weeks, firms, more=more)
    if reasons:
        return SkillResult(
            tuned.name, estimate, "not judged", tuple(dict.fromkeys(reasons)), base.name
        )
    alone = verdict_of(estimate.excess_accuracy, estimate.p)
    return SkillResult(tuned.name, estimate, alone, (), base.name)


def _values(entry: Entry) -> tuple[Array, Error | None]:
    """What each row adds to the skill, mean over the seeds; the error of that mean over seeds."""
    by_seed = [skill_values(*_calls(rows)) for rows in _rows_of(entry)]
    values: Array = numpy.mean(by_seed, axis=0)
    if len(by_seed) < 2:
        return values, None
    spread = stdev(float(seed.mean()) for seed in by_seed) / len(by_seed) ** 0.5
    return values, Error(spread, len(by_seed) - 1)


Rows = Mapping[str, tuple[int | None, int]]
"""Row key -> (call, truth), of the rows with a truth, in the order of the entry's first run."""


def _rows_of(entry: Entry) -> list[Rows]:
    """The rows of each seed."""
    order = list(entry.hits)
    found: list[Rows] = []
    for run in entry.runs:
        keys = row_keys(run) or []
        by_key = {
            key: (row["direction"], cast("int", row["truth_direction"]))
            for key, row in zip(keys, run.scored, strict=False)
            if row["truth_direction"] is not None
        }
        found.append({key: by_key[key] for key in sorted(order)})
    return found


def _calls(rows: Rows) -> tuple[list[int | None], list[int]]:
    return [call for call, _ in rows.values()], [truth for _, truth in rows.values()]


def _weeks_and_firms(entry: Entry) -> tuple[list[str] | None, list[str] | None]:
    """Weeks and firms of the rows in the order of `_rows_of`."""
    run = entry.first
    sources = run.generations or run.scored
    by_key = dict(zip(row_keys(run) or [], sources, strict=False))
    rows = [by_key[key] for key in sorted(entry.hits)]
    firms = [str(row.get("symbol") or "").strip().upper() for row in rows]
    return week_keys(rows).keys, firms if firms and all(firms) else None
