"""The sizes of a base that memory and arithmetic follow from, without its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from weekahead.files import read_text

_TABLE = Path(__file__).with_name("bases.yaml")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shapes:
    """Sizes of a decoder with grouped heads and a gated MLP (Llama, Mistral, Qwen, SmolLM2)."""

    hidden: int
    mlp: int
    layers: int
    vocabulary: int
    queries: int
    """Query heads times head size."""
    keys: int
    """Key heads times head size."""
    tied: bool

    @property
    def linear(self) -> int:
        """Weights that are quantized: those of the projections of all layers."""
        return self.layers * sum(rows * columns for rows, columns in self.projections.values())

    @property
    def embedding(self) -> int:
        """Weights of embedding and head, which stay in 16 bits."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights but the norms."""
        return self.linear + self.embedding

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Name of a projection -> its input and output width."""
        attention = {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
        }
        mlp = {
            "gate_proj": (self.hidden, self.mlp),
            "up_proj": (self.hidden, self.mlp),
            "down_proj": (self.mlp, self.hidden),
        }
        return attention | mlp

    def adapter(self, rank: int, targets: tuple[str, ...] = PROJECTIONS) -> int:
        """Weights of an adapter of `rank` on the projections `targets` of all layers."""
        widths = [sum(self.projections[name]) for name in targets if name in self.projections]
        return self.layers * rank * sum(widths)


def shapes_of(base: str) -> Shapes:
    """The sizes of `base`: a folder, one that the recipes name, or one in the Hub's cache.

    Raises ValueError, naming the remedy, if its sizes are not known here.
    """
    config = Path(base) / "config.json"
    if config.is_file():
        return _from_config(_json(config), base)
    known = _known().get(base)
    if known is not None:
        return _from_config(known, base)
    cached = _cached_config(base)
    if cached is not None:
        return _from_config(_json(cached), base)
    raise ValueError(
        f"the sizes of {base} are not known here; download its config: .venv/bin/hf download "
        f"{base} config.json, or take a base of the recipes: {', '.join(_known())}"
    )


@cache
def _known() -> dict[str, Mapping[str, Any]]:
    text = _TABLE.read_text(encoding="utf-8")
    return cast("dict[str, Mapping[str, Any]]", yaml.safe_load(text))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return cast("Mapping[str, Any]", json.loads(read_text(path)))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); download it again") from error


def _cached_config(base: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base, "config.json")
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _from_config(config: Mapping[str, Any], base: str) -> Shapes:
    # A model that also sees keeps the sizes of its language model one level down.
    config = cast("Mapping[str, Any]", config.get("text_config") or config)
    try:
        heads = int(config["num_attention_heads"])
        head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
        return Shapes(
            hidden=int(config["hidden_size"]),
            mlp=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            vocabulary=int(config["vocab_size"]),
            queries=heads * head_size,
            keys=int(config.get("num_key_value_heads") or heads) * head_size,
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the config.json of {base} has no {error}; plan knows Llama, Mistral, Qwen and their "
            "relatives"
        ) from error
