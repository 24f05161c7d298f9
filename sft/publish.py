"""Publish a trained adapter on the Hugging Face Hub, with its model card.

    python -m sft.publish outputs/<run> --repo user/name [--private] [--metrics results/<run>/metrics.json]

The whole folder goes up in one commit, or nothing does. Pushing an unchanged folder makes no commit.
"""

import argparse
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.hub.adapter_files import HUB_ID, PublishError, bundle, is_ours
from sft.hub.model_card import eval_command
from weekahead.cli import configure_logging
from weekahead.files import load_env

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

_LOG_IN = "Make a token with write access at https://huggingface.co/settings/tokens, then `.venv/bin/hf auth login`"


def push_adapter(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    metrics: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    base: str | None = None,
    message: str | None = None,
) -> str:
    """Upload the adapter at `folder` to `repo` ("user/name") and return the id of the commit that holds it.

    Files of an earlier push that this one does not have are removed, so that no figure or metric of
    another adapter stays beside this one; other files of the repository are left alone. `evaluation` is
    the manifest that lies beside the metrics. `private` holds for a repository that is made here.

    Raises PublishError, naming the remedy, for everything that keeps it from being uploaded.
    """
    check_repo_id(repo)
    files = bundle(
        folder, repo, metrics=metrics, evaluation=evaluation, base=base, secrets=os.environ
    )
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with _explained(repo, api.endpoint):
        check_account(api, repo)
        api.create_repo(repo, private=private or None, exist_ok=True)
        info = api.model_info(repo)
        if private and not info.private:
            raise PublishError(
                f"{repo} exists and is public, so --private cannot hold. Make it private on its settings page, "
                "or name another repository."
            )
        stale = [
            s.rfilename
            for s in info.siblings or []
            if is_ours(s.rfilename) and s.rfilename not in files
        ]
        done = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=message or f"Adapter of run {folder.resolve().name}",
        )
    return done.oid


def check_repo_id(repo: str) -> None:
    """Raises PublishError unless `repo` reads user/name in the Hub's alphabet."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"--repo {repo!r} is no repository id: {error}") from None
    if not HUB_ID.fullmatch(repo):
        raise PublishError(
            f"--repo {repo!r} is no repository id; expected user/name, as in jane/llama-dow30"
        )


def check_account(api: "HfApi", repo: str) -> None:
    """Raises PublishError unless there is a token that may write under the namespace of `repo`."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise PublishError(f"no Hugging Face token found. {_LOG_IN}, or HF_TOKEN=... in .env")
    account = api.whoami()
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    # A fine-grained token's scopes are left to the server, which refuses with 403 before anything is stored.
    if role == "read":
        raise PublishError(
            f"the token of {account['name']} may only read. {_LOG_IN}, or put it in .env as HF_TOKEN"
        )
    groups = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    mine = [account["name"], *groups]
    if repo.split("/")[0] not in mine:
        raise PublishError(
            f"{repo} is not yours to write: this token is {account['name']}'s, who may write under {', '.join(mine)}. "
            f"Use --repo {account['name']}/{repo.split('/')[1]}, or another account's token."
        )


@contextmanager
def _explained(repo: str, endpoint: str) -> Iterator[None]:
    """Turn the client's errors into ones that name the remedy."""
    import httpx2  # the client's own HTTP library: what it raises where no answer came at all
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise PublishError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        said = error.server_message or str(error).splitlines()[0]
        remedy = {
            401: f"The token is not valid. {_LOG_IN}; a HF_TOKEN that is set wins over the one stored",
            403: f"The token may not write to {repo}. {_LOG_IN}",
            429: "Too many requests; wait a few minutes and push again",
        }.get(
            status or 0,
            "Nothing was committed; push again, what was already uploaded is not sent twice",
        )
        raise PublishError(f"the Hub refused {repo} ({status}): {said}. {remedy}.") from error
    except httpx2.TransportError as error:
        raise PublishError(
            f"the Hub at {endpoint} cannot be reached ({type(error).__name__}: {error}). "
            "Check the network, the proxy settings and HF_ENDPOINT; nothing was committed."
        ) from error


def read_metrics(folder: Path, given: Path | None) -> tuple[Any, Any]:
    """(metrics, the manifest beside them), by `given` or else from results/<run>; None where there are none.

    Raises PublishError where `given` is not there or not JSON.
    """
    path = given or Path("results") / folder.resolve().name / "metrics.json"
    if not path.is_file():
        if given:
            raise PublishError(
                f"{given} is not there; `make eval` writes it, or leave --metrics out"
            )
        log.info(
            "no metrics at %s: the card will claim nothing (`make eval RUN=%s` first?)",
            path,
            folder.name,
        )
        return None, None
    beside = path.parent / "manifest.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        return metrics, json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    except ValueError as error:
        raise PublishError(
            f"{path} or the manifest beside it is not JSON ({error}); run `make eval` again"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: exit 0 with the commit's address and how to load it, 2 with the reason why not."""
    parser = argparse.ArgumentParser(prog="sft.publish", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="outputs/<run>")
    parser.add_argument("--repo", required=True, help="user/name on the Hub")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument(
        "--metrics", type=Path, help="default: results/<run>/metrics.json, when it is there"
    )
    parser.add_argument(
        "--base", help="Hub id of the base, where the run was trained on a local copy of it"
    )
    parser.add_argument("--message", help="commit message")
    chosen = parser.parse_args(arguments)
    configure_logging()
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells every request
    try:
        load_env()  # before the client is imported, which reads HF_ENDPOINT only then
        metrics, evaluation = read_metrics(chosen.folder, chosen.metrics)
        commit = push_adapter(
            chosen.folder,
            chosen.repo,
            private=chosen.private,
            metrics=metrics,
            evaluation=evaluation,
            base=chosen.base,
            message=chosen.message,
        )
    except (PublishError, ValueError) as error:
        log.error("%s", error)
        return 2
    from huggingface_hub.constants import ENDPOINT

    print(f"{ENDPOINT}/{chosen.repo}/commit/{commit}")
    manifest = json.loads((chosen.folder / "manifest.json").read_text(encoding="utf-8"))
    print(eval_command(chosen.repo, commit, manifest))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
