"""The flags of the page."""

import datetime
from dataclasses import dataclass, fields

from forecast.company.asked import AskedOptions, ForecastOptions
from weekahead.cli import option

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class AppOptions(AskedOptions):
    """The flags of `python -m forecast.app`; those of `python -m forecast` mean the same."""

    symbols: str = option("", help="companies that the page offers, by spaces or commas")
    date: datetime.date | None = option(None, help="the day that the page shows first")
    host: str = option(LOOPBACK, help="address to listen on; another one lets other machines in")
    port: int = option(7860, help="0 takes any free one")
    timeout: float = option(300.0, help="seconds that one forecast may take")

    def check(self) -> None:
        """Raise ValueError for values that cannot be, and for flags that contradict each other."""
        if not 0 <= self.port < 2**16:
            raise ValueError(f"--port is {self.port}; expected 0 to {2**16 - 1}")
        if not self.timeout > 0:
            raise ValueError(f"--timeout is {self.timeout:g}; expected seconds, more than 0")
        self.asked().check()

    def asked(self) -> ForecastOptions:
        """The same flags for the command."""
        shared = [each.name for each in fields(AskedOptions)]
        return ForecastOptions(**{name: getattr(self, name) for name in shared})
