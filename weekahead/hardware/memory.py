"""Peak memory of a card during QLoRA, part by part.

The parts and their bytes were worked out from the pinned versions of TRL, PEFT and bitsandbytes and
corrected by 20 measured peaks on an H200 (benchmarks/results/h200.jsonl): all within 6 %. Published
peaks of other trainers are met within 20 % (tests/weekahead/test_hardware.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from weekahead.hardware.cards import FUSED_GROUPED_HEADS, Card
from weekahead.hardware.shapes import Shapes

_NF4 = 1 / 2 + 1 / 64
"""Bytes per weight: 4 bits, and a constant of 8 bits for 64 weights."""
_DOUBLE_QUANTIZED = _NF4 + 1 / 16384
_SINGLE_QUANTIZED = 1 / 2 + 4 / 64
_CONTEXT = 0.5e9
"""CUDA's own, which torch does not count."""
_LOSS_TILE, _LOSS_VOCABULARY = 4096, 32_768
"""Positions, and tokens of the vocabulary, that TRL's fused loss computes at once."""
_FITS, _TIGHT = 0.85, 0.95
"""Of a card's memory; what is left is fragmentation."""

Verdict = Literal["fits", "tight", "does not fit"]


@dataclass(frozen=True)
class TrainingSettings:
    """What of a recipe decides its memory and its speed."""

    rank: int
    rows: int
    """Of a micro-batch."""
    accumulation: int
    epochs: float
    max_steps: int | None
    in_4bit: bool
    double_quantized: bool
    dropout: bool
    checkpointing: bool
    eight_bit_optimizer: bool
    targets: tuple[str, ...]
    full_logits: bool = False
    """Whether a trainer keeps the logits of all positions; this suite does not."""


class Part(NamedTuple):
    """One part of the peak."""

    name: str
    bytes: float


def memory_parts(
    shapes: Shapes, settings: TrainingSettings, longest: int, trained_share: float, card: Card
) -> list[Part]:
    """The parts of the peak with a micro-batch of the longest rows.

    `longest` is in tokens, `trained_share` the part of them that is completion.
    """
    tokens = settings.rows * longest
    per_weight = 2.0
    if settings.in_4bit:
        per_weight = _DOUBLE_QUANTIZED if settings.double_quantized else _SINGLE_QUANTIZED
    adapter = shapes.adapter(settings.rank, settings.targets)
    layer = layer_bytes(shapes, settings.targets if settings.dropout else ()) * tokens
    if settings.checkpointing:
        kept = 2 * shapes.hidden * shapes.layers * tokens + layer
    else:
        kept = shapes.layers * layer
    parts = [
        Part("weights of the layers", per_weight * shapes.linear),
        Part("embedding and head", 2 * shapes.embedding),
        Part("adapter and optimizer", (10 if settings.eight_bit_optimizer else 16) * adapter),
        Part("activations", kept + 4 * shapes.mlp * tokens),
        Part("loss", _loss_bytes(shapes, settings, tokens, trained_share)),
        Part("CUDA", _CONTEXT),
    ]
    if settings.in_4bit:
        parts.insert(1, Part("a dequantized layer", 4 * shapes.hidden * shapes.mlp))
    if card.capability < FUSED_GROUPED_HEADS and shapes.keys < shapes.queries:
        parts.insert(-1, Part("expanded keys and values", 4 * shapes.queries * tokens))
    return parts


def layer_bytes(shapes: Shapes, dropped_out: Sequence[str] = ()) -> int:
    """What one layer keeps for its backward pass, bytes per token, in 16-bit compute.

    Dropout in an adapter keeps a second copy of its input; `dropped_out` are the projections with
    such adapters. Measured on an H200 with Llama's 8B shapes: 188 kB without dropout, 260 kB with
    it in all seven; here 193 and 270.
    """
    plain = 14 * shapes.hidden + 4 * (shapes.hidden + shapes.keys) + 8 * shapes.mlp
    return plain + 2 * sum(shapes.projections[name][0] for name in dropped_out)


def _loss_bytes(
    shapes: Shapes, settings: TrainingSettings, tokens: int, trained_share: float
) -> float:
    if settings.full_logits:
        return 10.0 * shapes.vocabulary * tokens
    trained = trained_share * tokens
    return 3 * _LOSS_VOCABULARY * min(trained, _LOSS_TILE) + 6 * shapes.hidden * trained


def peak_bytes(parts: Sequence[Part]) -> float:
    """The sum of the parts."""
    return sum(part.bytes for part in parts)


def verdict_of(peak: float, memory: float) -> Verdict:
    """Whether a peak fits a card's memory."""
    if peak < _FITS * memory:
        return "fits"
    return "tight" if peak < _TIGHT * memory else "does not fit"


class Remedy(NamedTuple):
    """A change of the settings that takes less memory."""

    flags: str
    settings: TrainingSettings


def remedies(settings: TrainingSettings) -> list[Remedy]:
    """Changes in the order of what they cost, each with those before it; rows per step stay."""
    steps: list[Remedy] = []
    changed, flags = settings, list[str]()

    def add(flag: str, new: TrainingSettings) -> None:
        nonlocal changed
        changed = new
        flags.append(flag)
        steps.append(Remedy(" ".join(flags), new))

    if not settings.in_4bit:
        add("--load_in_4bit true", replace(changed, in_4bit=True, double_quantized=True))
    if not settings.checkpointing:
        add("--activation_checkpointing true", replace(changed, checkpointing=True))
    if settings.dropout:
        add("--lora_dropout 0", replace(changed, dropout=False))
    if not settings.eight_bit_optimizer:
        add("--optim paged_adamw_8bit", replace(changed, eight_bit_optimizer=True))
    if settings.rows > 1:
        per_step = settings.rows * settings.accumulation
        add(
            f"--per_device_train_batch_size 1 --gradient_accumulation_steps {per_step}",
            replace(changed, rows=1, accumulation=per_step),
        )
    return steps
