"""How messages become token ids, by one explicit policy per model family.

Training and evaluation both render through here, so the prompt that a model is trained on and the
one that it is asked with cannot differ. The policies are in `weekahead.models.families`.

A tokenizer is one of transformers; its own annotations are incomplete, so it is `Any` here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from weekahead.models.families import FAMILIES, ChatFormat
from weekahead.schema.rows import Message

Messages = Sequence[Message]


def chat_format(name: str) -> ChatFormat:
    """The policy called `name`. Raises ValueError listing the names there are."""
    if name not in FAMILIES:
        raise ValueError(f"unknown turn format {name!r}; expected one of: {', '.join(FAMILIES)}")
    return FAMILIES[name].chat_format


def apply_chat_format(tokenizer: Any, chat: ChatFormat) -> Any:
    """Set template, padding token and end token of `tokenizer` in place, and return it.

    Nothing is ever added to the vocabulary, so the base's embedding matrix fits as it is.
    Raises ValueError if the vocabulary lacks a token of the format: it is another base's format.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in chat.control_tokens if token not in vocabulary]
    if missing:
        raise ValueError(
            f"wrong turn format for this base: {chat.name!r} needs {', '.join(missing)}, which the "
            f"tokenizer of {_name(tokenizer)} does not have; choose one of: {', '.join(FAMILIES)}"
        )
    tokenizer.chat_template = chat.template
    tokenizer.pad_token = chat.pad_token
    tokenizer.eos_token = chat.stop_tokens[0]
    return tokenizer


def chat_format_of(tokenizer: Any) -> ChatFormat:
    """The policy that `apply_chat_format` gave `tokenizer`.

    Two families with the same template (the ChatML ones) have the same policy; the first is named.
    Raises ValueError if the tokenizer has another template.
    """
    template = tokenizer.chat_template
    for family in FAMILIES.values():
        if isinstance(template, str) and template.strip() == family.chat_format.template:
            return family.chat_format
    raise ValueError(
        f"the tokenizer of {_name(tokenizer)} carries no turn format of this project; "
        "call apply_chat_format on it first"
    )


def stop_token_ids(tokenizer: Any) -> list[int]:
    """Ids of the tokens that end an answer, for `generate(eos_token_id=...)`.

    Raises ValueError if `tokenizer` carries no chat format of this project.
    """
    return [_token_id(tokenizer, token) for token in chat_format_of(tokenizer).stop_tokens]


def save_generation_config(tokenizer: Any, folder: Path) -> None:
    """Write generation_config.json: greedy, and where an answer ends, for readers elsewhere."""
    from transformers import GenerationConfig

    config: Any = GenerationConfig(
        eos_token_id=stop_token_ids(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    config.save_pretrained(folder)


def render_prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Ids of a prompt up to where the answer begins, with one BOS in front if the family has one.

    Raises ValueError for messages that are not a prompt and for control tokens in their text.
    """
    chat = chat_format_of(tokenizer)
    check_prompt(chat, messages)
    ids = _render(tokenizer, messages, add_generation_prompt=True)
    _check_bos(tokenizer, chat, ids)
    return ids


def render_row_ids(
    tokenizer: Any, prompt: Messages, completion: Messages
) -> tuple[list[int], list[int]]:
    """Ids of a training row, cut where the answer begins; the second part ends with the stop token.

    Raises ValueError for what is not a row (`check_row`), and if the prompt's ids are not a true
    prefix of the row's ids: a model would be trained on other tokens than it is asked with.
    """
    chat = chat_format_of(tokenizer)
    check_row(chat, prompt, completion)
    prompt_ids = render_prompt_ids(tokenizer, prompt)
    ids = _render(tokenizer, [*prompt, *completion], add_generation_prompt=False)
    if ids[: len(prompt_ids)] != prompt_ids:
        split = _first_difference(prompt_ids, ids)
        raise ValueError(
            f"prompt ids are not a prefix of prompt and answer ids: they part at token {split} of "
            f"{len(prompt_ids)}, {tokenizer.decode(prompt_ids[split : split + 4])!r} against "
            f"{tokenizer.decode(ids[split : split + 4])!r}; make {chat.template_path.name} end its "
            "generation prompt on a token boundary"
        )
    if ids[-1] not in stop_token_ids(tokenizer):
        raise ValueError(
            f"the row ends with {tokenizer.decode(ids[-1:])!r}, expected {chat.stop_tokens[0]!r}: "
            f"a model would never learn to stop; make {chat.template_path.name} end the last "
            "answer with it"
        )
    return prompt_ids, ids[len(prompt_ids) :]


def row_length(tokenizer: Any, prompt: Messages, completion: Messages) -> int:
    """Tokens of a whole training row. Raises the errors of `render_row_ids`."""
    prompt_ids, completion_ids = render_row_ids(tokenizer, prompt, completion)
    return len(prompt_ids) + len(completion_ids)


def message_length(tokenizer: Any, messages: Messages) -> int:
    """Tokens of `messages` in their chat format, without any check of their roles and texts.

    For statistics over rows of which some cannot be trained on, such as one without an answer.
    """
    return len(_render(tokenizer, messages, add_generation_prompt=False))


def check_prompt(chat: ChatFormat, prompt: Messages) -> None:
    """Raise ValueError unless `prompt` is an optional system message and one user message.

    Both must be text that is not empty and holds no control token.
    """
    roles = [message.get("role") for message in prompt]
    if roles not in (["user"], ["system", "user"]):
        raise ValueError(
            f"a prompt has the roles {roles}; expected ['system', 'user'] or ['user'], "
            "with the answer apart"
        )
    for message in prompt:
        _check_text(chat, message)


def check_row(chat: ChatFormat, prompt: Messages, completion: Messages) -> None:
    """Raise ValueError unless `prompt` is a prompt and `completion` one assistant message."""
    check_prompt(chat, prompt)
    roles = [message.get("role") for message in completion]
    if roles != ["assistant"]:
        raise ValueError(
            f"a completion has the roles {roles}; expected ['assistant'], one answer per row"
        )
    _check_text(chat, completion[0])


def _check_text(chat: ChatFormat, message: Message) -> None:
    text = cast("object", message.get("content"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"the {message['role']} message is {text!r}; expected text that is not empty"
        )
    forged = [token for token in chat.control_tokens if token in text]
    if forged:
        raise ValueError(
            f"the {message['role']} message holds {', '.join(forged)}, which {chat.name} models "
            "read as a turn of its own; take it out of the text"
        )


def _name(tokenizer: Any) -> str:
    return tokenizer.name_or_path or "this model"


def _token_id(tokenizer: Any, token: str) -> int:
    # Not get_vocab(): it copies the whole vocabulary, 20 to 50 ms, and this is asked for every row.
    token_id = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(token_id, int) or tokenizer.convert_ids_to_tokens(token_id) != token:
        raise ValueError(
            f"{token} is not in the vocabulary; call apply_chat_format with the format of this base"
        )
    return token_id


def _render(tokenizer: Any, messages: Messages, *, add_generation_prompt: bool) -> list[int]:
    encoding = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        add_generation_prompt=add_generation_prompt,
        tokenize=True,
        return_dict=True,
    )
    return list(encoding["input_ids"])


def _first_difference(left: Sequence[int], right: Sequence[int]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, pair in pairs if pair[0] != pair[1]), min(len(left), len(right)))


def _check_bos(tokenizer: Any, chat: ChatFormat, ids: list[int]) -> None:
    if chat.bos_token is None:
        return
    bos = _token_id(tokenizer, chat.bos_token)
    if ids[0] != bos or ids.count(bos) != 1:
        raise ValueError(
            f"{chat.bos_token} stands {ids.count(bos)} times, expected once and first; only "
            f"{chat.template_path.name} may write it: take it out of the text, and do not tokenize "
            "a rendered prompt again with add_special_tokens"
        )
