"""The manifest beside a run's answers: what is generated from what and how, and whether a folder holds the same."""

import json
from dataclasses import asdict
from pathlib import Path

from data_pipeline.dataset.load import EvalData
from eval.generation.backends import Backend
from weekahead.files import Row, manifest, sha256
from weekahead.models.decoding import Decoding
from weekahead.models.loading import Adapter, Base
from weekahead.models.precision import Precision

MANIFEST = "manifest.json"
_SAME = ("adapter", "adapter_sha256", "base", "dataset", "generation", "backend")
"""What two starts that share a folder must agree on."""


def describe(
    adapter: Adapter | None,
    base: Base,
    precision: Precision,
    data: EvalData,
    how: Decoding,
    backend: Backend,
) -> Row:
    """What is about to be generated: the manifest without its results."""
    trained = adapter.manifest if adapter else None
    number_format = {"mode": precision.mode, "device": precision.device, "reason": precision.reason}
    if backend.name == "endpoint":
        number_format = {"mode": None, "device": "endpoint", "reason": "the server's own choice"}
    return manifest(
        kind="generate",
        adapter=adapter.reference if adapter else None,
        adapter_revision=adapter.revision if adapter else None,
        adapter_sha256=sha256(adapter.folder / "adapter_model.safetensors") if adapter else None,
        base=base.facts(),
        precision=number_format,
        dataset={
            "source": data.source,
            "revision": data.revision,
            "split": data.split,
            "sha256": data.sha256,
            "rows": len(data.rows),
            "synthetic": any(row.get("synthetic", False) for row in data.rows),
            "ceiling": _ceiling(data),
        },
        generation={**asdict(how), "do_sample": how.temperature > 0},
        backend=backend.facts(),
        latency_measured=how.batch_size == 1,
        train=trained,
        rows_in_training_weeks=rows_in_training_weeks(trained, data),
        train_majority=trained["train_majority"] if trained else data.train_majority,
    )


def rows_in_training_weeks(trained: Row | None, data: EvalData) -> int | None:
    """How many of the rows lie in weeks that the adapter's training reached; None where that is not known."""
    last = ((trained or {}).get("dataset") or {}).get("last_train_week")
    return None if last is None else sum(row["week_start"] <= last for row in data.rows)


def _ceiling(data: EvalData) -> Row | None:
    """The best reachable direction accuracy, where the dataset's manifest states one."""
    path = Path(data.source) / MANIFEST
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8")).get("ceiling")


def begun(out: Path, facts: Row) -> Row | None:
    """The manifest that an earlier start left in `out`; None where there was none.

    Raises ValueError naming what differs where that start had other settings, and for answers without a
    manifest, so that answers of two experiments never mix; nothing is touched then.
    """
    path = out / MANIFEST
    if not any(out.glob("generations*.jsonl")):
        return None  # also after a start that failed before its first answer: there is nothing to mix with
    if not path.exists():
        raise ValueError(
            f"{out} holds answers but no {MANIFEST} that says whose: remove them or choose another RUN"
        )
    # A manifest from before there were several backends was made with the one there was.
    before = {"backend": Backend().facts(), **json.loads(path.read_text(encoding="utf-8"))}
    now = json.loads(json.dumps(facts))
    differences = [
        f"{key}: {before.get(key)!r} is now {now[key]!r}"
        for key in _SAME
        if before.get(key) != now[key]
    ]
    if differences:
        raise ValueError(
            f"{out} holds answers made with other settings: {'; '.join(differences)}. "
            "Choose another RUN, or remove the folder to start over."
        )
    return before


def totals(rows: list[Row], processes: int) -> Row:
    """Size and speed of a finished run. `tokens_per_second` is that of one process; null if a count is unknown.

    `seconds_total` is over all processes: of several at once, divide by their number for what passed on the clock.
    """
    seconds = sum(row["seconds"] for row in rows)
    counts = [row["new_tokens"] for row in rows]
    known = seconds and None not in counts
    return {
        "n": len(rows),
        "seconds_total": seconds,
        "tokens_per_second": sum(counts) / seconds if known else None,
        "processes": processes,
    }
