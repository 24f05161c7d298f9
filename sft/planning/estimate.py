"""The estimate of a training on a card: from a recipe, the rows, and the sizes of the base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sft.training.values import check_numbers
from weekahead.hardware.cards import Card, card_here
from weekahead.hardware.lengths import RowLengths, public_lengths
from weekahead.hardware.memory import (
    Part,
    Remedy,
    TrainingSettings,
    Verdict,
    memory_parts,
    peak_bytes,
    remedies,
    verdict_of,
)
from weekahead.hardware.settings import training_settings
from weekahead.hardware.shapes import Shapes, shapes_of
from weekahead.hardware.speed import Duration, duration, model_flops
from weekahead.recipe import read_recipe
from weekahead.schema.manifests import TrainingResult
from weekahead.told_flags import check_fields

_CLEARLY = 0.8
"""Of the time: a smaller gain is within the estimate's range."""
MOST_ROWS = 64
"""No larger micro-batch is tried."""
_MOST_TOKENS = 131_072
_GIB = 2**30
_TRAINED_SHARE = 0.2
"""About what rows have; it decides the loss alone, a hundredth of the peak."""
_SURELY = 1.1
"""From this share of a card's memory on, an estimate that is right within 6 % cannot fit."""


@dataclass(frozen=True)
class Job:
    """A training to estimate."""

    name: str
    shapes: Shapes
    settings: TrainingSettings
    lengths: RowLengths
    cards: int = 1


@dataclass(frozen=True)
class Plan:
    """The estimate for one card."""

    card: Card
    parts: Sequence[Part]
    verdict: Verdict
    remedy: Remedy | None
    """The least change that fits; None if it fits as it is, or if nothing helps."""
    largest_rows: int
    """Rows of the longest length per micro-batch that fit."""
    largest_tokens: int
    """Tokens of the longest row that fit with the recipe's micro-batch."""
    time: Duration
    peak_tokens_per_second: float
    """The speed at which the model's own arithmetic would take all that the cards can do: the speed
    of a training divided by it is the model FLOPs utilization (MFU)."""
    faster: "Faster | None" = None
    """Other settings that fit and are clearly faster, with the same rows per step."""

    @property
    def peak(self) -> float:
        """Bytes."""
        return peak_bytes(self.parts)


class Faster(NamedTuple):
    """Settings that take less time."""

    flags: str
    peak: float
    time: Duration


def plan_for(job: Job, card: Card) -> Plan:
    """The estimate of `job` on `card`."""
    parts = _parts(job, job.settings, card)
    verdict = verdict_of(peak_bytes(parts), card.memory_bytes)
    fitting = (remedy for remedy in remedies(job.settings) if _fits(job, remedy.settings, card))
    return Plan(
        card=card,
        parts=parts,
        verdict=verdict,
        remedy=next(fitting, None) if verdict != "fits" else None,
        largest_rows=_largest_rows(job, card),
        largest_tokens=_largest_tokens(job, card),
        time=_time(job, job.settings, card),
        peak_tokens_per_second=_peak_speed(job, card),
        faster=_faster(job, card),
    )


def _faster(job: Job, card: Card) -> Faster | None:
    """The fastest micro-batch, with checkpointing or without, that fits; None if the recipe's is
    nearly as fast."""
    now = job.settings
    per_step = now.rows * now.accumulation
    found: list[Faster] = []
    most = min(per_step, MOST_ROWS)
    for rows in (rows for rows in range(1, most + 1) if per_step % rows == 0):
        for checkpointing in (True, False):
            other = replace(
                now, rows=rows, accumulation=per_step // rows, checkpointing=checkpointing
            )
            if _fits(job, other, card):
                peak = peak_bytes(_parts(job, other, card))
                found.append(Faster(_changes(now, other), peak, _time(job, other, card)))
    best = min(found, key=lambda each: each.time.seconds.high, default=None)
    clearly = _CLEARLY * _time(job, now, card).seconds.high
    return best if best and best.time.seconds.high < clearly else None


def _changes(now: TrainingSettings, other: TrainingSettings) -> str:
    flags: list[str] = []
    if other.rows != now.rows:
        flags.append(f"--per_device_train_batch_size {other.rows}")
        flags.append(f"--gradient_accumulation_steps {other.accumulation}")
    if other.checkpointing != now.checkpointing:
        flags.append(f"--activation_checkpointing {str(other.checkpointing).lower()}")
    return " ".join(flags)


def _time(job: Job, settings: TrainingSettings, card: Card) -> Duration:
    lengths = job.lengths
    return duration(job.shapes, settings, lengths.train, lengths.trained_share, card, job.cards)


def _peak_speed(job: Job, card: Card) -> float:
    rows, share = job.lengths.train, job.lengths.trained_share
    needed = sum(model_flops(job.shapes, job.settings, share * row, row) for row in rows)
    return job.cards * card.tflops * 1e12 * sum(rows) / needed


def _parts(
    job: Job, settings: TrainingSettings, card: Card, longest: int | None = None
) -> list[Part]:
    length = longest or job.lengths.longest
    return memory_parts(job.shapes, settings, length, job.lengths.trained_share, card)


def _fits(job: Job, settings: TrainingSettings, card: Card, longest: int | None = None) -> bool:
    peak = peak_bytes(_parts(job, settings, card, longest))
    return verdict_of(peak, card.memory_bytes) == "fits"


def _largest_rows(job: Job, card: Card) -> int:

    fitting = [
        rows
        for rows in range(1, MOST_ROWS + 1)
        if _fits(job, replace(job.settings, rows=rows), card)
    ]
    return max(fitting, default=0)


def _largest_tokens(job: Job, card: Card) -> int:
    low, high = 0, _MOST_TOKENS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(job, job.settings, card, middle) else (low, middle)
    return low


def lengths_of(dataset: str, base: str, turn_format: str) -> RowLengths:
    """The tokens of the training rows of `dataset`: a folder or file on disk, or the public rows.

    Raises ValueError for another dataset of the Hub, and what reading rows raises.
    """
    public = public_lengths(dataset)
    if public is not None:
        return public
    if not Path(dataset).exists():
        raise ValueError(
            f"{dataset} is not on this disk, so its rows cannot be measured; expected a folder or "
            "file of rows. For one on the Hub: .venv/bin/hf download --repo-type dataset"
        )
    from data_pipeline.dataset.load import load_dataset

    rows = load_dataset(dataset).train.train
    texts = [
        "".join(message["content"] for message in (*row["prompt"], *row["completion"]))
        for row in rows
    ]
    completions = sum(len(message["content"]) for row in rows for message in row["completion"])
    trained_share = completions / max(1, sum(map(len, texts)))
    tokenizer = _local_tokenizer(base, turn_format)
    if tokenizer is None:
        return RowLengths.by_characters([len(text) for text in texts], trained_share)
    from sft.training.dataset import row_lengths

    return RowLengths.counted(row_lengths(tokenizer, rows), trained_share)


def _local_tokenizer(base: str, turn_format: str) -> Any:
    """The base's tokenizer with its chat format; None if it is not on this disk."""
    from transformers import AutoTokenizer

    from weekahead.models.chat_format import apply_chat_format, chat_format

    if base == "models/smollm2":
        from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded

        base = str(ensure_embedded(DEFAULT_OUT))
    loader: Any = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError):
        return None
    return apply_chat_format(tokenizer, chat_format(turn_format))


def job_of(config: Path, dataset: str, flags: Mapping[str, str | None], count: int) -> Job:
    """What the recipe `config` with `flags` trains. Raises ValueError naming what is missing."""
    check_fields(config)
    recipe = read_recipe(config)
    given = {name: value for name, value in flags.items() if value is not None}
    check_numbers({**recipe, **given})
    base = flags.get("model_name_or_path") or recipe.get("model_name_or_path") or ""
    settings = training_settings(recipe, flags, count)
    lengths = lengths_of(dataset, base, flags.get("turn_format") or recipe.get("turn_format") or "")
    limit = int(flags.get("max_length") or recipe.get("max_length") or 0)
    return Job(config.stem, shapes_of(base), settings, lengths.checked(limit), count)


def estimate_of(training: Any, model: Any, base: str, lengths: Sequence[int]) -> Plan | None:
    """The estimate of a training whose arguments are parsed, on the GPU that is here.

    None without a GPU of the table, or for a base whose sizes are not known. `training` and `model`
    are TRL's SFTConfig and ModelConfig.
    """
    card = card_here()
    if card is None:
        return None
    try:
        shapes = shapes_of(base)
    except ValueError:
        return None
    fields = {**vars(model), **vars(training)}
    settings = training_settings(fields, {})
    rows = RowLengths.counted(lengths, _TRAINED_SHARE)
    return plan_for(Job(base, shapes, settings, rows, training.world_size), card)


def check_plan(plan: Plan) -> str:
    """The estimate in a line. Raises ValueError, with the remedy, if it is far above the card."""
    low, high = plan.time.tokens_per_second
    line = (
        f"estimate: peak {plan.peak / _GIB:.1f} of {plan.card.memory_bytes / _GIB:.1f} GiB "
        f"({plan.verdict}), {low:,.0f} to {high:,.0f} tokens/s"
    )
    if plan.peak < _SURELY * plan.card.memory_bytes:
        return line
    remedy = plan.remedy.flags if plan.remedy else "a larger card"
    raise ValueError(f"{line}; this would run out of memory: take {remedy}")


def beside_the_truth(plan: Plan, result: TrainingResult) -> str:
    """The estimate beside what was measured, in a line."""
    low, high = plan.time.tokens_per_second
    peak, speed = result.get("peak_memory_bytes"), result.get("tokens_per_second")
    was = "unknown" if peak is None else f"{peak / _GIB:.1f} GiB"
    ran = "unknown" if speed is None else f"{speed:,.0f} tokens/s"
    return (
        f"peak memory {was}, estimated {plan.peak / _GIB:.1f}; {ran}, estimated {low:,.0f} to "
        f"{high:,.0f}"
    )
