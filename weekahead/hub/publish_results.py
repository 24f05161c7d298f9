"""New results on the card of an adapter that is on the Hub already."""

from pathlib import Path
from typing import TYPE_CHECKING

from weekahead.files import read_text
from weekahead.hub.card_text import with_results
from weekahead.hub.client import HubError, check_account, explained, hub_api, patiently
from weekahead.hub.eval_results import evaluated, model_index_results, results_files
from weekahead.hub.upload import Change, Target, commit
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.manifests import GenerationManifest, read_generation_manifest
from weekahead.schema.metrics_files import read_metrics
from weekahead.schema.verdicts import reported_verdict

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CARD = "README.md"
_WEIGHTS = "adapter_model.safetensors"


def add_results(folder: Path, target: Target) -> str:
    """Add the evaluation in `results/<run>` to the card of the adapter, and return the commit's id.

    `model-index` and the file in `.eval_results/` for these rows are written; nothing else of the
    repository changes. Results of the same rows and metrics are replaced.
    Raises HubError if the repository holds another adapter or no card, ValueError if the folder is
    not scored.
    """
    metrics = read_metrics(folder / METRICS, "score the run again with eval.score")
    manifest = read_generation_manifest(folder / MANIFEST)
    evaluation = evaluated(metrics, manifest, reported_verdict(folder / METRICS))
    if not evaluation.figures:
        raise HubError(f"{folder / METRICS} has no figure that could be computed; nothing to add")
    api = hub_api()
    with explained(target.repo):
        check_account(api, target.repo, target.flag)
        revision = patiently(lambda: api.model_info(target.repo)).sha
        assert revision is not None
        _check_same_adapter(api, target.repo, revision, manifest)
        card = _card(api, target.repo, revision)
        name = target.repo.partition("/")[2]
        changed = with_results(card, model_index_results(evaluation), name)
        files = {_CARD: changed.encode(), **results_files(evaluation)}
        title = f"Evaluation of run {folder.resolve().name}"
        return commit(api, target, Change(title, files, parent=revision)).oid


def _check_same_adapter(
    api: "HfApi", repo: str, revision: str, manifest: GenerationManifest
) -> None:
    """Raise HubError unless the repository holds the weights that were evaluated."""
    from huggingface_hub.hf_api import RepoFile

    found = patiently(lambda: api.get_paths_info(repo, [_WEIGHTS], revision=revision))
    if not found:
        raise HubError(f"{repo} holds no {_WEIGHTS}; expected an adapter as `make push` uploads it")
    weights = found[0]
    stored = weights.lfs.sha256 if isinstance(weights, RepoFile) and weights.lfs else None
    if stored != manifest["adapter_sha256"]:
        raise HubError(
            f"{repo} holds another adapter than the one that was evaluated "
            f"({manifest['adapter'] or 'the base'}); push that one first: make push RUN=.. "
            f"REPO={repo}"
        )


def _card(api: "HfApi", repo: str, revision: str) -> str:
    """The text of the card with its own line ends."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        path: str = patiently(lambda: api.hf_hub_download(repo, _CARD, revision=revision))  # pyright: ignore - half annotated
    except RemoteEntryNotFoundError:
        raise HubError(f"{repo} has no {_CARD}; `make push` writes one") from None
    return read_text(path)
