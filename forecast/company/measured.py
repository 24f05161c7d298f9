"""How the forecasts of a model did in its evaluations."""

import logging
from collections.abc import Iterator
from pathlib import Path

from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.forecasts import MeasuredRecord
from weekahead.schema.manifests import (
    BaseFacts,
    GenerationManifest,
    read_generation_manifest,
    read_json_object,
)
from weekahead.schema.metrics import Metrics
from weekahead.schema.metrics_files import read_metrics

log = logging.getLogger(__name__)


def measured_record(
    results: Path, run: str, adapter_sha256: str | None, base: BaseFacts
) -> MeasuredRecord:
    """The record of the adapter with these weights, or of the base alone if they are None.

    Of several evaluations in `results` that of `run` counts, else the one of most forecasts.
    """
    found = [
        (folder.name, metrics)
        for folder, manifest, metrics in _evaluations(results)
        if manifest["adapter_sha256"] == adapter_sha256
        and (adapter_sha256 or _is_base(manifest, base))
    ]
    if not found:
        return _unmeasured(run, is_base=adapter_sha256 is None)
    name, metrics = max(found, key=lambda pair: (pair[0] == run, pair[1]["n"]))
    return _record(name, metrics)


def _evaluations(results: Path) -> Iterator[tuple[Path, GenerationManifest, Metrics]]:
    """The folders of `results` that hold answers of a model and their scores."""
    for path in sorted(results.glob(f"*/{METRICS}")):
        manifest = path.with_name(MANIFEST)
        try:
            if manifest.is_file() and read_json_object(manifest).get("kind") == "generate":
                metrics = read_metrics(path, "score its answers again")
                yield path.parent, read_generation_manifest(manifest), metrics
        except (ValueError, OSError) as error:
            log.warning("%s counts for no record: %s", path.parent, error)


def _is_base(manifest: GenerationManifest, base: BaseFacts) -> bool:
    if not manifest["backend"]["runs_locally"]:
        return False  # nobody here knows what answered
    stated = manifest["base"] or {}
    names = {stated.get("name"), stated.get("hub_id")} - {None}
    return not names.isdisjoint({base.get("name"), base.get("hub_id")})


def _unmeasured(run: str, *, is_base: bool) -> MeasuredRecord:
    what = "base alone" if is_base else "adapter"
    command = f"make eval RUN={run}{' ADAPTER=none' if is_base else ''}"
    return {
        "verdict": "not measured",
        "sentence": f"Not measured: no evaluation of this {what} is here ({command} makes one), so "
        "nothing says that its forecasts are better than chance.",
        "run": None,
        "skill": None,
        "ci95": None,
        "n": None,
        "weeks": None,
        "accuracy": None,
        "always_down": None,
        "synthetic": False,
    }


def _record(run: str, metrics: Metrics) -> MeasuredRecord:
    skill = metrics["skill"]
    always_down = metrics["baselines"].get("always_down")
    record: MeasuredRecord = {
        "verdict": metrics["verdict"],
        "sentence": "",
        "run": run,
        "skill": skill["excess_accuracy"],
        "ci95": skill["ci95"],
        "n": metrics["n"],
        "weeks": skill["weeks"],
        "accuracy": metrics["bin_acc"],
        "always_down": always_down["bin_acc"] if always_down else None,
        "synthetic": metrics["synthetic"],
    }
    record["sentence"] = _sentence(record, metrics["verdict_reasons"])
    return record


def _sentence(record: MeasuredRecord, reasons: list[str]) -> str:
    """Such as "Skill shown: +0.37 [+0.27, +0.47] over 64 forecasts in 16 weeks; ..."."""
    skill, interval = "unknown", record["ci95"]
    if record["skill"] is not None:
        between = f"[{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "(no interval)"
        skill = f"{record['skill']:+.2f} {between}"
    rows = f"{record['n']} forecasts"
    if record["weeks"]:
        rows += f" in {record['weeks']} weeks"
    if record["synthetic"]:
        rows += " of a fictional market"
    shares = [
        f"{name} {share:.2f}"
        for name, share in (
            ("right directions", record["accuracy"]),
            ("those of always-down", record["always_down"]),
        )
        if share is not None
    ]
    why = f" Reason: {'; '.join(reasons)}." if reasons else ""
    verdict = f"{record['verdict'].capitalize()} in {record['run']}"
    return f"{'; '.join([f'{verdict}: skill {skill} over {rows}', *shares])}.{why}"
