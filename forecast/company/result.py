"""A forecast as it is stored, and as a reader sees it: in the terminal, as Markdown, in a table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from eval.metrics.text_quality import figure_ends, made_up_figures
from eval.metrics.text_table import UNKNOWN, table
from forecast.company.call import Stated, call_of_answer, call_of_probabilities, up_share
from forecast.company.inputs import Case
from weekahead.files import write_json, write_text
from weekahead.markdown import escape, fence
from weekahead.schema.forecasts import ForecastFile, ForecastInput, MeasuredRecord
from weekahead.visible import one_line, visible

if TYPE_CHECKING:
    from forecast.company.model import Said

NOT_IN_INPUTS = "(not in the inputs)"
"""The mark behind a figure of an answer."""
_GOES_ON = re.compile(r"\w|(?<=\d)[.,]\d| \(not in")
"""What shows that a figure is a part of a larger one, or has its mark."""
_UNWRITTEN = " (from the probabilities)"
_BAR = 40
"""Characters of a probability of 1."""


@dataclass(frozen=True)
class ModelFacts:
    """Which model forecasts."""

    adapter: str | None
    adapter_sha256: str | None
    base: str
    base_revision: str | None
    served_as: str | None = None


def forecast_file(
    case: Case, said: "Said", model: ModelFacts, record: MeasuredRecord, made_at: datetime
) -> ForecastFile:
    """What is stored of one forecast, without warnings and notes."""
    call = _call(said)
    row = case.row
    figures = made_up_figures(said.answer, row["prompt"]) if said.answer else None
    return {
        "id": row["id"],
        "symbol": row["symbol"],
        "company": case.company,
        "week_start": row["week_start"],
        "week_end": row["week_end"],
        "decision_time": case.decision_time,
        "made_at": made_at.isoformat(timespec="seconds"),
        "prediction": call.prediction,
        "prediction_from": "answer" if said.answer is not None else "probabilities",
        "direction": call.direction,
        "probabilities": said.probabilities,
        "probabilities_after": said.after,
        "why_none": said.why_none,
        "answer": said.answer,
        "unreadable": call.unreadable,
        "figures_not_in_inputs": list(dict.fromkeys(figures.missing)) if figures else None,
        "inputs": case.inputs,
        "prompt": row["prompt"],
        "adapter": model.adapter,
        "adapter_sha256": model.adapter_sha256,
        "base": model.base,
        "base_revision": model.base_revision,
        "served_as": model.served_as,
        "record": record,
        "warnings": [],
        "notes": [],
    }


def _call(said: "Said") -> Stated:
    """What the answer states; without one what the probabilities say."""
    if said.answer is None:
        return call_of_probabilities(said.probabilities or {})
    return call_of_answer(said.answer)


def write_forecast(forecast: ForecastFile, folder: Path) -> Path:
    """Write `<symbol>.md` and `<symbol>.json`; return the path of the JSON file."""
    write_text(folder / f"{forecast['symbol']}.md", markdown(forecast))
    path = folder / f"{forecast['symbol']}.json"
    write_json(path, forecast)
    return path


def before_answer(case: Case, warnings: Sequence[str]) -> str:
    """What a terminal shows of a company before its answer: the week, the inputs, the warnings."""
    row = case.row
    lines = [
        one_line(f"{row['symbol']}: {case.company}"),
        f"Week from {row['week_start']} to {row['week_end']}; inputs until "
        f"{_time(case.decision_time)}",
        *(f"WARNING: {one_line(warning)}" for warning in warnings),
        "",
        table(("known at", "what", "text", "source"), _input_lines(case.inputs), left=4),
    ]
    return "\n".join(lines)


def after_answer(forecast: ForecastFile) -> str:
    """What a terminal shows of a company after its answer."""
    parts = [call_sentence(forecast)]
    if figures := forecast["figures_not_in_inputs"]:
        parts.append(f"Figures of the answer {NOT_IN_INPUTS}: {one_line(', '.join(figures))}")
    parts.append(_probabilities_in_words(forecast))
    parts.append(f"Record: {one_line(forecast['record']['sentence'])}")
    return "\n\n".join(parts)


def call_sentence(forecast: ForecastFile) -> str:
    """The call and its size in words."""
    if forecast["direction"] is None:
        return one_line(f"Call: none that can be read ({forecast['unreadable']})")
    size = forecast["prediction"] or ("up" if forecast["direction"] > 0 else "down")
    return f"Call: {size}{_UNWRITTEN if forecast['prediction_from'] == 'probabilities' else ''}"


def _probabilities_in_words(forecast: ForecastFile) -> str:
    probabilities = forecast["probabilities"]
    if probabilities is None:
        return one_line(f"Probabilities: none, since {forecast['why_none']}")
    lines = [f"Probabilities {_after(forecast)}; of a rise {up_share(probabilities):.2f}"]
    for label, share in probabilities.items():
        lines.append(f"  {label:<20}  {share:.3f}  {'#' * round(_BAR * share)}".rstrip())
    return "\n".join(lines)


def _after(forecast: ForecastFile) -> str:
    if forecast["probabilities_after"] == "own":
        return "of the twelve bins after the answer's own sections"
    return "of the twelve bins, asked for at once"


def batch_table(forecasts: Sequence[ForecastFile]) -> str:
    """One line per company."""
    header = ("symbol", "week from", "call", "likeliest bin", "its P", "P(up)", "warnings")
    lines: list[Sequence[str]] = []
    for forecast in forecasts:
        probabilities = forecast["probabilities"] or {}
        likeliest = max(probabilities, key=lambda label: probabilities[label], default=None)
        call = (
            call_sentence(forecast).removeprefix("Call: ").removesuffix(" (from the probabilities)")
        )
        lines.append(
            (
                forecast["symbol"],
                forecast["week_start"],
                call,
                likeliest or UNKNOWN,
                f"{probabilities[likeliest]:.2f}" if likeliest else UNKNOWN,
                f"{up_share(probabilities):.2f}" if probabilities else UNKNOWN,
                str(len(forecast["warnings"])),
            )
        )
    return table(header, lines, left=4)


def markdown(forecast: ForecastFile) -> str:
    """The whole forecast as a page."""
    blocks = [
        f"# {escape(forecast['symbol'])}, week from {forecast['week_start']}",
        escape(f"{forecast['company']} {_model_sentence(forecast)}"),
        f"**{escape(call_sentence(forecast))}**",
        *(f"> **Warning**: {escape(warning)}" for warning in forecast["warnings"]),
        f"**Record**: {escape(forecast['record']['sentence'])}",
    ]
    if forecast["answer"] is not None:
        marked = marked_answer(forecast["answer"], forecast["figures_not_in_inputs"] or ())
        blocks += ["## Answer", fence(marked)]
    blocks += ["## Probabilities", *_probability_blocks(forecast), "## Inputs"]
    blocks.append(f"Nothing that became known after {_time(forecast['decision_time'])}.")
    blocks.append(_markdown_table(("known at", "what", "text", "source"), forecast["inputs"]))
    if forecast["notes"]:
        blocks.append("\n".join(f"- {escape(note)}" for note in forecast["notes"]))
    blocks.append("Nothing here is financial advice.")
    return visible("\n\n".join(blocks)) + "\n"


def marked_answer(answer: str, figures: Sequence[str]) -> str:
    """The answer with a mark behind each figure that stands nowhere in the inputs.

    A part of a larger number gets none: neither $5 in $5,200 nor 1.200 in 1.200.000.
    """
    pieces: list[str] = []
    done = 0
    for figure, end in figure_ends(answer):
        if figure in figures and not _GOES_ON.match(answer, end):
            pieces += [answer[done:end], f" {NOT_IN_INPUTS}"]
            done = end
    return "".join([*pieces, answer[done:]])


def _model_sentence(forecast: ForecastFile) -> str:
    adapter = forecast["adapter"]
    model = f"adapter {adapter} on {forecast['base']}" if adapter else f"base {forecast['base']}"
    served = f", served as {forecast['served_as']}" if forecast["served_as"] else ""
    return f"Made at {_time(forecast['made_at'])} by the {model}{served}."


def _probability_blocks(forecast: ForecastFile) -> list[str]:
    probabilities = forecast["probabilities"]
    if probabilities is None:
        return [escape(_probabilities_in_words(forecast))]
    rows = [f"| {label} | {share:.3f} |" for label, share in probabilities.items()]
    lines = "\n".join(["| bin | probability |", "|---|---:|", *rows])
    return [f"Those {_after(forecast)}. Of a rise: {up_share(probabilities):.2f}.", lines]


def _markdown_table(header: Sequence[str], inputs: Sequence[ForecastInput]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    rows = _input_lines(inputs, limit=None)
    lines += [f"| {' | '.join(map(escape, cells))} |" for cells in rows]
    return "\n".join(lines)


def _input_lines(inputs: Sequence[ForecastInput], limit: int | None = 76) -> list[Sequence[str]]:
    lines: list[Sequence[str]] = []
    for fact in inputs:
        text = " ".join(fact["text"].split())
        if limit and len(text) > limit:
            text = f"{text[: limit - 3]}..."
        known = _time(fact["known_at"]) if fact["known_at"] else UNKNOWN
        lines.append((known, fact["kind"], text, one_line(fact["source"])))
    return lines


def _time(text: str) -> str:
    """A time in UTC, to the minute."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"
