"""Read the folders that a report is about: what each run scored, answered, was set to, was trained
as."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from eval.metrics.doubts import manifest_doubts
from eval.report.identity import common_keys
from weekahead.files import sha256
from weekahead.names import printable
from weekahead.schema.file_names import GENERATIONS, MANIFEST, METRICS, SCORED, TRAIN_LOG
from weekahead.schema.manifests import (
    GenerationManifest,
    JsonObject,
    TrainingManifest,
    generation_manifest,
    read_json_object,
    training_manifest,
)
from weekahead.schema.metrics import Metrics
from weekahead.schema.metrics_files import read_metrics
from weekahead.schema.rows import ScorableRow, ScoredRow, TrainLogRow
from weekahead.schema.shape import read_rows


@dataclass(frozen=True)
class Training:
    """The training behind an adapter."""

    name: str
    folder: Path | None
    """None if the folder is not on this machine."""
    manifest: TrainingManifest
    stored: JsonObject
    """The manifest as it was stored, for the table of settings."""
    log: list[TrainLogRow] = field(default_factory=list)
    """Rows of train_log.jsonl; empty without the folder."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One folder of results."""

    name: str
    folder: Path
    metrics: Metrics
    scored: list[ScoredRow]
    generations: list[ScorableRow]
    manifest: GenerationManifest
    stored: JsonObject
    """The manifest as it was stored, for the table of settings; empty without the file."""
    training: Training | None
    missing: tuple[str, ...] = ()
    """The files that the folder lacks; the page names them."""
    keys: tuple[str, ...] | None = None
    """What identifies each row among the runs of the page; None if nothing does."""

    @property
    def is_base(self) -> bool:
        """Whether the manifest says that a language model answered here without an adapter.

        What a server calls a model may be a tuned one, so a served model never counts as a base.
        """
        return (
            self.is_language_model
            and bool(self.stored)
            and self.manifest["adapter"] is None
            and self.manifest["backend"]["runs_locally"]
        )

    @property
    def is_language_model(self) -> bool:
        """False for a run of `eval.tfidf`: its answers hold a prediction and no text of their
        own."""
        return self.manifest["kind"] != "tfidf"

    @property
    def synthetic(self) -> bool:
        """Whether anything marks the rows as made up; one mark is enough."""
        return (
            self.metrics["synthetic"]
            or self.manifest.get("synthetic", False)
            or self.manifest["dataset"].get("synthetic", False)
            or any(row.get("synthetic") for row in self.generations)
        )


def load_runs(folders: Sequence[Path | str]) -> list[EvaluatedRun]:
    """The runs in `folders`, in that order.

    Raises ValueError if two runs have the same name, FileNotFoundError if a folder has no
    metrics.json, and ValueError naming the file if something in it cannot be read.
    """
    paths = [Path(folder) for folder in folders]
    path_of_name: dict[str, Path] = {}
    for path in paths:
        name = run_name(path)
        if name in path_of_name:
            raise ValueError(
                f"two runs are named {name!r}: {printable(str(path_of_name[name]))} and "
                f"{printable(str(path))}. A report identifies a run by the name of its folder; "
                "give each folder once, or rename one"
            )
        path_of_name[name] = path
    runs = [load_run(path) for path in paths]
    keys = common_keys([run.generations or run.scored for run in runs])
    return [replace(run, keys=each) for run, each in zip(runs, keys, strict=True)]


def run_name(folder: Path) -> str:
    """The name of a run as it is printed: that of its folder."""
    return printable(folder.resolve().name)


def load_run(folder: Path) -> EvaluatedRun:
    """One run. Only metrics.json is required; see `load_runs` for the errors.

    What its manifest tells against a verdict counts, also if metrics.json was made without it.
    """
    path = folder / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; {_remedy(folder)}")
    metrics = read_metrics(path, _remedy(folder))
    scored: list[ScoredRow] = _rows_of(folder / SCORED, ScoredRow)
    generations: list[ScorableRow] = _rows_of(folder / GENERATIONS, _Identified)
    check_same_state(folder, metrics, scored=len(scored), generated=len(generations))
    stored = read_json_object(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    manifest = generation_manifest(stored, str(folder / MANIFEST))
    contents = {SCORED: scored, GENERATIONS: generations, MANIFEST: stored}
    return EvaluatedRun(
        name=run_name(folder),
        folder=folder,
        metrics=_with_doubts(
            metrics, manifest_doubts(manifest, generations or scored, metrics["n"])
        ),
        scored=scored,
        generations=generations,
        manifest=manifest,
        stored=stored,
        training=find_training(folder, manifest["adapter"], stored.get("train") or {}),
        missing=tuple(name for name, content in contents.items() if not content),
        keys=common_keys([generations or scored])[0],
    )


def _with_doubts(metrics: Metrics, doubts: Sequence[str]) -> Metrics:
    """Metrics with the verdict that the manifest leaves, if they were made beside another one."""
    new = [doubt for doubt in doubts if doubt not in metrics["verdict_reasons"]]
    if not new:
        return metrics
    reasons = [*new, *metrics["verdict_reasons"]]
    return {**metrics, "verdict": "not judged", "verdict_reasons": reasons}


def check_same_state(folder: Path, metrics: Metrics, *, scored: int, generated: int) -> None:
    """Raise ValueError if the files of a folder do not belong together.

    That is so if answers were added after scoring. `scored` and `generated` are numbers of rows, 0
    for a file that is absent.
    """
    answers = folder / GENERATIONS
    source = metrics.get("source")
    if generated and source and source.get("sha256") not in (None, sha256(answers)):
        raise ValueError(
            f"{answers} is not the file that metrics.json was made from; {_remedy(folder)}"
        )
    counts = {METRICS: metrics["n"], SCORED: scored, GENERATIONS: generated}
    present = {name: count for name, count in counts.items() if count}
    if len(set(present.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in present.items())
        raise ValueError(
            f"{folder}: its files differ in their number of rows ({listed}); {_remedy(folder)}"
        )


def find_training(folder: Path, adapter: str | None, stored: JsonObject) -> Training | None:
    """The training that made the adapter of a run in `folder`; None for a base model.

    Its folder is the adapter's path if that is a folder here, else `outputs/<run>` beside
    `results/`. `stored` is the training's manifest inside the run's own, so settings need no
    folder.
    """
    if adapter is None and not stored:
        return None
    name = str(stored.get("run") or Path(str(adapter)).name)
    candidates = [Path(adapter)] if adapter else []
    candidates.append(folder.resolve().parent.parent / "outputs" / name)
    for candidate in candidates:
        if (candidate / TRAIN_LOG).is_file():
            if not stored and (candidate / MANIFEST).is_file():
                stored = read_json_object(candidate / MANIFEST)
            log = _read_train_log(candidate / TRAIN_LOG)
            origin = str(candidate / MANIFEST)
            return Training(name, candidate, training_manifest(stored, origin), stored, log)
    origin = str(folder / MANIFEST)
    return Training(name, None, training_manifest(stored, origin), stored)


def trainings_of(runs: Sequence[EvaluatedRun]) -> list[Training]:
    """The trainings behind `runs`, each once; if two share a name, their folders are added to
    it."""
    trainings: dict[tuple[str, Path | None], Training] = {}
    for run in runs:
        if run.training:
            trainings.setdefault((run.training.name, run.training.folder), run.training)
    counts = Counter(name for name, _ in trainings)
    named: list[Training] = []
    for training in trainings.values():
        if counts[training.name] > 1:
            location = training.folder or "not here"
            training = replace(training, name=f"{training.name} ({location})")
        named.append(training)
    return named


class _Identified(TypedDict):
    """What the report itself reads of an answer; eval.score has checked the rest."""

    id: NotRequired[str | int | None]
    generation: str | None
    answer: str | None
    synthetic: NotRequired[bool | None]


def _rows_of(path: Path, hint: type) -> list[Any]:
    """The rows of a file; none without it."""
    return read_rows(path, hint, _remedy(path.parent)) if path.exists() else []


def _read_train_log(path: Path) -> list[TrainLogRow]:
    return read_rows(path, TrainLogRow, "move the file away to make the report without it")


def _remedy(folder: Path) -> str:
    if (folder / GENERATIONS).is_file():
        return f"run: python -m eval.score {folder}/{GENERATIONS} --out {folder}"
    return f"make it with eval.generate and eval.score (make eval RUN={folder.resolve().name})"
