"""Artifacts of tracked runs: dataset -> training -> adapter -> evaluation -> comparison.

W&B gives an artifact a version for each content, so the same files logged by two runs are one
version. That is how an evaluation finds the dataset and the adapter of a training.
"""

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from weekahead.files import read_text
from weekahead.redaction import find_secret
from weekahead.schema.dataset_files import hub_id, is_saved, paths_by_split
from weekahead.schema.file_names import ADAPTER_FILES, MANIFEST

Kind = Literal["dataset", "adapter", "evaluation", "comparison"]

UPLOADED_BYTES = 256 * 2**20
"""A larger dataset is recorded by address and digest, and stays where it is."""
_DIGITS = 12
_LONGEST_NAME = 128
_WEIGHTS = ".safetensors"
_PLACE = "folder_digest"


@dataclass(frozen=True)
class ArtifactContent:
    """What one version of an artifact holds."""

    name: str
    kind: Kind
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Name inside the artifact -> file."""
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name inside the artifact -> address of what is kept elsewhere."""
    aliases: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def check_no_secret(self) -> None:
        """Raise ValueError naming the file if one of them holds a secret."""
        for path in self.files.values():
            if path.suffix in (".json", ".jsonl", ".html", ".md", ".jinja"):
                kind = find_secret(read_text(path), os.environ)
                if kind:
                    raise ValueError(
                        f"{path} holds {kind}; nothing was logged: take it out and revoke it"
                    )

    def left_in_place(self) -> "ArtifactContent":
        """The same, by address and digest: nothing of it is uploaded."""
        here = {name: path.resolve().as_uri() for name, path in self.files.items()}
        return replace(self, files={}, links={**self.links, **here})

    def to_wandb(self) -> Any:
        """The artifact of the W&B client. Weights are read where they lie, the rest is copied."""
        import wandb

        artifact = wandb.Artifact(self.name, type=self.kind, metadata=dict(self.metadata))
        for name, path in self.files.items():
            policy = "immutable" if path.suffix == _WEIGHTS else "mutable"
            artifact.add_file(str(path), name=name, policy=policy, skip_cache=True)
        for name, address in self.links.items():
            artifact.add_reference(address, name=name, checksum=address.startswith("file://"))
        return artifact


def artifact_name(kind: Kind, name: str) -> str:
    """A name that W&B accepts: letters, digits, dot, dash and underscore, at most 128 of them.

    A name that had to be changed ends with its digest, so that two of them stay two.
    """
    asked = f"{kind}-{name}"
    accepted = re.sub(r"[^A-Za-z0-9_.-]", "-", asked)[:_LONGEST_NAME]
    if accepted == asked:
        return asked
    digest = hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    return f"{accepted[: _LONGEST_NAME - _DIGITS - 1]}-{digest}"


def digest_alias(what: str, sha256: str) -> str:
    """The alias under which a version is found by a digest, such as `weights-0123456789ab`."""
    return f"{what}-{sha256[:_DIGITS]}"


def dataset_content(
    source: str, digests: Iterable[str], revision: str | None = None
) -> ArtifactContent | None:
    """The dataset that a run reads: a folder, a file, or an id on the Hub. None if it is gone.

    `digests` are the SHA-256 of the rows of its splits, by which `dataset_version` finds it. A file
    of a split beside a manifest stands for its whole folder. Raises ValueError for a folder without
    splits.
    """
    name = _dataset_name(source)
    aliases = ("latest", *(digest_alias("rows", digest) for digest in digests))
    path = _dataset_place(source)
    if path.is_dir():
        files = _dataset_files(path)
    elif path.is_file():
        files = {path.name: path}
    else:
        found = hub_id(source)
        links = _on_hub(f"datasets/{found.name}", found.revision or revision) if found else None
        return ArtifactContent(name, "dataset", links=links, aliases=aliases) if links else None
    content = ArtifactContent(name, "dataset", files, aliases=aliases)
    is_large = sum(file.stat().st_size for file in files.values()) > UPLOADED_BYTES
    return content.left_in_place() if is_large else content


def dataset_version(source: str, rows_sha256: str) -> str:
    """The dataset artifact that holds a split of this digest."""
    return f"{_dataset_name(source)}:{digest_alias('rows', rows_sha256)}"


def _dataset_place(source: str) -> Path:
    """What an artifact of `source` holds: the folder whose split it is, else itself."""
    path = Path(source)
    if not path.is_file() or not (path.parent / MANIFEST).is_file():
        return path
    try:
        splits = paths_by_split(path.parent).values()
    except ValueError:  # the folder is no dataset
        return path
    return path.parent if any(path in files for files in splits) else path


def _dataset_name(source: str) -> str:
    place = _dataset_place(source)
    if place.exists():
        return artifact_name("dataset", place.resolve().name)
    return artifact_name("dataset", source.partition("@")[0].rstrip("/").rpartition("/")[2])


def _dataset_files(folder: Path) -> dict[str, Path]:
    """The rows of all splits, and what describes them."""
    if is_saved(folder):
        found = [path for path in folder.rglob("*") if path.is_file()]
    else:
        described = [path for path in folder.iterdir() if path.suffix in (".json", ".md")]
        found = [*described, *(path for part in paths_by_split(folder).values() for path in part)]
    return {path.relative_to(folder).as_posix(): path for path in sorted(found)}


def _on_hub(repo: str, revision: str | None) -> dict[str, str]:
    return {"hub": f"https://huggingface.co/{repo}/tree/{revision or 'main'}"}


def adapter_version(run: str, weights_sha256: str) -> str:
    """The adapter artifact of a training, by the digest of its weights."""
    return f"{artifact_name('adapter', run)}:{digest_alias('weights', weights_sha256)}"


def adapter_content(
    folder: Path, weights_sha256: str, data_sha256: str | None, *, is_best: bool
) -> ArtifactContent:
    """A trained adapter without its checkpoints.

    `is_best` says that it is the step with the lowest evaluation loss, not merely the last.
    """
    aliases = ["latest", digest_alias("weights", weights_sha256)]
    aliases += ["best"] if is_best else []
    aliases += [digest_alias("data", data_sha256)] if data_sha256 else []
    return ArtifactContent(
        artifact_name("adapter", folder.resolve().name),
        "adapter",
        {name: folder / name for name in ADAPTER_FILES if (folder / name).is_file()},
        aliases=tuple(aliases),
        metadata={
            "adapter_sha256": weights_sha256,
            "train_dataset_sha256": data_sha256,
            _PLACE: _place(folder),
        },
    )


def _place(folder: Path) -> str:
    """The folder on this machine, as a digest: nobody reads a path out of it."""
    return hashlib.sha256(f"{platform.node()}:{folder.resolve()}".encode()).hexdigest()[:_DIGITS]


def adapter_on_hub(run: str, reference: str, weights_sha256: str) -> ArtifactContent:
    """An adapter that lies on the Hub as `user/name@revision`."""
    repo, _, revision = reference.partition("@")
    return ArtifactContent(
        artifact_name("adapter", run),
        "adapter",
        links=_on_hub(repo, revision),
        aliases=(digest_alias("weights", weights_sha256),),
        metadata={"adapter_sha256": weights_sha256},
    )


def remove_old_versions(project: str, content: ArtifactContent) -> None:
    """Remove the adapters that stood in this folder before, and that no run has used.

    Those of another machine or folder stay, also if their run has the same name. `project` is
    `entity/project`. Raises what the W&B client raises.
    """
    import wandb

    api: Any = wandb.Api()
    for version in api.artifacts("adapter", f"{project}/{content.name}"):
        is_replaced = all(alias.startswith("weights-") for alias in version.aliases)
        is_of_here = version.metadata.get(_PLACE) == content.metadata.get(_PLACE)
        if is_replaced and is_of_here and not version.used_by():
            version.delete(delete_aliases=True)
