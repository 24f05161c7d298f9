"""The manifest beside a run's answers: what is generated from what and how, and whether a folder holds the same."""

import json
from dataclasses import asdict
from pathlib import Path

from data_pipeline.dataset.load import EvalData
from eval.generation.backends import Backend
from eval.metrics.text_quality import prompt_text
from weekahead.distributed import Process
from weekahead.files import Row, read_log, sha256, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.loading import Adapter, Base
from weekahead.models.precision import Precision

MANIFEST = "manifest.json"
_SAME = ("adapter", "adapter_sha256", "base", "dataset", "generation", "backend")
"""What two starts that share a folder must agree on."""
GENERATIONS = "generations.jsonl"


def describe(
    adapter: Adapter | None,
    base: Base,
    precision: Precision,
    data: EvalData,
    how: SamplingParams,
    backend: Backend,
) -> Row:
    """What is about to be generated: the manifest without its results."""
    trained = adapter.manifest if adapter else None
    number_format = {"mode": precision.mode, "device": precision.device, "reason": precision.reason}
    if backend.name == "endpoint":
        number_format = {"mode": None, "device": "endpoint", "reason": "the server's own choice"}
    return new_manifest(
        kind="generate",
        adapter=adapter.reference if adapter else None,
        adapter_revision=adapter.revision if adapter else None,
        adapter_sha256=sha256(adapter.folder / "adapter_model.safetensors") if adapter else None,
        base=base.manifest_fields(),
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


def own_part(out: Path, share: Process) -> Path:
    """The file that this process appends to: the answers themselves where it is alone."""
    return out / (GENERATIONS if share.world_size == 1 else f"generations.part{share.rank}.jsonl")


def gather(out: Path) -> dict[str, Row]:
    """The answers there are, by id, after putting all parts into one file.

    Only while no process appends. A line that an interrupt cut off is dropped. Interrupted itself, it loses
    nothing: parts go when their rows stand in the one file. Raises ValueError for a damaged file.
    """
    parts = sorted(out.glob("generations.part*.jsonl"))
    done = {row["id"]: row for path in [*parts, out / GENERATIONS] for row in read_log(path)}
    if parts:
        write_jsonl(out / GENERATIONS, done.values())
    for part in parts:
        part.unlink()
    return done


def answer_row(row: Row, answer: Completion, data: EvalData, facts: Row) -> Row:
    """A line of generations.jsonl: the dataset's `row`, what was answered, and what scoring needs of the run."""
    return {
        "id": row["id"],
        "symbol": row["symbol"],
        "period": f"{row['week_start']} to {row['week_end']}",
        "week_end": row["week_end"],
        "split": data.split,
        "label": row["label"],
        "answer": row["completion"][0]["content"],
        "generation": answer.text,
        "seconds": round(answer.seconds, 4),
        "new_tokens": answer.new_tokens,
        "finish_reason": answer.finish_reason,
        "latency_measured": facts["latency_measured"],
        **({} if answer.latency is None else {"latency_seconds": round(answer.latency, 4)}),
        "last_week_return": row.get("last_week_return"),
        "train_majority": facts["train_majority"],
        "prompt": prompt_text(row["prompt"]),
        **{name: row[name] for name in ("sector", "control") if row.get(name)},
        **({"synthetic": True} if row.get("synthetic") else {}),
    }
