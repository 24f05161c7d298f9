"""Where a server's answer parts from what the model here would write, ties of rounding allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weekahead.models.chat_format import stop_token_ids
from weekahead.models.decoding import Completion, SamplingParams, decode_ids

TOLERANCE = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05}
"""In nats. In 16 bits a logit near 20 is itself rounded to 0.125 (bf16) or 0.016 (fp16)."""
_CANDIDATES = 200
"""Tokens among which the server's is looked for: one farther down is no tie."""


@dataclass(frozen=True)
class ServedModel:
    """How the server is asked, and how closely its answers are compared."""

    name: str
    """What it knows the model by."""
    prompt_form: str = "chat"
    max_new_tokens: int = 64
    tolerance: float = TOLERANCE["fp32"]
    """In nats."""


@dataclass(frozen=True)
class LocalAnswer:
    """The reference answer to one prompt."""

    ids: list[int]
    text: str
    finish_reason: str
    first_logprob: float
    """Log-probability (nats) of the first token."""


@dataclass(frozen=True)
class Parting:
    """The token at which the server's text is farthest from what the model here would write."""

    index: int | None
    """Its number in the answer; None if the texts part past the reference's end."""
    margin: float | None
    """How much likelier (nats) the best token there is than the server's; None if the server's is
    not known."""
    ties: int = 0
    """How often the server took another token that is as likely."""


def local_answers(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[LocalAnswer]:
    """The reference answers, one prompt (token ids) at a time."""
    sampling = SamplingParams(max_new_tokens, batch_size=1)
    stop = stop_token_ids(tokenizer)
    answers: list[LocalAnswer] = []
    for prompt in prompts:
        ((ids, reason),) = decode_ids(model, tokenizer, [prompt], stop, sampling)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        answers.append(LocalAnswer(ids, text, reason, float(next_logprobs(model, prompt)[ids[0]])))
    return answers


def next_logprobs(model: Any, ids: list[int]) -> Any:
    """Log-probabilities (nats) of every token after `ids`, in fp32."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids], device=model.device)).logits
    return logits[0, -1].float().log_softmax(-1)


@dataclass(frozen=True)
class Reference:
    """The model that answers here, and the prompt (token ids) that it answers."""

    model: Any
    tokenizer: Any
    prompt: list[int]
    served: ServedModel

    @property
    def stop(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        return stop_token_ids(self.tokenizer)

    def text(self, ids: list[int]) -> str:
        """The text of an answer's tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def begins(self, ids: list[int], text: str) -> bool:
        """Whether `text` begins with these tokens; the last may be a part of a character."""
        return text.startswith(self.text(ids).rstrip("\ufffd"))

    def goes_on(self, answer: LocalAnswer, index: int, token: int) -> LocalAnswer:
        """`answer` with another token at `index`, and the tokens that follow it here."""
        ids = [*answer.ids[:index], token]
        left = self.served.max_new_tokens - len(ids)
        reason = "stop" if token in self.stop else "length"
        if left > 0 and reason == "length":
            sampling, prompts = SamplingParams(left, batch_size=1), [self.prompt + ids]
            ((more, reason),) = decode_ids(self.model, self.tokenizer, prompts, self.stop, sampling)
            ids += more
        return LocalAnswer(ids, self.text(ids), reason, answer.first_logprob)


def find_parting(reference: Reference, answer: LocalAnswer, served: Completion) -> Parting | None:
    """Where the server's text is farthest from what is written here; None if it is the same.

    After a token within the tolerance the reference goes on from the server's token; the first
    token outside is the result.
    """
    worst, ties = None, 0
    while answer.text != served.text:
        index = parting_index(reference.tokenizer, answer, served.text)
        if index is None:
            return Parting(None, None, ties)
        token, margin = _served_token(reference, answer.ids[:index], served)
        if margin is None or margin > reference.served.tolerance:
            return Parting(index, margin, ties)
        if worst is None or margin > worst[1]:
            worst = (index, margin)
        ties += 1
        answer = reference.goes_on(answer, index, token)
    return Parting(*worst, ties) if worst else None


def parting_index(tokenizer: Any, reference: LocalAnswer, text: str) -> int | None:
    """The index of the reference's token at which `text` parts from it; None past its end."""
    for index in range(len(reference.ids)):
        begin = tokenizer.decode(reference.ids[: index + 1], skip_special_tokens=True)
        if not text.startswith(begin.rstrip("\ufffd")):
            return index
    return len(reference.ids) - 1 if reference.finish_reason == "stop" else None


def _served_token(
    reference: Reference, begin: list[int], served: Completion
) -> tuple[int, float | None]:
    """The server's token after the tokens `begin`, and how much likelier (nats) the best is.

    It is the likeliest of those that its text allows. If the text ends there, it is a stop token,
    unless the server says that something else ended it. Without one the margin is None.
    """
    logprobs = next_logprobs(reference.model, reference.prompt + begin)
    ended = reference.text(begin) == served.text
    if ended and served.finish_reason not in ("stop", None):
        return -1, None
    for token in logprobs.topk(min(_CANDIDATES, len(logprobs))).indices.tolist():
        if ended:
            fits = token in reference.stop
        else:
            longer = [*begin, token]
            grows = reference.text(longer) != reference.text(begin)
            fits = grows and reference.begins(longer, served.text)
        if fits:
            return token, float(logprobs.max() - logprobs[token])
    return -1, None
