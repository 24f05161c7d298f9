"""What of a run's folder is published: an allow list, no path of this machine, no secret.

The local folder is only read. Paths of this machine are rewritten in the copy.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sft.hub.model_card import ModelCardFacts, model_card
from sft.hub.recipe_file import recipe_text
from weekahead.files import read_text, sha256
from weekahead.hub.client import HUB_ID, HubError
from weekahead.hub.eval_results import evaluated, is_results_file, results_files
from weekahead.redaction import find_secret
from weekahead.schema.file_names import ADAPTER_FILES, ADAPTER_NEEDS, MANIFEST, METRICS
from weekahead.schema.manifests import (
    GenerationManifest,
    JsonObject,
    TrainingManifest,
    read_json_object,
    training_manifest,
    why_unusable,
)
from weekahead.schema.metrics import Metrics
from weekahead.schema.verdicts import ReportedRun

Files = dict[str, bytes | Path]
"""Path in the repository -> its content, or the file that holds it."""

RECIPE, REPORT = "recipe.yaml", "report.html"
_WRITTEN = ("README.md", METRICS, RECIPE, REPORT)
_FIGURES = "figures/*.png"
# Written here or by a library, so they may name a local folder; the others are the base's own.
_REWRITTEN = (
    "adapter_config.json",
    "tokenizer_config.json",
    "generation_config.json",
    MANIFEST,
)

_MACHINE_PATH = re.compile(
    r"(?:file://|(?<![\w/:.-]))(?:[A-Za-z]:[\\/]|/)(?:[^\\/\s\"'=,]+[\\/]+)+([^\\/\s\"',]*)"
)

_GO_ON = (
    "Run the same `make train` again: it goes on from its last checkpoint and writes what is "
    "missing."
)


@dataclass(frozen=True)
class Evaluation:
    """What was measured of an adapter: the content of metrics.json and the manifest beside it."""

    stored: JsonObject
    """metrics.json as it is on disk, which is what is uploaded."""
    metrics: Metrics
    """The same, with the keys that older files lack."""
    manifest: GenerationManifest | None = None
    """None if there is no manifest beside the metrics."""
    reported: ReportedRun | None = None
    """The verdict of a report on these metrics."""
    report: Path | None = None
    """The page of that report."""


def bundle(
    folder: Path,
    repo: str,
    *,
    evaluation: Evaluation | None = None,
    base: str | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Files:
    """The files of the run at `folder` as they go to `repo`, with the model card.

    `base` is the Hub id of a base that was a local folder in training; `secrets` are environment
    variables whose values must not be published. Raises HubError for an incomplete folder,
    metrics of another adapter, a base without Hub id, and a file that holds a secret.
    """
    _check_trained(folder)
    check_complete(folder)
    manifest = training_manifest(_read_json(folder / MANIFEST), str(folder / MANIFEST))
    base_id = base_hub_id(manifest, base)
    if evaluation:
        check_evaluation(folder, evaluation.manifest)
    names = [name for name in ADAPTER_FILES if (folder / name).is_file()]
    figures = sorted(path.relative_to(folder).as_posix() for path in folder.glob(_FIGURES))
    files: Files = {name: folder / name for name in (*names, *figures)}

    roots = (folder.resolve(), Path.cwd(), Path.home())
    for name in _REWRITTEN:
        content = _with_base_id(name, _read_json(folder / name), base_id)
        files[name] = json_bytes(without_paths(content, roots))
    public_manifest = without_paths(manifest, roots)
    files[RECIPE] = recipe_text(public_manifest, base_id).encode()
    if evaluation:
        files |= _evaluation_files(evaluation, roots)
    facts = ModelCardFacts(
        repo=repo,
        base_id=base_id,
        manifest=public_manifest,
        metrics=evaluation.metrics if evaluation else None,
        evaluation=without_paths(evaluation.manifest, roots) if evaluation else None,
        reported=evaluation.reported if evaluation else None,
        dataset_id=dataset_id(manifest),
        figures=tuple(figures),
    )
    try:
        files["README.md"] = model_card(facts).encode()
    except KeyError as error:  # an entry inside one of them: the outer keys have been checked
        raise HubError(
            f"an entry of {METRICS} or {MANIFEST} has no {error}; score the run again"
        ) from error
    _check_secrets(files, secrets or {})
    return files


def _evaluation_files(evaluation: Evaluation, roots: tuple[Path, ...]) -> Files:
    """The metrics, their form for the Hub, and the page of the report, if there is one."""
    files: Files = {METRICS: json_bytes(without_paths(evaluation.stored, roots))}
    manifest = without_paths(evaluation.manifest, roots)
    files |= results_files(evaluated(evaluation.metrics, manifest, evaluation.reported))
    if evaluation.report:
        page = read_text(evaluation.report)
        files[REPORT] = _without_roots(page, roots).encode()
    return files


def is_ours(path: str) -> bool:
    """Whether a push writes a file of this name, so that a later push may remove it."""
    named = path in (*ADAPTER_FILES, *_WRITTEN)
    return named or fnmatch(path, _FIGURES) or is_results_file(path)


def _check_trained(folder: Path) -> None:
    """Raises HubError if a manifest says that the training has not ended, or not well."""
    path = folder / MANIFEST
    if not _has_content(path):
        return
    manifest = training_manifest(_read_json(path), str(path))
    reason = why_unusable(manifest)
    if not reason:
        return
    unfinished = manifest["result"] is None and not manifest.get("diverged")
    remedy = _GO_ON if unfinished else "Train another RUN, such as with a lower --learning_rate."
    raise HubError(f"{folder} is no adapter to publish: {reason}. {remedy}")


def check_complete(folder: Path) -> None:
    """Raises HubError naming the files that an adapter folder needs and this one lacks."""
    if not folder.is_dir():
        raise HubError(
            f"{folder} is not a folder; expected outputs/<run>, as `make train` leaves it"
        )
    missing = [name for name in ADAPTER_NEEDS if not _has_content(folder / name)]
    if missing:
        raise HubError(
            f"{folder} is not a complete adapter folder: {', '.join(missing)} missing or empty. "
            f"{_GO_ON}"
        )


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def check_evaluation(folder: Path, evaluation: GenerationManifest | None) -> None:
    """Raises HubError if the evaluation's manifest says that other weights were measured."""
    weights = folder / "adapter_model.safetensors"
    if evaluation is None or evaluation["adapter_sha256"] == sha256(weights):
        return
    raise HubError(
        "these metrics measured other weights than this adapter's: "
        f"{evaluation['adapter'] or 'the base'}. "
        f"Evaluate it first: make eval RUN={folder.resolve().name}"
    )


def base_hub_id(manifest: TrainingManifest, named: str | None = None) -> str:
    """The Hub id of the base: `named` by the user, else the manifest's `base.hub_id` or name.

    Raises HubError if that is a local folder, which nobody else could load.
    """
    base = manifest["base"]
    hub_id = named or base.get("hub_id") or base.get("name") or ""
    if not HUB_ID.fullmatch(hub_id) or (not named and Path(hub_id).exists()):
        raise HubError(
            f"the base is {hub_id or 'not recorded'!r}, which is not a Hub id, so nobody else "
            "could load this adapter. Name the model it is a copy of: --base user/name"
        )
    return hub_id


def dataset_id(manifest: TrainingManifest) -> str | None:
    """The Hub id of the training rows; None for a local file or folder."""
    source = manifest["dataset"].get("source") or ""
    is_local = Path(source).suffix or Path(source).exists()
    return source if HUB_ID.fullmatch(source) and not is_local else None


def without_paths(value: Any, roots: tuple[Path, ...]) -> Any:
    """A JSON value whose strings name no place on this machine.

    A path below one of `roots` (this project, the home) becomes relative; any other absolute path
    becomes its last part.
    """
    if isinstance(value, Mapping):
        return {key: without_paths(inner, roots) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(inner, roots) for inner in value]
    if not isinstance(value, str):
        return value
    return _MACHINE_PATH.sub(r"\1", _without_roots(value, roots))


def _without_roots(text: str, roots: tuple[Path, ...]) -> str:
    for root in roots:
        if root != Path(root.anchor):
            text = text.replace(f"{root}/", "").replace(str(root), root.name)
    return text


def _check_secrets(files: Files, secrets: Mapping[str, str]) -> None:
    for name, content in files.items():
        if name.endswith((".safetensors", ".png")):
            continue
        raw = content if isinstance(content, bytes) else content.read_bytes()
        kind = find_secret(raw.decode("utf-8", errors="replace"), secrets)
        if kind:
            raise HubError(
                f"{name} holds {kind}; nothing was uploaded. Take it out of the run's folder, and "
                "revoke it if anyone else may have seen it. Keys belong in .env and never on a "
                "command line."
            )


def _with_base_id(name: str, content: JsonObject, base_id: str) -> JsonObject:
    """The content of a JSON file with the base's Hub id in place of a local folder."""
    if name == "adapter_config.json":
        return {**content, "base_model_name_or_path": base_id}
    if name == MANIFEST:
        return {**content, "base": {**content["base"], "name": base_id, "hub_id": base_id}}
    return content


def _read_json(path: Path) -> JsonObject:
    try:
        return read_json_object(path)
    except ValueError as error:
        raise HubError(str(error)) from None


def json_bytes(value: Any) -> bytes:
    """A JSON value as a file holds it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
