"""The answers of a run as they lie on disk: one row an id, appended as they come, whole at the end.

Several processes never write into one file: each appends to its own part, and the first one puts them together.
"""

from pathlib import Path

from data_pipeline.dataset.load import EvalData
from eval.metrics.text_quality import prompt_text
from weekahead.distributed import Share
from weekahead.files import Row, read_log, write_jsonl
from weekahead.models.decoding import Generation

GENERATIONS = "generations.jsonl"


def own_part(out: Path, share: Share) -> Path:
    """The file that this process appends to: the answers themselves where it is alone."""
    return out / (GENERATIONS if share.count == 1 else f"generations.part{share.rank}.jsonl")


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


def answer_row(row: Row, answer: Generation, data: EvalData, facts: Row) -> Row:
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
