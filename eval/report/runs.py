"""Read the folders a report is about: what each run scored, answered, was set to and was trained as."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval.metrics.baselines import Prediction, is_right
from eval.metrics.scored_answer import week_keys
from weekahead.files import Row, read_jsonl, sha256


@dataclass(frozen=True)
class Training:
    """The training behind an adapter, as far as its folder lies on this machine."""

    name: str
    folder: Path | None
    manifest: Row
    log: list[Row] = field(default_factory=list)
    """Rows of train_log.jsonl; empty where the folder is not here."""


@dataclass(frozen=True)
class EvaluatedRun:
    """One folder of results. `missing` says in words what the folder lacks; the page says it too."""

    name: str
    folder: Path
    metrics: Row
    scored: list[Row]
    generations: list[Row]
    manifest: Row
    training: Training | None
    missing: tuple[str, ...] = ()

    @property
    def is_base(self) -> bool:
        """True when the manifest says that a language model answered without an adapter.

        What a server calls a model may be a tuned one, so nothing is said of that.
        """
        served = (self.manifest.get("backend") or {}).get("name") == "endpoint"
        return (
            self.is_language_model
            and bool(self.manifest)
            and self.manifest.get("adapter") is None
            and not served
        )

    @property
    def is_language_model(self) -> bool:
        """False for a run of `eval.tfidf`: its answers are the call alone, in the layout."""
        return self.manifest.get("kind") != "tfidf"

    @property
    def synthetic(self) -> bool:
        """True when any trace marks the rows as made up; one mark is enough."""
        dataset = self.manifest.get("dataset") or {}
        marks = (
            self.metrics.get("synthetic"),
            self.manifest.get("synthetic"),
            dataset.get("synthetic"),
        )
        return any(marks) or any(row.get("synthetic") for row in self.generations)


def load_runs(folders: Sequence[Path | str]) -> list[EvaluatedRun]:
    """The runs in `folders`, in that order.

    Raises ValueError when two of them bear one name, FileNotFoundError when a folder has no
    metrics.json, and ValueError naming the file when something in it cannot be read.
    """
    paths = [Path(folder) for folder in folders]
    names: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        if name in names:
            raise ValueError(
                f"two runs are named {name!r}: {names[name]} and {path}. A report tells runs apart by the name "
                "of their folder; give each folder once, or rename one"
            )
        names[name] = path
    return [load_run(path) for path in paths]


def load_run(folder: Path) -> EvaluatedRun:
    """One run. Only metrics.json must be there; see `load_runs` for the errors."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; {_remedy(folder)}")
    metrics = read_object(path)
    if absent := [name for name in ("n", "bin_acc", "baselines", "versus") if name not in metrics]:
        raise ValueError(
            f"{path} has no {', '.join(absent)}; it is not one of eval.score: {_remedy(folder)}"
        )
    scored, generations = _rows(folder / "scored.jsonl"), _rows(folder / "generations.jsonl")
    check_fresh(folder, metrics, len(scored), len(generations))
    manifest = read_object(folder / "manifest.json") if (folder / "manifest.json").is_file() else {}
    present = {"scored.jsonl": scored, "generations.jsonl": generations, "manifest.json": manifest}
    missing = tuple(name for name, content in present.items() if not content)
    name = folder.resolve().name
    return EvaluatedRun(
        name,
        folder,
        metrics,
        scored,
        generations,
        manifest,
        find_training(folder, manifest),
        missing,
    )


def check_fresh(folder: Path, metrics: Row, scored: int, generated: int) -> None:
    """Raise ValueError when a folder's files are of different states, such as answers added after scoring."""
    answers = folder / "generations.jsonl"
    source = (metrics.get("source") or {}).get("sha256")
    if generated and source and source != sha256(answers):
        raise ValueError(
            f"{answers} is not the file that metrics.json was made from; {_remedy(folder)}"
        )
    counts = {"metrics.json": metrics["n"], "scored.jsonl": scored, "generations.jsonl": generated}
    present = {name: count for name, count in counts.items() if count}
    if len(set(present.values())) > 1:
        words = ", ".join(f"{name} {count}" for name, count in present.items())
        raise ValueError(
            f"{folder}: its files differ in their number of rows ({words}); {_remedy(folder)}"
        )


def find_training(folder: Path, manifest: Row) -> Training | None:
    """The training that made the adapter of a run in `folder`, or None for a base model.

    Its folder is the adapter's path where that is a folder here, else `outputs/<run>` beside
    `results/`. The training manifest travels inside the run's own, so settings need no folder.
    """
    adapter, facts = manifest.get("adapter"), manifest.get("train") or {}
    if adapter is None and not facts:
        return None
    name = str(facts.get("run") or Path(str(adapter)).name)
    places = [Path(str(adapter))] if adapter else []
    places.append(folder.resolve().parent.parent / "outputs" / name)
    for place in places:
        if (place / "train_log.jsonl").is_file():
            if not facts and (place / "manifest.json").is_file():
                facts = read_object(place / "manifest.json")
            return Training(name, place, facts, _log(place / "train_log.jsonl"))
    return Training(name, None, facts)


def trainings_of(runs: Sequence[EvaluatedRun]) -> list[Training]:
    """The trainings behind `runs`, each once; two that share a name are told apart by their folders."""
    found: dict[tuple[str, Path | None], Training] = {}
    for run in runs:
        if run.training:
            found.setdefault((run.training.name, run.training.folder), run.training)
    names = Counter(name for name, _ in found)
    return [one if names[one.name] == 1 else replace(one, name=f"{one.name} ({one.folder or 'not here'})")
            for one in found.values()]  # fmt: skip


def read_object(path: Path) -> dict[str, Any]:
    """A file of one JSON object. Raises ValueError naming the file for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write it again with the command that made it"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _rows(path: Path) -> list[Row]:
    return read_jsonl(path) if path.is_file() else []


def _log(path: Path) -> list[Row]:
    rows = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("kind"), str) or not isinstance(row.get("time"), int | float):
            raise ValueError(
                f"{path}, row {number}: expected `kind` and `time`; move the file away to do without it"
            )
    return rows


def _remedy(folder: Path) -> str:
    if (folder / "generations.jsonl").is_file():
        return f"run: python -m eval.score {folder}/generations.jsonl --out {folder}"
    return f"make it with eval.generate and eval.score (make eval RUN={folder.resolve().name})"


RIGHT, WRONG, UNREADABLE, UNKNOWN = "right", "wrong", "unreadable", "no truth"


def row_keys(run: EvaluatedRun) -> list[str] | None:
    """What names each row: its id, else symbol and period. None where that does not tell rows apart."""
    sources = run.generations or run.scored
    keys = [str(row.get("id") or "") or _symbol_period(row) for row in sources]
    return keys if keys and all(keys) and len(set(keys)) == len(keys) else None


def outcome(scored: Row) -> str:
    """One of right, wrong, unreadable, no truth, for a row of scored.jsonl."""
    if scored.get("truth_direction") is None:
        return UNKNOWN
    if not scored.get("valid_lenient"):
        return UNREADABLE
    return RIGHT if _right(scored) else WRONG


def correctness(run: EvaluatedRun) -> tuple[dict[str, bool], dict[str, str] | None]:
    """Whether each row with a truth was called right, by key, and the weeks of those rows.

    The weeks are None where the rows do not all name one.
    """
    keys, sources = row_keys(run) or [], run.generations or run.scored
    known = [
        i for i, row in enumerate(run.scored[: len(keys)]) if row.get("truth_direction") is not None
    ]
    weeks, _ = week_keys([sources[i] for i in known])
    hits = {keys[i]: _right(run.scored[i]) for i in known}
    return hits, dict(zip(hits, weeks, strict=True)) if weeks else None


def readable(run: EvaluatedRun) -> set[str]:
    """The keys of the rows whose answer could be read."""
    keys = row_keys(run) or []
    return {key for key, row in zip(keys, run.scored, strict=False) if row.get("valid_lenient")}


def same_rows(first: EvaluatedRun, second: EvaluatedRun) -> bool:
    """Whether both runs were scored on the same rows with the same truths."""
    mine, theirs = _truths(first), _truths(second)
    return mine is not None and mine == theirs


def row_groups(runs: Sequence[EvaluatedRun]) -> list[list[EvaluatedRun]]:
    """The runs, grouped by the rows they were scored on; only within a group do numbers compare."""
    groups: list[list[EvaluatedRun]] = []
    for run in runs:
        home = next((group for group in groups if same_rows(group[0], run)), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return groups


def _truths(run: EvaluatedRun) -> dict[str, tuple[float | None, float | None]] | None:
    keys = row_keys(run)
    if keys is None or not run.scored:
        return None
    truths = [(row.get("truth_direction"), row.get("truth_magnitude")) for row in run.scored]
    return dict(zip(keys, truths, strict=True))


def _right(scored: Row) -> bool:
    return is_right(
        Prediction(scored.get("direction"), None), Prediction(scored.get("truth_direction"), None)
    )


def _symbol_period(row: Row) -> str:
    return f"{row['symbol']} {row['period']}" if row.get("symbol") and row.get("period") else ""
