"""Rows as they are stored, one JSON object per line, and what many readers ask of them."""

from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, TypedDict


class Message(TypedDict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class DatasetRow(TypedDict):
    """One company and one forecast week: the prompt, the reference answer and what happened."""

    id: str
    """Symbol and first day of the forecast week: AAPL-2024-03-17."""
    symbol: str
    week_start: str
    """ISO date, the Sunday on which the forecast week begins."""
    week_end: str
    """ISO date, the Sunday on which it ends."""
    prompt: list[Message]
    completion: list[Message]
    """One assistant message: the reference answer; empty if there is none."""
    label: str
    """One of the twelve bins (weekahead.task.labels)."""
    decision_time: NotRequired[str]
    """ISO 8601 in UTC: nothing in the prompt was published after it."""
    known_at: NotRequired[str]
    """When the last fact of the prompt became known."""
    financials_known_at: NotRequired[str | None]
    """When the quoted financials were filed; null where no filing proves it."""
    period: NotRequired[str]
    """The forecast week as the public dataset writes it."""
    weekly_return: NotRequired[float | None]
    """A fraction: 0.012 is 1.2 percent."""
    last_week_return: NotRequired[float | None]
    teacher: NotRequired[str]
    teacher_told: NotRequired[bool]
    """Whether the author of the reference was told the label. Older files do not say it."""
    prompt_version: NotRequired[str]
    sector: NotRequired[str]
    synthetic: NotRequired[bool]
    control: NotRequired[str]
    """The control that changed this row (data_pipeline.controls)."""


class DroppedRow(DatasetRow):
    """A row that is in no split."""

    reason: str
    split: NotRequired[str]


class LeftOutWeek(TypedDict):
    """A line of `<records>.dropped.jsonl`: a symbol and a forecast week that gave no record."""

    id: str
    symbol: str
    week_start: str
    reason: str


class ChatRequest(TypedDict):
    """A chat completion request as it is sent; its SHA-256 is the key of its answer."""

    model: str
    messages: list[Message]
    temperature: float
    max_tokens: int
    seed: NotRequired[int]


class TeacherAnswerRow(TypedDict):
    """A line of a teacher's answer log: one answer that was paid for, accepted or not."""

    key: str
    """SHA-256 of the request."""
    id: str
    """The record that was asked about."""
    kind: Literal["hindsight", "forecast"]
    prompt_sha256: str
    """SHA-256 of what the answer was given to (data_pipeline.teacher.prompts.fingerprint)."""
    attempt: NotRequired[int]
    model: str
    answer: str
    """The text as it came."""
    accepted: bool
    reason: str | None
    """Why it was not accepted; null if it was."""
    finish_reason: NotRequired[str | None]
    prompt_tokens: NotRequired[int | None]
    completion_tokens: NotRequired[int | None]
    cost: NotRequired[float | None]
    """US dollars; null if the model has no price. Logs of older versions also have null if the
    server counted no tokens."""
    cost_estimated: NotRequired[bool]
    """True if the server counted no tokens: `cost` is then the most that the answer can cost."""
    teaching_version: NotRequired[str]
    max_tokens: NotRequired[int]
    """The limit of the answer in its request."""
    question_sha256: NotRequired[str]
    """SHA-256 of the request without its limit: the same question, however long the answer."""
    served_model: NotRequired[str]
    """The model that answered, as the server names it; absent if it is the one asked for."""
    left_out: NotRequired[list[str]]
    """Parameters of the request that the server refused."""


class PublicRow(TypedDict):
    """A row of the public FinGPT Forecaster datasets."""

    prompt: str
    answer: str
    period: str
    label: str
    symbol: str


class AnswerTexts(TypedDict):
    """The two texts that are compared."""

    generation: str | None
    """The model's text as it came."""
    answer: str | None
    """The reference answer."""


class ScorableRow(AnswerTexts, total=False):
    """What eval.score reads: the two texts, and the rest if it is there."""

    id: str | int | None
    symbol: str | None
    period: str | None
    week_end: str | None
    split: str
    label: str | None
    seconds: float | None
    new_tokens: int | None
    finish_reason: str | None
    latency_measured: bool
    latency_seconds: float | None
    last_week_return: float | None
    weekly_return: float | None
    teacher_told: bool
    """Whether the author of the reference was told the label."""
    train_majority: int | str | None
    prompt: str | list[Message]
    sector: str | None
    control: str
    synthetic: bool
    knowledge_cutoff: str | None


class GenerationRow(TypedDict):
    """A line of generations.jsonl."""

    id: str
    symbol: str
    period: str
    week_end: str
    split: str
    label: str
    answer: str
    """The reference answer."""
    generation: str
    """The model's text as it came."""
    seconds: float
    """Amortized over the batch."""
    new_tokens: int | None
    """The stop token counts."""
    finish_reason: str | None
    latency_measured: bool
    latency_seconds: NotRequired[float]
    last_week_return: float | None
    weekly_return: NotRequired[float | None]
    """Of the forecast week; a fraction. Older files lack it."""
    train_majority: int | None
    prompt: str
    """The user message."""
    teacher_told: NotRequired[bool]
    sector: NotRequired[str]
    control: NotRequired[str]
    synthetic: NotRequired[bool]
    prompt_tokens: NotRequired[int]
    """Tokens of the prompt as a server counts them."""
    served_model: NotRequired[str]
    """The model that answered, as an endpoint names it."""
    left_out: NotRequired[list[str]]
    """Parameters of the request that an endpoint refused: the answer came without them."""


class TfidfRow(TypedDict):
    """A line of generations.jsonl of eval.tfidf: a bin in the layout of an answer."""

    id: str
    symbol: str
    period: str
    week_end: str
    split: str
    label: str
    answer: str
    generation: str
    seconds: None
    new_tokens: None
    finish_reason: None
    last_week_return: float | None
    weekly_return: float | None
    train_majority: int | None
    teacher_told: NotRequired[bool]
    control: NotRequired[str]
    synthetic: NotRequired[bool]


class RougeScores(TypedDict):
    """F1 of each kind, 0 to 1."""

    rouge1: float
    rouge2: float
    rougeL: float


class RowIdentity(TypedDict, total=False):
    """What identifies a scored row, so that runs scored anywhere can be compared."""

    id: str | int
    symbol: str
    period: str


class RowScores(TypedDict):
    """What was read in an answer, and what came true."""

    direction: int | None
    magnitude: float | None
    """Signed, in percent."""
    valid_strict: bool
    valid_lenient: bool
    reason: str | None
    reason_strict: str | None
    truth_direction: int | None
    truth_magnitude: float | None
    pros_rouge_scores: RougeScores | None
    cons_rouge_scores: RougeScores | None
    anal_rouge_scores: RougeScores | None


class RowProbabilities(TypedDict, total=False):
    """What likelihoods.jsonl says of a row; null if it does not have the row."""

    up_probability: float | None
    """After the model's own answer if that could be read, else asked at once."""
    direct_up_probability: float | None
    """Asked at once."""
    direct_rps: float | None
    """The ranked probability score of the bins when asked at once."""


class ScoredRow(RowIdentity, RowScores, RowProbabilities):
    """A line of scored.jsonl, in the order of the rows that were scored."""


class BinProbabilities(TypedDict):
    """What a model gives to the twelve bins."""

    logprobs: dict[str, float]
    """Natural logarithms, by label."""
    probs: dict[str, float]
    """The same, adding up to 1."""
    up: float
    mass: float
    """The probability of all twelve texts before they are made to add up to 1."""


class LikelihoodRow(TypedDict):
    """A line of likelihoods.jsonl."""

    id: str
    symbol: str
    period: str
    week_end: str
    label: str
    logprobs: dict[str, float]
    probs: dict[str, float]
    up: float
    mass: NotRequired[float]
    direct: NotRequired[BinProbabilities]
    """The same question without the model's own text before it."""
    prefix: NotRequired[str]
    train_up_share: NotRequired[float | None]
    seconds: NotRequired[float]


class GpuSample(TypedDict):
    """One GPU at one moment; what its driver does not tell is null and never 0."""

    index: int | None
    """As in nvidia-smi."""
    name: str | None
    utilization_percent: int | None
    """0 to 100, over the driver's last sample period. A MIG slice has none."""
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_watts: float | None
    temperature_celsius: int | None


class HostSample(TypedDict):
    """Processor and memory of a process and its children."""

    cpu_percent: float | None
    """Since the sample before; 100 is one core fully used."""
    rss_bytes: int
    """Resident memory. What the processes share counts once for each of them."""


class SystemSample(HostSample):
    """What a machine does at one moment."""

    gpu: list[GpuSample] | None
    gpu_reason: str | None
    """Why `gpu` is null."""


class TrainLogEntry(TypedDict):
    """What every line of train_log.jsonl holds."""

    step: int
    epoch: float
    time: float
    """Seconds since the training began, interrupts left out."""
    kind: Literal["train", "eval", "gen", "system", "end"]


class TrainLogRow(TrainLogEntry, total=False):
    """A line of train_log.jsonl; its `kind` decides which of the keys are there.

    A line of kind eval holds whatever the Trainer measured, of kind gen what
    sft.training.sample_answers did; only the keys that others read are listed.
    """

    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens_per_second: float | None
    """Without padding. In the row of kind end, over the whole attempt."""
    samples_per_second: float | None
    steps_per_second: float | None
    mfu: float | None
    """Model FLOPs utilization, 0 to 1; null without a card and a base that plan knows."""
    eval_loss: float | None
    cpu_percent: float | None
    rss_bytes: int
    gpu: list[GpuSample] | None
    gpu_reason: str | None
    train_runtime: float | None
    train_loss: float | None
    train_samples_per_second: float | None
    train_steps_per_second: float | None
    resumed_from_step: int | None
    peak_rss_bytes: int
    peak_gpu_memory_bytes: int | None
    peak_gpu_memory_reason: str | None
    gpu_energy_wh: float | None
    """Of all GPUs over the whole training, from their power; null if it is not known."""


def user_text(messages: Iterable[Message]) -> str:
    """What the user messages say, one after another."""
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


def reference_text(row: DatasetRow) -> str:
    """The reference answer of a row."""
    return row["completion"][0]["content"]


def period(row: DatasetRow) -> str:
    """The forecast week of a row, "2024-03-17 to 2024-03-24"."""
    return f"{row['week_start']} to {row['week_end']}"


def is_synthetic(rows: Sequence[DatasetRow]) -> bool:
    """Whether any row is marked as made up."""
    return any(row.get("synthetic", False) for row in rows)
