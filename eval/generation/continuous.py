"""Greedy decoding with continuous batching: a request that ends makes room for the next one at once.

For cards: on a CPU it is slower than whole batches and takes more memory (docs/performance.md). Not run on a GPU yet.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any

from weekahead.models.decoding import Completion, OnAnswers, SamplingParams

_PAGE = 256
"""Tokens in one page of the cache, the library's own default."""


def continuous(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    missing: Collection[int],
    stops: Sequence[int],
    how: SamplingParams,
    keep: OnAnswers,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Answer the rows of `missing`, `how.batch_size` at a time, each kept as it ends.

    `share` (k, n) takes every n-th of them from k on. The longest prompts come first, as in `batched`.
    Raises ValueError for a temperature above 0, RuntimeError where the library gives a request up.
    """
    from transformers import GenerationConfig

    if how.temperature:
        raise ValueError(
            f"continuous batching is greedy here, the temperature is {how.temperature}; use batched"
        )
    mine = sorted(missing, key=lambda i: (-len(prompts[i]), i))[share[0] :: share[1]]
    if not mine:
        return
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=how.max_new_tokens,
        eos_token_id=list(stops) or -1,
        pad_token_id=tokenizer.pad_token_id,
    )
    longest = len(prompts[mine[0]]) + how.max_new_tokens
    settings = _settings(model, longest, min(how.batch_size, len(mine)))
    last = time.perf_counter()
    with model.continuous_batching_context_manager(
        generation_config=greedy, continuous_batching_config=settings, block=True, timeout=5
    ) as manager:
        numbers = dict(
            zip(manager.add_requests([list(prompts[i]) for i in mine]), mine, strict=True)
        )
        while numbers:
            result = _next(manager, len(numbers))
            now = time.perf_counter()
            answer = _generation(
                tokenizer, result.generated_tokens, stops, now - last, _latency(result)
            )
            keep([(numbers.pop(result.request_id), answer)])
            last = now


def first_logprobs(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> list[float]:
    """The log-probability (nats) that this backend gives the first greedy token after each prompt.

    Raises RuntimeError where the library gives a request up.
    """
    from transformers import GenerationConfig

    settings = _settings(model, max(map(len, prompts)) + 1, len(prompts))
    settings.return_logprobs = True
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=1, eos_token_id=-1, pad_token_id=tokenizer.pad_token_id
    )
    found = model.generate_batch([list(p) for p in prompts], greedy, settings)
    if len(found) < len(prompts):
        raise RuntimeError(
            f"continuous batching answered {len(found)} of {len(prompts)} prompts; see its message above"
        )
    return [result.logprobs[0] for result in found.values()]


def _settings(model: Any, longest: int, at_once: int) -> Any:
    """On a CPU the cache is as large as the requests need: the library would take most of the free memory."""
    from transformers import ContinuousBatchingConfig

    settings = ContinuousBatchingConfig(max_requests_per_batch=at_once, page_size=_PAGE)
    if model.device.type == "cpu":
        settings.num_blocks = at_once * -(-longest // _PAGE) + 1
        settings.max_batch_tokens = max(longest, 1024)
    return settings


def _next(manager: Any, waiting: int) -> Any:
    """The next request that ended. Raises RuntimeError for one that failed, or where the thread is gone."""
    while True:
        result = manager.get_result(timeout=1)
        if result is not None and result.error:
            raise RuntimeError(
                f"continuous batching gave a request up: {result.error}; use --backend batched"
            )
        if result is not None and result.is_finished():
            return result
        if result is None and not manager.is_running():
            raise RuntimeError(
                f"continuous batching stopped with {waiting} rows to go; its own message stands above. The same "
                "command goes on; --backend batched does without it"
            )


def _latency(result: Any) -> float:
    begun, ended = result.lifespan
    return ended - begun


def _generation(
    tokenizer: Any, ids: list[int], stops: Sequence[int], seconds: float, latency: float
) -> Completion:
    reason = "stop" if ids and ids[-1] in stops else "length"
    return Completion(
        tokenizer.decode(ids, skip_special_tokens=True), len(ids), reason, seconds, latency
    )
