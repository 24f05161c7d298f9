"""What every command shares: flags from option dataclasses, error handling, logging."""

import argparse
import contextlib
import dataclasses
import io
import logging
import math
import os
import sys
import time
import types
import typing
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TextIO, TypeVar

from weekahead.distributed import is_loss_of_another
from weekahead.env_file import load_env
from weekahead.files import unopened, with_remedy
from weekahead.interrupts import Interrupted, close_progress_bars, listening, noted
from weekahead.redaction import without_secrets
from weekahead.task.times import YEARS
from weekahead.visible import one_line, visible

_LAUNCHER_SECONDS = 10.0
"""How long a launcher may take to notice that a process has ended."""
_LARGEST = 2**63 - 1
"""Of the whole numbers that a flag takes."""
_SHOWN = 100
"""Characters of a text that an error repeats."""

Options = TypeVar("Options")

EXPECTED_ERRORS = (ValueError, OSError)
"""Errors that a user can repair: the message names value, expectation and remedy."""
MODEL_ERRORS = (*EXPECTED_ERRORS, RuntimeError)
"""For commands that load a model: torch raises RuntimeError for a GPU that is full or broken."""


def run_command(
    name: str,
    work: Callable[[], int],
    *,
    errors: tuple[type[Exception], ...] = EXPECTED_ERRORS,
    resumable: bool = False,
    out_of_memory_hint: str = "use a machine with more memory",
) -> int:
    """Load `.env`, do `work` and return its exit status.

    One of `errors`, or a full disk, is printed as one line, without secrets, on standard error and
    gives 2; an interrupt gives 128 plus the number of its signal (130 for Ctrl-C, 143 for SIGTERM).
    `resumable` says that the same command goes on where it stopped. `out_of_memory_hint` is the
    remedy for a GPU whose memory is too small.
    """
    print_any_character()
    remedy = "; the same command goes on where it stopped" if resumable else ""
    line = f"{name}: interrupted{{}}{remedy}"
    try:
        with listening(line.format("")):
            load_env()
            return work()
    except Exception as error:
        is_ours = isinstance(error, errors) and not isinstance(error, OSError)
        # Every library has an error of its own for a full disk.
        told = error if is_ours else with_remedy(error)
        if not isinstance(told, (*errors, OSError)):
            raise
        if is_loss_of_another(error):
            return _end_after_another(name, error)
        message = without_secrets(describe_error(told, out_of_memory_hint))
        _print_last(f"{name}: {' '.join(message.split())}")
        return 2
    except Interrupted as interrupt:
        if os.environ.get("RANK", "0") == "0":
            _print_last(line.format(interrupt.what))
        return interrupt.status
    except KeyboardInterrupt:
        _print_last(line.format(""))
        return 130


def _end_after_another(name: str, error: BaseException) -> int:
    """End since another process has; its line says why, and a launcher ends this one meanwhile."""
    if noted() is None:  # the launcher has not asked yet
        time.sleep(_LAUNCHER_SECONDS)
        reason = str(error).partition("\n")[0]
        _print_last(f"{name}: another process of this command, or the way to it, is lost: {reason}")
    return 2


def print_any_character() -> None:
    """Let standard output take every text, whatever its encoding: what it lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_last(line: str) -> None:
    """Print the line with which a command ends."""
    close_progress_bars()
    with contextlib.suppress(OSError):  # a terminal that is gone
        say(line, sys.stderr)


def say(line: str, file: TextIO | None = None) -> None:
    """Print one line at once; what others wrote into it cannot add a line or steer the terminal."""
    print(one_line(_encodable(line)), file=file, flush=True)


def for_terminal(text: str) -> str:
    """A text of several lines as `say` prints one."""
    return visible(_encodable(text))


def _encodable(text: str) -> str:
    """Halves of surrogate pairs escaped, as `print_any_character` lets the streams do."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def describe_error(error: BaseException, out_of_memory_hint: str) -> str:
    """What an error says; if a GPU's memory was too small, one sentence and the remedy.

    Half of a surrogate pair is how Python reads a name that the locale cannot hold.
    """
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):
        return (
            f"{error.object[:_SHOWN]!r} holds bytes that are no text in this locale; set "
            "LC_ALL=C.UTF-8, or choose a name of ASCII letters"
        )
    if isinstance(error, OSError):
        return unopened(error)
    if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
        return str(error)
    return f"{str(error).partition('. ')[0]}: {out_of_memory_hint}"


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str | None = None,  # noqa: A002 - argparse's own word
    choices: Sequence[str] | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of an options dataclass and what its flag needs; required without a `default`."""
    metadata = {"help": help, "choices": choices, "metavar": metavar}
    return dataclasses.field(default=default, metadata=metadata)


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Add a flag `--name` for each field of the dataclass `options`, with its type and default.

    A bool that is False by default becomes a switch, and a tuple takes one value or more. A field
    without default is a required flag.
    A flag that the parser has already (two stages may share one) is left as it is.
    """
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        settings = _flag_settings(field, hints[field.name])
        with contextlib.suppress(argparse.ArgumentError):  # the parser has it already
            parser.add_argument(f"--{field.name}", **settings)


def _flag_settings(field: "dataclasses.Field[Any]", hint: Any) -> dict[str, Any]:
    """What argparse's `add_argument` needs for one field."""
    settings: dict[str, Any] = {"help": field.metadata.get("help")}
    if hint is bool:
        return settings | {"action": "store_true"}
    if field.default is dataclasses.MISSING:
        settings["required"] = True
    else:
        settings["default"] = field.default
    for name in ("choices", "metavar"):
        if field.metadata.get(name) is not None:
            settings[name] = field.metadata[name]
    if typing.get_origin(hint) is tuple:
        settings["nargs"] = "+"
        hint = typing.get_args(hint)[0]
    return settings | {"type": _value_type(hint)}


def read_options(arguments: argparse.Namespace, options: type[Options]) -> Options:
    """The dataclass `options` with the values that `add_options` let the parser read."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options):  # pyright: ignore[reportArgumentType]
        value = getattr(arguments, field.name)
        is_list = isinstance(value, list)  # what argparse makes of several values
        values[field.name] = tuple(typing.cast("list[Any]", value)) if is_list else value
    return options(**values)


def run_with_options(
    name: str,
    parser: argparse.ArgumentParser,
    options: type[Options],
    work: Callable[[Options], int],
    argv: Sequence[str] | None,
    errors: tuple[type[Exception], ...] = MODEL_ERRORS,
) -> int:
    """Read a command line into the dataclass `options`, and `work` with it (see `run_command`)."""
    add_options(parser, options)
    read = read_options(parser.parse_args(argv), options)
    configure_logging()
    return run_command(name, lambda: work(read), errors=errors)


def _value_type(hint: Any) -> Callable[[str], Any]:
    """What turns the text of a flag into a value: `int | None` is read by int, a Literal by str."""
    if isinstance(hint, types.UnionType):
        hint = next(member for member in typing.get_args(hint) if member is not type(None))
    if hint is date:
        return parse_day
    if hint is int:
        return whole_number
    return str if typing.get_origin(hint) is typing.Literal else hint


def whole_number(text: str) -> int:
    """A whole number of the command line. Raises ArgumentTypeError for a text that is not one.

    So is one that no count, size or seed has.
    """
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or abs(number) > _LARGEST:
        raise argparse.ArgumentTypeError(
            f"invalid int value: {text[:_SHOWN]!r}; expected a whole number, at most {_LARGEST}"
        )
    return number


def positive_number(text: str) -> float:
    """A number of the command line above 0. Raises ArgumentTypeError for any other text."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text[:_SHOWN]!r} is not a finite number above 0; expected one such as 1.5"
        )
    return number


def parse_day(text: str) -> date:
    """A date of the command line. Raises ArgumentTypeError for a text that is not one.

    So is a day whose weeks Python's calendar does not have.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; expected YYYY-MM-DD") from None
    if not YEARS[0] <= day.year <= YEARS[1]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is too far away; expected a year from {YEARS[0]} to {YEARS[1]}"
        )
    return day


class _WithoutSecrets(logging.Formatter):
    """Messages and tracebacks without secrets and control characters, whoever wrote them."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(without_secrets(super().format(record)))


def configure_logging() -> None:
    """Print log messages of level INFO and above, without what libraries repeat in every run.

    Of several processes only the first prints them; the others print errors.
    """
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_WithoutSecrets("%(message)s"))
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request to the Hub
    logging.getLogger("gguf").setLevel(logging.WARNING)  # it logs its byte order
    # On a CPU with bf16 products it looks for a kernel on the Hub; the one built in does the work.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # TRL uses two names that transformers has changed.
    warnings.filterwarnings(
        "ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning
    )


def new_parser(description: str | None, command: str) -> argparse.ArgumentParser:
    """The parser of `python -m command`; its help shows `description` with its own line breaks."""
    print_any_character()
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=description,
        formatter_class=formatter,
        allow_abbrev=False,  # --max_new would be taken for --max_new_tokens
    )


def model_arguments(
    description: str | None, command: str, out: str | None
) -> argparse.ArgumentParser:
    """A parser with the flags that name a model and its rows, and `--out` if `out` says its use."""
    parser = new_parser(description, command)
    parser.add_argument("--config", type=Path, required=True, help="recipe that names the base")
    parser.add_argument(
        "--adapter", required=True, help="folder, user/name[@revision], or none for the base"
    )
    parser.add_argument("--dataset", required=True, help="folder, .jsonl file or Hub id")
    if out:
        parser.add_argument("--out", type=Path, required=True, help=out)
    return parser
