"""What an evaluation or a comparison was made from, as artifacts that W&B knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_pipeline.dataset.reader import read_source
from weekahead.files import sha256
from weekahead.schema.file_names import ADAPTER_NEEDS, MANIFEST
from weekahead.schema.manifests import DatasetFacts, GenerationManifest, read_generation_manifest
from weekahead.schema.verdicts import ReportedRun
from weekahead.tracking.artifacts import (
    ArtifactContent,
    adapter_content,
    adapter_on_hub,
    adapter_version,
    artifact_name,
    dataset_content,
    dataset_version,
    digest_alias,
)
from weekahead.tracking.run import TrackedRun


@dataclass(frozen=True)
class Input:
    """An artifact that a run used."""

    version: str
    """Its name and alias in W&B, such as `adapter-llama-1:weights-0123456789ab`."""
    manifest: GenerationManifest | None = None
    """What can rebuild it if W&B has no such version; None if nothing here can."""


def inputs_of_evaluation(folder: Path) -> list[Input]:
    """Dataset and adapter behind the answers in `results/<run>`, as far as they are known.

    Raises ValueError if the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    manifest = read_generation_manifest(path)
    versions: list[str] = []
    source, rows = manifest["dataset"].get("source"), manifest["dataset"].get("sha256")
    if source and rows:
        versions.append(dataset_version(source, rows))
    if manifest["adapter"] and manifest["adapter_sha256"]:
        versions.append(adapter_version(_run_of(manifest), manifest["adapter_sha256"]))
    return [Input(version, manifest) for version in versions]


def inputs_of_comparison(runs: Sequence[ReportedRun]) -> list[Input]:
    """The evaluations that a report compares."""
    return [Input(evaluation_version(run["run"], run["metrics_sha256"])) for run in runs]


def evaluation_version(run: str, metrics_sha256: str) -> str:
    """The artifact of an evaluation, by the digest of its metrics.json."""
    return f"{artifact_name('evaluation', run)}:{digest_alias('metrics', metrics_sha256)}"


def record_inputs(tracker: TrackedRun, inputs: Sequence[Input]) -> None:
    """Record the inputs of a run: the versions that W&B has, else what lies here.

    What cannot be recorded now (`eval.publish` writes all versions into the run's config as `uses`)
    is added by `make sync`.
    """
    for each in inputs:
        if not tracker.use_version(each.version):
            content = _content(each, online=tracker.mode == "online")
            if content:
                # The digest alone: an input does not become the `latest` or the `best` version.
                alias = each.version.partition(":")[2]
                tracker.use_artifact(replace(content, aliases=(alias,)))


def _content(needed: Input, *, online: bool) -> ArtifactContent | None:
    """What stands for a version that W&B has not; files only if the training uploaded files too.

    Without a training nobody has agreed to an upload: the address alone is recorded, and offline,
    where it might take the place of a version that W&B has, nothing.
    """
    manifest = needed.manifest
    if manifest is None or (manifest["train"] is None and not online):
        return None
    is_dataset = needed.version.startswith("dataset-")
    content = _dataset(manifest["dataset"]) if is_dataset else _adapter(manifest, online=online)
    train = manifest["train"]
    if content and (not train or train["settings"].get("upload_artifacts") is False):
        return content.left_in_place()
    return content


def _dataset(facts: DatasetFacts) -> ArtifactContent | None:
    """The dataset, if its rows are still those that were answered."""
    source, rows, revision = facts.get("source"), facts.get("sha256"), facts.get("revision")
    if not source or not rows:
        return None
    if not Path(source).exists():
        return dataset_content(source, [rows], revision)
    try:
        digests = read_source(source).sha256.values()
        return dataset_content(source, digests, revision) if rows in digests else None
    except (OSError, ValueError):  # it is no dataset any more
        return None


def _adapter(manifest: GenerationManifest, *, online: bool) -> ArtifactContent | None:
    """The adapter, if its weights are still those that answered.

    One on the Hub is an address, and W&B would take that for another version than the files that a
    training logged; so offline, where nobody can tell if there was one, it is left out.
    """
    reference, weights = manifest["adapter"], manifest["adapter_sha256"]
    if not reference or not weights:
        return None
    folder = Path(reference)
    if not folder.is_dir():
        return adapter_on_hub(_run_of(manifest), reference, weights) if online else None
    file = folder / ADAPTER_NEEDS[0]
    if not file.is_file() or sha256(file) != weights:
        return None
    train = manifest["train"]
    data = train["dataset"].get("sha256") if train else None
    settings = train["settings"] if train else {}
    is_best = settings.get("load_best_model_at_end") is True
    return adapter_content(folder, weights, data, is_best=is_best)


def _run_of(manifest: GenerationManifest) -> str:
    """The name of the training; of an adapter of other software, that of its folder."""
    train = manifest["train"]
    reference = (manifest["adapter"] or "").partition("@")[0]
    return (train["run"] if train else None) or Path(reference).name
