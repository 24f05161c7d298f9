"""The log of paid answers: append-only JSONL, one line per answer, accepted or not.

Of every line only its key and its offset in the file are kept in memory; the text is read from the
file when it is wanted.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import NamedTuple, cast

from data_pipeline.teacher.judgement import judge_row
from data_pipeline.teacher.prompts import AnswerKind, fingerprint, without_thought_and_space
from weekahead.files import unwritable, write_all
from weekahead.locks import check_writable
from weekahead.schema.rows import TeacherAnswerRow
from weekahead.schema.shape import has_shape
from weekahead.task.record import Record

_REQUIRED = tuple(sorted(TeacherAnswerRow.__required_keys__))


class _Line(NamedTuple):
    """A whole line of a log: the offset of its first byte, its row, and the offset behind it."""

    start: int
    row: TeacherAnswerRow
    end: int


class TeacherLog:
    """The answers in a log by the key of their request; to append to it, open it with `writing`.

    The file need not exist, and a last line that is still being written is passed over. Raises
    ValueError naming file and line for a line that is not an answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._by_question: dict[str, list[int]] = {}
        self.end = 0
        """Bytes up to the end of the last whole line."""
        for line in _lines(path):
            self._index(line.row, line.start)
            self.end = line.end

    @property
    def empty(self) -> bool:
        """Whether no request was ever answered here."""
        return not self._offsets

    def row(self, key: str) -> TeacherAnswerRow | None:
        """The logged answer to the request with this key, or None."""
        offset = self._offsets.get(key)
        return None if offset is None else _row_at(self.path, offset)

    def rows(self, question: str, keys: Iterable[str]) -> list[TeacherAnswerRow]:
        """All logged answers to one question, whatever their limit, in the order they came.

        `question` is the SHA-256 of the request without its limit. `keys` are those of requests
        that ask it: logs of older versions have nothing else to find an answer by.
        """
        offsets = set(self._by_question.get(question, ()))
        offsets.update(self._offsets[key] for key in keys if key in self._offsets)
        return [_row_at(self.path, offset) for offset in sorted(offsets)]

    def _index(self, row: TeacherAnswerRow, start: int) -> None:
        self._offsets[row["key"]] = start
        if question := row.get("question_sha256"):
            self._by_question.setdefault(question, []).append(start)


class OpenLog(TeacherLog):
    """A log that this process alone may append to."""

    def __init__(self, path: Path, file: RawIOBase) -> None:
        super().__init__(path)
        self._file = file
        file.truncate(self.end)
        self._synced = self.end

    def append(self, row: TeacherAnswerRow) -> None:
        """Write an answer to the end of the file, so that the end of this process cannot lose it.

        `files.append_jsonl` would also wait for the disk, some milliseconds in which no other
        answer is taken; `sync` does that for many answers at once. Raises OSError, such as for a
        full disk.
        """
        line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
        try:
            write_all(self._file, line)
        except OSError as error:
            self._file.truncate(self.end)
            raise unwritable(self.path, error) from error
        self._index(row, self.end)
        self.end += len(line)

    def sync(self) -> None:
        """Force what was appended to the disk, so that a power cut cannot lose it either."""
        end = self.end
        if end > self._synced:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise unwritable(self.path, error) from error
            self._synced = end


@contextmanager
def writing(path: Path) -> Iterator[OpenLog]:
    """The log at `path` for the one process that may append to it.

    A last line that was cut off is removed. Raises BlockingIOError if another process has it open
    for writing, ValueError as `TeacherLog` does.
    """
    import fcntl

    try:
        check_writable(path.parent)  # answers cost money: not the first one may be lost
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab", buffering=0)
    except OSError as error:
        raise error if error.strerror is None else unwritable(path, error) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"{path} is being written by another process; one teacher per log: wait for it, or "
                "stop it"
            ) from None
        log = OpenLog(path, file)
        try:
            yield log
        finally:
            log.sync()


class AnswerIndex:
    """The answers of one log by the record they belong to, for the stage that builds datasets.

    Raises ValueError if there is no answer, and, naming file and line, for a line that is not an
    answer or is of another kind than the first.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.kind: AnswerKind = "hindsight"
        models: dict[str, None] = {}  # a set that keeps its order
        self._places: dict[tuple[str, str], list[int]] = {}
        for number, line in enumerate(_lines(self.path), start=1):
            row = line.row
            if number > 1 and row["kind"] != self.kind:
                raise ValueError(
                    f"{path}, line {number}: kind {row['kind']!r} among answers of kind "
                    f"{self.kind!r}; hindsight and forecast never share a log: sort them apart"
                )
            self.kind = row["kind"]
            served = row.get("served_model")
            models[f"{row['model']} (served as {served})" if served else row["model"]] = None
            self._places.setdefault((row["id"], row["prompt_sha256"]), []).append(line.start)
        if not models:
            raise ValueError(
                f"{path}: no answers; ask a teacher first (python -m data_pipeline.teacher)"
            )
        names = " and ".join(models)
        self.told = self.kind == "hindsight"
        self.teacher = f"{names}, told the label" if self.told else names
        """Who answered, as a dataset names it."""

    def find(self, record: Record) -> str | None:
        """The accepted answer to exactly this record as it is now, without <think> blocks.

        None if there is none; the latest of several. An answer that an older version accepted is
        judged again by today's rules.
        """
        accepted = (row for row, reason in self._judged(record) if reason is None)
        row = next(accepted, None)
        return None if row is None else without_thought_and_space(row["answer"])

    def latest(self, record: Record) -> TeacherAnswerRow | None:
        """The accepted answer to this record; without one, the last that came; None for none."""
        judged = list(self._judged(record))
        accepted = [row for row, reason in judged if reason is None]
        rows = accepted or [row for row, _ in judged]
        return rows[0] if rows else None

    def reason(self, record: Record) -> str | None:
        """Why `find` has none: "not asked", or why the last answer was rejected; None if it has
        one.
        """
        reasons = [reason for _, reason in self._judged(record)]
        return None if None in reasons else (reasons or ["not asked"])[0]

    def _judged(self, record: Record) -> Iterator[tuple[TeacherAnswerRow, str | None]]:
        """The answers to a record as it is now, the latest first, and why each is not accepted."""
        label = record.label if self.kind == "hindsight" else None
        subject = (record.id, fingerprint(record, self.kind))
        for start in reversed(self._places.get(subject, ())):
            row = _row_at(self.path, start)
            yield row, judge_row(row, label)


def _lines(path: Path) -> Iterator[_Line]:
    """Every whole line of a log; nothing if there is no log."""
    if not path.exists():
        return
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            row = _parse(line)
            if row is None:
                raise ValueError(
                    f"{path}, line {number}: not an answer of the teacher; every line must be one, "
                    "but for a last one that was cut off: move the damaged line to another file"
                )
            yield _Line(start, row, start + len(line))
            start += len(line)


def _parse(line: bytes) -> TeacherAnswerRow | None:
    """The row of a line; None if it is not an answer."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and all(key in row for key in _REQUIRED)
    whole = whole and has_shape(row, TeacherAnswerRow)
    return cast("TeacherAnswerRow", row) if whole else None


def _row_at(path: Path, offset: int) -> TeacherAnswerRow:
    with path.open("rb") as file:
        file.seek(offset)
        return json.loads(file.readline())
