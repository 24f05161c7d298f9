"""The Modelfile: what Ollama must know beside a GGUF file.

Ollama has templates of its own (Go's), does not read the one in the file, and takes what it is not
told from its own defaults: it would sample, penalize repetition and cut long prompts.
"""

from itertools import takewhile
from typing import Any

from weekahead.models.chat_format import chat_format_of

_SYSTEM, _PROMPT = "\u0001", "\u0002"
"""Stand for the two texts while the prompt is rendered; no template has them."""


def modelfile(
    weights: str, tokenizer: Any, system: str | None, window: int, answer_tokens: int
) -> str:
    """The text of a Modelfile beside the file `weights`; `window` and `answer_tokens` in tokens.

    `system` is the system message of every prompt, None if it is not always the same.
    """
    stops = [f'PARAMETER stop "{token}"' for token in chat_format_of(tokenizer).stop_tokens]
    parts = [
        f"FROM ./{weights}",
        f'TEMPLATE """{go_template(tokenizer)}"""',
        *([f'SYSTEM """{system}"""'] if system else []),
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {window}",
        f"PARAMETER num_predict {answer_tokens}",
        *stops,
    ]
    return "\n".join(parts) + "\n"


def go_template(tokenizer: Any) -> str:
    """The prompt of one question, with or without a system message, as a template of Go."""
    user = {"role": "user", "content": _PROMPT}
    without = _rendered(tokenizer, [user])
    whole = _rendered(tokenizer, [{"role": "system", "content": _SYSTEM}, user])
    # What both end with is the user's turn; what is left of the shorter begins every prompt.
    pairs = zip(reversed(without), reversed(whole), strict=False)
    end = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = without[: len(without) - end]
    turn = whole[len(start) : len(whole) - end]
    text = f"{start}{{{{ if .System }}}}{turn}{{{{ end }}}}{without[len(start) :]}"
    return text.replace(_SYSTEM, "{{ .System }}").replace(_PROMPT, "{{ .Prompt }}")


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
