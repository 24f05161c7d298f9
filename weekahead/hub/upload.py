"""One commit per upload: the files of a repository of ours, all of them or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weekahead.hub.client import HubError, Kind, check_account, explained, hub_api, patiently

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi, ModelInfo

Files = Mapping[str, bytes | Path]
"""Path in the repository -> its content, or the file that holds it."""
Visibility = Literal["private", "public"]


@dataclass(frozen=True)
class Target:
    """The repository that is written to."""

    repo: str
    """user/name."""
    kind: Kind = "model"
    visibility: Visibility | None = None
    """What the repository must be. None: a new one is private, an older one stays as it is."""
    flag: str = "--repo"
    """Where the user named it."""


@dataclass(frozen=True)
class Change:
    """What a commit does."""

    title: str
    files: Files
    removed: Sequence[str] = ()
    parent: str | None = None
    """The commit that must be the last one, so that nobody's change in between is lost."""


def upload(
    target: Target,
    files: Files,
    *,
    title: str,
    is_ours: Callable[[str], bool],
) -> "CommitInfo":
    """Make `files` the content of the repository in one commit, and return that commit.

    Files that `is_ours` and that are not among `files` are removed; all others are left alone. If
    nothing has changed, there is no commit, and the last one is returned.
    Raises HubError naming the remedy; nothing is committed then.
    """
    api = hub_api()
    with explained(target.repo):
        present = ready(api, target)
        stale = [name for name in present if is_ours(name) and name not in files]
        return commit(api, target, Change(title, files, stale))


def commit(api: "HfApi", target: Target, change: Change) -> "CommitInfo":
    """Make a change in one commit. Raises the client's own errors."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    # Made once: the client notes in them what it has uploaded.
    additions = [CommitOperationAdd(name, content) for name, content in change.files.items()]
    deletions = [CommitOperationDelete(name) for name in change.removed]
    return patiently(
        lambda: api.create_commit(
            target.repo,
            [*additions, *deletions],
            commit_message=change.title,
            repo_type=target.kind,
            parent_commit=change.parent,
        )
    )


def ready(api: "HfApi", target: Target) -> list[str]:
    """Check the account, create the repository if there is none; the names of its files.

    Raises HubError for an account that may not write to it, and for another visibility.
    """
    check_account(api, target.repo, target.flag)
    private = target.visibility != "public"
    patiently(
        lambda: api.create_repo(target.repo, private=private, exist_ok=True, repo_type=target.kind)
    )
    info: ModelInfo = patiently(lambda: api.repo_info(target.repo, repo_type=target.kind))  # pyright: ignore[reportAssignmentType] - or DatasetInfo, alike in this
    _check_visibility(target, is_private=bool(info.private))
    return [sibling.rfilename for sibling in info.siblings or []]


def _check_visibility(target: Target, *, is_private: bool) -> None:
    if target.visibility == "private" and not is_private:
        raise HubError(
            f"{target.repo} exists and is public, so it cannot be written to privately. Make it "
            "private on its settings page, name another repository, or allow a public one (in a "
            "training: --hub_private_repo false)."
        )
    if target.visibility == "public" and is_private:
        raise HubError(
            f"{target.repo} exists and is private, so it cannot be public. Make it public on its "
            "settings page, or leave out --public (in a training: --hub_private_repo false)."
        )
