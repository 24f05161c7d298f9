"""The model that was loaded last, kept for the next of several commands in one process."""

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weekahead.models.precision import Precision

if TYPE_CHECKING:
    from weekahead.models.loading import Adapter, Base


@dataclass(frozen=True)
class Request:
    """What a model is loaded for: the arguments of `load_for_generation`."""

    base: "Base"
    adapter: "Adapter | None"
    precision: Precision
    cached_tokens: int


@dataclass(frozen=True)
class Loaded:
    """A model, how its weights are held, and what it was loaded for."""

    model: Any
    weights_form: str
    request: Request
    room: int | None = None
    """On a GPU a quantized base is dequantized if a request has at most so many cached tokens. None
    for a model of one form."""

    def serves(self, other: Request) -> bool:
        """Whether `other` would load the same model."""
        own = self.request
        if (own.base, own.adapter, own.precision) != (other.base, other.adapter, other.precision):
            return False
        if self.room is None:
            return True
        return (own.cached_tokens <= self.room) == (other.cached_tokens <= self.room)


class KeptModel:
    """A place for one model; shut unless somebody opens it, since two models may not fit."""

    def __init__(self) -> None:
        self.open = False
        self._loaded: Loaded | None = None

    def find(self, request: Request) -> Loaded | None:
        """The kept model if it serves; if not, it is dropped, since another will be loaded."""
        if self._loaded and not self._loaded.serves(request):
            self.drop()
        return self._loaded

    def keep(self, loaded: Loaded) -> None:
        """Keep a model, if this place is open."""
        if self.open:
            self._loaded = loaded

    def drop(self) -> None:
        """Free the memory of the kept model."""
        if self._loaded is None:
            return
        self._loaded = None
        gc.collect()
        import torch

        torch.cuda.empty_cache()


kept_model = KeptModel()
"""There is one, as there is one memory; `eval.steps` opens it."""
