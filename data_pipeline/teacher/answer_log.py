"""The log of paid answers: append-only JSONL, one line an answer, accepted or not, found by the request's key.

Of every line only its key and its place are kept in memory; the text is read from the file when it is wanted.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from data_pipeline.teacher.prompts import AnswerKind, clean, fingerprint
from weekahead.files import Row
from weekahead.task.record import Record

_NEEDED = ("key", "id", "kind", "prompt_sha256", "model", "answer", "accepted", "reason")


class TeacherLog:
    """The answers in a log by the key of their request; to append to it, open it with `writing`.

    The file need not exist, and a last line that is still being written is passed over. Raises ValueError naming
    file and line for a line that is no answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self.end = 0
        """Bytes up to the end of the last whole line."""
        for place, row, self.end in _lines(path):
            self._places[row["key"]] = place

    @property
    def empty(self) -> bool:
        """Whether no request was ever answered here."""
        return not self._places

    def row(self, key: str) -> Row | None:
        """The logged answer to the request with this key, or None."""
        place = self._places.get(key)
        return None if place is None else _row_at(self.path, place)


class OpenLog(TeacherLog):
    """A log that this process alone may append to."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(path)
        self._file = file
        file.truncate(self.end)
        self._synced = self.end

    def append(self, row: Row) -> None:
        """Write an answer to the end of the file: from here on the end of this process cannot lose it.

        `files.append_jsonl` would also wait for the disk, some milliseconds in which no other answer is taken;
        `sync` does that for many answers at once. Raises OSError, such as for a full disk.
        """
        line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if self._file.write(line) != len(line):
            self._file.truncate(self.end)
            raise OSError(
                f"{self.path}: only a part of an answer could be written; is the disk full?"
            )
        self._places[row["key"]] = self.end
        self.end += len(line)

    def sync(self) -> None:
        """Force what was appended to the disk, so that the end of the machine cannot lose it either."""
        end = self.end
        if end > self._synced:
            os.fsync(self._file.fileno())
            self._synced = end


@contextmanager
def writing(path: Path) -> Iterator[OpenLog]:
    """The log at `path` for the one process that may append to it; a last line that was cut off is removed.

    Raises BlockingIOError where another process has it open for writing, ValueError as `TeacherLog` does.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"{path} is being written by another process; one teacher a log: wait for it, or stop it"
            ) from None
        log = OpenLog(path, file)
        try:
            yield log
        finally:
            log.sync()


class AnswerIndex:
    """The answers of one log by the record they belong to, for the stage that builds datasets.

    Raises ValueError where there is no answer, and, naming file and line, for a line that is none or is of another
    kind than the first.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.kind: AnswerKind = "hindsight"
        models: dict[str, None] = {}  # a set that keeps its order
        self._accepted: dict[tuple[str, str], int] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        for number, (place, row, _) in enumerate(_lines(self.path), start=1):
            if number > 1 and row["kind"] != self.kind:
                raise ValueError(
                    f"{path}, line {number}: kind {row['kind']!r} among answers of kind {self.kind!r}; "
                    "hindsight and forecast never share a log: sort them apart"
                )
            self.kind = row["kind"]
            models[row["model"]] = None
            about = (row["id"], row["prompt_sha256"])
            if row["accepted"]:
                self._accepted[about] = place
            else:
                self._reasons[about] = row["reason"]
        if not models:
            raise ValueError(
                f"{path}: no answers; ask a teacher first (python -m data_pipeline.teacher)"
            )
        self.teacher = " and ".join(models) + (
            ", told the label" if self.kind == "hindsight" else ""
        )
        """Who answered, as a dataset names it."""

    def find(self, record: Record) -> str | None:
        """The accepted answer to exactly this record as it is now, without <think> blocks; the latest of several."""
        place = self._accepted.get(self._about(record))
        return None if place is None else clean(_row_at(self.path, place)["answer"])

    def reason(self, record: Record) -> str | None:
        """Why `find` has none: "not asked", or why the last answer was rejected; None where it has one."""
        about = self._about(record)
        return None if about in self._accepted else self._reasons.get(about, "not asked")

    def _about(self, record: Record) -> tuple[str, str]:
        return record.id, fingerprint(record, self.kind)


def _lines(path: Path) -> Iterator[tuple[int, Row, int]]:
    """(first byte, row, byte behind it) of every whole line of a log; nothing where there is none."""
    if not path.exists():
        return
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                [row[name] for name in _NEEDED]
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{path}, line {number}: not an answer of the teacher; every line but a last one that was cut "
                    "off must be one: move the damaged line to another file"
                ) from None
            yield place, row, place + len(line)
            place += len(line)


def _row_at(path: Path, place: int) -> Row:
    with path.open("rb") as file:
        file.seek(place)
        return json.loads(file.readline())
