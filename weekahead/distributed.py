"""Several processes that share one piece of work, one per GPU (`accelerate launch`, torchrun)."""

import os
import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from weekahead.locks import sole_writer

_TIMEOUT = timedelta(days=7)
"""How long one waits for the slowest. If one dies, the launcher ends the others at once."""
_LOSS = re.compile(r"\bgloo\b|\bNCCL\b|TCPStore|by peer|Broken pipe")


@dataclass(frozen=True)
class Process:
    """Which process this is, counted from 0, and how many there are."""

    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process does what must be done once."""
        return self.rank == 0

    def share(self, text: str) -> str:
        """The `text` of the first process, in every process."""
        if self.world_size == 1:
            return text
        from torch import distributed

        library: Any = distributed
        shared = [text]
        library.broadcast_object_list(shared, src=0)
        return shared[0]

    def barrier(self) -> None:
        """Go on when every process has come here."""
        if self.world_size > 1:
            from torch import distributed

            library: Any = distributed  # its annotations are incomplete
            library.barrier()

    def leave(self) -> None:
        """Leave the others when all have come here: the last thing that they do together.

        A process that is gone before can make the others abort, with an exit status of its own.
        """
        if self.world_size > 1:
            from torch import distributed

            self.barrier()
            library: Any = distributed
            library.destroy_process_group()


def is_loss_of_another(error: BaseException) -> bool:
    """Whether an error of torch says that another process, or the connection to it, is gone."""
    together = os.environ.get("WORLD_SIZE", "1") != "1"
    return together and isinstance(error, RuntimeError) and bool(_LOSS.search(str(error)))


@contextmanager
def sole_writer_of_all(folder: Path, process: Process) -> Generator[None]:
    """`sole_writer` for all processes: the first one takes the lock, and if it cannot, all end.

    The processes must have met. Raises OSError in the first one, which says why; the others end
    without a word, with exit status 2.
    """
    with ExitStack() as stack:
        refusal = None
        if process.first:
            try:
                stack.enter_context(sole_writer(folder))
            except OSError as error:
                refusal = error
        if process.share("yes" if refusal else ""):
            process.leave()
            raise refusal or SystemExit(2)
        yield


def launched_process() -> Process:
    """This process among those that were launched together, if they have met."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 or "RANK" not in os.environ:
        return Process()
    return Process(int(os.environ["RANK"]), world_size)


@contextmanager
def process_group() -> Generator[Process]:
    """Join the processes that were launched together, and leave them when the block ends.

    They meet over gloo, with GPUs or without, since all that they do together is wait.
    """
    process = launched_process()
    if process.world_size == 1:
        yield process
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=_TIMEOUT)
    try:
        yield process
    finally:
        if torch.distributed.is_initialized():  # see `leave`
            torch.distributed.destroy_process_group()


def select_gpu() -> None:
    """Leave this process its own GPU alone (the first, if it is the only process).

    Call it before anything looks at the GPUs. If CUDA_VISIBLE_DEVICES is set to nothing, it stays
    so. It has not been run on several GPUs yet.
    """
    rank = os.environ.get("LOCAL_RANK", "0")
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [rank] if setting is None else setting.split(",")[int(rank) :][:1]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
