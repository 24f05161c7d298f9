"""Turn formats: how messages become token ids, one explicit policy a model family.

Training and evaluation both render through here, so the prompt a model is trained on and the one it is
asked with cannot differ. A family's template lies in `recipes/templates/`; what a template cannot say
(padding, the token that ends an answer, the token that may stand only once) is in `FORMATS`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from weekahead.recipe import RECIPES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]

_TEMPLATES = RECIPES / "templates"
_CONTROL = re.compile(r"<([|｜])[^<>|｜]+\1>")


@dataclass(frozen=True)
class ChatFormat:
    """What the turns of one model family look like."""

    name: str
    template_path: Path
    pad_token: str
    """In the vocabulary already, and never a stop token: losses leave padding out, so an answer's end
    written with the same token would never be learnt."""
    stop_tokens: tuple[str, ...]
    """Tokens that end an answer; the first is the one the template writes, and becomes the eos token."""
    bos_expected: str | None
    """The token that stands first and nowhere else; None where the family has none (ChatML)."""

    @property
    def template(self) -> str:
        """The Jinja text. Raises FileNotFoundError in an incomplete checkout."""
        return _read(self.template_path)

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Every token that steers a model of this family; inside a message it would forge a turn."""
        found = {match.group() for match in _CONTROL.finditer(self.template)}
        return tuple(sorted(found | {self.pad_token, *self.stop_tokens}))


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _format(name: str, pad_token: str, stop_token: str, bos_expected: str | None) -> ChatFormat:
    return ChatFormat(name, _TEMPLATES / f"{name}.jinja", pad_token, (stop_token,), bos_expected)


FORMATS: dict[str, ChatFormat] = {
    "smollm2": _format("smollm2", "<|endoftext|>", "<|im_end|>", None),
    "llama": _format("llama", "<|finetune_right_pad_id|>", "<|end_of_text|>", "<|begin_of_text|>"),
    # R1-Distill-Llama keeps Llama 3.1's vocabulary and its padding token; only the turn tokens are renamed.
    "deepseek": _format(
        "deepseek", "<|finetune_right_pad_id|>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"
    ),
    "qwen": _format("qwen", "<|endoftext|>", "<|im_end|>", None),
}


def chat_format(name: str) -> ChatFormat:
    """The policy called `name`. Raises ValueError listing the names there are."""
    if name not in FORMATS:
        raise ValueError(f"unknown turn format {name!r}; expected one of: {', '.join(FORMATS)}")
    return FORMATS[name]


def apply_chat_format(
    tokenizer: "PreTrainedTokenizerBase", turns: ChatFormat
) -> "PreTrainedTokenizerBase":
    """Set template, padding token and end token of `tokenizer` in place, and return it.

    Raises ValueError where the vocabulary lacks a token the format needs: a wrong format for this base.
    Nothing is ever added to the vocabulary, so the base's embedding matrix fits as it is.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in turns.control_tokens if token not in vocabulary]
    if missing:
        raise ValueError(
            f"wrong turn format for this base: {turns.name!r} needs {', '.join(missing)}, which the tokenizer of "
            f"{tokenizer.name_or_path or 'this model'} does not have; choose one of: {', '.join(FORMATS)}"
        )
    tokenizer.chat_template = turns.template
    tokenizer.pad_token = turns.pad_token
    tokenizer.eos_token = turns.stop_tokens[0]
    return tokenizer


def chat_format_of(tokenizer: "PreTrainedTokenizerBase") -> ChatFormat:
    """The policy `apply_chat_format` gave `tokenizer`. Raises ValueError when it carries none of ours.

    Two families with the same template (both ChatML ones) have the same policy, and the first is named.
    """
    carried = tokenizer.chat_template
    for turns in FORMATS.values():
        if isinstance(carried, str) and carried.strip() == turns.template:
            return turns
    raise ValueError(
        f"the tokenizer of {tokenizer.name_or_path or 'this model'} carries no turn format of this project; "
        "call apply_chat_format on it first"
    )


def stop_token_ids(tokenizer: "PreTrainedTokenizerBase", turns: ChatFormat) -> list[int]:
    """Ids of the tokens that end an answer, for `generate(eos_token_id=...)`."""
    return [_id(tokenizer, token) for token in turns.stop_tokens]


def render_prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> list[int]:
    """Ids of a prompt up to where the answer begins, exactly one BOS in front where the family has one.

    Raises ValueError for messages that are no prompt and for control tokens in their text.
    """
    turns = chat_format_of(tokenizer)
    check_prompt(turns, messages)
    ids = _ids(tokenizer, messages, add_generation_prompt=True)
    _check_bos(tokenizer, turns, ids)
    return ids


def render_row_ids(
    tokenizer: "PreTrainedTokenizerBase", prompt: Messages, completion: Messages
) -> tuple[list[int], list[int]]:
    """Ids of a training row, cut where the answer begins; the second part ends with the stop token.

    Raises ValueError where the row is none (`check_row`), or where the prompt's ids are not a true prefix
    of the whole row's ids, so that a model would be trained after other tokens than it is asked with.
    """
    turns = chat_format_of(tokenizer)
    check_row(turns, prompt, completion)
    prompt_ids = render_prompt_ids(tokenizer, prompt)
    ids = _ids(tokenizer, [*prompt, *completion], add_generation_prompt=False)
    if ids[: len(prompt_ids)] != prompt_ids:
        at = next(
            (i for i, pair in enumerate(zip(prompt_ids, ids, strict=False)) if pair[0] != pair[1]),
            len(ids),
        )
        raise ValueError(
            f"prompt ids are no prefix of prompt and answer ids: they part at token {at} of {len(prompt_ids)}, "
            f"{tokenizer.decode(prompt_ids[at : at + 4])!r} against {tokenizer.decode(ids[at : at + 4])!r}; "
            f"make {turns.template_path.name} end its generation prompt on a token boundary"
        )
    if ids[-1] not in stop_token_ids(tokenizer, turns):
        raise ValueError(
            f"the row ends with {tokenizer.decode(ids[-1:])!r}, expected {turns.stop_tokens[0]!r}: a model would "
            f"never learn to stop; make {turns.template_path.name} end the last answer with it"
        )
    return prompt_ids, ids[len(prompt_ids) :]


def row_length(tokenizer: "PreTrainedTokenizerBase", prompt: Messages, completion: Messages) -> int:
    """Tokens of a whole training row. Raises the errors of `render_row_ids`."""
    return sum(map(len, render_row_ids(tokenizer, prompt, completion)))


def check_prompt(turns: ChatFormat, prompt: Messages) -> None:
    """Raise ValueError unless `prompt` is an optional system message and one user message, both plain text."""
    roles = [message.get("role") for message in prompt]
    if roles not in (["user"], ["system", "user"]):
        raise ValueError(
            f"a prompt has the roles {roles}; expected ['system', 'user'] or ['user'], the answer apart"
        )
    for message in prompt:
        _check_text(turns, message)


def check_row(turns: ChatFormat, prompt: Messages, completion: Messages) -> None:
    """Raise ValueError unless `prompt` is a prompt and `completion` one assistant message with an answer."""
    check_prompt(turns, prompt)
    roles = [message.get("role") for message in completion]
    if roles != ["assistant"]:
        raise ValueError(
            f"a completion has the roles {roles}; expected ['assistant'], one answer a row"
        )
    _check_text(turns, completion[0])


def _check_text(turns: ChatFormat, message: Mapping[str, str]) -> None:
    text = message.get("content")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"the {message['role']} message is {text!r}; expected text that is not empty"
        )
    if forged := [token for token in turns.control_tokens if token in text]:
        raise ValueError(
            f"the {message['role']} message holds {', '.join(forged)}, which {turns.name} models read as a turn of "
            "its own; take it out of the text"
        )


def _id(tokenizer: "PreTrainedTokenizerBase", token: str) -> int:
    # Not get_vocab(): it copies the whole vocabulary, 20 to 50 ms, and this is asked for every row.
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int) or tokenizer.convert_ids_to_tokens(found) != token:
        raise ValueError(
            f"{token} is not in the vocabulary; call apply_chat_format with this base's own turn format"
        )
    return found


def _ids(
    tokenizer: "PreTrainedTokenizerBase", messages: Messages, add_generation_prompt: bool
) -> list[int]:
    rendered = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        add_generation_prompt=add_generation_prompt,
        tokenize=True,
        return_dict=True,
    )
    return list(cast("Mapping[str, list[int]]", rendered)["input_ids"])


def _check_bos(tokenizer: "PreTrainedTokenizerBase", turns: ChatFormat, ids: list[int]) -> None:
    if turns.bos_expected is None:
        return
    bos = _id(tokenizer, turns.bos_expected)
    if ids[0] != bos or ids.count(bos) != 1:
        raise ValueError(
            f"{turns.bos_expected} stands {ids.count(bos)} times, expected once and first; only "
            f"{turns.template_path.name} may write it: take it out of the text, and do not tokenize a rendered "
            "prompt again with add_special_tokens"
        )
