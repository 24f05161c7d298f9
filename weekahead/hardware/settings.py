"""The settings of a training that decide its memory and time, from a recipe and flags."""

from collections.abc import Mapping
from typing import cast

from weekahead.hardware.memory import TrainingSettings
from weekahead.hardware.shapes import PROJECTIONS

_FALSE = ("false", "no", "0", "f", "n", "none")


def training_settings(
    recipe: Mapping[str, object], flags: Mapping[str, str | None], cards: int = 1
) -> TrainingSettings:
    """The settings of a recipe with `flags`, for one of `cards`: the rows per step stay.

    Raises ValueError if the rows of a step cannot be shared between the cards.
    """
    values = _Values(recipe, flags)
    rows = values.number("per_device_train_batch_size", 8)
    accumulation = values.number("gradient_accumulation_steps", 1)
    if accumulation % cards:
        raise ValueError(
            f"{rows} x {accumulation} rows per step cannot be shared between {cards} cards; take a "
            f"--gradient_accumulation_steps that {cards} divides"
        )
    steps = values.number("max_steps", -1)
    targets = values.names("lora_target_modules")
    return TrainingSettings(
        rank=values.number("lora_r", 16),
        rows=rows,
        accumulation=accumulation // cards,
        epochs=float(values.text("num_train_epochs", "3")),
        max_steps=steps if steps > 0 else None,
        in_4bit=values.switch("load_in_4bit"),
        double_quantized=values.switch("use_bnb_nested_quant"),
        dropout=float(values.text("lora_dropout", "0.05")) > 0,
        checkpointing=values.switch("activation_checkpointing"),
        eight_bit_optimizer="8bit" in values.text("optim", "").lower(),
        targets=tuple(name for name in PROJECTIONS if name in targets) or PROJECTIONS,
    )


class _Values:
    """A recipe's fields, of which flags are stronger."""

    def __init__(self, recipe: Mapping[str, object], flags: Mapping[str, str | None]) -> None:
        self._values: dict[str, object] = {**recipe}
        self._values |= {name: "true" if value is None else value for name, value in flags.items()}

    def text(self, name: str, default: str) -> str:
        return str(self._values.get(name, default))

    def number(self, name: str, default: int) -> int:
        return int(float(self.text(name, str(default))))

    def switch(self, name: str) -> bool:
        return self.text(name, "false").lower() not in _FALSE

    def names(self, name: str) -> list[str]:
        stated = self._values.get(name, [])
        if isinstance(stated, list):
            return [str(part) for part in cast("list[object]", stated)]
        return str(stated).split()
