"""The top of the page: what was tested, whether fine-tuning helped, how sure that is, in sentences;
then one line per run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from eval.metrics.firms import firm_of
from eval.metrics.periods import dates_in
from eval.metrics.weeks import plural, week_keys
from eval.report.comparisons import ComparedRuns, p_text
from eval.report.entries import Entry
from eval.report.forest import Axis, Bar, axis_of, bar_of, signed
from eval.report.rows import group_name
from eval.report.runs import EvaluatedRun
from eval.report.skills import SkillResult, skill_results, tuning_results
from eval.report.table import format_value
from weekahead.schema.manifests import BaseFacts, training_rows_in_words

NOTHING_READ = "answered nothing that can be read"
_UNTESTED = (
    "Whether fine-tuning helped is not tested: that needs its base, with a manifest, on the same "
    "rows."
)


@dataclass(frozen=True)
class RunLine:
    """One run, or the skill that fine-tuning added to its base."""

    name: str
    model: str
    """What answered; empty for a difference."""
    read: str
    """Which rows, and how many answers could be read; empty for a difference."""
    skill: str
    interval: str
    bar: Bar | None
    """On the axis of the summary."""
    verdict: str
    """Corrected over the runs of the page."""
    kind: str
    """A style: shown, negative, open or unjudged."""
    remarks: tuple[str, ...]
    """Reasons, and what the correction changed."""


@dataclass(frozen=True)
class Summary:
    """What a reader learns in the first seconds."""

    answer: str
    """Whether fine-tuning helped."""
    tested: tuple[str, ...]
    """Which models, on which rows."""
    certainty: tuple[str, ...]
    axis: Axis | None
    runs: tuple[RunLine, ...]
    tuning: tuple[RunLine, ...]
    """What fine-tuning added to the skill of each base."""
    correction: str
    """Over how many tests the verdicts are corrected; empty for one."""


def summarize(compared: ComparedRuns) -> Summary:
    """The summary of a report over `compared`."""
    skills, tuning = skill_results(compared.entries), tuning_results(compared.entries)
    unread = {entry.name for entry in compared.entries if not _readable(entry)}
    axis = axis_of([*skills, *tuning])
    return Summary(
        answer=answer_sentence(
            skills, tuning, only_bases=all(map(_is_base, compared.entries)), unread=unread
        ),
        tested=(*models_tested(compared.entries), *rows_tested(compared.groups)),
        certainty=certainty_sentences(skills, tuning, unread, _accuracies(compared.entries)),
        axis=axis,
        runs=tuple(
            _run_line(entry, result, axis, rows)
            for entry, result, rows in zip(
                compared.entries, skills, _rows_names(compared), strict=True
            )
        ),
        tuning=tuple(_tuning_line(result, axis, unread) for result in tuning),
        correction=_correction(skills, tuning),
    )


def _rows_names(compared: ComparedRuns) -> list[str]:
    """The name of the rows of each entry, such as "rows A, "; empty if all have the same rows."""
    if len(compared.groups) == 1:
        return ["" for _ in compared.entries]
    name_of = {
        run.name: f"rows {group_name(index)}, "
        for index, group in enumerate(compared.groups)
        for run in group
    }
    return [name_of[entry.first.name] for entry in compared.entries]


def _accuracies(entries: Sequence[Entry]) -> dict[str, float]:
    """The share of right directions of each entry that has one."""
    found = {entry.name: _accuracy(entry) for entry in entries}
    return {name: value for name, value in found.items() if value is not None}


def _accuracy(entry: Entry) -> float | None:
    return entry.accuracy.mean if entry.has_seeds else entry.first.metrics["bin_acc"]


def _is_base(entry: Entry) -> bool:
    return entry.first.is_base


def _readable(entry: Entry) -> int:
    """How many answers of an entry could be read."""
    return sum(run.metrics["valid_lenient"] for run in entry.runs)


def answer_sentence(
    skills: Sequence[SkillResult],
    tuning: Sequence[SkillResult],
    *,
    only_bases: bool = False,
    unread: Collection[str] = (),
) -> str:
    """Whether fine-tuning helped; without a base on the page, which runs have shown skill.

    `unread` are the runs of which no answer can be read.
    """
    if not tuning:
        untested = "" if only_bases else f" {_UNTESTED}"
        return _skill_sentence(skills) + untested
    helped = [result for result in tuning if result.verdict == "skill shown"]
    harmed = [result for result in tuning if result.verdict == "negative skill shown"]
    not_shown = [result for result in tuning if result.verdict == "no skill shown"]
    clauses: list[str] = []
    if helped:
        clauses.append(f"Fine-tuning helped: {'; '.join(_gains(helped, unread))}.")
    if harmed:
        less = [f"{_have(runs)} less skill than {base}" for base, runs in _by_base(harmed)]
        clauses.append(f"Fine-tuning did harm: {'; '.join(less)}.")
    if not_shown:
        pairs = "; ".join(f"{_joined(runs)} over {base}" for base, runs in _by_base(not_shown))
        clauses.append(f"Fine-tuning has not been shown to help: no gain in skill of {pairs}.")
    if not clauses:
        clauses.append("Whether fine-tuning helped cannot be judged.")
    told = {result.run for result in helped if result.base in unread}
    rest = [result for result in skills if result.run not in told]
    return f"{' '.join(clauses)} {_skill_sentence(rest, also=bool(told))}".strip()


def _gains(results: Sequence[SkillResult], unread: Collection[str]) -> list[str]:
    """What the tuned runs of each base have that it has not."""
    return [
        f"{_show(runs)} skill, and {base} answers nothing that can be read"
        if base in unread
        else f"{_have(runs)} more skill than {base}"
        for base, runs in _by_base(results)
    ]


def _by_base(results: Sequence[SkillResult]) -> list[tuple[str, list[str]]]:
    """The tuned runs of each base, in the order of the page."""
    runs: dict[str, list[str]] = {}
    for result in results:
        runs.setdefault(str(result.base), []).append(result.run)
    return list(runs.items())


def _have(runs: Sequence[str]) -> str:
    return f"{_joined(runs)} {'has' if len(runs) == 1 else 'have'}"


def _show(runs: Sequence[str]) -> str:
    return f"{_joined(runs)} {'shows' if len(runs) == 1 else 'show'}"


def _skill_sentence(skills: Sequence[SkillResult], *, also: bool = False) -> str:
    """Which runs have shown skill; `also` if another one has been named before."""
    shown = [result.run for result in skills if result.verdict == "skill shown"]
    negative = [result.run for result in skills if result.verdict == "negative skill shown"]
    unjudged = [result.run for result in skills if result.verdict == "not judged"]
    clauses: list[str] = []
    if shown:
        end = " too." if also else "."
        clauses.append(f"{_show(shown)} skill{end}")
    elif len(unjudged) < len(skills) and not also:
        clauses.append("No run has shown skill." if len(skills) > 1 else "No skill is shown.")
    if negative:
        clauses.append(f"Negative skill (wrong more often than by chance): {_joined(negative)}.")
    if unjudged:
        clauses.append(f"Not judged: {_joined(unjudged)}.")
    return " ".join(clauses)


def models_tested(entries: Sequence[Entry]) -> tuple[str, ...]:
    """One sentence per model: what it is and what it was fine-tuned on."""
    of_model: dict[str, list[Entry]] = {}
    for entry in entries:
        of_model.setdefault(model_in_words(entry.first), []).append(entry)
    return tuple(
        f"{_joined([entry.name for entry in same])}{_one_adapter(same)}: {model}."
        for model, same in of_model.items()
    )


def _one_adapter(entries: Sequence[Entry]) -> str:
    """That several runs are one adapter, if their manifests say so."""
    weights = {run.manifest["adapter_sha256"] for entry in entries for run in entry.runs}
    return " (the same adapter)" if len(entries) > 1 and len(weights) == 1 and any(weights) else ""


def model_in_words(run: EvaluatedRun) -> str:
    """What answered in a run, such as "SmolLM2-135M, fine-tuned on 400 rows of the dataset a"."""
    if not run.stored:
        return "no manifest says which model this is"
    if not run.is_language_model:
        return "TF-IDF and logistic regression, no language model"
    if not run.manifest["backend"]["runs_locally"]:
        return f"model {run.manifest['backend'].get('model') or 'without a name'} behind a server"
    base = base_name(run.manifest["base"]) or "a base without a name"
    if run.is_base:
        return f"{base} as it is, the base"
    rows = ""
    if run.training is not None:
        dataset = run.training.manifest["dataset"]
        count = training_rows_in_words(run.training.manifest)
        source = _last_part(dataset.get("source"))
        rows = f" on {count} rows" if count else ""
        rows += f" of the dataset {source}" if rows and source else ""
        last = dataset.get("last_train_week")
        rows += f" up to the week of {last}" if rows and last else ""
    return f"{base}, fine-tuned{rows}"


def base_name(base: BaseFacts | None) -> str:
    """The name of a base without its owner; empty if none is known."""
    if not base:
        return ""
    return _last_part(base.get("hub_id") or base.get("name"))


def _last_part(source: str | None) -> str:
    return str(source or "").rstrip("/").rpartition("/")[2]


def rows_tested(groups: Sequence[Sequence[EvaluatedRun]]) -> tuple[str, ...]:
    """One sentence per group of runs on the same rows: how many forecasts, firms, weeks, dates."""
    if len(groups) == 1:
        return (f"Test: {_rows_in_words(groups[0][0])}.",)
    return tuple(
        f"Rows {group_name(index)}, answered by {_joined([run.name for run in group])}: "
        f"{_rows_in_words(group[0])}."
        for index, group in enumerate(groups)
    )


def _rows_in_words(run: EvaluatedRun) -> str:
    rows = run.generations or run.scored
    metrics = run.metrics
    spans = [dates_in(window) for window in dict.fromkeys(week_keys(rows).windows or ())]
    weekly = all(len(span) < 2 or 4 <= (span[1] - span[0]).days <= 8 for span in spans)
    apart = not metrics["weeks"] or len(spans) <= metrics["weeks"]
    words = [plural(metrics["n"], "weekly forecast" if weekly else "forecast")]
    firms = list(map(firm_of, rows))
    if firms and all(firms):
        words.append(f"for {plural(len(set(firms)), 'firm')}")
    if metrics["weeks"] and apart:
        words.append(f"in {plural(metrics['weeks'], 'week' if weekly else 'period')}")
    elif metrics["weeks"]:
        words.append(f"in {len(spans)} windows that overlap")
    days = sorted(day for span in spans for day in span)
    if days:
        words.append(f"from {days[0]} to {days[-1]}")
    dataset = run.manifest["dataset"]
    source, split = _last_part(dataset.get("source")), dataset.get("split")
    if source:
        words.append(f"({source}, split {split})" if split else f"({source})")
    return " ".join(words)


def certainty_sentences(
    skills: Sequence[SkillResult],
    tuning: Sequence[SkillResult],
    unread: Collection[str] = (),
    accuracies: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """How large each result is that is shown, and how often chance gives it; what could be shown.

    A gain over a base of which no answer can be read says no more than the skill of the tuned run.
    Of many the first are told; all are drawn below.
    """
    gains = [result for result in tuning if result.base not in unread]
    shown = [result for result in [*gains, *skills] if result.verdict in _SHOWN]
    told = [_size_sentence(result, accuracies or {}) for result in shown[:_MOST_TOLD]]
    return (*told, *_could_show(skills, tuning))


_MOST_TOLD = 4
"""Results that are told in sentences at the top."""


def _size_sentence(result: SkillResult, accuracies: Mapping[str, float]) -> str:
    """A result in forecasts of a hundred, with its interval and its corrected p as a frequency."""
    value, ci95 = result.estimate.excess_accuracy or 0.0, result.estimate.ci95
    interval = _interval_of_hundred(ci95) if ci95 else ""
    count = f"{abs(round(100 * value))} {'more' if value > 0 else 'fewer'}"
    odds = _odds(result.p_holm or 0.0)
    if result.base:
        return (
            f"{result.run} against {result.base}: {count} right of 100{interval}. Without a change "
            f"in skill, such a difference comes up in {odds} tests."
        )
    accuracy = accuracies.get(result.run)
    size = f"{count} right of 100"
    if accuracy is not None:
        size = f"{round(100 * accuracy)} of 100 directions right, {count}"
    return (
        f"{result.run}: {size} than guesses with as many ups{interval}. "
        f"Chance alone makes such a difference in {odds} tests."
    )


def _interval_of_hundred(ci95: tuple[float, float]) -> str:
    """An interval in whole numbers of a hundred; with one decimal if an end would read as 0, which
    an interval of what is shown does not hold."""
    digits = 1 if any(round(100 * end) == 0 for end in ci95) else 0
    low, high = (f"{100 * end:.{digits}f}".replace("-", "\u2212") for end in ci95)
    return f" (95 % interval: {low} to {high})"


def _could_show(skills: Sequence[SkillResult], tuning: Sequence[SkillResult]) -> list[str]:
    """What would have been shown, for results that are not: their absence proves little."""
    sizes = {
        what: [
            size
            for result in results
            if result.verdict == "no skill shown" and (size := result.detectable) is not None
        ]
        for what, results in (("skill", skills), ("gain in skill", tuning))
    }
    if not any(sizes.values()):
        return []
    start = "Not shown is not absent: these rows"
    of_what = {
        name: possible
        for name, found in sizes.items()
        if (possible := [size for size in found if size <= _LARGEST_TRUE[name]])
    }
    if not of_what:
        what = " or ".join(name for name, found in sizes.items() if found)
        return [f"{start} are too few to show any true {what} in four of five tests."]
    what = " or ".join(of_what)
    possible = sorted(chain.from_iterable(of_what.values()))
    ends = dict.fromkeys(f"{size:.2f}" for size in (possible[0], possible[-1]))
    return [
        f"{start} show a true {what} of {' to '.join(ends)} in four of five tests, and easily miss "
        "a smaller one."
    ]


_LARGEST_TRUE = {"skill": 0.5, "gain in skill": 1.0}
"""A forecaster that is always right has a skill of 2 u (1 - u), with a share u of ups: at most 0.5.
"""
_SHOWN = ("skill shown", "negative skill shown")


def _odds(p: float) -> str:
    """A p-value as a frequency."""
    return f"{round(1000 * p)} of 1,000" if p >= 0.001 else "fewer than 1 of 1,000"


def _correction(skills: Sequence[SkillResult], tuning: Sequence[SkillResult]) -> str:
    families = [
        (max((result.tests for result in skills), default=1), "verdicts on skill"),
        (max((result.tests for result in tuning), default=1), "verdicts on what was added"),
    ]
    texts = [f"the {count} {what}" for count, what in families if count > 1]
    if not texts:
        return ""
    return (
        f"Of several tests, one can look good by luck. So {' and '.join(texts)} have a stricter "
        "limit (Holm's method). Each interval is that of its run alone."
    )


def _tuning_line(result: SkillResult, axis: Axis | None, unread: Collection[str]) -> RunLine:
    line = _line(result, axis)
    if result.base not in unread:
        return line
    remark = (
        "no answer of either can be read"
        if result.run in unread
        else f"none of the answers of {result.base} can be read, so it counts as 0, and this is "
        f"the skill of {result.run} itself"
    )
    return replace(line, remarks=(remark, *line.remarks))


def _run_line(entry: Entry, result: SkillResult, axis: Axis | None, rows: str) -> RunLine:
    valid = _readable(entry)
    total = sum(run.metrics["n"] for run in entry.runs)
    line = _line(result, axis)
    read = f"{rows}{valid} of {total} answers could be read"
    verdict = NOTHING_READ if not valid else line.verdict
    return RunLine(
        name=entry.name,
        model=model_in_words(entry.first),
        read=read,
        skill=line.skill,
        interval=line.interval,
        bar=line.bar if valid else None,
        verdict=verdict,
        kind=line.kind if valid else "unjudged",
        remarks=(*_parts(entry, result), *line.remarks) if valid else (),
    )


def _parts(entry: Entry, result: SkillResult) -> tuple[str, ...]:
    """Accuracy as the sum of skill and of what chance hits."""
    accuracy = _accuracy(entry)
    skill = result.estimate.excess_accuracy
    if accuracy is None or skill is None:
        return ()
    by_chance = format_value(accuracy - skill)
    up = result.estimate.up_share
    ups = f" with {100 * up:.0f} % ups" if up is not None else ""
    return (f"{accuracy:.3f} right; guesses{ups} would get {by_chance}",)


_KINDS = {
    "skill shown": "shown",
    "negative skill shown": "negative",
    "no skill shown": "open",
    "not judged": "unjudged",
}
_ALONE = {verdict: verdict for verdict in _KINDS}
_ADDED = {
    "skill shown": "more skill shown",
    "negative skill shown": "less skill shown",
    "no skill shown": "no difference shown",
    "not judged": "not judged",
}


def _line(result: SkillResult, axis: Axis | None) -> RunLine:
    estimate = result.estimate
    value, ci95 = estimate.excess_accuracy, estimate.ci95
    words = _ADDED if result.base else _ALONE
    remarks = list(result.reasons)
    if result.verdict != result.alone:
        remarks.insert(
            0,
            f"tested alone it would be: {words[result.alone]} (p {p_text(estimate.p)}, corrected "
            f"{p_text(result.p_holm)})",
        )
    return RunLine(
        name=f"{result.run} minus {result.base}" if result.base else result.run,
        model="",
        read="",
        skill=format_value(None) if value is None else signed(value),
        interval=f"{signed(ci95[0])} to {signed(ci95[1])}" if ci95 else "no interval",
        bar=bar_of(result, axis) if axis else None,
        verdict=words[result.verdict],
        kind=_KINDS[result.verdict],
        remarks=tuple(remarks),
    )


def _joined(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
