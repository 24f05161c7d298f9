"""The model families: what their messages look like and what their licence asks, one entry each.

A family's template lies in `recipes/templates/`. What a template cannot say (padding, the token
that ends an answer, the token that may stand only once, the licence of the base) is in `FAMILIES`.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weekahead.recipe import RECIPES

_TEMPLATES = RECIPES / "templates"
_CONTROL_TOKEN = re.compile(r"<([|｜])[^<>|｜]+\1>")

EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The Hub id of the base whose weights are converted here (weekahead.models.embedded)."""


@dataclass(frozen=True)
class ChatFormat:
    """How the messages of one model family become tokens."""

    name: str
    template_path: Path
    pad_token: str
    """In the vocabulary already, and never a stop token: losses leave padding out, so the end of an
    answer written with the same token would never be learnt.
    """
    stop_tokens: tuple[str, ...]
    """Tokens that end an answer; the template writes the first, and it becomes the eos token."""
    bos_token: str | None
    """The token that stands first and nowhere else; None if the family has none (ChatML)."""
    turn_tokens: tuple[str, ...] = ()
    """Tokens of the template that steer a turn and are not of the form <|...|>, such as [INST]."""

    @property
    def template(self) -> str:
        """The Jinja text. Raises FileNotFoundError in an incomplete checkout."""
        return _read(self.template_path)

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The tokens that steer a model of this family; inside a message one would forge a turn."""
        in_template = {match.group() for match in _CONTROL_TOKEN.finditer(self.template)}
        # <think> of DeepSeek's template is not among them: it stands inside a turn and begins none.
        named = {self.pad_token, *self.stop_tokens, *self.turn_tokens}
        if self.bos_token is not None:
            named.add(self.bos_token)
        return tuple(sorted(in_template | named))


@dataclass(frozen=True)
class Licence:
    """The licence of a base model."""

    id: str
    """The identifier that the Hub uses."""
    note: str
    """What the licence asks of an adapter, as the model card says it."""


@dataclass(frozen=True)
class ModelFamily:
    """One model family that can be trained and evaluated."""

    hub_id: str
    """The base that the recipes name. Its licence is the one here; a relative may have another."""
    parameters: int
    """Weights of the base."""
    chat_format: ChatFormat
    licence: Licence


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _chat_format(
    name: str,
    *,
    pad_token: str,
    stop_token: str,
    bos_token: str | None = None,
    turn_tokens: tuple[str, ...] = (),
) -> ChatFormat:
    template = _TEMPLATES / f"{name}.jinja"
    return ChatFormat(name, template, pad_token, (stop_token,), bos_token, turn_tokens)


FAMILIES: dict[str, ModelFamily] = {
    "smollm2": ModelFamily(
        hub_id=EMBEDDED_HUB_ID,
        parameters=134_515_008,
        chat_format=_chat_format("smollm2", pad_token="<|endoftext|>", stop_token="<|im_end|>"),
        licence=Licence("apache-2.0", "Apache-2.0."),
    ),
    "llama": ModelFamily(
        hub_id="meta-llama/Llama-3.1-8B",
        parameters=8_030_261_248,
        chat_format=_chat_format(
            "llama",
            pad_token="<|finetune_right_pad_id|>",
            stop_token="<|end_of_text|>",
            bos_token="<|begin_of_text|>",
        ),
        licence=Licence(
            "llama3.1",
            "Llama 3.1 Community License. Built with Llama: whoever shares a model made from it "
            'shows that line, passes the licence on, and begins the model\'s name with "Llama".',
        ),
    ),
    # R1-Distill-Llama keeps Llama 3.1's vocabulary and padding; only the turn tokens are renamed.
    "deepseek": ModelFamily(
        hub_id="deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        parameters=8_030_261_248,
        chat_format=_chat_format(
            "deepseek",
            pad_token="<|finetune_right_pad_id|>",
            stop_token="<｜end▁of▁sentence｜>",
            bos_token="<｜begin▁of▁sentence｜>",
        ),
        licence=Licence(
            "mit",
            "MIT; the base is itself derived from Llama 3.1 8B, whose Community License stands "
            "behind it.",
        ),
    ),
    "qwen": ModelFamily(
        hub_id="Qwen/Qwen2.5-7B-Instruct",
        parameters=7_615_616_512,
        chat_format=_chat_format("qwen", pad_token="<|endoftext|>", stop_token="<|im_end|>"),
        licence=Licence("apache-2.0", "Apache-2.0."),
    ),
}


def licence_of(hub_id: str) -> Licence | None:
    """The licence of the base with this Hub id; None for a base that is no family's own."""
    return next((family.licence for family in FAMILIES.values() if family.hub_id == hub_id), None)
