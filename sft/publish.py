"""Publish a trained adapter on the Hugging Face Hub: card, recipe, metrics and report with it.

    python -m sft.publish outputs/<run> --repo user/name [--public] \\
        [--metrics results/<run>/metrics.json]

All of it is uploaded in one commit, or nothing is. An unchanged folder makes no commit. A new
repository is private unless --public is given.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from sft.hub.adapter_files import REPORT, Evaluation
from sft.hub.model_card import eval_command
from sft.hub.push import push_adapter
from weekahead.cli import configure_logging, new_parser, run_command
from weekahead.hub.client import HubError
from weekahead.hub.upload import Target, Visibility
from weekahead.redaction import without_secrets
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.manifests import (
    read_generation_manifest,
    read_json_object,
    read_training_manifest,
)
from weekahead.schema.metrics_files import filled_metrics
from weekahead.schema.verdicts import report_on

log = logging.getLogger(__name__)


def read_evaluation(folder: Path, metrics_path: Path | None) -> Evaluation | None:
    """The metrics at `metrics_path`, else in results/<run>, and the manifest beside them.

    None if there are no metrics of this run. Raises HubError if `metrics_path` does not exist,
    ValueError if a file cannot be read.
    """
    path = metrics_path or Path("results") / folder.resolve().name / METRICS
    if not path.is_file():
        if metrics_path:
            raise HubError(
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
    report = report_on(path)
    page = report.folder / REPORT if report else None
    if page and not page.is_file():
        log.info("%s is not there, so it is not uploaded", page)
        page = None
    return Evaluation(stored, metrics, manifest, report.run if report else None, page)


def run(options: argparse.Namespace) -> int:
    """Push the folder; print the address of the commit and how to evaluate the adapter there."""
    evaluation = read_evaluation(options.folder, options.metrics)
    commit = push_adapter(
        options.folder,
        Target(options.repo, visibility=visibility(options)),
        evaluation=evaluation,
        base=options.base,
        message=options.message,
    )
    from huggingface_hub.constants import ENDPOINT

    print(f"{without_secrets(ENDPOINT)}/{options.repo}/commit/{commit}")
    manifest = read_training_manifest(options.folder / MANIFEST)
    print(eval_command(options.repo, commit, manifest))
    return 0


def visibility(options: argparse.Namespace) -> Visibility | None:
    """What was asked for; None leaves a repository as it is, and makes a new one private."""
    if options.public:
        return "public"
    return "private" if options.private else None


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit 0 with the commit's address, 2 with the reason why nothing was pushed."""
    parser = new_parser(__doc__, "sft.publish")
    parser.add_argument("folder", type=Path, help="outputs/<run>")
    parser.add_argument("--repo", required=True, help="user/name on the Hub")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument(
        "--public", action="store_true", help="make a new repository public; default: private"
    )
    seen.add_argument(
        "--private", action="store_true", help="refuse to write to a repository that is public"
    )
    parser.add_argument(
        "--metrics", type=Path, help="default: results/<run>/metrics.json, if it exists"
    )
    parser.add_argument(
        "--base", help="Hub id of the base, if the run was trained on a local copy of it"
    )
    parser.add_argument("--message", help="commit message")
    options = parser.parse_args(argv)
    configure_logging()
    return run_command("sft.publish", lambda: run(options))


if __name__ == "__main__":
    raise SystemExit(main())
