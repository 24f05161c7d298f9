"""The public dataset's texts: out of their Llama-2 wrapping, with wording defects repaired."""

import re
from collections import Counter
from html import unescape

from weekahead.task.prompt_reader import read_prompt

_WRAPPED = re.compile(
    r"\s*(?:<s>)?\s*\[INST\]\s*<<SYS>>\n(?P<system>.*?)\n<</SYS>>\n\n(?P<user>.*)\[/INST\]\s*",
    re.DOTALL,
)
# The instruction's own sentence and nothing else: news about cryptocurrencies keeps its words.
_ASSET = re.compile(
    r"(Then make your prediction of the \S+ )cryptocurrency( price movement for next week)"
)
_HEADER_IN_SYSTEM = re.compile(r"\[Prediction & Analysis\](?!:)")
_HEADER_IN_ANSWER = re.compile(r"^\[Prediction and Analysis\]", re.MULTILINE)
_ENTITY = re.compile(r"&(?:amp;)?(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z]\w{1,30});|&amp;")
# UTF-8 read as Latin-1, only if no real word can be meant: A-circumflex or A-tilde before a C1
# control or a symbol, a-circumflex before two of these (or before a euro sign: Windows-1252), and
# the emoji prefix F0 9F.
_MOJIBAKE = re.compile(
    r"[\u00c2\u00c3][\u0080-\u00bf]|\u00e2[\u0080-\u00bf]{2}|\u00f0\u009f[\u0080-\u00bf]{2}"
    r"|\u00e2\u20ac[\u0080-\u00bf\u0152\u0153\u0161\u02dc\u2013-\u203a\u20ac\u2122]"
)


def unwrap(prompt: str) -> tuple[str, str]:
    """The system and the user text of `[INST]<<SYS>> .. <</SYS>> .. [/INST]`, untouched.

    Raises ValueError for any other form.
    """
    match = _WRAPPED.fullmatch(prompt)
    if not match:
        raise ValueError(
            f"prompt begins {prompt[:40]!r} and ends {prompt[-20:]!r}; "
            "expected [INST]<<SYS>> system <</SYS>> user [/INST]"
        )
    return match["system"], match["user"]


def last_week_return(user_text: str, week_start: str) -> float | None:
    """The move of the week that ends on `week_start`, a fraction, from the last price line.

    None if there is no such line, if it is about an earlier week, or if its first price is zero.
    """
    moves = [move for move in read_prompt(user_text).price_moves if not move.raw]
    if not moves or moves[-1].end != week_start:
        return None
    return moves[-1].after / moves[-1].before - 1 if moves[-1].before else None


def repair_prompt(system: str, user: str) -> tuple[str, str, Counter[str]]:
    """(system, user, repairs by kind) without the wording defects of the public prompts.

    `asset_wording`: companies' "cryptocurrency price movement"; a prompt for cryptocurrencies keeps
    it. `header_colon`: the system prompt's last header gets the colon that every answer has.
    `mojibake` and `html_entity`: see `repair_text`. Outer white space is not counted: it belongs to
    the wrapping.
    """
    repairs = Counter[str]()
    if "stock market analyst" in system:
        user, repairs["asset_wording"] = _ASSET.subn(r"\1stock\2", user)
    system, repairs["header_colon"] = _HEADER_IN_SYSTEM.subn("[Prediction & Analysis]:", system)
    user, text_repairs = repair_text(user)
    return system.strip(), user.strip(), +(repairs + text_repairs)


def repair_answer(answer: str) -> tuple[str, Counter[str]]:
    """(answer, repairs by kind): white space at line ends and around it, "and" in the header.

    `answer_outer_space` counts answers, `answer_line_space` lines, `answer_header` headers.
    Indentation stays.
    """
    lines = answer.strip().split("\n")
    repairs = Counter[str](
        answer_outer_space=int(answer != answer.strip()),
        answer_line_space=sum(line != line.rstrip() for line in lines),
    )
    text = "\n".join(line.rstrip() for line in lines)
    text, repairs["answer_header"] = _HEADER_IN_ANSWER.subn("[Prediction & Analysis]", text)
    text, text_repairs = repair_text(text)
    return text, +(repairs + text_repairs)


def repair_text(text: str) -> tuple[str, Counter[str]]:
    """(text, repairs by kind): UTF-8 that was read as Latin-1, and HTML entities.

    `&lt;` and `&gt;` stay escaped, since a text about markup must not turn into markup or into a
    model's special token. Real non-ASCII letters, dashes, quotes and no-break spaces stay as they
    are.
    """
    repairs = Counter[str]()

    def repaired(kind: str, old: str, new: str) -> str:
        repairs[kind] += old != new
        return new

    text = _MOJIBAKE.sub(lambda match: repaired("mojibake", match[0], _decoded(match[0])), text)
    text = _ENTITY.sub(lambda match: repaired("html_entity", match[0], _unescaped(match[0])), text)
    return text, +repairs


def _decoded(text: str) -> str:
    raw = bytes(ord(char) if ord(char) < 256 else char.encode("cp1252")[0] for char in text)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return text


def _unescaped(text: str) -> str:
    # Twice, for what was escaped twice (&amp;#39;). An unknown name is longer than any character.
    unescaped = unescape(unescape(text))
    is_markup = "<" in unescaped or ">" in unescaped
    return text if len(unescaped) > 2 or is_markup else unescaped
