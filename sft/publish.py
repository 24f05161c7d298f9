"""Publish a trained adapter on the Hugging Face Hub, with its model card.

    python -m sft.publish outputs/<run> --repo user/name [--private] \\
        [--metrics results/<run>/metrics.json]

The whole folder is uploaded in one commit, or nothing is. An unchanged folder makes no commit.
"""

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sft.hub.adapter_files import (
    HUB_ID,
    Evaluation,
    PublishError,
    bundle,
    is_ours,
)
from sft.hub.model_card import eval_command
from weekahead.cli import configure_logging, new_parser, run_command
from weekahead.locks import writer_of
from weekahead.redaction import without_secrets
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.manifests import (
    read_generation_manifest,
    read_json_object,
    read_training_manifest,
)
from weekahead.schema.metrics_files import filled_metrics
from weekahead.schema.verdicts import reported_verdict

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

_LOG_IN = (
    "Make a token with write access at https://huggingface.co/settings/tokens, then "
    "`.venv/bin/hf auth login`"
)
_PUSH_AGAIN = (
    "Nothing was committed; push again, what was already uploaded is not sent a second time"
)


def push_adapter(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    evaluation: Evaluation | None = None,
    base: str | None = None,
    message: str | None = None,
) -> str:
    """Upload the adapter at `folder` to `repo` ("user/name") and return the commit's id.

    Files of an earlier push that this one does not have are removed, so that no figure or metric of
    another adapter stays beside this one; other files of the repository are left alone. `private`
    holds for a repository that is created here.

    Raises PublishError, naming the remedy, for everything that keeps it from being uploaded.
    """
    check_repo_id(repo)
    writer = writer_of(folder)
    if writer:
        raise PublishError(
            f"{folder} is being written by {writer}: push it when the training has ended"
        )
    files = bundle(folder, repo, evaluation=evaluation, base=base, secrets=os.environ)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with _explained(repo, api.endpoint):
        check_account(api, repo)
        api.create_repo(repo, private=private or None, exist_ok=True)
        info = api.model_info(repo)
        if private and not info.private:
            raise PublishError(
                f"{repo} exists and is public, so --private cannot hold. Make it private on its "
                "settings page, or name another repository."
            )
        present = [sibling.rfilename for sibling in info.siblings or []]
        stale = [name for name in present if is_ours(name) and name not in files]
        additions = [CommitOperationAdd(name, content) for name, content in files.items()]
        deletions = [CommitOperationDelete(name) for name in stale]
        title = message or f"Adapter of run {folder.resolve().name}"
        commit = api.create_commit(repo, [*additions, *deletions], commit_message=title)
    return commit.oid


def check_repo_id(repo: str) -> None:
    """Raises PublishError unless `repo` reads user/name in the Hub's alphabet."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"--repo {repo!r} is not a repository id: {error}") from None
    if not HUB_ID.fullmatch(repo):
        raise PublishError(
            f"--repo {repo!r} is not a repository id; expected user/name, as in jane/llama-dow30"
        )


def check_account(api: "HfApi", repo: str) -> None:
    """Raises PublishError unless there is a token that may write under the namespace of `repo`."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise PublishError(f"no Hugging Face token found. {_LOG_IN}, or HF_TOKEN=... in .env")
    account = api.whoami()
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    # The scopes of a fine-grained token are left to the server: it refuses with 403 before it
    # stores anything.
    if role == "read":
        raise PublishError(
            f"the token of {account['name']} may only read. {_LOG_IN}, or put it in .env as "
            "HF_TOKEN"
        )
    groups = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    writable = [account["name"], *groups]
    owner, _, name = repo.partition("/")
    if owner not in writable:
        raise PublishError(
            f"{repo} is not yours to write: this token is {account['name']}'s, who may write "
            f"under {', '.join(writable)}. "
            f"Use --repo {account['name']}/{name}, or another account's token."
        )


@contextmanager
def _explained(repo: str, endpoint: str) -> Iterator[None]:
    """Turn the client's errors into ones that name the remedy."""
    import httpx2  # the client's own HTTP library: it raises these if no answer came at all
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise PublishError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        answer = error.server_message or str(error).splitlines()[0]
        remedy = {
            401: f"The token is not valid. {_LOG_IN}; HF_TOKEN, if set, wins over the stored one",
            403: f"The token may not write to {repo}. {_LOG_IN}",
            429: "Too many requests; wait a few minutes and push again",
        }.get(status or 0, _PUSH_AGAIN)
        raise PublishError(f"the Hub refused {repo} ({status}): {answer}. {remedy}.") from error
    except httpx2.TransportError as error:
        raise PublishError(
            f"the Hub at {endpoint} cannot be reached ({type(error).__name__}: {error}). "
            "Check the network, the proxy settings and HF_ENDPOINT; nothing was committed."
        ) from error


def read_evaluation(folder: Path, metrics_path: Path | None) -> Evaluation | None:
    """The metrics at `metrics_path`, else in results/<run>, and the manifest beside them.

    None if there are no metrics of this run. Raises PublishError if `metrics_path` does not exist,
    ValueError if a file cannot be read.
    """
    path = metrics_path or Path("results") / folder.resolve().name / METRICS
    if not path.is_file():
        if metrics_path:
            raise PublishError(
                f"{metrics_path} does not exist; `make eval` writes it, or leave --metrics out"
            )
        log.info(
            "no metrics at %s: the card will claim nothing (`make eval RUN=%s` first?)",
            path,
            folder.name,
        )
        return None
    beside = path.parent / MANIFEST
    manifest = read_generation_manifest(beside) if beside.is_file() else None
    stored = read_json_object(path)
    metrics = filled_metrics(stored, origin=str(path), remedy="run `make eval` again")
    return Evaluation(stored, metrics, manifest, reported_verdict(path))


def run(options: argparse.Namespace) -> int:
    """Push the folder; print the address of the commit and how to evaluate the adapter there."""
    evaluation = read_evaluation(options.folder, options.metrics)
    commit = push_adapter(
        options.folder,
        options.repo,
        private=options.private,
        evaluation=evaluation,
        base=options.base,
        message=options.message,
    )
    from huggingface_hub.constants import ENDPOINT

    print(f"{without_secrets(ENDPOINT)}/{options.repo}/commit/{commit}")
    manifest = read_training_manifest(options.folder / MANIFEST)
    print(eval_command(options.repo, commit, manifest))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit 0 with the commit's address, 2 with the reason why nothing was pushed."""
    parser = new_parser(__doc__, "sft.publish")
    parser.add_argument("folder", type=Path, help="outputs/<run>")
    parser.add_argument("--repo", required=True, help="user/name on the Hub")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument(
        "--metrics", type=Path, help="default: results/<run>/metrics.json, if it exists"
    )
    parser.add_argument(
        "--base", help="Hub id of the base, if the run was trained on a local copy of it"
    )
    parser.add_argument("--message", help="commit message")
    options = parser.parse_args(argv)
    configure_logging()
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request
    return run_command("sft.publish", lambda: run(options))


if __name__ == "__main__":
    raise SystemExit(main())
