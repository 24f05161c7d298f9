"""Write a fictional market to disk: raw files, records, reference answers and a dataset.

    python -m data_pipeline.synthetic --out data --name fictional --signal 0.9 --seed 0

The raw files have the shapes of real providers (daily prices as yfinance, news and profile as
Finnhub), so that every later stage can be tried on them without an account.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market, best_reachable
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.locks import check_writable
from weekahead.names import check_name


@dataclass(frozen=True)
class SyntheticOptions:
    """Which market is drawn, and where it goes."""

    out: Path = option(Path("data"), help="folder for raw/, records/, datasets/")
    name: str = option("fictional", help="name of the market under each of them")
    signal: float = option(0.9, help="0: news says nothing; 1: it decides")
    seed: int = option(0)


def run(options: SyntheticOptions) -> None:
    """Write the market and print where it is. Raises ValueError for a signal outside 0 to 1."""
    check_name("--name", options.name)
    check_writable(options.out)
    market = Market(seed=options.seed, signal=options.signal)
    folder = write_market(market, options.out, options.name)
    print(
        f"fictional market with signal {options.signal:g}: "
        f"best reachable direction accuracy {best_reachable(options.signal):.2f}"
    )
    print(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 written, 2 for an error that the message says how to mend."""
    parser = new_parser(__doc__, "data_pipeline.synthetic")
    add_options(parser, SyntheticOptions)
    options = read_options(parser.parse_args(argv), SyntheticOptions)

    def work() -> int:
        run(options)
        return 0

    return run_command("data_pipeline.synthetic", work)


if __name__ == "__main__":
    sys.exit(main())
