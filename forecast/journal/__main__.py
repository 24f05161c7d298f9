"""A journal of forecasts, written before the week and held against what happened:

python -m forecast.journal verify --journal journal [--head HASH] [--tsa_ca FILE]
python -m forecast.journal enter --journal journal [--symbols "A B" | --index dow30] [--date DAY] \\
    [--records FILE | --prices DIR --news FILE --data DIR] \\
    [--config RECIPE --adapter ADAPTER [--twin ADAPTER] [--model SERVED] \\
    [--text none]] [--dataset DATASET]
python -m forecast.journal settle --journal journal [--records FILE] [--prices DIR] [--date DAY]
python -m forecast.journal score --journal journal
python -m forecast.journal page --journal journal
python -m forecast.journal stamp --journal journal --tsa URL [--tsa_ca FILE]
"""

import copy
import datetime
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import load_dataset
from data_pipeline.providers.base import PriceProvider
from data_pipeline.providers.price_files import PriceFiles
from data_pipeline.providers.yahoo import Yahoo
from data_pipeline.records.calendar import sunday_on_or_before
from forecast.company.inputs import (
    Known,
    LiveSources,
    check_all_known,
    inputs_of_records,
    live_inputs,
    live_symbols,
    named_symbols,
)
from forecast.journal.clock import clock_for, time_of
from forecast.journal.enter import INPUTS, Entry, enter, kept_facts
from forecast.journal.ledger import (
    LEDGER,
    BrokenLedger,
    Ledger,
    append_lines,
    open_ledger,
    read_ledger,
)
from forecast.journal.page import write_page
from forecast.journal.panel import Member, simple_members
from forecast.journal.score import SCORES, score, scores_in_words
from forecast.journal.settle import (
    Returns,
    passed_weeks,
    returns_of_prices,
    returns_of_records,
    settle,
)
from forecast.journal.stamps import STAMPS, make_stamp, read_stamps, stamp_path, stamps_in_words
from forecast.journal.verify import check, check_head, committed_head
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    for_terminal,
    new_parser,
    option,
    read_options,
    run_command,
    say,
)
from weekahead.files import write_json
from weekahead.locks import sole_writer
from weekahead.manifest import git_output
from weekahead.recipe import read_recipe
from weekahead.schema.journal import ForecastLine, JournalScores
from weekahead.visible import one_line

_JOURNAL = option(Path("journal"), help="folder with ledger.jsonl")
_TSA_CA = option(None, help="root certificates (PEM) of the authorities whose stamps count")


@dataclass(frozen=True)
class VerifyOptions:
    """The flags of `verify`."""

    journal: Path = _JOURNAL
    head: str = option("", help="a published hash, which must be that of a line")
    committed: bool = option(False, help="hold it against the ledger of git's last commit, too")
    tsa_ca: Path | None = _TSA_CA


def run_verify(options: VerifyOptions) -> int:
    """Print whether every line stands as it was written; 1 names the first one that does not."""
    name = str(options.journal / LEDGER)
    try:
        if options.head:
            ledger = check(read_ledger(options.journal), name)
            since = check_head(ledger, options.head, name)
        else:
            ledger, since = _ledger(options.journal), None
        if options.committed and (head := committed_head(options.journal)):
            check_head(ledger, head, name)
        stamps = read_stamps(options.journal, ledger, options.tsa_ca)
    except BrokenLedger as broken:
        say(f"journal-verify: {broken}", sys.stderr)
        return 1
    weeks, outcomes = ledger.weeks, ledger.outcomes()
    waiting = {line["id"] for line in ledger.forecasts} - outcomes.keys()
    say(
        f"{name}: whole; {len(ledger.lines)} lines, {len(weeks)} weeks entered, "
        f"{len(outcomes)} returns known, {len(waiting)} awaited"
    )
    if stamps:
        print(for_terminal(stamps_in_words(ledger, stamps, options.tsa_ca)))
    if since is None:
        say("no HEAD given: lines cut off at the end, or a ledger written anew, go unnoticed")
    else:
        say(f"the published head stands; lines since: {since}")
    say(f"head {ledger.head}")
    return 0


@dataclass(frozen=True, kw_only=True)
class EnterOptions:
    """The flags of `enter`."""

    journal: Path = _JOURNAL
    records: Path | None = option(None, help="records to forecast from, instead of providers")
    symbols: str = option("", help="companies, by spaces or commas (default: all of the records)")
    index: str | None = option(None, help="its members today, if no symbols are named")
    prices: Path | None = option(None, help="folder of price files, instead of Yahoo")
    news: tuple[Path, ...] = option((), help="JSONL in Finnhub's or Alpaca's form")
    data: Path = option(Path("data"), help="folder whose raw/ keeps the providers' answers")
    date: datetime.date | None = option(None, help="the clock of a rehearsal, YYYY-MM-DD")
    dataset: str | None = option(None, help="rows that the model was trained on, for TF-IDF")
    config: Path | None = option(None, help="recipe that names the base")
    adapter: str | None = option(
        None, help="folder, user/name[@revision], or none for the base (default: no model)"
    )
    twin: str | None = option(
        None, help="adapter trained on shuffled labels (default: <adapter>-shuffled if it is there)"
    )
    model: str | None = option(
        None, help="ask the server at OPENAI_BASE_URL, which knows the adapter by this name"
    )
    text: str = option(
        "full", choices=("full", "none"), help="none: the bins alone, one forward pass per company"
    )


def _check_flags(options: EnterOptions) -> None:
    """Raise ValueError for flags of which one would not be obeyed."""
    for one, others in (
        ("records", ("index", "prices", "news")),
        ("index", ("symbols",)),
    ):
        for other in others:
            if getattr(options, one) and getattr(options, other):
                raise ValueError(
                    f"--{one} and --{other} each say what to forecast from; give one of them"
                )
    needing = ("config", "twin", "model")
    given = [name for name in needing if getattr(options, name)]
    given += ["text"] * (options.text != "full")
    if options.adapter is None and given:
        raise ValueError(
            f"--{given[0]} is of a model, and none is named; give --adapter, or leave it out"
        )


def _models(options: EnterOptions, ledger: Ledger) -> list[Member]:
    """The language models that are asked. A twin joins when the journal begins.

    Raises ValueError for an adapter without a recipe, and as `model_members` does.
    """
    if options.adapter is None:
        return []
    if options.config is None:
        raise ValueError("--adapter needs --config, the recipe that names its base")
    from forecast.journal.models import ModelNames, model_members

    twin, beside = options.twin, f"{options.adapter}-shuffled"
    begun = [member["name"] for member in ledger.start["panel"]] if ledger.start else None
    if twin is None and Path(beside).is_dir() and (begun is None or "shuffled" in begun):
        twin = beside
    recipe = read_recipe(options.config)
    names = ModelNames(recipe, options.adapter, twin, options.model, options.text == "full")
    return model_members(names)


def run_enter(options: EnterOptions) -> int:
    """Enter the forecasts of the week under way, before its first session opens."""
    _check_flags(options)
    with sole_writer(options.journal):
        ledger = check(_open(options.journal), str(options.journal / LEDGER))
        if not ledger.lines:
            _check_new(options.journal)
        week = sunday_on_or_before(options.date or _machine_time().date())
        if week.isoformat() in ledger.weeks:
            say(f"the week of {week} is entered already; nothing is changed")
            say(f"head {ledger.head}")
            return 0
        clock = clock_for(ledger.start, options.date, _machine_time())
        dataset = load_dataset(options.dataset) if options.dataset else None
        entry = Entry(
            folder=options.journal,
            clock=clock,
            now=lambda: time_of(clock, options.date, _machine_time()),
            panel=[*_models(options, ledger), *simple_members(dataset)],
            code_commit=git_output("rev-parse", "HEAD"),
            named=frozenset(_symbols(options)),
        )
        before = {line["symbol"] for line in ledger.forecasts}
        is_new = not ledger.lines
        ledger = enter(ledger, entry, lambda: _gather(options, entry.week, before))
    if is_new:
        say(f"a new journal begins in {options.journal}")
    _print_entry(ledger, week.isoformat(), kept_facts(options.journal, week.isoformat()).notes)
    return 0


def _gather(options: EnterOptions, week: datetime.date, before: Collection[str]) -> Known:
    """What is known of the companies, from records or from providers.

    A named company without prices is refused, since its name may be wrong; one that the journal
    forecast `before` is left out of this week alone.
    """
    named = _symbols(options)
    if options.records:
        return inputs_of_records(options.records, week, named)
    if week > _machine_time().date():
        raise ValueError(
            f"the week of {week} lies ahead: nothing is known before it yet; leave DATE out, or "
            "give RECORDS to rehearse"
        )
    sources = LiveSources(options.data, options.prices, options.news)
    known = live_inputs(live_symbols(named, options.index, week), week, sources)
    check_all_known(known, [symbol for symbol in named if symbol not in before])
    return known


def _symbols(options: EnterOptions) -> list[str]:
    return named_symbols(options.symbols)


def _check_new(folder: Path) -> None:
    """Raise ValueError for a folder that held a journal whose ledger is lost."""
    left = [name for name in (INPUTS, STAMPS, SCORES) if (folder / name).exists()]
    if left:
        raise ValueError(
            f"{folder} holds {left[0]} of a journal, and no line of its ledger ({LEDGER}): take "
            "the ledger from a copy, or name another JOURNAL"
        )


def _print_entry(ledger: Ledger, week: str, notes: Sequence[str]) -> None:
    line = ledger.weeks[week]
    for note in notes:
        say(f"note: {note}")
    for symbol, reason in line["left_out"].items():
        say(f"left out: {symbol}: {reason}")
    say(f"the week of {week} is entered: {line['forecasts']} forecasts")
    say(f"head {ledger.head}")


def _machine_time() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class SettleOptions:
    """The flags of `settle`."""

    journal: Path = _JOURNAL
    records: Path | None = option(None, help="records that state returns, instead of Yahoo")
    prices: Path | None = option(None, help="folder of price files: a second source")
    date: datetime.date | None = option(None, help="the clock of a rehearsal, YYYY-MM-DD")
    data: Path = option(Path("data"), help="folder whose raw/ keeps Yahoo's answers")


def run_settle(options: SettleOptions) -> int:
    """Write down what happened in the weeks that have passed."""
    with sole_writer(options.journal):
        ledger = _ledger(options.journal, _open)
        machine = _machine_time()
        clock = clock_for(ledger.start, options.date, machine)
        now = time_of(clock, options.date, machine)
        sources = _sources(options, passed_weeks(ledger, now), now.date())
        settlement = settle(ledger, sources, now)
        ledger = append_lines(options.journal, ledger, settlement.lines)
    for source in sources:
        lacking = source.missing.keys() - settlement.waiting.keys()
        lacking &= {key for other in sources if other is not source for key in other.values}
        if lacking:
            key = min(lacking)
            say(
                f"{source.source}: no return for {len(lacking)} that another source states, such "
                f"as {key} ({source.missing[key]})"
            )
    corrections = sum(line["kind"] == "correction" for line in settlement.lines)
    for key, reason in settlement.waiting.items():
        say(f"waiting: {key}: {reason}")
    for note in settlement.notes:
        say(f"note: {note}")
    for line in settlement.lines:
        if line["doubt"]:
            say(f"in doubt: {line['id']}: {line['doubt']}")
    say(
        f"returns written: {len(settlement.lines) - corrections}, corrections: {corrections}, "
        f"awaited: {len(settlement.waiting)}"
    )
    say(f"head {ledger.head}")
    return 0


def _sources(
    options: SettleOptions, wanted: Sequence[ForecastLine], today: datetime.date
) -> list[Returns]:
    """What each source says; one that does not answer is named and left out if there is another.

    Raises what the last source raised if none answers.
    """
    found: list[Returns] = []
    if options.records:
        found.append(returns_of_records(options.records, wanted))
    providers: list[PriceProvider] = []
    if not options.records:
        providers.append(Yahoo(options.data / "raw" / Yahoo.FOLDER))
    if options.prices:
        providers.append(PriceFiles(options.prices))
    for number, provider in enumerate(providers, start=1):
        try:
            found.append(returns_of_prices(provider, wanted, today))
        except (OSError, ValueError) as error:
            if number == len(providers) and not found:
                raise
            say(f"journal-settle: without {provider.name}: {error}", sys.stderr)
    return found


@dataclass(frozen=True)
class JournalOptions:
    """The flag of `score` and of `page`."""

    journal: Path = _JOURNAL


def run_score(options: JournalOptions) -> int:
    """Print the record of every forecaster, and write it to scores.json."""
    scores = score(_ledger(options.journal))
    write_json(options.journal / SCORES, scores)
    print(for_terminal(scores_in_words(_with_names_on_one_line(scores))))
    say(str(options.journal / SCORES))
    return 0


def _with_names_on_one_line(scores: JournalScores) -> JournalScores:
    """The scores with names that keep to their cells: a ledger of others may hold any."""
    told = copy.deepcopy(scores)
    for one in told["forecasters"]:
        one["forecaster"] = one_line(one["forecaster"])
        one["difference"] = one_line(one["difference"])
    return told


def run_page(options: JournalOptions) -> int:
    """Write the page: this week's forecasts, the record, calibration, and the head."""
    say(str(write_page(_ledger(options.journal), options.journal)))
    return 0


@dataclass(frozen=True, kw_only=True)
class StampOptions:
    """The flags of `stamp`."""

    journal: Path = _JOURNAL
    tsa: str = option("", help="address of the time-stamping authority (RFC 3161)")
    tsa_ca: Path | None = _TSA_CA


def run_stamp(options: StampOptions) -> int:
    """Let a time-stamping authority sign the head and the time, and keep its answer."""
    with sole_writer(options.journal):
        ledger = _ledger(options.journal)
        stamps = read_stamps(options.journal, ledger, options.tsa_ca)
        if any(stamp.sha256 == ledger.head for stamp in stamps):
            say("the head is stamped already; nothing is changed")
        else:
            stamps.append(make_stamp(options.journal, ledger, options.tsa, options.tsa_ca))
    print(for_terminal(stamps_in_words(ledger, stamps, options.tsa_ca)))
    say(str(stamp_path(options.journal, ledger.head)))
    return 0


def _open(folder: Path) -> Ledger:
    """The ledger of the one process that writes."""
    return open_ledger(folder, lambda note: say(note, sys.stderr))


def _ledger(folder: Path, read: Callable[[Path], Ledger] = read_ledger) -> Ledger:
    """The verified ledger of a journal. Raises FileNotFoundError if there is none."""
    ledger = check(read(folder), str(folder / LEDGER))
    if not ledger.lines:
        raise FileNotFoundError(
            f"{folder} holds no journal ({LEDGER}); journal-enter starts one, and JOURNAL= names "
            "another folder"
        )
    return ledger


_COMMANDS: Mapping[str, tuple[type[Any], Callable[[Any], int]]] = {
    "enter": (EnterOptions, run_enter),
    "verify": (VerifyOptions, run_verify),
    "settle": (SettleOptions, run_settle),
    "score": (JournalOptions, run_score),
    "page": (JournalOptions, run_page),
    "stamp": (StampOptions, run_stamp),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 done, 1 a broken ledger, 2 an error whose message has the remedy."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = new_parser(__doc__, "forecast.journal")
    parser.add_argument("command", choices=tuple(_COMMANDS))
    name = parser.parse_args(words[:1]).command
    options, run = _COMMANDS[name]
    of_command = new_parser(run.__doc__, f"forecast.journal {name}")
    add_options(of_command, options)
    told = read_options(of_command.parse_args(words[1:]), options)
    configure_logging()
    return run_command(f"journal-{name}", lambda: run(told), errors=MODEL_ERRORS, resumable=True)


if __name__ == "__main__":
    sys.exit(main())
