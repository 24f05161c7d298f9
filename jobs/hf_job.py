# /// script
# requires-python = ">=3.11.5,<3.15"
# dependencies = []
# ///
"""One training on Hugging Face Jobs; the adapter is pushed to the Hub at its end.

    hf jobs uv run --flavor a10g-small --timeout 6h --secrets HF_TOKEN \\
        jobs/hf_job.py --git https://github.com/user/weekahead --model llama --repo user/llama-w

The script clones the project inside the job and calls its own commands; it needs no package.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """The command; its exit status is that of the first step that fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--git", required=True, help="address of the project, or of your fork")
    parser.add_argument("--revision", default="main", help="branch, tag or commit")
    parser.add_argument("--model", default="llama", help="a file in recipes/")
    parser.add_argument("--dataset", help="a dataset on the Hub; the recipe's if left out")
    parser.add_argument("--repo", help="user/name to push the adapter to; private")
    parser.add_argument("--args", default="", help="more flags for the training")
    options = parser.parse_args()
    folder = Path("weekahead")
    run = f"RUN={options.model}-job"
    dataset = [f"DATASET={options.dataset}"] if options.dataset else []
    make = ["make", "-C", str(folder)]
    train = ["train", f"MODEL={options.model}", run, *dataset, f"ARGS={options.args}"]
    steps = [
        ["git", "clone", "--quiet", options.git, str(folder)],
        ["git", "-C", str(folder), "checkout", "--quiet", options.revision],
        [*make, "setup"],
        [*make, *train],
        [*make, "eval", run],
    ]
    if options.repo:
        steps.append([*make, "push", run, f"REPO={options.repo}"])
    for step in steps:
        print("+", *step, flush=True)
        status = subprocess.run(step).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
