"""A server before its first answer: it is asked a few prompts that the model here answers too."""

import logging

import psutil

from eval.generation.backends import GenerationJob
from eval.generation.parity import chosen_rows, compare, parity_table, parity_verdict
from eval.generation.parting import TOLERANCE, ServedModel
from weekahead.models.kept import kept_model
from weekahead.models.loading import resolve_revision
from weekahead.models.precision import Precision
from weekahead.models.weight_files import bytes_here
from weekahead.schema.manifests import ParityFacts

log = logging.getLogger(__name__)

PARITY = ("auto", "check", "off")
"""auto checks if the model is on this machine and has room; check does in any case."""
_PROMPTS, _TOKENS = 3, 32
"""How much is compared: enough to see another adapter, template or sampling; ties are few."""
_GIB = 2**30
_IN_4_BITS = 0.4
"""Of the size of 16-bit files: a base in NF4 with embedding, head and a cache."""
_LOADED = 1.3
"""Of the size of the weights in memory: the model, and what computing takes."""


def check_server(job: GenerationJob, served: ServedModel, mode: str) -> ParityFacts:
    """Ask the server three prompts of the job; return what the manifest states of it.

    A server rounds otherwise than this process, so that the tolerance is that of bf16. `served`
    says by which name and in which form the server is asked.
    Raises ValueError if it does not answer as the model here, or if `mode` is check and nobody here
    knows its model.
    """
    if mode == "off":
        return {"prompts": 0, "verdict": "left out by --parity off"}
    reason = _why_unknown(job, served) or ("" if mode == "check" else why_not_here(job))
    if reason and mode == "check":
        raise ValueError(f"--parity check: {reason}; leave it out")
    if reason:
        log.warning("the server's answers are not compared with the model here: %s", reason)
        return {"prompts": 0, "verdict": f"not checked: {reason}"}
    rows = chosen_rows(job.data.rows, min(_PROMPTS, len(job.data.rows)))
    log.info("the server is asked %d prompts that the model here answers too", len(rows))
    base = resolve_revision(job.base)
    compared = compare(rows, base, job.adapter, job.precision, served)
    kept_model.drop()  # from here on the server answers
    code, sentence = parity_verdict(compared, served.tolerance)
    if code:
        raise ValueError(
            f"the server's {served.name} does not answer as {_model_of(job)} here: {sentence}\n"
            f"{parity_table(compared, served.tolerance)}\n"
            "Mend the server (`make serve` prints the command for this adapter), or give --parity "
            "off, which the manifest then states"
        )
    return {"prompts": len(rows), "verdict": sentence}


def served_model(name: str, prompt_form: str) -> ServedModel:
    """How a server is asked for the check."""
    return ServedModel(name, prompt_form, max_new_tokens=_TOKENS, tolerance=TOLERANCE["bf16"])


def _model_of(job: GenerationJob) -> str:
    return job.adapter.reference if job.adapter else job.base.name


def _why_unknown(job: GenerationJob, served: ServedModel) -> str:
    """Why nobody here can know what the server should answer; empty if one can."""
    if job.adapter or served.prompt_form != "chat":
        return ""
    return "without an adapter, and with prompts as messages, only the server knows its model"


def why_not_here(job: GenerationJob) -> str:
    """Why the model of a job is not loaded for a check alone; empty if it can be."""
    size = bytes_here(job.base.name, job.base.revision)
    if size is None:
        return f"the weights of {job.base.name} are not on this machine (--parity check loads them)"
    needed, free = _memory(size, job.precision)
    if needed > free:
        return f"it would need about {needed / _GIB:.1f} GiB, and {free / _GIB:.1f} are free here"
    return ""


def _memory(size: int, precision: Precision) -> tuple[float, float]:
    """Bytes that a base of `size` bytes in 16 bits needs at least, and bytes that are free."""
    if precision.device == "cpu":
        weights = size * (2 if precision.mode == "fp32" else 1)
        return _LOADED * weights, psutil.virtual_memory().available
    import torch

    return _IN_4_BITS * size, torch.cuda.mem_get_info()[0]
