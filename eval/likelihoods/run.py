"""The settings of a likelihood run, its manifest, and which answers it fits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from typing import TypedDict

from data_pipeline.dataset.load import EvalData
from eval.generation.results_folder import ResultKind, adapter_fields, dataset_facts, differences
from eval.likelihoods.continuations import CONTINUATIONS, DIRECT_PREFIX
from weekahead.files import sha256
from weekahead.manifest import provenance
from weekahead.models.loading import Adapter, Base
from weekahead.models.precision import Precision
from weekahead.schema.file_names import GENERATIONS, LIKELIHOODS, LIKELIHOODS_MANIFEST, MANIFEST
from weekahead.schema.manifests import (
    BaseFacts,
    GenerationManifest,
    JsonObject,
    LikelihoodManifest,
    ResultsManifest,
    read_generation_manifest,
)

PREFIXES = ("own", "direct")

LIKELIHOOD_RESULTS = ResultKind(
    name="likelihoods",
    rows_file=LIKELIHOODS,
    manifest_file=LIKELIHOODS_MANIFEST,
    identity=("adapter", "adapter_sha256", "base", "dataset", "scoring"),
    remedy=(
        f"Choose another RUN, or remove its {LIKELIHOODS} and {LIKELIHOODS_MANIFEST} to start over."
    ),
    read_manifest=dict,
)


@dataclass(frozen=True)
class Scoring:
    """How rows are scored. All of it changes numbers, `batch_size` only the last digits."""

    prefix: str
    batch_size: int = 8
    generations_sha256: str | None = None
    """Of the answers that the own prefixes are cut from."""


def choose_scoring(out: Path, prefix: str | None, batch_size: int | None) -> Scoring:
    """The settings for a folder of results; without `prefix`: own if it holds answers, else direct.

    Without `batch_size` it is 8, or that of the answers if they came fewer at a time: a GPU holds
    no more. Raises ValueError for a batch size under 1 and an own prefix without finished answers.
    """
    answers_manifest = manifest_of_answers(out)
    if batch_size is None:
        settings = answers_manifest["generation"] if answers_manifest else {}
        batch_size = min(Scoring.batch_size, settings.get("batch_size") or Scoring.batch_size)
    if batch_size < 1:
        raise ValueError(f"--batch_size is {batch_size}; expected at least 1")
    answers = out / GENERATIONS
    prefix = prefix or ("own" if answers.exists() else "direct")
    if prefix == "direct":
        return Scoring(prefix, batch_size)
    remedy = "run eval.generate into this folder to its end first, or say --prefix direct"
    if not answers.exists():
        raise ValueError(f"{answers} is not there; {remedy}")
    if answers_manifest and not answers_manifest.get("complete", True):
        raise ValueError(f"{answers} is not finished; {remedy}")
    return Scoring(prefix, batch_size, sha256(answers))


def describe_likelihoods(
    data: EvalData, base: Base, adapter: Adapter | None, *, precision: Precision, scoring: Scoring
) -> LikelihoodManifest:
    """What is about to be scored: the manifest without its results."""
    return {
        **provenance(),
        "kind": "likelihood",
        **adapter_fields(adapter),
        "base": base.manifest_fields(),
        "precision": {
            "mode": precision.mode,
            "device": precision.device,
            "reason": precision.reason,
        },
        "dataset": dataset_facts(data),
        "scoring": {
            **asdict(scoring),
            "continuations": list(CONTINUATIONS.values()),
            "direct_prefix": DIRECT_PREFIX,
        },
    }


def manifest_of_answers(out: Path) -> GenerationManifest | None:
    """The manifest of the answers in a folder of results; None if there is none."""
    path = out / MANIFEST
    return read_generation_manifest(path) if path.exists() else None


def check_same_run(out: Path, manifest: LikelihoodManifest) -> None:
    """Raise ValueError if `out` holds the answers of another adapter, base or dataset."""
    answers = manifest_of_answers(out)
    if answers is None:
        return
    now = _identity(manifest)
    changes = differences(_identity(answers), now, now)
    if changes:
        raise ValueError(
            f"{out} holds the answers of another run: {'; '.join(changes)}. Choose another RUN."
        )


def _identity(manifest: ResultsManifest) -> JsonObject:
    """Which model and rows a manifest is about."""
    base, dataset = manifest["base"] or BaseFacts(), manifest["dataset"]
    return {
        "adapter_sha256": manifest["adapter_sha256"],
        "base name": base.get("name"),
        "base revision": base.get("revision"),
        "dataset sha256": dataset.get("sha256"),
        "dataset split": dataset.get("split"),
    }


class LikelihoodTotals(TypedDict):
    """Size and time of a finished run."""

    n: int
    prefixes: dict[str, int]
    """What came before the bins (own, direct) -> rows."""
    seconds_total: float


def likelihood_totals(rows: Sequence[JsonObject]) -> LikelihoodTotals:
    """Size and time of these lines of likelihoods.jsonl."""
    return {
        "n": len(rows),
        "prefixes": dict(Counter(row["prefix"] for row in rows)),
        "seconds_total": fsum(row["seconds"] for row in rows),
    }
