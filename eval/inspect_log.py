"""Write an evaluation as a log of Inspect, to browse its answers with `inspect view`.

    python -m eval.inspect_log results/llama
    uvx --from inspect-ai inspect view --log-dir results

writes results/llama/llama.eval: one sample per answer with prompt, text, reference and scores, and
the run's numbers with its verdict. Nothing of Inspect is needed to write it.
"""

import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metrics.baselines import Prediction
from eval.metrics.scored_answer import bin_of
from eval.report.runs import EvaluatedRun, load_run
from weekahead.cli import configure_logging, new_parser, option, read_options, run_command
from weekahead.files import replacing
from weekahead.locks import check_writable
from weekahead.manifest import provenance
from weekahead.schema.file_names import GENERATIONS, SCORED
from weekahead.schema.inspect_log import (
    VERSION,
    LogHeader,
    LogMessage,
    LogMetric,
    LogOutput,
    LogSample,
    LogScore,
    LogScorer,
    LogSummary,
    LogUsage,
)
from weekahead.schema.rows import ScorableRow, ScoredRow

_SECTIONS = {"pros": "positive", "cons": "concerns", "anal": "analysis"}
_DIRECTIONS = {1: "up", 0: "neutral", -1: "down"}
_STOP_REASONS = {"stop": "stop", "length": "max_tokens"}
_SHOWN = ("symbol", "period", "weekly_return", "last_week_return", "sector", "control", "synthetic")
"""Fields of a row that stand beside its answer."""


@dataclass(frozen=True)
class InspectOptions:
    """The arguments of eval.inspect_log."""

    folder: Path
    out: Path | None = option(None, help="file to write (default: <folder>/<run>.eval)")


def write_inspect_log(run: EvaluatedRun, path: Path) -> None:
    """Write `run` as an .eval file: a ZIP archive with a header and one JSON file per answer."""
    samples = list(samples_of(run))
    with replacing(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for sample in samples:
            _add(archive, f"samples/{sample['id']}_epoch_1.json", sample)
        _add(archive, "summaries.json", list(map(_summary, samples)))
        _add(archive, "header.json", header_of(run, [sample["id"] for sample in samples]))


def _add(archive: zipfile.ZipFile, name: str, value: object) -> None:
    # A model may write half of a surrogate pair, which no strict reader takes.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    archive.writestr(name, text.encode("utf-8", "replace"))


def samples_of(run: EvaluatedRun) -> Iterator[LogSample]:
    """One sample per answer, in the order of the rows. Rows without ids of their own get numbers.

    Raises ValueError if the folder lacks answers or scores.
    """
    lacking = [name for name in run.missing if name in (GENERATIONS, SCORED)]
    if lacking:
        raise ValueError(
            f"{run.folder} has no {lacking[0]}; answer and score it first (make eval), then again"
        )
    ids = [row.get("id") for row in run.generations]
    named = None not in ids and len(set(map(str, ids))) == len(ids)
    pairs = zip(run.generations, run.scored, strict=True)
    for number, (row, scored) in enumerate(pairs, start=1):
        yield _sample(row, scored, _model(run), (named and row.get("id")) or number)


def _sample(row: ScorableRow, scored: ScoredRow, model: str, row_id: str | int) -> LogSample:
    messages = _prompt(row)
    answer: LogMessage = {"role": "assistant", "content": row["generation"] or ""}
    metadata = {key: value for key, value in row.items() if key in _SHOWN and value is not None}
    truth = scored["truth_direction"]
    sample: LogSample = {
        "id": row_id,
        "epoch": 1,
        "input": messages,
        "target": row.get("label") or ("" if truth is None else _DIRECTIONS[truth]),
        "messages": [*messages, answer],
        "output": _output(row, model, answer),
        "scores": dict(scores_of(row, scored)),
        "metadata": {**metadata, "reference": row["answer"]},
    }
    written, read = row.get("new_tokens"), _count(row, "prompt_tokens")
    if written is not None:
        total = read + written
        usage: LogUsage = {"input_tokens": read, "output_tokens": written, "total_tokens": total}
        sample["model_usage"] = {model: usage}
    seconds = row.get("seconds")
    if seconds is not None:
        sample["total_time"] = seconds
    return sample


def _prompt(row: ScorableRow) -> list[LogMessage]:
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        return [{"role": message["role"], "content": message["content"]} for message in prompt]
    # eval.tfidf asks nothing in words.
    text = prompt or f"{row.get('symbol') or ''} {row.get('period') or ''}".strip()
    return [{"role": "user", "content": text}]


def _output(row: ScorableRow, model: str, answer: LogMessage) -> LogOutput:
    reason = _STOP_REASONS.get(row.get("finish_reason") or "", "unknown")
    return {
        "model": model,
        "choices": [{"message": answer, "stop_reason": reason}],
        "completion": answer["content"],
    }


def _count(row: Mapping[str, Any], key: str) -> int:
    return row.get(key) or 0


def scores_of(row: ScorableRow, scored: ScoredRow) -> Iterator[tuple[str, LogScore]]:
    """The scores of one answer, by name; one that cannot be computed is left out."""
    called = Prediction(scored["direction"], scored["magnitude"])
    truth, size = scored["truth_direction"], scored["truth_magnitude"]
    if truth is not None:
        said = _DIRECTIONS.get(called.direction) if called.direction is not None else None
        yield "direction", _graded(said, _DIRECTIONS[truth], scored["reason"])
    label = row.get("label") or bin_of(Prediction(truth, size))
    if label:
        yield "bin", _graded(bin_of(called), label, scored["reason"])
    if called.magnitude is not None and size is not None:
        yield "size_error", {"value": round(abs(called.magnitude - size), 6)}
    layout: LogScore = {"value": scored["valid_strict"]}
    if scored["reason_strict"]:
        layout["explanation"] = scored["reason_strict"]
    yield "layout", layout
    up = scored.get("up_probability")
    if up is not None:
        yield "up_probability", {"value": round(up, 4)}
    rouge = {
        name: found["rougeL"]
        for key, name in _SECTIONS.items()
        if (found := scored[f"{key}_rouge_scores"]) is not None
    }
    if rouge:
        yield "rouge_l", {"value": rouge}


def _graded(said: str | None, truth: str, reason: str | None) -> LogScore:
    score: LogScore = {"value": "N" if said is None else "C" if said == truth else "I"}
    if said is not None:
        score["answer"] = said
    score["explanation"] = f"true: {truth}" + (f"; not readable: {reason}" if reason else "")
    return score


def _summary(sample: LogSample) -> LogSummary:
    shown = {key: value for key, value in sample["metadata"].items() if key != "reference"}
    summary: LogSummary = {
        "id": sample["id"],
        "epoch": 1,
        "input": sample["input"],
        "target": sample["target"],
        "scores": sample["scores"],
        "metadata": shown,
        "completed": True,
        "message_count": len(sample["messages"]),
    }
    if "model_usage" in sample:
        summary["model_usage"] = sample["model_usage"]
    if "total_time" in sample:
        summary["total_time"] = sample["total_time"]
    return summary


def header_of(run: EvaluatedRun, ids: Sequence[str | int]) -> LogHeader:
    """What the log says of the run as a whole: its numbers are those of metrics.json."""
    created = run.stored.get("created") or provenance()["created"]
    data = run.manifest["dataset"]
    known = {
        "adapter": run.manifest["adapter"],
        "adapter_sha256": run.manifest["adapter_sha256"],
        "dataset_sha256": data.get("sha256"),
        "git_commit": run.manifest["git_commit"],
        "verdict": run.metrics["verdict"],
        "verdict_reasons": run.metrics["verdict_reasons"],
    }
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": run.name,
            "run_id": run.name,
            "task_id": run.name,
            "created": created,
            "task": run.name,
            "tags": [run.metrics["verdict"]],
            "dataset": {"name": data.get("source"), "samples": len(ids), "sample_ids": list(ids)},
            "model": _model(run),
            "config": {},
            "metadata": known,
        },
        "results": {
            "total_samples": len(ids),
            "completed_samples": len(ids),
            "scores": list(_scorers(run)),
        },
    }


def _scorers(run: EvaluatedRun) -> Iterator[LogScorer]:
    metrics = run.metrics
    interval = metrics["bin_acc_ci95"]
    yield from _scorer("direction", "accuracy", metrics["bin_acc"], metrics["n"], ci95=interval)
    skill = metrics["skill"]
    yield from _scorer("skill", "excess_accuracy", skill["excess_accuracy"], skill["n"])
    yield from _scorer("bin", "accuracy", metrics["bin12_acc"], metrics["bin12_n"])
    count = metrics["n"] + metrics["n_no_truth"]
    share = metrics["valid_strict"] / count if count else None
    yield from _scorer("layout", "accuracy", share, count)


def _scorer(
    scorer: str, name: str, value: float | None, n: int, ci95: list[float] | None = None
) -> Iterator[LogScorer]:
    """One number as the viewer shows it; nothing if it could not be computed."""
    if value is not None:
        metric: LogMetric = {"name": name, "value": value, "metadata": {"n": n, "ci95": ci95}}
        yield {"name": scorer, "scorer": scorer, "scored_samples": n, "metrics": {name: metric}}


def _model(run: EvaluatedRun) -> str:
    base = run.manifest["base"]
    served = run.manifest["backend"].get("model")
    return run.manifest["adapter"] or served or (base or {}).get("name") or run.name


def run(options: InspectOptions) -> int:
    """Write the log and print its path and how it is opened."""
    evaluated = load_run(options.folder)
    out = options.out or options.folder / f"{options.folder.resolve().name}.eval"
    check_writable(out.parent)
    write_inspect_log(evaluated, out)
    print(out)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 with the path, 2 if the folder is not scored."""
    parser = new_parser(__doc__, "eval.inspect_log")
    parser.add_argument("folder", type=Path, help="results/<run>, generated and scored")
    parser.add_argument("--out", type=Path, help="file to write (default: <folder>/<run>.eval)")
    options = read_options(parser.parse_args(argv), InspectOptions)
    configure_logging()
    return run_command("eval.inspect_log", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
