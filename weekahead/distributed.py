"""Several processes that share one piece of work: started by `accelerate launch` or torchrun, one a card."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

_PATIENCE = timedelta(days=7)
"""A process waits so long for the slowest one. Where one dies, the launcher ends the others at once."""


@dataclass(frozen=True)
class Process:
    """Which process this is, from 0, and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process does what must be done once."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()


@contextmanager
def shared() -> Iterator[Process]:
    """The share of this process. They meet over gloo, cards or none, since all they do together is wait."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield Process()
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Process(int(os.environ["RANK"]), count)
    finally:
        torch.distributed.destroy_process_group()


def select_gpu() -> None:
    """Leave this process the one card that is its own (the first, where it is alone), before anything looks at them.

    No card (CUDA_VISIBLE_DEVICES set to nothing) stays none. With several cards: not run yet.
    """
    rank = os.environ.get("LOCAL_RANK", "0")
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = [rank] if setting is None else setting.split(",")[int(rank) :][:1]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(cards)
