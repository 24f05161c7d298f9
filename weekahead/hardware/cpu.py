"""How fast this CPU multiplies matrices, and how long a known amount of arithmetic takes it.

    python -m weekahead.hardware.cpu --teraflop 200

Prints the precision and seconds as a whole number, such as "bf16 260"; nothing if a GPU does the
work.
"""

import sys
import time
from collections.abc import Sequence

from weekahead.cli import new_parser, positive_number, run_command

_SIDE = 2048
"""Rows and columns of the matrices: too large for a CPU's cache, as a model's weights are."""


def teraflops(mode: str, seconds: float = 1.0) -> float:
    """TFLOP/s of matrix products in `mode` (bf16, fp16 or fp32), measured for about `seconds`."""
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mode, torch.float32)
    left = torch.randn(_SIDE, _SIDE).to(dtype)
    right = torch.randn(_SIDE, _SIDE).to(dtype)
    torch.mm(left, right)  # the first product sets threads and memory up
    products, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        torch.mm(left, right)
        products += 1
    return products * 2 * _SIDE**3 / (time.perf_counter() - began) / 1e12


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit 0."""
    parser = new_parser(__doc__, "weekahead.hardware.cpu")
    parser.add_argument(
        "--teraflop", type=positive_number, required=True, help="arithmetic to estimate"
    )
    options = parser.parse_args(argv)

    def work() -> int:
        from weekahead.models.precision import choose_precision

        precision = choose_precision()
        if precision.device == "cpu":
            print(precision.mode, round(options.teraflop / teraflops(precision.mode)))
        return 0

    return run_command("weekahead.hardware.cpu", work)


if __name__ == "__main__":
    sys.exit(main())
