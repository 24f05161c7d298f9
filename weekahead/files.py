"""Files that are whole or absent: atomic writes, JSON and JSONL whose errors name file and line,
hashes."""

import codecs
import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, cast

_NAMES_SHOWN = 8
"""Files that are there, in an error about one that is not."""

Row = dict[str, Any]
"""One JSON object whose keys nobody here knows; weekahead.schema has types for the others."""


@contextmanager
def replacing(path: Path | str, mode: str = "w") -> Generator[IO[Any]]:
    """Open a temporary file beside `path` and rename it over `path` when the block ends well.

    After an error or an interrupt the old file stands as it was. Text is UTF-8 with "\\n".
    """
    path = Path(path)
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with _naming_unwritten(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with (
            _naming_unwritten(path),
            os.fdopen(handle, mode, encoding=encoding, newline=newline) as file,
        ):
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files only their owner can read; a result is for everyone the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        with _naming_unwritten(path):
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _naming_unwritten(path: Path) -> Generator[None]:
    """Name the file in an error of the disk: the system names none, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # it has a message of ours already
            raise
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        temporary = named is not None and named.name.startswith(f".{path.name}.")
        if named is None or temporary or named in (path, *path.parents):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: Exception) -> OSError:
    """The error to raise for a file or folder that could not be written, with the remedy.

    `error` is what the system or a library said. Of a full disk it says so.
    """
    number = error.errno if isinstance(error, OSError) else None
    reason = str(error).partition("\n")[0] if number is None else os.strerror(number)
    remedies = {
        errno.ENOSPC: "free some space on its disk",
        errno.EDQUOT: "free some space in your quota",
        errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
        errno.EIO: "check its disk",
        errno.ENOTDIR: "a file is where a folder should be: choose another name",
        errno.EEXIST: "a file is where a folder should be: choose another name",
        errno.EISDIR: "a folder is where a file should be: choose another name",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    remedy = remedies.get(number or 0, "make it writable, or choose another folder")
    if number is None:
        remedy = "check the space on its disk"
    return OSError(f"{path} could not be written ({reason}): {remedy}")


def unopened(error: OSError) -> str:
    """What to say of a file or folder that the system did not open: its name, why, and the remedy.

    The error's own text if it names no file, or is not of the system.
    """
    if error.filename is None or error.filename2 is not None or error.strerror is None:
        return str(error)
    path = Path(os.fsdecode(error.filename))
    if error.errno == errno.ENOENT:
        return _missing(path)
    remedies = {
        errno.EACCES: "change its permissions, or name another one",
        errno.EISDIR: "name a file in it",
        errno.ENOTDIR: "a file is where a folder should be; check the path",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{path}: {error.strerror}" + (f"; {remedy}" if remedy else "")


def _missing(path: Path) -> str:
    """What is missing, and what is there instead."""
    looked = "" if path.is_absolute() else f" in {Path.cwd()}"
    folder = path.parent
    if not folder.is_dir():
        return f"there is no {path}{looked}, nor its folder {folder}; check the path"
    with suppress(OSError):
        files = (each.name for each in folder.iterdir() if each.suffix == path.suffix)
        names = sorted(name for name in files if not name.startswith("."))
        shown = names if len(names) <= _NAMES_SHOWN else get_close_matches(path.name, names)
        if shown:
            return f"there is no {path}{looked}; beside it there are: {', '.join(shown)}"
    return f"there is no {path}{looked}; check the path"


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only writing brings."""
_NO_SPACE_TEXT = re.compile("|".join(f"{os.strerror(n)}|os error {n}\\b" for n in _NO_SPACE))
"""What stands in an error of a library of its own kind."""


def with_remedy(error: Exception, path: Path | str = "a file") -> Exception:
    """An error of a disk that takes no more as `unwritable` says it; any other one as it is.

    `path` is what was written, if the error names nothing.
    """
    if not isinstance(error, OSError):
        return unwritable(Path(path), error) if _NO_SPACE_TEXT.search(str(error)) else error
    if error.errno not in _NO_SPACE:
        return error
    name = path if error.filename is None else os.fsdecode(error.filename)
    return unwritable(Path(name), error)


@contextmanager
def naming_place(place: Path, temporary: Path) -> Generator[None]:
    """Say `place` in an error about the folder `temporary`, whose content is to be moved there.

    A disk that takes no more is said of `place` too, if the error names no file.
    """
    try:
        yield
    except Exception as error:
        told = with_remedy(error, place)
        text = str(told).replace(str(temporary), str(place))
        if not isinstance(told, OSError | ValueError) or text == str(error):
            raise
        raise (OSError if isinstance(told, OSError) else ValueError)(text) from error


def write_text(path: Path | str, text: str) -> None:
    """Write `text` whole or not at all."""
    with replacing(path) as file:
        file.write(_encodable(text))


def write_json(path: Path | str, value: Any) -> None:
    """Write one JSON value, indented, whole or not at all.

    NaN is an error: an unknown value is null.
    """
    write_text(path, _json(value, str(path), indent=2) + "\n")


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSONL, whole or not at all, and return how many there were."""
    count = 0
    with replacing(path) as file:
        for count, row in enumerate(rows, start=1):
            file.write(json_line(row, f"{path}, row {count}"))
    return count


def append_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a log and force them to disk; what was paid for is never rewritten.

    Raises ValueError as `json_line` does, and then appends none of them.
    """
    path = Path(path)
    lines = "".join(
        json_line(row, f"{path}, new row {number}") for number, row in enumerate(rows, start=1)
    ).encode()
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                write_all(file, lines)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(end)  # half a line would run into the next one
                raise


def write_all(file: RawIOBase, content: bytes) -> None:
    """Write `content` to an unbuffered file: a disk that gets full takes only a part at first."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def json_line(row: Mapping[str, Any], origin: str = "a row") -> str:
    """A row as one line of JSONL, with its line end.

    Raises ValueError naming `origin`, the row's id and the key for NaN and infinities.
    """
    name = f"{origin} ({row['id']})" if "id" in row else origin
    return _encodable(_json(row, name)) + "\n"


def _json(value: Any, origin: str, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        key = next(_not_finite(value), None)
        fault = f"{key}; expected a finite number, or null if it is not known" if key else error
        raise ValueError(f"{origin} is not written: {fault}") from None


def _not_finite(value: object, where: str = "") -> Iterator[str]:
    """The path of each number that JSON has not, with the number: "probs.up is nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where or 'the value'} is {value}"
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[object, object]", value).items():
            yield from _not_finite(inner, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(cast("Sequence[object]", value)):
            yield from _not_finite(inner, f"{where}[{number}]")


def _encodable(text: str) -> str:
    """`text` with half a surrogate pair as the escape that JSON reads back: UTF-8 has none.

    Models write such halves, and names of files that are not UTF-8 are read as such.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


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
    with _naming(path), Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield number, _decoded(path, line, number).removesuffix("\n")


def _decoded(path: Path | str, line: bytes, number: int) -> str:
    """A line as text; that of number 1 without a BOM."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        is_utf16 = number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise ValueError(
            f"{path}, line {number}: not UTF-8 (byte {line[error.start]:#04x} at column "
            f"{error.start + 1}); convert the file, for example: "
            f"iconv -f {'UTF-16' if is_utf16 else 'WINDOWS-1252'} -t UTF-8 {path}"
        ) from None


def _row(path: Path | str, number: int, line: str) -> Row:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}, line {number}: not JSON ({_json_fault(error)}); "
            "the line may be cut off: write the file again or remove the line"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(
            f"{path}, line {number}: expected a JSON object, found {type(value).__name__}"
        )
    return cast("Row", value)


def _json_fault(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


@contextmanager
def _naming(path: Path | str) -> Generator[None]:
    """Let an error of the disk name the file: that of a read does not, that of an open does."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def read_text(path: Path | str) -> str:
    """The text of a UTF-8 file, without a BOM.

    Raises ValueError naming file and line for another encoding, OSError naming the file.
    """
    with _naming(path):
        content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            _decoded(path, line, number)
        raise ValueError(f"{path}: not UTF-8") from None


def read_json(path: Path | str, remedy: str, *, finite: bool = True) -> object:
    """The one JSON value in a UTF-8 file; `finite`: NaN and Infinity are none.

    Raises ValueError naming the file, what is wrong and `remedy`, OSError naming the file.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant if finite else float)
    except (ValueError, RecursionError) as error:
        fault = f"line {error.lineno}, " if isinstance(error, json.JSONDecodeError) else ""
        found = "an empty file" if not text.strip() else f"not JSON: {fault}{_json_fault(error)}"
        raise ValueError(f"{path} cannot be read ({found}); {remedy}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file in hex, as `sha256sum` prints it."""
    with _naming(path), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
