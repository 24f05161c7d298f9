"""Arithmetic and time of a QLoRA training on one card, from the lengths of its rows."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from weekahead.hardware.cards import Card
from weekahead.hardware.memory import TrainingSettings
from weekahead.hardware.shapes import Shapes

_SPREAD = 0.15
"""Published and measured speeds lie this far to either side of a card's efficiency."""
_HOST = (0.10, 0.22)
"""Seconds in which Python launches the kernels of 32 layers once: 0.125 from a table of Qwen on an
A100, 0.15 to 0.22 measured on an H200's Xeon. A micro-batch takes three passes with checkpointing,
else two; however short its rows are, it is not faster than that."""
_LAYERS = 32


class Estimate(NamedTuple):
    """A range."""

    low: float
    high: float


class Duration(NamedTuple):
    """How long a training takes."""

    seconds: Estimate
    tokens: int
    """Of all epochs, without padding."""
    steps: int
    host_bound: float
    """The share of micro-batches in which the card waits for Python."""

    @property
    def tokens_per_second(self) -> Estimate:
        """Without padding."""
        return Estimate(self.tokens / self.seconds.high, self.tokens / self.seconds.low)


def flops(
    shapes: Shapes, settings: TrainingSettings, tokens: float, trained: float, length: float
) -> float:
    """FLOPs of `tokens` in rows of `length`, of which `trained` are completion.

        k N T + h V H C + 8 P T + 9 D L T^2     with checkpointing: k = h = 6
        4 N T + 6 V H C + 6 P T + 7 D L T^2     without

    2 forward and 2 for the gradient through each frozen weight, 2 more for the second forward pass;
    the fused loss computes its tiles twice; causal attention has 2 products forward and 5 backward.
    """
    again = settings.checkpointing
    adapter = shapes.adapter(settings.rank, settings.targets)
    return (
        (6 if again else 4) * shapes.linear * tokens
        + 6 * shapes.vocabulary * shapes.hidden * trained
        + (8 if again else 6) * adapter * tokens
        + (9 if again else 7) * shapes.queries * shapes.layers * tokens * length
    )


def model_flops(shapes: Shapes, settings: TrainingSettings, trained: float, length: float) -> float:
    """FLOPs that a row of `length` tokens, `trained` of them completion, needs: without
    recomputation, as model FLOPs utilization (MFU) counts them.

        4 N T + 4 V H C + 6 P T + 6 L D T^2

    The formula of benchmarks.flops, whose docstring has its source.
    """
    return (
        4 * shapes.linear * length
        + 4 * shapes.vocabulary * shapes.hidden * trained
        + 6 * shapes.adapter(settings.rank, settings.targets) * length
        + 6 * shapes.layers * shapes.queries * length**2
    )


def duration(
    shapes: Shapes,
    settings: TrainingSettings,
    lengths: Sequence[int],
    trained_share: float,
    card: Card,
    cards: int = 1,
) -> Duration:
    """The time of a training over rows of these lengths, in tokens, without loading and evaluation.

    Rows meet in micro-batches by chance, with a fixed seed; each is padded to its longest.
    """
    order = list(lengths)
    random.Random(0).shuffle(order)
    batches = [order[at : at + settings.rows] for at in range(0, len(order), settings.rows)]
    passes = 3 if settings.checkpointing else 2
    weights = passes * (0.5157 if settings.in_4bit else 2.0) * shapes.linear
    weights += passes * 2 * shapes.linear * settings.in_4bit
    fast = slow = 0.0
    waiting = 0
    for batch in batches:
        padded = len(batch) * max(batch)
        work = flops(shapes, settings, padded, trained_share * padded, max(batch))
        arithmetic = work / (card.tflops * 1e12 * card.efficiency_at(padded))
        reading = weights / (card.bandwidth * 1e12)
        host = [passes * seconds * shapes.layers / _LAYERS for seconds in _HOST]
        waiting += host[1] > arithmetic + reading
        fast += max(arithmetic / (1 + _SPREAD) + reading, host[0])
        slow += max(arithmetic / (1 - _SPREAD) + reading, host[1])
    micro_batches = settings.accumulation * cards
    steps_per_epoch = max(1, math.ceil(len(batches) / micro_batches))
    steps = math.ceil(steps_per_epoch * settings.epochs)
    epochs = settings.epochs
    if settings.max_steps:
        steps, epochs = settings.max_steps, settings.max_steps / steps_per_epoch
    scale = epochs / cards
    return Duration(
        seconds=Estimate(fast * scale, slow * scale),
        tokens=round(sum(lengths) * epochs),
        steps=steps,
        host_bound=waiting / len(batches),
    )
