"""Which of a teacher's answers are accepted, and the words that say why the others are not.

A reason begins with its kind, a few fixed words before any bracket or colon, so that reasons can be
counted and a run that goes wrong in one way can be stopped.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from data_pipeline.teacher.prompts import without_thought_and_space
from weekahead.models.families import FAMILIES
from weekahead.schema.rows import TeacherAnswerRow
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.answer_sections import find_sections

UNRECORDED = "not recorded"
"""The finish reason of an answer in a log of an older version that did not keep it."""
CUT_OFF = "cut off"
_NO_WORD = "no finish reason"
_OF_A_LIMIT = re.compile(r"length|max|limit|budget|sentence|incomplete", re.IGNORECASE)
"""A server's word for an answer that needed more tokens."""

_OWN_NAMES = {
    "content_filter": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
    "prohibited_content": "filtered",
    "blocklist": "filtered",
    "refusal": "refused by the model",
    "tool_calls": "called a tool",
    "tool_use": "called a tool",
    "function_call": "called a tool",
}
"""Finish reason -> the kind of a rejection that is no cut."""

_REMEDIES = {
    "empty answer": "the model may spend its whole limit on thought: raise --max_tokens, or take "
    "another --model",
    "control token": "the server does not strip its control tokens: mend its chat template or its "
    "stop tokens",
    "broken text": "the server sends text in another encoding than UTF-8: mend it there",
    "cites a page": "the teacher searches the web, so it knows how the week ended: switch that "
    "off, or take a --model without it",
    "repeats itself": "the model runs in circles: raise --temperature, or take another --model",
    "filtered": "the provider filters these prompts: take another one",
    "called a tool": "the server calls tools that nobody offered: switch them off there",
    "refused": "the server says why above; shorten the prompts, or take a --model for longer ones",
    "refused by the model": "take another --model: this one declines the task",
}
"""Kind of rejection -> what mends it."""

BETRAYALS = (
    "as we know",
    "we now know",
    "was told",
    "were told",
    "been told",
    "in hindsight",
    "with hindsight",
    "actual return",
    "actual outcome",
    "as instructed",
    "forecast to argue for",
)
"""Phrases of an author who knows how the week ended or speaks of the request; lower case."""

_LEAKS = (
    # Of the request.
    r"as (?:you )?(?:have )?(?:requested|asked|instructed|directed)(?! by (?!you|the user))",
    r"(?:as )?per (?:your|the) (?:request|instructions?|prompt|guidelines)",
    r"(?:following|given|according to) (?:your|the) (?:request|instructions?|user|author|prompt)",
    r"you (?:asked|requested|told|wanted|instructed|provided|gave)",
    r"(?:i|we) (?:was|were|have been|am|are) (?:asked|given|instructed|required|provided)",
    r"as an? (?:ai|artificial intelligence|(?:large )?language model|llm|assistant)",
    r"my (?:instructions?|training data|knowledge cut-?off)",
    r"(?:given|known|required|requested|instructed|assigned|target|predetermined) "
    r"(?:forecast|prediction|outcome|label|bin|result|answer|conclusion|direction)",
    r"(?:provided|stated|specified|supplied|true|correct|actual|realized|realised) "
    r"(?:prediction|outcome|label|bin|answer)",
    r"(?:forecast|prediction|outcome|label|bin) (?:that )?(?:(?:i|we) (?:was|were)|is|was) "
    r"(?:given|provided|supplied|told|known)",
    r"ground truth",
    # Of the outcome.
    r"(?:knowing|already knows?|know(?:ing)? now) (?:that |how |what )?(?:the )?"
    r"(?:outcome|result|answer|week|stock|price|share)",
    r"(?:since|because|as|given that) the (?:stock|share)?s?(?: ?price)? (?:did|would go on to"
    r"|went on to|ended up|indeed|ultimately|eventually|actually)",
    r"the (?:stock|share)s?(?: price)? (?:did (?:indeed |in fact )?(?:rise|fall|climb|drop|decline"
    r"|gain|increase|decrease)|(?:ultimately|eventually|subsequently) (?:rose|fell|climbed|dropped"
    r"|declined|gained))",
    r"the price did",
    r"(?:indeed|ultimately|eventually|in the end|as (?:expected|predicted)),? the (?:stock|share)s?"
    r"(?: price)? (?:closed|ended|finished|rose|fell|climbed|dropped|declined|gained|lost)",
    r"as it turn(?:s|ed) out|what (?:actually |then )?happened (?:that|in the) week",
    r"in retrospect|retrospectively|with the benefit of|looking back (?:at|on) (?:the|that) week",
)
_LEAK = re.compile("|".join(rf"\b(?:{leak})\b" for leak in _LEAKS), re.IGNORECASE)

_CONTROL = re.compile(
    r"<\s?\|(?:[^<>\n|]{0,60}\|\s?>)?|\|\s?>|&lt;/?\|?"  # <|eot_id|>, <｜end▁of▁sentence｜>, halves
    r"|</?[a-z][\w:.-]{0,40}>|<0x[0-9a-f]{2}>|<<[^<>\n]{1,20}>>"  # </s>, <end_of_turn>, <<SYS>>
    r"|\[/?(?:INST|SYS(?:TEM)?(?:_PROMPT)?|AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS)|THINK|IMG|[gs]MASK"
    r"|CLS|SEP|PAD|UNK|MASK|[BE]O[ST]|unused\d+|s)\]"
    r"|▁(?=\S)|(?<=\w)Ġ(?=\w)"  # marks of words that a tokenizer did not decode
    r"|\b(?:im_start|im_end|eot_id|start_header_id|end_header_id)\b"
    r"|^#{1,4} ?(?:instruction|response|input|human|assistant|user)\b:?"
    r"|^(?:human|assistant|user|system): ?",
    re.MULTILINE | re.IGNORECASE,
)
"""Whatever has the form of a control token of some family, whether or not it is one here."""
_FAMILY_TOKENS = frozenset(
    token for family in FAMILIES.values() for token in family.chat_format.control_tokens
)
_BROKEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffd\uffff"
    r"\u200b\u2047\u202a-\u202e\u2060\u2066-\u2069\ufeff]|â(?=€)"
)
"""Characters that no text has: control codes, halves of pairs, private ones, U+FFFD, hidden ones, a
tokenizer's sign for the unknown, and UTF-8 that was read as another encoding."""

_PREDICTION = re.compile(
    r"^[\W_]*(?:\w+[ \t]+){0,2}(?:prediction|forecast)[\W_]{0,4}[:：]"
    r"|\bprediction[\W_]{0,4}[:：][\W_]*(?:up|down|rise|fall|increase|decrease)",
    re.IGNORECASE | re.MULTILINE,
)
_ANALYSIS = re.compile(r"^[\W_]*analysis[\W_]{0,4}[:：]", re.IGNORECASE | re.MULTILINE)
_BIN = re.compile(r"\b(?:up|down) by (?:\d-\d%|more than 5%)", re.IGNORECASE)
_NOTES = (
    r"(?:(?:please|important|also|side|final|author'?s?) )?notes?[\W_]{0,3}:",
    r"(?:n\.?b|p\.?s)\.?\s?:|nota bene|p\.s\.",
    r"disclaimer|caveats?:|reminder:|sources?:|references?:|confidence[\w ]{0,10}:|word count",
    r"let me know|(?:i )?hope (?:this|that) (?:help|answer|analysis|meets)|feel free",
    r"(?:if|should) you (?:have any|need|want|would|'d)|would you like|happy to help",
    r"is there anything|thank you|end of (?:the )?(?:analysis|answer|response|forecast|report)",
)
_NOTE = re.compile(
    rf"(?:^|\n|[.!?)\]\"'*] *)[\W_]*(?:{'|'.join(_NOTES)})"
    r"|(?:not|no|nor|never|without)\W+(?:\w+\W+){0,4}(?:financial|investment|trading) advi[cs]e"
    r"|\b(?:informational|educational|illustrative|illustration) (?:purposes?|only)"
    r"|\bthis (?:answer|response|forecast|analysis) (?:is|was) (?:written|generated|fictional)",
    re.IGNORECASE,
)
_FOREIGN_NOTE = re.compile(
    r"(?:注意|注|备注|免责声明|注記|免責事項)\s*[:：]|仅供参考|不构成|僅供參考|不構成|投資助言|Примечание\s*:"
    r"|\bHinweis:|keine (?:Anlageberatung|Finanzberatung)|\bNota(?: bene)?:|\bRemarque ?:|\bAviso:",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"^\W*(?:question|query|instruction|example|input|task|q) ?\d*[:：]"
    r"|^ *\[[A-Z][^\]\n]{2,60}\]:? *$",
    re.MULTILINE | re.IGNORECASE,
)
"""The next question, or the heading of a block that is none of the three."""
_PAGE = re.compile(r"https?://\S+|\bwww\.\S+|【[^】\n]*】|\]\(\S+\)", re.IGNORECASE)
"""A page that is cited: prompts hold no addresses, so the teacher searched, and knows the week."""
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]*\}\}|\[(?:insert|company|ticker|stock|symbol|your|date|name|percent|x+%?)\b[^\]\n]*\]"
    r"|<(?:insert|company|ticker)\b[^>\n]*>",
    re.IGNORECASE,
)
_TOO_OFTEN = 4
"""A sentence that stands so many times is a loop."""
_RULE = re.compile(r"^[ \t]*(?:[-*_=~]{3,}|`{3,}\w*)[ \t]*$", re.MULTILINE)


def judge(answer: str, *, finish_reason: str | None, label: str | None) -> str | None:
    """Why an answer is not accepted, in few fixed words fit for counting; None if it is accepted.

    Of all finish reasons "stop" alone accepts. `label` is the bin that a hindsight question named:
    the answer must then have the strict layout and nothing beside it, name that bin, and not betray
    that it was told. For a forecast (None) it is enough that the lenient reader finds a direction.
    """
    fault = _ending_fault(answer, finish_reason)
    if fault:
        return fault
    text = without_thought_and_space(answer)
    if label is None:
        parsed = parse_answer(text)
        return None if parsed.valid else parsed.reason or "not valid"
    broken = _broken_text(text)
    if broken:
        return broken
    parsed = parse_answer(text, strict=True)
    if not parsed.valid:
        return parsed.reason or "not valid"
    if parsed.prediction.lower() != label:
        return "another bin than the one told"
    return _addition(text, parsed) or _betrayal(text)


def judge_row(row: TeacherAnswerRow, label: str | None) -> str | None:
    """Why a logged answer is not accepted, by today's rules: those of an older version may differ.

    What was rejected stays so. `label` is the bin of the record if the answer is of hindsight.
    """
    if not row["accepted"]:
        return row["reason"] or "not accepted"
    finish_reason = row.get("finish_reason", UNRECORDED)
    return judge(row["answer"], finish_reason=finish_reason, label=label)


def kind_of(reason: str) -> str:
    """The kind of a rejection: its words before any bracket or colon."""
    return re.split(r"[(:]", reason, maxsplit=1)[0].strip()


def count_of_kind(reasons: Mapping[str, int], kind: str) -> int:
    """How many of the answers that were rejected for these reasons are of one kind."""
    return sum(count for reason, count in reasons.items() if kind_of(reason) == kind)


def most_common(reasons: Mapping[str, int]) -> str:
    """The reason that is most common within the kind that is most common.

    Raises ValueError if there is none.
    """
    kind = max(map(kind_of, reasons), key=lambda kind: count_of_kind(reasons, kind))
    return max((one for one in reasons if kind_of(one) == kind), key=lambda one: reasons[one])


def remedy(reason: str, max_tokens: int) -> str:
    """What mends a run whose answers are rejected for this reason, or for others of its kind."""
    kind = kind_of(reason)
    if kind == CUT_OFF:
        return _remedy_of_an_ending(reason, max_tokens)
    return _REMEDIES.get(kind, "read some answers in the log, or take a stronger --model")


def _remedy_of_an_ending(reason: str, max_tokens: int) -> str:
    raised = f"raise --max_tokens above {max_tokens}"
    again = "the same command then asks again what was cut off"
    word = reason.removeprefix(f"{CUT_OFF} (").removesuffix(")")
    if _OF_A_LIMIT.search(word):
        return f"{raised}: {again}"
    if word == _NO_WORD:
        what = "the server gives no finish reason, so nobody knows whether an answer is whole"
    else:
        what = (
            f"the server ends them with the finish reason {word!r}, and only 'stop' says that an "
            "answer is whole"
        )
    return (
        f"{what}: take another server, or put a proxy before this one that says 'stop' at a normal "
        f"end; then {raised}: {again}"
    )


def is_cut_off(reason: str | None) -> bool:
    """Whether an answer was rejected since it did not end by itself; of an older version too."""
    return bool(reason and reason.startswith(CUT_OFF)) and "content filter" not in (reason or "")


def _ending_fault(answer: str, finish_reason: str | None) -> str | None:
    if finish_reason == UNRECORDED:
        ends = answer.rstrip().endswith((".", "!", "?", ")", '"', "”", "%", "*", "。"))
        return None if ends or not answer.strip() else f"{CUT_OFF} (in mid sentence)"
    if finish_reason is None:
        return f"{CUT_OFF} ({_NO_WORD})"
    word = finish_reason.casefold()
    if word == "stop":
        return None
    if word.startswith("refused"):
        return finish_reason
    return f"{_OWN_NAMES.get(word, CUT_OFF)} ({finish_reason})"


def _broken_text(text: str) -> str | None:
    """The control token or the character that no text has; None if there is none."""
    token = _CONTROL.search(unicodedata.normalize("NFKC", text))
    found = token.group() if token else next((t for t in _FAMILY_TOKENS if t in text), None)
    if found:
        return f"control token: {found.strip()!r}"
    character = _BROKEN.search(text)
    return f"broken text: U+{ord(character.group()):04X}" if character else None


def _addition(text: str, parsed: Answer) -> str | None:
    """What stands beside the layout: another prediction or block, a note behind the analysis."""
    bins = {found.lower() for found in _BIN.findall(text)}
    if bins - {parsed.prediction.lower()} or len(_PREDICTION.findall(text)) > 1:
        return "a second prediction"
    if len(find_sections(text)) != 3 or len(_ANALYSIS.findall(text)) > 1:
        return "a second block"
    if _GOES_ON.search(parsed.analysis):
        return "a second block"
    note = _NOTE.search(parsed.analysis) or _RULE.search(text) or _FOREIGN_NOTE.search(text)
    if note:
        found = note.group().strip(" .!?\n")[:40]
        return f"text after the analysis: {found!r}"
    return _filler(text)


def _filler(text: str) -> str | None:
    """A page that the text cites, a gap that nobody filled, a sentence said over and over."""
    for kind, pattern in (("cites a page", _PAGE), ("placeholder", _PLACEHOLDER)):
        if found := pattern.search(text):
            return f"{kind}: {found.group()[:40]!r}"
    sentences = Counter(each for each in re.split(r"(?<=[.!?])\s+", text) if len(each) > 10)
    sentence, times = sentences.most_common(1)[0] if sentences else ("", 0)
    return f"repeats itself: {sentence[:40]!r}" if times >= _TOO_OFTEN else None


def _betrayal(text: str) -> str | None:
    one_line = " ".join(text.lower().split()).replace("’", "'")
    phrase = next((phrase for phrase in BETRAYALS if phrase in one_line), None)
    leak = None if phrase else _LEAK.search(one_line)
    found = leak.group() if leak else phrase
    return f"betrays hindsight: {found!r}" if found else None
