"""`accelerate launch` for the Makefile: it passes signals on, and ends as its worker ends.

    python -m weekahead.launch --config_file accelerate_configs/cpu.yaml -m sft.train ...

By itself the launcher leaves its worker behind when it gets SIGTERM, prints a traceback for Ctrl-C
and for a worker that failed, and loses the worker's exit status. The arguments are the launcher's.
"""

import logging
import os
import signal
import sys
from importlib import import_module
from types import FrameType

from weekahead.deepspeed_package import missing_line
from weekahead.interrupts import HANGUP, LAUNCHER, SIGNALS

_STOP_SECONDS = 3600
"""How long several workers have for a checkpoint after a signal; a second signal does not wait."""

_TELLS_OF_WORKERS = "torch.distributed.elastic.multiprocessing.api"
_UNSAID = tuple(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL")
    if hasattr(signal, name)
)
"""What ends a command without a word of it; SIGKILL may come from a system without memory."""


def _pass_on(number: int, frame: FrameType | None) -> None:
    """Give a signal to the workers; without one there is nothing that has to come to its end."""
    del frame
    import psutil

    workers = psutil.Process().children()
    if not workers:
        os.write(2, b"\nlaunch: interrupted before the command began\n")
        os._exit(128 + number)
    for worker in workers:
        worker.send_signal(number)


def exit_status(error: BaseException) -> int:
    """The worker's exit status in what the launcher raises; 128 plus the number of a signal."""
    failure = getattr(error, "get_first_failure", None)  # of torch's ChildFailedError
    if failure:
        code = failure()[1].exitcode
    else:
        number = getattr(error, "sigval", None)  # of torch's SignalException
        code = getattr(error, "returncode", None) if number is None else -number
    if code is None and isinstance(error, SystemExit):
        code = error.code
    if code is None or isinstance(code, str):
        code = int(code is not None)
    return 128 - code if code < 0 else code


def _launch() -> int:
    """Start the workers, wait for them, and return the worker's exit status."""
    from subprocess import CalledProcessError

    # torch kills workers that save for longer than 30 s: so long a step may take alone.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_STOP_SECONDS))
    # What torch says of a worker that ended would follow the worker's own last line.
    logging.getLogger(_TELLS_OF_WORKERS).addFilter(lambda _: False)
    launcher = import_module("accelerate.commands.launch")  # it has no types
    # It warns of each default that it takes; the files of accelerate_configs/ mean them.
    logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)
    try:
        launcher.main()
    except (CalledProcessError, SystemExit) as error:
        return exit_status(error)
    except ImportError as error:
        if "DeepSpeed" not in str(error):
            raise
        os.write(2, f"launch: {missing_line('the accelerate config')}\n".encode())
        return 2
    except Exception as error:
        if not hasattr(error, "get_first_failure") and not hasattr(error, "sigval"):
            raise
        return exit_status(error)
    return 0


def main() -> int:
    """The command; the exit status is the worker's."""
    for number in SIGNALS:
        if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _pass_on)
    os.environ[LAUNCHER] = f"{os.environ.get(LAUNCHER, '')} {os.getpid()}"
    status = _launch()
    if status - 128 in _UNSAID:
        name = signal.Signals(status - 128).name
        line = f"launch: the command was killed by {name}; the same command goes on"
        os.write(2, f"\n{line}\n".encode())
    return status


if __name__ == "__main__":
    sys.exit(main())
