"""The curves of a training that runs now, as one picture from its train_log.jsonl alone.

    python -m weekahead.live outputs/llama-1 --every 15

Needs no account, GPU or W&B. With `--every` the picture is drawn again until the training ends.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from weekahead.cli import new_parser, positive_number, run_command
from weekahead.schema.file_names import TRAIN_LOG
from weekahead.schema.rows import TrainLogRow
from weekahead.tracking.plots import plot_live


def draw(folder: Path) -> bool:
    """Write `<folder>/figures/live.png`; whether the training has ended.

    Raises FileNotFoundError if no training has begun there.
    """
    log = folder / TRAIN_LOG
    if not log.is_file():
        raise FileNotFoundError(
            f"{log} is not there; expected outputs/<run>, in which a training has begun"
        )
    content = log.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines()  # the last one may be half-written
    rows = [cast("TrainLogRow", json.loads(line)) for line in lines]
    plot_live(rows, folder / "figures" / "live.png")
    return any(row["kind"] == "end" for row in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 if no training has begun in the folder."""
    parser = new_parser(__doc__, "weekahead.live")
    parser.add_argument("folder", type=Path, help="outputs/<run>")
    parser.add_argument(
        "--every", type=positive_number, metavar="SECONDS", help="how often to draw again"
    )
    options = parser.parse_args(argv)

    def work() -> int:
        ended = draw(options.folder)
        print(options.folder / "figures" / "live.png", flush=True)
        while options.every and not ended:
            time.sleep(options.every)
            ended = draw(options.folder)
        return 0

    return run_command("weekahead.live", work)


if __name__ == "__main__":
    sys.exit(main())
