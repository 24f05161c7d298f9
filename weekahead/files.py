"""Files that are whole or absent: atomic writes, JSONL with line numbers, hashes, `.env`."""

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

Row = dict[str, Any]
"""One JSON object whose keys nobody here knows; weekahead.schema has types for the others."""


@contextmanager
def replacing(path: Path | str, mode: str = "w") -> Generator[IO[Any]]:
    """Open a temporary file beside `path` and rename it over `path` when the block ends well.

    After an error or an interrupt the old file stands as it was. Text is UTF-8 with "\\n".
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files only their owner can read; a result is for everyone the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write `text` whole or not at all."""
    with replacing(path) as file:
        file.write(text)


def write_json(path: Path | str, value: Any) -> None:
    """Write one JSON value, indented, whole or not at all.

    NaN is an error: an unknown value is null.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSONL, whole or not at all, and return how many there were."""
    count = 0
    with replacing(path) as file:
        for row in rows:
            file.write(_json_line(row))
            count += 1
    return count


def append_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a log and force them to disk; what was paid for is never rewritten."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("".join(map(_json_line, rows)))
        file.flush()
        os.fsync(file.fileno())


def _json_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_jsonl(path: Path | str) -> list[Row]:
    """All rows of a JSONL file in UTF-8; blank lines are skipped.

    Raises ValueError naming file and line for text that is not UTF-8, not JSON or not an object.
    """
    return list(iter_jsonl(path))


def iter_jsonl(path: Path | str) -> Iterator[Row]:
    """The rows of `read_jsonl` one after another, for a file that need not fit into memory."""
    for number, line in _lines(path):
        if line.strip():
            yield _row(path, number, line)


def read_log(path: Path | str) -> list[Row]:
    """The rows of an append-only log; a last line cut off by an interrupt is removed from it.

    Raises ValueError for a bad line anywhere else: that is damage and not an interrupt.
    """
    path = Path(path)
    if not path.exists():
        return []
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    return read_jsonl(path)


def _lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, without line ends and without a BOM."""
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not UTF-8 (byte {line[error.start]:#04x} at column "
                    f"{error.start + 1}); convert the file, for example: "
                    f"iconv -f WINDOWS-1252 -t UTF-8 {path}"
                ) from None
            yield number, text.removesuffix("\n")


def _row(path: Path | str, number: int, line: str) -> Row:
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}); "
            "the line may be cut off: write the file again or remove the line"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(
            f"{path}, line {number}: expected a JSON object, found {type(value).__name__}"
        )
    return cast("Row", value)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file in hex, as `sha256sum` prints it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_env(path: Path | str = ".env") -> list[str]:
    """Put the `NAME=value` lines of a `.env` file into the environment; return the names it set.

    A variable that is already set wins, and an empty value sets nothing (W&B takes a variable that
    is set but empty for an address). Quotes around a value and a leading `export` are dropped.
    Raises ValueError naming file and line, never the value, for a line of another form.
    """
    names: list[str] = []
    if not Path(path).exists():
        return names
    for number, line in _lines(path):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip().strip("'\"")
        if not equals or not name.isidentifier():
            raise ValueError(f"{path}, line {number}: expected NAME=value")
        if value and name not in os.environ:
            os.environ[name] = value
            names.append(name)
    return names
