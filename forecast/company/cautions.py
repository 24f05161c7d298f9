"""What a reader must know before believing a forecast."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from forecast.company.inputs import Case
from weekahead.schema.manifests import TrainingManifest
from weekahead.task.prompt import PROMPT_VERSION
from weekahead.task.times import moment


@dataclass(frozen=True)
class Knowledge:
    """What a model may know beside its prompt."""

    training: TrainingManifest | None
    """None for the base alone, and for an adapter of somebody else."""
    has_adapter: bool
    cutoff: date | None
    """The day up to which the base has read; None if its recipe does not say it."""


def cautions(case: Case, knowledge: Knowledge, now: datetime) -> list[str]:
    """Sentences about one forecast; empty if there is nothing to beware of."""
    return [*_of_training(case, knowledge), *_of_base(case, knowledge, now), *_of_inputs(case, now)]


def _of_training(case: Case, knowledge: Knowledge) -> Iterator[str]:
    training, week = knowledge.training, case.row["week_start"]
    if training is None:
        if knowledge.has_adapter:
            yield "the adapter has no manifest: nobody here knows which weeks it was trained on"
        return
    last = training["dataset"].get("last_train_week")
    is_of_one_market = bool(training.get("synthetic")) == case.synthetic
    if last and week <= last and is_of_one_market:
        yield (
            f"the week from {week} lies in the weeks that the adapter was trained on (up to that "
            f"of {last}): it may have learned what happened"
        )
    if training.get("synthetic") and not case.synthetic:
        yield "the adapter was trained on a fictional market: it knows no real company"
    versions = training.get("prompt_versions") or []
    if versions and PROMPT_VERSION not in versions:
        yield (
            f"the adapter was trained on prompts of version {', '.join(versions)}; this one is of "
            f"version {PROMPT_VERSION}"
        )


def _of_base(case: Case, knowledge: Knowledge, now: datetime) -> Iterator[str]:
    week, cutoff = case.row["week_start"], knowledge.cutoff
    if case.synthetic or moment(case.row["week_end"]) > now:
        return  # the base cannot have read of it
    if cutoff is None:
        yield "the week has passed, and the recipe states no knowledge_cutoff: the base may know it"
    elif week <= cutoff.isoformat():
        yield (
            f"the week from {week} begins before the base's knowledge cut-off, {cutoff}: the base "
            "may have read what happened"
        )


def _of_inputs(case: Case, now: datetime) -> Iterator[str]:
    kinds = {fact["kind"] for fact in case.inputs}
    if kinds == {"prompt"}:
        yield "the prompt is yours: nobody here knows when what it says became known"
    elif "news" not in kinds:
        yield "no news in the inputs: the forecast rests on prices alone"
    if not case.synthetic and now < moment(case.decision_time):
        yield (
            f"inputs close at {case.decision_time}, and it is {now.astimezone(UTC):%H:%M} UTC: "
            "what becomes known until then is missing"
        )
