"""Decorated, repeated, broken and random answers: reading never raises and never invents.

The oracle knows nothing of the parser: a text is put together from parts whose direction is known.
"""

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed (requirements-dev.txt)")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weekahead.task.answer import Answer, parse_answer

STATED = {
    1: [
        "Up by 1-2%", "up by more than 5%", "an increase of 2-3%", "The stock should rise by 1%",
        "+2%", "a gain", "Up by 1%~2% (confidence: 70%)", "Up. Revenue growth of 12% supports this",
        "Rise by 2% ± 0.5% as it scales down costs", "**Up**\n**Probability**: 65%",
        "We expect AXP to climb 3-4% next week",
        "Likely a slight upward trend of 0-1%", "bullish, 1-2% higher",
    ],
    -1: [
        "Down by 1-2%", "down by more than 5%", "a decrease of 2-3%", "The stock should fall by 1%",
        "-2%", "a loss", "Down (70% likely)", "Down: margins at 45%",
        "Down by 1～2％ on 12% growth",
        "Weaken by 1-2% while rivals step up spending", "We expect AXP to drop 3-4% next week",
        "Likely a slight downward trend of 0-1%", "bearish, 1-2% lower",
    ],
    0: ["Neutral", "Flat", "unchanged", "The price will stay range-bound", "no change"],
    None: [
        "Ramp up by 2%", "It shuts down plants", "Up?", "Wobble by 2%",
        "uncertain", "Hard to say this week", "1-2%", "It depends on the market", "N/A",
        "To be decided: 3%", "...", "not up", "It will not fall by 1%", "unlikely to rise",
        "up or down by 1-2%", "Up by 1%, then down by 2%",
    ],
}  # fmt: skip
PHRASES = [(phrase, direction) for direction, phrases in STATED.items() for phrase in phrases]
# The rest of an answer moves in all directions, and is not a prediction.
ITEMS = [
    "Shares rose 5% last week.",
    "Sales fell by 3-4%.",
    "Up and down all year.",
    "Orders are flat.",
    "Costs: high!",
]
ANALYSES = [
    "It may fall, or rise by 2%.",
    "Down 5% is possible.",
    "Bulls say up; bears say lower.",
    "We shall see.",
]
NAMES = (
    ("Positive Developments", "Potential Concerns", "Prediction & Analysis"),
    ("Positive Development", "potential concern", "Prediction and Analysis"),
    ("POSITIVE DEVELOPMENTS", "POTENTIAL CONCERNS", "PREDICTION & ANALYSIS"),
)
HEADERS = [
    "[{}]:",
    "[{}]",
    "**{}**",
    "**[{}]:**",
    "## {}",
    "### [{}]:",
    "{}:",
    "1. **{}:**",
    "- **{}**:",
    "> {}:",
    "📈 {}:",
    "【{}】",
    "\\[{}\\]:",
    "<h3>{}</h3>",
    "II. {}:",
    "| {} |",
    "✅ **{}**",
]
LABELS = ["{}: ", "**{}:** ", "**{}**: ", "- {}: ", "{}:\n", "__{}__: "]
AROUND = ["{}", "**{}**", "_{}_", "`{}`", "  {}  "]
BEFORE = [
    "",
    "Sure! Here is it:\n\n",
    "<think>\n\n</think>\n\n",
    "<think>It will go up, or down.</think>\n",
    "```\n",
    "[THINK]\nUp, or rather down by 5%.\n[/THINK]\n",
    "<reasoning>Prediction: Down by 4-5%</reasoning>\n",
    "<|channel|>analysis<|message|>It may fall.<|end|>",
    "<draft>Prediction: Up by 3-4%</draft>\n",
    "It may fall by 3%.\n◁/think▷\n",
]
BEHIND = [
    "",
    "\n",
    "\n```",
    "\n\nThis is no advice.",
    "\n\nShares may go down.",
    "<|im_end|>",
    "\n---\n",
]
PLAIN_WORDS = [
    "the company", "week", "market", "price of", "and", "report", "3%", "$12", "1-2%",
    "analysts see", "AXP", "dividend", "outlook", "support", "upcoming", "supply", "downtown",
    "setup", "[", "]", ":", "#", "*", "\n", "-", "&", "Prediction", "Analysis", "Prediction:",
    "[Prediction & Analysis]:",
]  # fmt: skip


@st.composite
def decorated(draw: st.DrawFn) -> tuple[str, int | None]:
    """An answer in some decoration, and the direction that its prediction states."""
    names = draw(st.sampled_from(NAMES))
    header = draw(st.sampled_from(HEADERS))
    label = draw(st.sampled_from(LABELS))
    around = draw(st.sampled_from(AROUND))
    phrase, direction = draw(st.sampled_from(PHRASES))
    items = draw(st.lists(st.sampled_from(ITEMS), min_size=2, max_size=4))
    blank = draw(st.sampled_from(["\n", "\n\n"]))
    prediction = label.format("Prediction") + around.format(phrase)
    analysis = label.format("Analysis") + draw(st.sampled_from(ANALYSES))
    texts = (numbered(items[:1]), numbered(items[1:]), f"{prediction}\n{analysis}")
    sections = [f"{header.format(name)}\n{text}" for name, text in zip(names, texts, strict=True)]
    copies = "\n\n".join([blank.join(sections)] * draw(st.sampled_from([1, 1, 1, 2, 3])))
    text = draw(st.sampled_from(BEFORE)) + copies + draw(st.sampled_from(BEHIND))
    return (text.replace("\n", "\r\n") if draw(st.booleans()) else text), direction


def numbered(items: list[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, int | None]:
    """An answer with pieces cut out or put in anywhere but in the words of its prediction."""
    text, direction = draw(decorated())
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = begin + draw(st.integers(0, 12))
        if any(phrase in text and _touches(text, phrase, begin, end) for phrase, _ in PHRASES):
            continue
        piece = draw(st.sampled_from(["", "", "*", "\n", " ", "[", "#", "<think>", "é", "\u202e"]))
        text = text[:begin] + piece + text[end:]
    return text, direction


def _touches(text: str, phrase: str, begin: int, end: int) -> bool:
    start = text.find(phrase)
    while start >= 0:
        # With the marks and the line end after it: without them, what follows would become part of
        # the prediction.
        if start - 1 <= end and begin <= start + len(phrase) + len("**\r\n"):
            return True
        start = text.find(phrase, start + 1)
    return False


def read(text: str) -> Answer:
    """Read in both ways, and check what holds for any text."""
    answer, strict = parse_answer(text), parse_answer(text, strict=True)
    assert answer.valid == (answer.direction is not None) == (answer.reason is None)
    assert answer.direction in (-1, 0, 1, None)
    if answer.magnitude:
        assert answer.direction and answer.magnitude * answer.direction > 0
    if strict.valid:
        assert strict == answer
    return answer


def check_decorated(example: tuple[str, int | None]) -> None:
    text, direction = example
    assert read(text).direction == direction, text


def check_broken(example: tuple[str, int | None]) -> None:
    text, direction = example
    assert read(text).direction in (direction, None), text


def check_plain(words: list[str]) -> None:
    text = " ".join(words)
    assert read(text).direction is None, text
    whole = (
        "[Positive Developments]:\n1. a\n[Potential Concerns]:\n1. b\n"
        f"[Prediction & Analysis]:\nPrediction: {text}"
    )
    assert read(whole).direction is None, whole


CHECKS = [
    (check_decorated, decorated()),
    (check_broken, broken()),
    (check_plain, st.lists(st.sampled_from(PLAIN_WORDS), max_size=30)),
    (read, st.text(max_size=200)),
]
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.parametrize(
    ("check", "examples"), CHECKS, ids=["decorated", "broken", "without a direction", "any text"]
)
def test_what_is_not_stated_is_not_read(check, examples):
    settings(max_examples=150, **QUIET)(given(examples)(lambda example: check(example) and None))()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "examples"), CHECKS, ids=["decorated", "broken", "without a direction", "any text"]
)
def test_a_hundred_thousand_answers(check, examples):
    settings(max_examples=25_000, **QUIET)(
        given(examples)(lambda example: check(example) and None)
    )()
