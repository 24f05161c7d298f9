"""Manifests: what a command did, stored beside its output. Each kind is read by one function here.

A reader fills what older files lack, so that no caller needs a default of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from weekahead.files import read_json
from weekahead.schema.shape import check_shape

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


class Quantization(TypedDict, total=False):
    """Fields of BitsAndBytesConfig; the compute dtype is the base's own."""

    load_in_4bit: bool
    bnb_4bit_quant_type: str
    bnb_4bit_use_double_quant: bool


class BaseFacts(TypedDict, total=False):
    """A base model, as weekahead.models.loading.Base states it."""

    name: str
    """Hub id or local folder."""
    hub_id: str | None
    """What a reader elsewhere can load; null for a folder that is on no Hub."""
    revision: str | None
    turn_format: str
    dtype: str
    quantization: Quantization | None
    content_sha256: str | None
    """Hash of config and tokenizer, by which a copy is recognized. Older files lack it."""
    weights_sample_sha256: str | None
    """Hash over parts of the weights of a local folder; null for a base of the Hub, whose commit
    says it. Older files lack it."""


class PrecisionFacts(TypedDict, total=False):
    """The number format that was computed in."""

    mode: str | None
    device: str
    reason: str


class CeilingFacts(TypedDict, total=False):
    """The best direction accuracy that a fictional market allows."""

    expected: float
    rule_on_rows: dict[str, float] | float
    """By split; older files have one number."""


class DatasetFacts(TypedDict, total=False):
    """The rows that a run was about."""

    source: str | None
    revision: str | None
    split: str
    sha256: str | None
    rows: int
    synthetic: bool
    ceiling: CeilingFacts | float | None
    """Older files have the expected share alone."""


class TrainingDatasetFacts(TypedDict, total=False):
    """The rows that an adapter was trained on."""

    source: str | None
    revision: str | None
    sha256: str | None
    train_rows: int
    last_train_week: str | None
    validation_rows: int
    validation_sha256: str
    """Of the validation rows, as rows."""
    dropped_rows: int
    max_tokens: int


class UsedFacts(TypedDict):
    """What a training used, read back from model, adapter, optimizer and trainer at its end."""

    attention: str | None
    quantization: dict[str, Any] | None
    base_dtype: str
    adapter_dtype: str
    mixed_precision: str
    trained_parameters: int
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_targets: list[str]
    use_rslora: bool
    use_dora: bool
    activation_checkpointing: bool
    optimizer: str
    learning_rate: float
    """The highest of the schedule."""
    rows_per_step: int
    processes: int
    planned_steps: int
    chat_template_sha256: str


class TrainingResult(TypedDict, total=False):
    """How a training ended."""

    steps: int
    train_loss: float | None
    """Mean over all steps."""
    eval_loss: float | None
    """The last one."""
    eval_loss_reason: str | None
    """Why it is null."""
    tokens_per_second: float | None
    samples_per_second: float | None
    steps_per_second: float | None
    runtime_seconds: float | None
    peak_memory_bytes: int | None
    gpu_energy_wh: float | None
    """Of all GPUs, in Wh; null if their power is not known. Older files lack it."""
    resumed_from_step: int | None
    """The step after which the last interrupt was; null if there was none."""
    kept_step: int
    """The step whose weights are the adapter's."""
    kept_because: str
    kept_eval_loss: float | None
    stopped_early: bool
    adapter_sha256: str
    """Of adapter_model.safetensors. Older files lack it."""
    used: UsedFacts
    """Since `settings` only repeats what was asked for. Older files lack it."""
    skipped_steps: int
    """Steps that the gradient scaler of fp16 left out after the last interrupt."""
    diverged: str | None
    """Why the training diverged, though all is finite: its loss ended above where it began."""
    failed: str | None
    """Why the kept weights cannot be used; null if they can."""


class Divergence(TypedDict):
    """Why a training was stopped: something was not finite, and no adapter was written."""

    step: int
    what: str
    rows: list[str]
    """Ids of the rows of that step; empty if they are not known."""
    last_good_checkpoint: str | None


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
    train_labels: dict[str, int] | None
    """Training rows of each bin; null in older manifests."""
    diverged: NotRequired[Divergence | None]
    result: TrainingResult | None


def training_rows_in_words(manifest: TrainingManifest) -> str | None:
    """How many rows an adapter was trained on: "400", or "200 of 400" if its training, or the step
    whose weights were kept, came before the end of the first epoch. None if nothing says it.
    """
    rows, result = manifest["dataset"].get("train_rows"), manifest["result"] or {}
    if not rows:
        return None
    step, per_step = result.get("kept_step"), result.get("used", {}).get("rows_per_step")
    if step is None or per_step is None or manifest["settings"].get("packing"):
        return str(rows)  # not known; with packing a row of a step is several
    seen = step * per_step
    return f"{seen} of {rows}" if seen < rows else str(rows)


class BackendFacts(TypedDict):
    """What answered."""

    name: str
    runs_locally: bool
    """False if the weights were elsewhere: nobody here knows if the model was the base alone."""
    model: NotRequired[str]
    """The name that a server knows the model by."""
    prompt: NotRequired[str]
    """The form in which a server got the prompts."""


class ExportManifest(Provenance):
    """manifest.json of an exported model."""

    kind: str
    form: str
    """merged: the dequantized base with the adapter in it; gguf: the same as one file."""
    adapter: str
    adapter_sha256: str
    base: BaseFacts
    """`dtype` is that of the written weights."""
    files: dict[str, str]
    """sha256 of every other file."""


class ParityFacts(TypedDict):
    """Whether a server was compared with the model here before its first answer."""

    prompts: int
    """How many were asked of both; 0 if none."""
    verdict: str


class ServerFacts(TypedDict):
    """What a server did with the requests of a finished run, counted over its rows."""

    sent: dict[str, float]
    """Parameters sent beside temperature, seed, limit and stop: no file of the base acts."""
    left_out: dict[str, int]
    """Parameters that it refused -> rows that were answered without them."""
    models: dict[str, int]
    """Models that it says answered -> rows."""
    other_models: int
    """Rows that it says another model answered than the one asked for."""
    finish_reasons: dict[str, int]
    """Its own words -> rows; "none" for an answer without one."""
    longer_than_asked: int
    """Rows with more tokens than max_new_tokens."""
    prompts_cut: NotRequired[int]
    """Rows of whose prompt the server counts too few tokens; absent in older manifests."""


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
    train_labels: dict[str, int] | None
    """Training rows of each bin; null without training rows and in older manifests."""
    synthetic: NotRequired[bool]
    model: NotRequired[dict[str, Any]]
    """What eval.tfidf fitted; it has no base."""
    note: NotRequired[str]
    tokens_per_second: NotRequired[float | None]
    processes: NotRequired[int]
    parity: NotRequired[ParityFacts]
    """Absent for a model in this process and in older manifests."""
    server: NotRequired[ServerFacts]
    """What an endpoint did; absent for a model in this process and in older manifests."""


class TfidfManifest(Provenance):
    """manifest.json of eval.tfidf as it is written; it is read as a GenerationManifest."""

    kind: str
    note: str
    adapter: None
    base: None
    model: dict[str, Any]
    dataset: DatasetFacts
    train_majority: int | None
    train_labels: dict[str, int]
    latency_measured: bool
    n: int
    complete: bool
    seconds_total: NotRequired[float]


class LikelihoodManifest(ResultsManifest):
    """likelihoods.manifest.json."""

    scoring: dict[str, Any]
    prefixes: NotRequired[dict[str, int]]
    """What came before the bins (own, direct) -> rows."""


class SplitFacts(TypedDict):
    """One split of a dataset folder."""

    rows: int
    weeks: int
    first_week: str
    last_week: str
    sha256: str
    """Of the split's file."""


class RecipeLengths(TypedDict):
    """Tokens per row for the recipes of one model: prompt and answer in their chat format."""

    recipes: list[str]
    p50: int
    p95: int
    max: int
    max_length: int
    """What the recipe allows."""


class TokenLengths(TypedDict):
    """Tokens per row, counted on a sample of a dataset."""

    recipes: list[RecipeLengths]
    absent: list[str]
    """Models whose tokenizer is not on the machine."""
    rows: int
    longest: int
    """How many of the rows were taken because they are the longest in characters."""


class SourceFacts(TypedDict):
    """Where the rows of a dataset came from."""

    name: str
    revision: str | None
    sha256: dict[str, str]
    """Of each split."""


class ControlCounts(TypedDict):
    """What a control did to the rows of one split."""

    changed: int
    unchanged: int
    name_unknown: NotRequired[int]
    """Rows whose introduction states no name; only for masked_names."""


class DatasetManifest(Provenance):
    """manifest.json of a dataset folder: what every kind of dataset states."""

    kind: str
    dropped: dict[str, int]
    """Reason -> rows."""
    train_majority: int | None
    splits: NotRequired[dict[str, SplitFacts]]
    """Not stated by the fictional market."""
    warnings: NotRequired[list[str]]
    synthetic: NotRequired[bool]
    ceiling: NotRequired[CeilingFacts | None]
    """Only the fictional market has one."""


class BuiltManifest(Provenance):
    """manifest.json of a dataset that data_pipeline.build made."""

    kind: str
    splits: dict[str, SplitFacts]
    dropped: dict[str, int]
    read: int
    without_reference: int
    """Test rows without a reference answer."""
    labels: dict[str, dict[str, int]]
    """Split -> bin -> rows."""
    weeks: dict[str, dict[str, list[int]]]
    """Split -> week -> [rows, rows that rose]."""
    train_majority: int | None
    records: JsonObject
    answers: JsonObject
    prompt_version: str
    context_weeks: int
    shares: dict[str, float]
    synthetic: bool
    tokens: TokenLengths
    warnings: list[str]


class PublicManifest(Provenance):
    """manifest.json of a dataset that data_pipeline.fingpt converted."""

    kind: str
    splits: dict[str, SplitFacts]
    dropped: dict[str, int]
    train_majority: int | None
    source: SourceFacts
    read: dict[str, int]
    """Split -> rows."""
    wording: str
    prompt_version: str
    context_weeks: int
    validation_share: float
    repaired: dict[str, int]
    """Kind of repair -> how often."""
    unreadable: dict[str, str]
    """Row id -> what is wrong with its reference, for rows that stay."""
    warnings: list[str]


class IndexFacts(TypedDict):
    """The index whose members were fetched."""

    name: str
    as_of: str
    source: str


class RecordsManifest(Provenance):
    """<records>.manifest.json: what a fetch asked for, and what came of it."""

    kind: str
    index: IndexFacts | None
    """Null if the symbols were given by hand."""
    start: str
    end: str
    symbols: int
    weeks: int
    context_weeks: list[int]
    """Past weeks that a record shows, at least and at most."""
    filing_lag_days: int
    records: int
    sha256: str
    dropped: dict[str, int]
    """Reason -> weeks of symbols."""
    no_prices: dict[str, str]
    """Symbol -> reason."""
    without_news: int
    weeks_without_news: list[str]
    notes: list[str]
    calls: dict[str, int]
    """Endpoint -> calls over the network."""
    sources: NotRequired[dict[str, str]]
    """prices, news and facts -> who gave them; older manifests do not say it."""


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
    "train_labels": None,
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
    "train_labels": None,
    "synthetic": False,
}


_DATASET: JsonObject = {"kind": "dataset", "dropped": {}, "train_majority": None}
_WRITE_AGAIN = "write it again with the command that made it"


class _RecordsWindow(TypedDict):
    """What later stages read of a RecordsManifest."""

    context_weeks: list[int]
    start: NotRequired[str]
    end: NotRequired[str]


def read_json_object(path: Path) -> JsonObject:
    """A file of one JSON object.

    Raises ValueError naming the file for anything else, OSError for a file that is not there.
    """
    value = read_json(path, _WRITE_AGAIN)
    if not isinstance(value, dict):
        raise ValueError(
            f"{path}: expected a JSON object, found {type(value).__name__}; {_WRITE_AGAIN}"
        )
    return cast("JsonObject", value)


def training_manifest(stored: JsonObject, origin: str = "the manifest") -> TrainingManifest:
    """The manifest of an adapter as stored; keys that older files lack are null or empty.

    Raises ValueError naming `origin` and the key for a value of another type.
    """
    filled = _filled({**_NO_PROVENANCE, **_TRAINING}, stored)
    check_shape(filled, TrainingManifest, origin, _WRITE_AGAIN)
    return cast("TrainingManifest", filled)


def why_unusable(manifest: TrainingManifest) -> str | None:
    """Why the weights beside a manifest are no adapter to answer with or to publish, or None."""
    diverged, result = manifest.get("diverged"), manifest["result"]
    if diverged:
        return f"its training diverged at step {diverged['step']}: {diverged['what']}"
    if result is None:
        return "its training has not ended: its manifest has no result"
    return result.get("failed")


def read_training_manifest(path: Path) -> TrainingManifest:
    """Read the manifest of an adapter.

    Raises ValueError naming a file that cannot be read, OSError if there is none.
    """
    return training_manifest(read_json_object(path), str(path))


def generation_manifest(stored: JsonObject, origin: str = "the manifest") -> GenerationManifest:
    """The manifest of a folder of answers as stored; keys that older files lack are null or empty.

    Files from before there were several backends get the only one of that time. If a file does not
    state `runs_locally`, it follows from the backend's name.
    Raises ValueError naming `origin` and the key for a value of another type.
    """
    filled = _filled({**_NO_PROVENANCE, **_GENERATION}, stored)
    backend: Any = stored.get("backend") or {}
    if isinstance(backend, dict):
        named = _filled({"name": "batched"}, cast("JsonObject", backend))
        backend = _filled({"runs_locally": named["name"] != "endpoint"}, named)
    filled["backend"] = backend
    if isinstance(filled["train"], dict):
        train = cast("JsonObject", filled["train"])
        filled["train"] = training_manifest(train, f"{origin}, train") if train else None
    check_shape(filled, GenerationManifest, origin, _WRITE_AGAIN)
    return cast("GenerationManifest", filled)


def read_generation_manifest(path: Path) -> GenerationManifest:
    """Read the manifest of a folder of answers.

    Raises ValueError naming a file that cannot be read, OSError if there is none.
    """
    return generation_manifest(read_json_object(path), str(path))


def read_dataset_manifest(path: Path) -> DatasetManifest:
    """Read the manifest of a dataset folder.

    Raises ValueError naming a file that cannot be read, OSError if there is none.
    """
    filled = _filled({**_NO_PROVENANCE, **_DATASET}, read_json_object(path))
    check_shape(filled, DatasetManifest, str(path), _WRITE_AGAIN)
    return cast("DatasetManifest", filled)


def read_records_manifest(path: Path) -> RecordsManifest:
    """Read the manifest beside a file of records.

    Raises ValueError naming a file that cannot be read, OSError without one.
    """
    stored = read_json_object(path)
    check_shape(stored, _RecordsWindow, str(path), _WRITE_AGAIN)
    if len(stored["context_weeks"]) != 2:
        raise ValueError(
            f"{path}: context_weeks is {stored['context_weeks']}, expected the least and the most; "
            f"{_WRITE_AGAIN}"
        )
    return cast("RecordsManifest", stored)


def _filled(empty: Mapping[str, object], stored: JsonObject) -> JsonObject:
    """`stored`, with the values of `empty` for what it lacks or holds as null."""
    present = {name: value for name, value in stored.items() if value is not None}
    return {**stored, **empty, **present}
