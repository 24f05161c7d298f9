"""Manifests: what a command did, stored beside its output. Each kind is read by one function here.

A reader fills what older files lack, so that no caller needs a default of its own.
"""

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

JsonObject = dict[str, Any]
"""One JSON object whose keys nobody here knows."""


class Provenance(TypedDict):
    """What every manifest says of the command that wrote it (weekahead.manifest)."""

    created: str
    command: list[str]
    git_commit: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str | None]


class BaseFacts(TypedDict, total=False):
    """A base model, as weekahead.models.loading.Base states it."""

    name: str
    """Hub id or local folder."""
    hub_id: str | None
    """What a reader elsewhere can load; null for a folder that is on no Hub."""
    revision: str | None
    turn_format: str
    dtype: str
    quantization: dict[str, Any] | None
    """Fields of BitsAndBytesConfig."""


class PrecisionFacts(TypedDict, total=False):
    """The number format that was computed in."""

    mode: str | None
    device: str
    reason: str


class CeilingFacts(TypedDict, total=False):
    """The best direction accuracy that a fictional market allows."""

    expected: float
    rule_on_rows: dict[str, float]


class DatasetFacts(TypedDict, total=False):
    """The rows that a run was about."""

    source: str | None
    revision: str | None
    split: str
    sha256: str | None
    rows: int
    synthetic: bool
    ceiling: CeilingFacts | None


class TrainingDatasetFacts(TypedDict, total=False):
    """The rows that an adapter was trained on."""

    source: str | None
    revision: str | None
    sha256: str | None
    train_rows: int
    last_train_week: str | None
    validation_rows: int
    dropped_rows: int
    max_tokens: int


class TrainingResult(TypedDict, total=False):
    """How a training ended."""

    steps: int
    train_loss: float | None
    eval_loss: float | None
    peak_memory_bytes: int | None
    kept_step: int | None


class TrainingManifest(Provenance):
    """manifest.json of an adapter; `result` is null until the training has ended."""

    kind: str
    run: str | None
    run_id: str | None
    base: BaseFacts
    turn_format: str | None
    precision: PrecisionFacts
    dataset: TrainingDatasetFacts
    synthetic: bool
    prompt_versions: list[str]
    settings: dict[str, Any]
    train_majority: int | None
    result: TrainingResult | None


class BackendFacts(TypedDict):
    """What answered."""

    name: str
    runs_locally: bool
    """False if the weights were elsewhere: nobody here knows whether the model was the base alone."""
    model: NotRequired[str]
    """The name that a server knows the model by."""
    prompt: NotRequired[str]
    """The form in which a server got the prompts."""


class ResultsManifest(Provenance):
    """What the manifests of answers and of likelihoods have in common."""

    kind: str
    """generate or likelihood; tfidf for the answers of eval.tfidf."""
    adapter: str | None
    adapter_revision: str | None
    adapter_sha256: str | None
    base: BaseFacts | None
    precision: PrecisionFacts
    dataset: DatasetFacts
    form: NotRequired[str | None]
    """How the weights were held, such as "NF4 dequantized, adapter merged"."""
    n: NotRequired[int]
    seconds_total: NotRequired[float]
    complete: NotRequired[bool]


class GenerationManifest(ResultsManifest):
    """manifest.json of a folder of answers."""

    generation: dict[str, Any]
    """SamplingParams, and `do_sample`."""
    backend: BackendFacts
    latency_measured: NotRequired[bool]
    train: TrainingManifest | None
    """Of the adapter; null for the base alone and for an adapter of other software."""
    rows_in_training_weeks: int | None
    train_majority: int | None
    synthetic: NotRequired[bool]
    model: NotRequired[dict[str, Any]]
    """What eval.tfidf fitted; it has no base."""
    note: NotRequired[str]
    tokens_per_second: NotRequired[float | None]
    processes: NotRequired[int]


class TfidfManifest(Provenance):
    """manifest.json of a folder of eval.tfidf, as it is written; its reader is that of the answers."""

    kind: str
    note: str
    adapter: None
    base: None
    model: dict[str, Any]
    dataset: DatasetFacts
    train_majority: int
    latency_measured: bool
    n: int
    complete: bool
    seconds_total: NotRequired[float]


class LikelihoodManifest(ResultsManifest):
    """likelihoods.manifest.json."""

    scoring: dict[str, Any]
    prefixes: NotRequired[dict[str, int]]
    """What came before the bins (own, direct) -> rows."""


class SplitFacts(TypedDict, total=False):
    """One split of a dataset folder."""

    rows: int
    weeks: int
    first_week: str
    last_week: str
    sha256: str


class DatasetManifest(Provenance, total=False):
    """manifest.json of a dataset folder."""

    kind: str
    splits: dict[str, SplitFacts]
    dropped: dict[str, int]
    read: int | dict[str, int]
    without_reference: int
    labels: dict[str, dict[str, int]]
    weeks: dict[str, Any]
    train_majority: int | None
    records: dict[str, Any]
    answers: dict[str, Any]
    prompt_version: str
    context_weeks: int
    shares: dict[str, float]
    synthetic: bool
    tokens: dict[str, Any]
    warnings: list[str]
    source: Any
    wording: str
    validation_share: float
    repaired: dict[str, int]
    unreadable: dict[str, str]
    control: str
    ceiling: CeilingFacts | None


_NO_PROVENANCE: Provenance = {
    "created": "",
    "command": [],
    "git_commit": None,
    "git_dirty": None,
    "python": "",
    "packages": {},
}
_TRAINING: JsonObject = {
    "kind": "train",
    "run": None,
    "run_id": None,
    "base": {},
    "turn_format": None,
    "precision": {},
    "dataset": {},
    "synthetic": False,
    "prompt_versions": [],
    "settings": {},
    "train_majority": None,
    "result": None,
}
_GENERATION: JsonObject = {
    "kind": "generate",
    "adapter": None,
    "adapter_revision": None,
    "adapter_sha256": None,
    "base": None,
    "precision": {},
    "dataset": {},
    "generation": {},
    "train": None,
    "rows_in_training_weeks": None,
    "train_majority": None,
    "synthetic": False,
}


def read_json_object(path: Path) -> JsonObject:
    """A file of one JSON object.

    Raises ValueError naming the file for anything else, OSError for a file that is not there.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write it again with the command that made it"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def training_manifest(stored: JsonObject) -> TrainingManifest:
    """The manifest of an adapter out of what is stored; keys that older files lack are null or empty."""
    filled = {**_NO_PROVENANCE, **_TRAINING, **stored}
    for name in ("base", "precision", "dataset", "settings"):
        filled[name] = filled[name] or {}
    return cast("TrainingManifest", filled)


def read_training_manifest(path: Path) -> TrainingManifest:
    """Read the manifest of an adapter. Raises ValueError naming a file that cannot be read, OSError without one."""
    return training_manifest(read_json_object(path))


def generation_manifest(stored: JsonObject) -> GenerationManifest:
    """The manifest of a folder of answers out of what is stored; keys that older files lack are null or empty.

    `backend` of a file from before there were several is the one that there was; `runs_locally` of a file that
    does not state it follows from the backend's name.
    """
    filled = {**_NO_PROVENANCE, **_GENERATION, **stored}
    for name in ("precision", "dataset", "generation"):
        filled[name] = filled[name] or {}
    backend = {"name": "batched", **(stored.get("backend") or {})}
    filled["backend"] = {"runs_locally": backend["name"] != "endpoint", **backend}
    if filled["train"]:
        filled["train"] = training_manifest(filled["train"])
    return cast("GenerationManifest", filled)


def read_generation_manifest(path: Path) -> GenerationManifest:
    """Read the manifest of a folder of answers. Raises ValueError naming a file that cannot be read, OSError without one."""
    return generation_manifest(read_json_object(path))


def read_likelihood_manifest(path: Path) -> LikelihoodManifest:
    """Read the manifest beside likelihoods. Raises ValueError naming a file that cannot be read, OSError without one."""
    return cast("LikelihoodManifest", read_json_object(path))


def read_dataset_manifest(path: Path) -> DatasetManifest:
    """Read the manifest of a dataset folder. Raises ValueError naming a file that cannot be read, OSError without one."""
    return cast("DatasetManifest", read_json_object(path))
