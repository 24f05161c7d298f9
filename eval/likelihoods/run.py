"""The settings of a likelihood run: what they are, what its manifest states, and which earlier run they fit."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from data_pipeline.dataset.load import EvalData
from eval.generation.results_folder import GENERATIONS, MANIFEST
from eval.likelihoods.continuations import CONTINUATIONS, DIRECT_PREFIX
from weekahead.files import Row, read_log, sha256
from weekahead.manifest import new_manifest
from weekahead.models.loading import Adapter, Base
from weekahead.models.precision import Precision

LIKELIHOODS, LIKELIHOODS_MANIFEST = "likelihoods.jsonl", "likelihoods.manifest.json"
PREFIXES = ("own", "direct")


@dataclass(frozen=True)
class Scoring:
    """How rows are scored. All of it changes numbers, `batch_size` only the last digits."""

    prefix: str
    batch_size: int = 8
    generations_sha256: str | None = None
    """Of the answers that the own prefixes are cut from."""


def scoring(out: Path, prefix: str | None, batch_size: int | None) -> Scoring:
    """The settings for a folder of results; without `prefix`, own where there are answers and else direct.

    Without `batch_size` it is 8, or that of the answers where they came fewer at a time: a card holds no more.
    Raises ValueError for a batch size under 1, and for an own prefix without finished answers.
    """
    if batch_size is None:
        answered = (_facts(out / MANIFEST).get("generation") or {}).get(
            "batch_size"
        ) or Scoring.batch_size
        batch_size = min(Scoring.batch_size, answered)
    if batch_size < 1:
        raise ValueError(f"--batch_size is {batch_size}; expected at least 1")
    answers = out / GENERATIONS
    chosen = prefix or ("own" if answers.exists() else "direct")
    if chosen == "direct":
        return Scoring(chosen, batch_size)
    remedy = "run eval.generate into this folder to its end first, or say --prefix direct"
    if not answers.exists():
        raise ValueError(f"{answers} is not there; {remedy}")
    if not _facts(out / MANIFEST).get("complete", True):
        raise ValueError(f"{answers} is not finished; {remedy}")
    return Scoring(chosen, batch_size, sha256(answers))


def describe(
    adapter: Adapter | None, base: Base, precision: Precision, data: EvalData, how: Scoring
) -> Row:
    """What is about to be scored: the manifest without its results."""
    return new_manifest(
        kind="likelihood",
        adapter=adapter.reference if adapter else None,
        adapter_revision=adapter.revision if adapter else None,
        adapter_sha256=sha256(adapter.folder / "adapter_model.safetensors") if adapter else None,
        base=base.manifest_fields(),
        precision=asdict(precision),
        dataset={
            "source": data.source,
            "revision": data.revision,
            "split": data.split,
            "sha256": data.sha256,
            "rows": len(data.rows),
        },
        scoring={
            **asdict(how),
            "continuations": list(CONTINUATIONS.values()),
            "direct_prefix": DIRECT_PREFIX,
        },
    )


def answered_by_a_server(out: Path) -> bool:
    """Whether the answers in `out` came from an endpoint, whose probabilities nobody here can ask for."""
    return (_facts(out / MANIFEST).get("backend") or {}).get("name") == "endpoint"


def check_same_run(out: Path, facts: Row) -> None:
    """Raise ValueError where `out` holds the answers of another adapter, base or dataset than `facts` names."""
    answers = _facts(out / MANIFEST)
    before, now = _whose(answers), _whose(facts)
    different = [
        f"{key}: {before[key]!r} is now {now[key]!r}"
        for key in now
        if answers and before[key] != now[key]
    ]
    if different:
        raise ValueError(
            f"{out} holds the answers of another run: {'; '.join(different)}. Choose another RUN."
        )


def begun(out: Path, facts: Row) -> dict[str, Row]:
    """The rows that an earlier start left in `out`, by id.

    Raises ValueError naming what differs where that start had other settings, and for rows without a
    manifest; nothing is touched then.
    """
    remedy = (
        f"Choose another RUN, or remove its {LIKELIHOODS} and {LIKELIHOODS_MANIFEST} to start over."
    )
    before = _facts(out / LIKELIHOODS_MANIFEST)
    if not before:
        if (out / LIKELIHOODS).exists():
            raise ValueError(
                f"{out} holds {LIKELIHOODS} and no {LIKELIHOODS_MANIFEST} that says whose. {remedy}"
            )
        return {}
    now = json.loads(json.dumps(facts))
    different = [
        f"{key}: {before.get(key)!r} is now {now[key]!r}"
        for key in ("adapter", "adapter_sha256", "base", "dataset", "scoring")
        if before.get(key) != now[key]
    ]
    if different:
        raise ValueError(
            f"{out} holds likelihoods made with other settings: {'; '.join(different)}. {remedy}"
        )
    return {row["id"]: row for row in read_log(out / LIKELIHOODS)}


def _facts(path: Path) -> Row:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _whose(facts: Row) -> Row:
    names = (("base", "name"), ("base", "revision"), ("dataset", "sha256"), ("dataset", "split"))
    parts = {f"{part} {key}": (facts.get(part) or {}).get(key) for part, key in names}
    return {"adapter_sha256": facts.get("adapter_sha256"), **parts}
