"""Prediction lines as models and analysts write them, with what they state.

The vocabulary is written from the view of a writer, and shares nothing with the reader's tables. It
holds verbs, particles and figures that the reader was never told: they may be unreadable, but never
wrong.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """A prediction line and what a human reads in it."""

    text: str
    direction: int | None
    """None: neither up nor down may be read."""
    size: float | None
    """In percent, without a sign; None if none is stated."""
    is_plain: bool = False
    """Whether it must be read, and not only never be read wrongly."""


NAMES = (
    "AAPL",
    "MSFT",
    "GS",
    "Apple",
    "Home Depot",
    "Johnson & Johnson",
    "Goldman Sachs",
    "American Express",
    "JPMorgan Chase",
    "Walt Disney",
    "Verizon",
    "Nike",
)
SUBJECTS = (
    "The stock",
    "The stock price",
    "Shares",
    "The shares",
    "{}'s stock",
    "{}'s stock price",
    "{}'s shares",
    "Shares of {}",
    "It",
    "{} stock",
    "The share price of {}",
    "The price",
)
HOPES = (
    "will",
    "should",
    "may",
    "could",
    "is expected to",
    "is likely to",
    "is projected to",
    "is predicted to",
    "will likely",
    "is forecast to",
    "might",
    "is anticipated to",
    "is set to",
)
PLURAL = {"is": "are"}
VERBS = {
    1: (
        "rise",
        "increase",
        "gain",
        "climb",
        "go up",
        "move up",
        "move higher",
        "edge up",
        "edge higher",
        "advance",
        "trend upward",
        "rebound",
        "grow",
        "appreciate",
        "tick up",
    ),
    -1: (
        "fall",
        "decrease",
        "decline",
        "drop",
        "go down",
        "move down",
        "move lower",
        "edge down",
        "edge lower",
        "slip",
        "trend downward",
        "dip",
        "slide",
        "depreciate",
        "tick down",
    ),
}
NOUNS = {
    1: ("increase", "gain", "rise", "upward movement", "upward trend", "rebound", "rally"),
    -1: ("decrease", "decline", "drop", "downward movement", "downward trend", "pullback", "dip"),
}
SHORT = {
    1: ("Up", "UP", "up", "Up slightly", "Slightly up", "Higher", "Upward", "Bullish", "Rise"),
    -1: (
        "Down",
        "DOWN",
        "down",
        "Down slightly",
        "Slightly down",
        "Lower",
        "Downward",
        "Bearish",
        "Fall",
    ),
}
MILD = ("slight ", "moderate ", "modest ", "small ", "", "potential ", "significant ")
WEEK = (
    "",
    " next week",
    " over the next week",
    " in the coming week",
    " during the upcoming week",
    " this week",
    " by the end of next week",
    " for the week",
    " in the next week (March 3 to March 10)",
)
# Held out: the reader has no entry for these, or must not care.
RARE = {
    1: (
        "ascend",
        "levitate",
        "perk up",
        "firm up",
        "power ahead",
        "grind north",
        "blast off",
        "pop",
        "tack on",
        "spring forward",
        "catch a bid",
        "re-rate",
        "ratchet up",
    ),
    -1: (
        "weaken",
        "soften",
        "sag",
        "wobble",
        "droop",
        "give ground",
        "cool off",
        "sell off",
        "wilt",
        "break down",
        "buckle",
        "shed",
        "come under pressure",
        "sour",
        "fade",
        "back off",
        "crater",
        "backslide",
        "cave",
        "come off",
        "peel back",
        "hand back",
    ),
}
# Phrasal verbs and idioms about something else, with the particle that points the other way.
PARTICLES = {
    1: (
        "steps up spending",
        "ramps up production",
        "picks up the pace of hiring",
        "sets up a unit",
        "builds up inventory",
        "props up its balance",
        "opens up new plants",
        "speeds up delivery",
        "wraps up the deal",
        "gears up for launch",
        "cleans up its books",
        "lines up financing",
        "beefs up security",
        "follows up on talks",
        "signs up partners",
        "buys up rivals",
        "drives up costs",
        "jacks up fees",
        "racks up fines",
        "stirs up doubts",
        "shores up cash",
    ),
    -1: (
        "scales down costs",
        "shuts down a plant",
        "winds down its unit",
        "writes down assets",
        "pays down debt",
        "cuts down on waste",
        "breaks down results",
        "turns down an offer",
        "slows down hiring",
        "closes down stores",
        "brings down leverage",
        "plays down fears",
        "narrows down options",
        "doubles down on AI",
        "waters down rules",
        "tones down hopes",
        "draws down reserves",
        "strips down its lineup",
        "marks down goods",
        "holds down wages",
    ),
}
LINKS = (
    " as the company ",
    " while the firm ",
    " because management ",
    " after the group ",
    " since it ",
)
AGENTS = (
    " while its rival {}",
    " as a competitor {}",
    "; the company {}",
    ", and the firm {}",
    ". Management {}",
)
ODDS = (
    " with high confidence ({p}%)",
    " (confidence: {p}%)",
    " ({p}% confidence)",
    ", {p}% confidence",
    " with {p}% probability",
    " (probability {p}%)",
    " with a {p}% chance",
    "\nConfidence: {p}%",
    "\n**Confidence level**: {p}%",
    "\nProbability: ~{p}%",
    " ({p}% likely)",
    ". Confidence score: {p}/100",
    ". I am {p}% sure",
    ", certainty {p}%",
    " - conviction {p}%",
    " (odds: {p}%)",
    "\nLikelihood: {p} percent",
    " [confidence={p}%]",
    ", with about {p} percent certainty",
    ". Confidence: {p}%",
    " (likelihood of {p}%)",
)
FIGURES = (
    ". Revenue growth of {n}% supports this",
    ", EPS beat by {n}%",
    ": margins at {n}%",
    " on revenue growth of {n}%",
    " on {n}% sales growth",
    " due to a {n}% rise in costs",
    ", as gross margin fell to {n}%",
    ". The dividend yield is {n}%",
    ", despite a {n}% drop in orders",
    " because rates fell by {n}%",
    ". Analysts see {n}% upside to the price target",
    ". It gained {n}% last week",
    ", after losing {n}% last month",
    " (up {n}% year to date)",
    ". The shares rose {n}% last week",
    " as earnings per share grew {n}%",
    " given a P/E of {n}",
    " thanks to a net margin of {n}%",
    ", with revenue up {n}% year over year",
    ". Free cash flow was up {n}%",
    ". Debt to equity is {n}%",
    ", compared with {n}% for the S&P 500",
    " after a {n} bps cut",
    ", price target ${n}",
    ". The price target is ${n}",
    ". The sector gained {n}%",
    " as the market fell {n}%",
    "; the Nasdaq lost {n}%",
    " with implied volatility at {n}%",
    ". Market share: {n}%",
    " (ROE {n}%)",
    ", beating estimates by {n}%",
    " amid inflation of {n}%",
    " following a {n}% stake sale",
    ". It ranks in the top {n}%",
    ". Short interest stands at {n}%",
    " as bookings jumped {n}%",
    ". Guidance was raised by {n}%",
    " on an operating margin of {n}%",
    ". {n}% of analysts rate it a buy",
    " with turnover {n}% lower",
)
FRONTS = (
    "With revenue growth of {n}%, ",
    "Given a {n}% fall in costs, ",
    "After a {n}% gain last week, ",
    "Confidence: {p}%. ",
    "Despite margins of {n}%, ",
    "Considering the {n}% beat, ",
    "If rates hold, ",
    "Overall, ",
    "As sales rose {n}%, ",
    "Due to a {n}% cut in guidance, ",
    "While the market lost {n}%, ",
    "High confidence: ",
    "Based on the positive news, ",
    "Following the {n}% jump in orders, ",
    "Although peers fell {n}%, ",
    "In light of strong demand, ",
    "Revenue growth of {n}%. ",
)


def ranges(dice: random.Random) -> tuple[str, float]:
    """A size as written, and its value."""
    low = dice.randrange(0, 9)
    high = low + dice.choice((1, 1, 1, 2, 3))
    half = low + 0.5
    middle = (low + high) / 2
    forms: list[tuple[str, float]] = [
        (f"{low}-{high}%", middle),
        (f"{low}–{high}%", middle),
        (f"{low}%-{high}%", middle),
        (f"{low}% to {high}%", middle),
        (f"{low} to {high}%", middle),
        (f"{low}~{high}%", middle),
        (f"{low}%~{high}%", middle),
        (f"{low}～{high}％", middle),
        (f"{low} - {high} %", middle),
        (f"{low} to {high} percent", middle),
        (f"{low}-{high} per cent", middle),
        (f"{high}%", high),
        (f"{half}%", half),
        (f"{half} %", half),
        (f"about {high}%", high),
        (f"~{half}%", half),
        (f"approximately {low}-{high}%", middle),
        (f"more than {high}%", high + 0.5),
        (f"less than {high}%", high / 2),
        (f"at least {high}%", high + 0.5),
        (f"{high}% ± 0.5%", high),
        (f"{high}% +/- 0.5%", high),
        (f"**{low}-{high}%**", middle),
        (f"{low}\u00a0–\u00a0{high}\u00a0%", middle),
        (f"around {high} percent", high),
        (f"{low}½%", half),
        (f"{low}.25-{high}.75%", middle + 0.5),
    ]
    return dice.choice(forms)


def _subject(dice: random.Random) -> str:
    return dice.choice(SUBJECTS).format(dice.choice(NAMES))


def _call(dice: random.Random, direction: int) -> tuple[str, float | None]:
    """A plain statement of a direction, with or without a size."""
    text, size = ranges(dice)
    has_size = dice.random() < 0.75
    week = dice.choice(WEEK)
    style = dice.randrange(5)
    if style == 0:
        short = dice.choice(SHORT[direction])
        tail = dice.choice(
            (f" by {text}", f" {text}", f": {text}", f", {text}", f" ({text})", f" - {text}")
        )
        return short + (tail if has_size else "") + week, size if has_size else None
    if style == 1:
        verb = dice.choice(VERBS[direction])
        joint = dice.choice((" by ", " by around ", " ", " slightly, by "))
        body = f"{_subject(dice)} {dice.choice(HOPES)} {verb}"
    elif style == 2:
        noun = dice.choice(MILD) + dice.choice(NOUNS[direction])
        opening = dice.choice(
            ("is expected to see", "should experience", "will likely show", "may see")
        )
        joint = " of "
        body = f"{_subject(dice)} {opening} a {noun}"
    elif style == 3:
        noun = dice.choice(MILD) + dice.choice(NOUNS[direction])
        joint = " of "
        body = dice.choice(("A ", "We expect a ", "I predict a ", "Expect a ", "Likely a ")) + noun
    else:
        verb = dice.choice(VERBS[direction])
        joint = dice.choice((" by ", " "))
        body = verb.capitalize()
    body = body.replace("Shares is", "Shares are").replace("shares is", "shares are")
    return body + (joint + text if has_size else "") + week, size if has_size else None


def plain(dice: random.Random) -> Sentence:
    """A call without anything around it."""
    direction = dice.choice((1, -1))
    text, size = _call(dice, direction)
    return Sentence(text + dice.choice(("", "", ".")), direction, size, is_plain=True)


def _fill(dice: random.Random, text: str) -> str:
    return text.format(
        n=dice.choice((7, 8, 11, 12, 15, 23, 31, 45)), p=dice.choice((55, 60, 65, 70, 75, 80, 90))
    )


def with_odds(dice: random.Random) -> Sentence:
    """A call and how sure it is."""
    direction = dice.choice((1, -1))
    text, size = _call(dice, direction)
    return Sentence(text + _fill(dice, dice.choice(ODDS)), direction, size)


def with_figures(dice: random.Random) -> Sentence:
    """A call and one or two figures of something else."""
    direction = dice.choice((1, -1))
    text, size = _call(dice, direction)
    tails = "".join(dice.sample(FIGURES, dice.choice((1, 1, 2))))
    return Sentence(text + _fill(dice, tails), direction, size)


def with_front(dice: random.Random) -> Sentence:
    """A call behind a cause, a condition or a figure of something else."""
    direction = dice.choice((1, -1))
    text, size = _call(dice, direction)
    return Sentence(_fill(dice, dice.choice(FRONTS)) + text, direction, size)


def with_particle(dice: random.Random) -> Sentence:
    """A call, and a verb about something else whose particle points the other way."""
    direction = dice.choice((1, -1))
    text, size = _call(dice, direction)
    other = dice.choice(PARTICLES[-direction])
    link = dice.choice((dice.choice(LINKS) + "{}", dice.choice(AGENTS)))
    return Sentence(text + link.format(other), direction, size)


def rare_verb(dice: random.Random) -> Sentence:
    """A verb that the reader was not told, and a particle that points the other way."""
    direction = dice.choice((1, -1))
    verb = dice.choice(RARE[direction])
    text, size = ranges(dice)
    opening = dice.choice(("", "", f"{_subject(dice)} {dice.choice(HOPES)} "))
    body = f"{opening}{verb}{dice.choice((f' by {text}', f' {text}', ''))}"
    size = size if text in body else None
    other = dice.choice(PARTICLES[-direction])
    tail = dice.choice((dice.choice(LINKS) + other, dice.choice(AGENTS).format(other), ""))
    body = body[0].upper() + body[1:] if opening == "" else body
    return Sentence(body + tail, direction, size)


def undecided(dice: random.Random) -> Sentence:
    """Nothing is stated: alternatives, questions, negations, the instruction itself."""
    up, down = dice.choice(VERBS[1]), dice.choice(VERBS[-1])
    text, _ = ranges(dice)
    subject = _subject(dice)
    forms = (
        f"Up or down by {text}",
        f"Up/Down by {text}",
        "[Up/Down] by X%",
        f"{subject} may {up} or {down}",
        f"{subject} will {up} by {text}, then {down} by {text}",
        f"{up.capitalize()} or {down} by {text}",
        f"Will {subject.lower()} {up} by {text}?",
        "Up?",
        "Up or down?",
        f"Neither up nor down, {text}",
        f"Either {up} or {down} {text}",
        f"{subject} could {up} by {text} but might {down}",
        f"Up by {text} if earnings beat, otherwise down by {text}",
        f"First up, then down by {text}",
        f"Up to {text}",
        f"{text}",
        "Hard to say",
        "Mixed",
        f"Volatile, {text}",
        f"± {text}",
    )
    return Sentence(dice.choice(forms), None, None)


def negated(dice: random.Random) -> Sentence:
    """What is denied may not be read; its opposite may."""
    denied = dice.choice((1, -1))
    verb = dice.choice(VERBS[denied])
    text, _ = ranges(dice)
    subject = _subject(dice)
    forms = (
        f"{subject} is unlikely to {verb} by {text}",
        f"{subject} won't {verb}",
        f"Not {SHORT[denied][0].lower()}",
        f"{subject} will not {verb} by {text}",
        f"{subject} should not {verb}",
        f"We do not expect it to {verb}",
        f"A {dice.choice(NOUNS[denied])} of {text} is unlikely",
        f"{subject} is not expected to {verb}",
        f"It is doubtful that {subject.lower()} will {verb}",
        f"No {dice.choice(NOUNS[denied])} is expected",
        f"{subject} can hardly {verb} by {text}",
        f"{subject} will fail to {verb}",
        f"I don't think it will {verb}",
    )
    return Sentence(dice.choice(forms), -denied, None)


def past(dice: random.Random) -> Sentence:
    """A past move the other way, and then the call."""
    direction = dice.choice((1, -1))
    text, size = ranges(dice)
    before, _ = ranges(dice)
    verb = dice.choice(VERBS[direction])
    gone = {1: ("rose", "gained", "climbed", "was up"), -1: ("fell", "lost", "dropped", "was down")}
    old = dice.choice(gone[-direction])
    subject = _subject(dice)
    forms = (
        f"{subject} {old} {before} last week but should {verb} by {text}",
        f"{subject} {old} last week by {before}, will {verb} by {text}",
        f"After it {old} {before}, {subject.lower()} is expected to {verb} by {text}",
        f"{subject}, which {old} {before} last week, should {verb} by {text}",
        f"{subject} {old} {before} last week. It should {verb} by {text}",
    )
    return Sentence(dice.choice(forms), direction, size)


KINDS: dict[str, Callable[[random.Random], Sentence]] = {
    "plain": plain,
    "odds": with_odds,
    "figures": with_figures,
    "front": with_front,
    "particle": with_particle,
    "rare verb": rare_verb,
    "undecided": undecided,
    "negated": negated,
    "past": past,
}


def sentences(count: int, seed: int) -> list[tuple[str, Sentence]]:
    """`count` sentences with the name of their kind, the kinds in turn."""
    dice = random.Random(seed)
    names = list(KINDS)
    chosen = [names[number % len(names)] for number in range(count)]
    return [(name, KINDS[name](dice)) for name in chosen]
