"""The upload of a trained adapter, in one commit."""

import os
from collections.abc import Callable
from pathlib import Path

from sft.hub.adapter_files import Evaluation, bundle, is_ours
from weekahead.hub.client import HubError, check_repo_id
from weekahead.hub.upload import Target, upload
from weekahead.locks import writer_of


def push_adapter(
    folder: Path,
    target: Target,
    *,
    evaluation: Evaluation | None = None,
    base: str | None = None,
    message: str | None = None,
) -> str:
    """Upload the adapter at `folder` and return the commit's id.

    Files of an earlier push that this one does not have are removed, so that no figure or metric of
    another adapter stays beside this one; other files of the repository are left alone.
    Raises HubError, naming the remedy, for everything that keeps it from being uploaded.
    """
    check_repo_id(target.repo)
    writer = writer_of(folder)
    if writer:
        raise HubError(
            f"{folder} is being written by {writer}: push it when the training has ended"
        )
    files = bundle(folder, target.repo, evaluation=evaluation, base=base, secrets=os.environ)
    title = message or f"Adapter of run {folder.resolve().name}"
    return upload(target, files, title=title, is_ours=is_ours).oid


def push_trained(folder: Path, target: Target, is_over: Callable[[str], bool]) -> str:
    """Upload the adapter that this process has trained; files that are `is_over` are removed.

    Raises HubError as `push_adapter` does, saying that the adapter itself is whole.
    """
    try:
        files = bundle(folder, target.repo, secrets=os.environ)
        title = f"Adapter of run {folder.resolve().name}"
        stale = (is_ours, is_over)
        return upload(
            target, files, title=title, is_ours=lambda name: any(test(name) for test in stale)
        ).oid
    except HubError as error:
        raise HubError(
            f"{error} The training is complete and {folder} is whole: `make push "
            f"RUN={folder.name} REPO={target.repo}` uploads it"
        ) from error
