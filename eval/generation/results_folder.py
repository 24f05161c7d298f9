"""A folder of results: rows in a log that survives an interrupt, and the manifest that says whose.

`ResultsFolder` is the same for answers (eval.generate) and for likelihoods (eval.likelihood).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, cast

from data_pipeline.dataset.load import EvalData
from weekahead.distributed import Process
from weekahead.files import append_jsonl, read_jsonl, read_log, sha256, write_json, write_jsonl
from weekahead.models.decoding import Completion
from weekahead.models.loading import Adapter
from weekahead.schema.file_names import GENERATIONS, MANIFEST
from weekahead.schema.manifests import (
    DatasetFacts,
    GenerationManifest,
    JsonObject,
    ResultsManifest,
    TrainingManifest,
    generation_manifest,
    read_json_object,
)
from weekahead.schema.rows import DatasetRow, GenerationRow, period, reference_text, user_text

ManifestT = TypeVar("ManifestT", bound=ResultsManifest)


@dataclass(frozen=True)
class ResultKind:
    """One kind of results: its files in a folder, and what starts that share them must agree on."""

    name: str
    """What a message calls the rows."""
    rows_file: str
    manifest_file: str
    identity: tuple[str, ...]
    """The keys of the manifest that must be equal."""
    remedy: str
    read_manifest: Callable[[JsonObject], Mapping[str, Any]]
    """Fills what manifests of older versions lack."""


ANSWERS = ResultKind(
    name="answers",
    rows_file=GENERATIONS,
    manifest_file=MANIFEST,
    identity=("adapter", "adapter_sha256", "base", "dataset", "generation", "backend"),
    remedy="Choose another RUN, or remove the folder to start over.",
    read_manifest=generation_manifest,
)


class ResultsFolder(Generic[ManifestT]):
    """The rows and the manifest of one run.

    Each of several processes appends to a part of its own. Call `resume`, then `begin` and `append`
    if rows are missing, then `finish`.
    """

    def __init__(
        self, path: Path, kind: ResultKind = ANSWERS, process: Process | None = None
    ) -> None:
        self.path = path
        self.kind = kind
        self.process = process or Process()
        self.stored: ManifestT | None = None
        """The manifest that an earlier start left with its rows."""
        self._manifest: ManifestT | None = None
        self._rows_path = path / kind.rows_file
        self._manifest_path = path / kind.manifest_file
        self._parts = f"{self._rows_path.stem}.part{{}}.jsonl"

    def resume(self, manifest: ManifestT) -> set[str]:
        """Check that an earlier start had the settings of `manifest`; return the ids of its rows.

        Raises ValueError that names what differs, and for rows without a manifest, so that rows of
        two experiments never mix. Nothing is changed then. After a start that failed before its
        first row there is nothing to mix with.
        """
        self.stored = self._read_stored()
        if self.stored:
            self._check_same(self.stored, manifest)
        form = self.stored.get("form") if self.stored else None
        self._manifest = cast("ManifestT", {**manifest, "form": form})
        self.process.barrier()  # nobody looks for parts while the first process gathers them
        if self.process.first:
            self._gather()
        self.process.barrier()
        if not self._rows_path.exists():
            return set()
        return {row["id"] for row in read_jsonl(self._rows_path)}

    def begin(self, weights_form: str, facts: Mapping[str, object] | None = None) -> None:
        """Write the manifest of an unfinished run, before its first row.

        `weights_form` says how the weights are held; `facts` are more fields of it. Raises
        ValueError if the rows that are there come from the same weights in another form: their
        arithmetic differs.
        """
        if self.process.first:
            stored_form = self.stored.get("form") if self.stored else None
            if stored_form not in (None, weights_form):
                raise ValueError(
                    f"{self.path} was begun on {stored_form}, and the GPU's free memory now makes "
                    f"it {weights_form}: give it the room it had then, or choose another RUN"
                )
            self._manifest = cast(
                "ManifestT", {**self.manifest, **(facts or {}), "form": weights_form}
            )
            write_json(self._manifest_path, {**self._manifest, "complete": False})
        self.process.barrier()  # no row before the manifest that says whose it is

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to this process's part: to the file itself if it is the only process."""
        part = self._parts.format(self.process.rank)
        alone = self.process.world_size == 1
        append_jsonl(self._rows_path if alone else self.path / part, map(dict, rows))

    def finish(
        self, order: Sequence[str], totals: Callable[[Sequence[JsonObject]], Mapping[str, Any]]
    ) -> ManifestT:
        """Put the rows into the order of these ids and complete the manifest with their `totals`.

        Waits for every process. The first one does the work; the others return their manifest.
        """
        self.process.barrier()
        manifest = self.manifest
        if not self.process.first:
            return manifest
        rows_by_id = self._gather()
        rows = [rows_by_id[row_id] for row_id in order]
        write_jsonl(self._rows_path, rows)
        manifest = cast("ManifestT", {**manifest, **totals(rows), "complete": True})
        write_json(self._manifest_path, manifest)
        return manifest

    @property
    def manifest(self) -> ManifestT:
        """The manifest of this start, or what became of it."""
        if self._manifest is None:
            raise RuntimeError(f"{self.path}: call resume() first")
        return self._manifest

    def _read_stored(self) -> ManifestT | None:
        if not any(self.path.glob(f"{self._rows_path.stem}*.jsonl")):
            return None
        if not self._manifest_path.exists():
            raise ValueError(
                f"{self.path} holds {self.kind.name} but no {self.kind.manifest_file} that says "
                f"whose. {self.kind.remedy}"
            )
        stored = read_json_object(self._manifest_path)
        return cast("ManifestT", self.kind.read_manifest(stored))

    def _check_same(self, stored: ManifestT, manifest: ManifestT) -> None:
        as_stored = self.kind.read_manifest(json.loads(json.dumps(manifest)))
        changes = differences(stored, as_stored, self.kind.identity)
        if changes:
            raise ValueError(
                f"{self.path} holds {self.kind.name} made with other settings: "
                f"{'; '.join(changes)}. {self.kind.remedy}"
            )

    def _gather(self) -> dict[str, JsonObject]:
        """The rows there are, by id, after putting all parts into one file.

        Only while no process appends. A line that an interrupt cut off is dropped. An interrupt of
        this loses nothing: parts go when their rows are in the one file. Raises ValueError for a
        damaged file.
        """
        parts = sorted(self.path.glob(self._parts.format("*")))
        rows = {row["id"]: row for path in [*parts, self._rows_path] for row in read_log(path)}
        if parts:
            write_jsonl(self._rows_path, rows.values())
        for part in parts:
            part.unlink()
        return rows


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]
) -> list[str]:
    """The `keys` whose values differ, each with both values."""
    changed = [key for key in keys if before.get(key) != _known_to(before.get(key), now.get(key))]
    return [f"{key}: {before.get(key)!r} is now {now.get(key)!r}" for key in changed]


_NULL_IS_UNKNOWN = ("revision", "content_sha256", "weights_sample_sha256")


def _known_to(before: object, now: object) -> object:
    """`now` as `before` can be compared with it: of two objects the keys that both know.

    Older files state fewer keys, and a server's base has no files here.
    """
    if not isinstance(before, dict) or not isinstance(now, dict):
        return now
    known = {key: now[key] for key in now if key in before}
    unknown = [key for key in _NULL_IS_UNKNOWN if None in (known.get(key), before.get(key))]
    return {**known, **{key: before[key] for key in unknown if key in before}}


def check_kind(folder: Path, kind: str) -> None:
    """Raise FileExistsError if `folder` holds the answers of another command than `kind`."""
    path = folder / MANIFEST
    stored_kind = read_json_object(path).get("kind") if path.is_file() else None
    if stored_kind != kind and (path.exists() or (folder / GENERATIONS).exists()):
        raise FileExistsError(f"{folder} holds another run's answers; choose another --out")


class AdapterFields(TypedDict):
    """How a manifest names the adapter; all null for the base alone."""

    adapter: str | None
    adapter_revision: str | None
    adapter_sha256: str | None


def adapter_fields(adapter: Adapter | None) -> AdapterFields:
    """What a manifest says of the adapter."""
    if adapter is None:
        return {"adapter": None, "adapter_revision": None, "adapter_sha256": None}
    return {
        "adapter": adapter.reference,
        "adapter_revision": adapter.revision,
        "adapter_sha256": sha256(adapter.folder / "adapter_model.safetensors"),
    }


def dataset_facts(data: EvalData) -> DatasetFacts:
    """What a manifest says of the rows that a run is about."""
    return {
        "source": data.source,
        "revision": data.revision,
        "split": data.split,
        "sha256": data.sha256,
        "rows": len(data.rows),
    }


def rows_in_training_weeks(trained: TrainingManifest | None, data: EvalData) -> int | None:
    """How many rows lie in weeks that the adapter's training reached; None if that is unknown."""
    if trained is None:
        return None
    last_week = trained["dataset"].get("last_train_week")
    if last_week is None:
        return None
    return sum(row["week_start"] <= last_week for row in data.rows)


class RowIdentity(TypedDict):
    """The keys by which rows of different files belong together."""

    id: str
    symbol: str
    period: str
    week_end: str
    label: str


def row_identity(row: DatasetRow) -> RowIdentity:
    """What a row of results says of the dataset's row."""
    return {
        "id": row["id"],
        "symbol": row["symbol"],
        "period": period(row),
        "week_end": row["week_end"],
        "label": row["label"],
    }


def generation_row(
    row: DatasetRow, completion: Completion, manifest: GenerationManifest, split: str
) -> GenerationRow:
    """A line of generations.jsonl: the dataset's row, the answer, what scoring needs of the run."""
    line: GenerationRow = {
        "id": row["id"],
        "symbol": row["symbol"],
        "period": period(row),
        "week_end": row["week_end"],
        "split": split,
        "label": row["label"],
        "answer": reference_text(row),
        "generation": completion.text,
        "seconds": round(completion.seconds, 4),
        "new_tokens": completion.new_tokens,
        "finish_reason": completion.finish_reason,
        "latency_measured": manifest.get("latency_measured", False),
        "last_week_return": row.get("last_week_return"),
        "weekly_return": row.get("weekly_return"),
        "train_majority": manifest["train_majority"],
        "prompt": user_text(row["prompt"]),
    }
    if completion.latency is not None:
        line["latency_seconds"] = round(completion.latency, 4)
    if (told := row.get("teacher_told")) is not None:
        line["teacher_told"] = told
    if sector := row.get("sector"):
        line["sector"] = sector
    if control := row.get("control"):
        line["control"] = control
    if row.get("synthetic"):
        line["synthetic"] = True
    if completion.prompt_tokens is not None:
        line["prompt_tokens"] = completion.prompt_tokens
    if completion.served_model is not None:
        line["served_model"] = completion.served_model
    if completion.left_out:
        line["left_out"] = list(completion.left_out)
    return line


class AnswerTotals(TypedDict):
    """Size and speed of a finished run."""

    n: int
    seconds_total: float
    """Over all processes: of several at once, divide by their number for the time on the clock."""
    tokens_per_second: float | None
    """Of one process; null if a count is unknown."""
    processes: int


def answer_totals(rows: Sequence[JsonObject], processes: int) -> AnswerTotals:
    """Size and speed of these lines of generations.jsonl."""
    seconds = sum(row["seconds"] for row in rows)
    counts = [row["new_tokens"] for row in rows]
    countable = seconds > 0 and None not in counts
    return {
        "n": len(rows),
        "seconds_total": seconds,
        "tokens_per_second": sum(counts) / seconds if countable else None,
        "processes": processes,
    }
