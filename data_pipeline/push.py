"""Publish a dataset folder on the Hugging Face Hub: splits as Parquet, card, manifest, audit.

python -m data_pipeline.push data/datasets/mine --repo user/name [--public]

The folder is audited first, and one with a leak is not published. All of it goes in one commit, or
nothing does. A new repository is private unless --public is given: news texts belong to their
publishers.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.audit import run as audit
from data_pipeline.audit.run import AuditOptions
from data_pipeline.dataset.push import push_dataset
from weekahead.cli import new_parser, read_options, run_command
from weekahead.files import sha256
from weekahead.hub.client import check_repo_id
from weekahead.hub.upload import Target
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import read_dataset_manifest


@dataclass(frozen=True)
class PushOptions:
    """The arguments of data_pipeline.push."""

    folder: Path
    repo: str
    public: bool = False


def run(options: PushOptions) -> int:
    """Audit and upload; print the commit's address. 1 if the audit found a leak.

    Raises ValueError or OSError naming the remedy; nothing is uploaded then.
    """
    check_repo_id(options.repo)
    check_built(options.folder)
    status = audit.run(AuditOptions(str(options.folder), options.folder)).status
    if status:
        print(f"{options.folder} leaks, so it is not published", file=sys.stderr)
        return status
    visibility = "public" if options.public else None
    print(push_dataset(options.folder, Target(options.repo, "dataset", visibility)))
    return 0


def check_built(folder: Path) -> None:
    """Check that `folder` is a dataset and that its splits are those of its manifest.

    Raises FileNotFoundError or ValueError naming the file and the remedy.
    """
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{folder / MANIFEST} is missing; expected a folder of data_pipeline.build, such as "
            "data/datasets/mine"
        )
    for name, facts in read_dataset_manifest(folder / MANIFEST).get("splits", {}).items():
        path = folder / f"{name}.jsonl"
        if not path.is_file() or sha256(path) != facts["sha256"]:
            raise ValueError(
                f"{path} is not the file that {MANIFEST} states; build the dataset again"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 with the commit's address, 1 a leak, 2 with why nothing was pushed."""
    parser = new_parser(__doc__, "data_pipeline.push")
    parser.add_argument("folder", type=Path, help="data/datasets/<name>")
    parser.add_argument("--repo", required=True, help="user/name on the Hub")
    parser.add_argument(
        "--public", action="store_true", help="make a new repository public; default: private"
    )
    options = read_options(parser.parse_args(argv), PushOptions)
    return run_command("data_pipeline.push", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
