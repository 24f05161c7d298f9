"""Write one answer for every row of a dataset split.

    python -m eval.generate --config recipes/llama.yaml --adapter outputs/llama \\
        --dataset data/datasets/mine --out results/llama

The adapter is a folder, a Hub id with an optional @revision, or `none` for the base alone. A run
that was interrupted goes on where it stopped; a finished one is left as it is. Under `accelerate
launch` each process answers its share of the batches. `--backend endpoint` asks the server at
OPENAI_BASE_URL; before its first answer it is asked three prompts that the model here answers too
(--parity).
"""

import argparse
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from data_pipeline.dataset.load import EvalData, load_dataset
from eval.generation.backends import BACKENDS, Backend, BackendOptions, GenerationJob, new_backend
from eval.generation.prompts import PROMPT_FORMS
from eval.generation.results_folder import (
    ResultsFolder,
    adapter_fields,
    answer_totals,
    dataset_facts,
    generation_row,
    rows_in_training_weeks,
)
from eval.generation.server_check import PARITY, check_server, served_model
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    model_arguments,
    option,
    read_options,
    run_command,
)
from weekahead.distributed import process_group, select_gpu, sole_writer_of_all
from weekahead.locks import check_writable
from weekahead.manifest import provenance
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.loading import resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import Recipe, read_recipe
from weekahead.schema.file_names import GENERATIONS, MANIFEST
from weekahead.schema.manifests import (
    CeilingFacts,
    GenerationManifest,
    JsonObject,
    ParityFacts,
    read_dataset_manifest,
)
from weekahead.schema.rows import is_synthetic
from weekahead.tracking.gpu import check_torch_sees_gpu

log = logging.getLogger(__name__)

Check = Callable[[GenerationJob], ParityFacts]
"""Looks at a server; raises ValueError if it does not answer as it should."""

_OUT_OF_MEMORY = "give a smaller --batch_size (make eval takes it in ARGS)"


@dataclass(frozen=True)
class GenerateOptions:
    """The flags of eval.generate."""

    config: Path
    adapter: str
    dataset: str
    out: Path
    split: str | None = option(
        None, help="split to answer (default: test, or every row of a single file)"
    )
    limit: int | None = option(None, help="only the first N rows")
    max_new_tokens: int = SamplingParams.max_new_tokens
    batch_size: int = option(SamplingParams.batch_size, help="rows, or requests, at once")
    temperature: float = option(SamplingParams.temperature, help="0 is greedy")
    seed: int = option(SamplingParams.seed, help="for a temperature above 0")
    backend: str = option(
        "batched", choices=tuple(BACKENDS), help="batched answers here, endpoint asks a server"
    )
    model: str | None = option(
        None, help="the name that the endpoint knows the model (or its adapter) by"
    )
    endpoint_prompt: str = option(
        "chat", choices=PROMPT_FORMS, help="form in which the endpoint gets a prompt"
    )
    parity: str = option(
        "auto",
        choices=PARITY,
        help="compare the endpoint with the model here before its first answer: if it is here and "
        "has room (auto), in any case (check), or not (off)",
    )


def new_job(
    recipe: Recipe,
    adapter_name: str,
    data: EvalData,
    sampling: SamplingParams,
    precision: Precision,
    backend: Backend,
) -> GenerationJob:
    """The job of answering `data` with the base and the adapter that a recipe and a name stand for.

    Raises ValueError or OSError if one of them cannot be loaded or the two do not fit.
    """
    base, adapter = resolve_base_and_adapter(
        recipe, adapter_name, precision, pin=backend.runs_locally
    )
    base = backend.base_that_answers(base, adapter)
    return GenerationJob(data, base, adapter, precision, sampling)


def generate(
    job: GenerationJob, backend: Backend, out: Path, *, check: Check | None = None
) -> GenerationManifest:
    """Answer every row of the job into the folder `out`; return the manifest beside the answers.

    `check` looks at a server before its first answer, once for a folder.

    Raises ValueError or OSError, with nothing written, for rows that do not render, or a folder
    that was begun with other settings.
    """
    rows = job.data.rows
    with process_group() as process, sole_writer_of_all(out, process):
        job = replace(job, process=process)
        manifest = describe_answers(job, backend)
        reached = manifest["rows_in_training_weeks"]
        if reached:
            log.warning(
                "%d of %d rows lie in weeks that this adapter's training reached",
                reached,
                len(rows),
            )
        folder: ResultsFolder[GenerationManifest] = ResultsFolder(out, process=process)
        answered = folder.resume(manifest)
        missing = {index for index, row in enumerate(rows) if row["id"] not in answered}
        if folder.stored and folder.stored.get("complete") and not missing:
            log.info("%s is finished: nothing to generate", out)
            return folder.stored
        if missing:
            weights_form = backend.prepare(job)
            parity = folder.stored.get("parity") if folder.stored else None
            if check is not None and parity is None:
                parity = check(job)
            folder.begin(weights_form, {"parity": parity} if parity else {})
            if process.first:
                log.info("model: %s (%s)", job.base.name, weights_form)
                log.info("precision: {mode} on {device} ({reason})".format(**manifest["precision"]))
            _answer_missing(job, backend, missing, folder)
        totals = partial(_finished_fields, job=job, backend=backend)
        return folder.finish([row["id"] for row in rows], totals)


def _finished_fields(
    rows: Sequence[JsonObject], *, job: GenerationJob, backend: Backend
) -> dict[str, object]:
    """What the manifest of a finished run has beside that of an unfinished one."""
    facts = backend.server_facts(job, rows)
    server = {"server": facts} if facts else {}
    return {**answer_totals(rows, job.process.world_size), **server}


def describe_answers(job: GenerationJob, backend: Backend) -> GenerationManifest:
    """What is about to be generated: the manifest without its results."""
    data = job.data
    training = job.adapter.manifest if job.adapter else None
    return {
        **provenance(),
        "kind": "generate",
        **adapter_fields(job.adapter),
        "base": job.base.manifest_fields(),
        "precision": backend.precision(job.precision),
        "dataset": {
            **dataset_facts(data),
            "synthetic": is_synthetic(data.rows),
            "ceiling": _ceiling(data),
        },
        "generation": {**asdict(job.sampling), "do_sample": job.sampling.temperature > 0},
        "backend": backend.manifest_fields(),
        "latency_measured": job.sampling.batch_size == 1,
        "train": training,
        "rows_in_training_weeks": rows_in_training_weeks(training, data),
        "train_majority": training["train_majority"] if training else data.train_majority,
        "train_labels": training["train_labels"] if training else data.train_labels,
    }


def _ceiling(data: EvalData) -> CeilingFacts | None:
    """The best reachable direction accuracy, if the dataset's manifest states one."""
    path = Path(data.source) / MANIFEST
    return read_dataset_manifest(path).get("ceiling") if path.is_file() else None


def _answer_missing(
    job: GenerationJob,
    backend: Backend,
    missing: Collection[int],
    folder: ResultsFolder[GenerationManifest],
) -> None:
    """Answer the rows numbered in `missing` and write each answer as it comes."""
    from tqdm import tqdm

    rows, split = job.data.rows, job.data.split
    with tqdm(
        total=len(rows),
        initial=len(rows) - len(missing),
        unit="row",
        desc=folder.path.name,
        disable=not job.process.first,
    ) as progress:

        def on_answers(answers: list[tuple[int, Completion]]) -> None:
            folder.append(
                generation_row(rows[index], completion, folder.manifest, split)
                for index, completion in answers
            )
            by_all = len(answers) * job.process.world_size  # the others are about as far
            progress.update(min(by_all, len(rows) - progress.n))

        backend.answer(job, missing, on_answers)


def run(options: GenerateOptions) -> int:
    """Read what the flags name, answer the rows and print where the answers are."""
    backend = new_backend(
        options.backend, BackendOptions(options.model, prompt=options.endpoint_prompt)
    )
    if backend.runs_locally:
        check_torch_sees_gpu()
    check_writable(options.out)
    sampling = SamplingParams(
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        temperature=options.temperature,
        seed=options.seed,
    )
    recipe = read_recipe(options.config)
    data = load_dataset(options.dataset).split(options.split)
    if options.limit is not None:
        if options.limit < 1:
            raise ValueError(f"--limit is {options.limit}; expected at least 1")
        del data.rows[options.limit :]
    job = new_job(recipe, options.adapter, data, sampling, choose_precision(), backend)
    manifest = generate(job, backend, options.out, check=_server_check(options, backend))
    if manifest.get("complete"):  # only the first process sees the run complete
        rate = manifest.get("tokens_per_second")
        speed = f"{rate:.1f} tokens/s" if rate else "speed unknown"
        print(f"answers: {options.out / GENERATIONS} ({manifest.get('n')} rows, {speed})")
    return 0


def _server_check(options: GenerateOptions, backend: Backend) -> Check | None:
    """The check of a server that the flags ask for; None for a model in this process."""
    if backend.runs_locally:
        if options.parity != "auto":
            raise ValueError(
                f"--parity is {options.parity}; it is about a server: leave it out, or give "
                "--backend endpoint"
            )
        return None
    served = served_model(str(options.model), options.endpoint_prompt)
    return partial(check_server, served=served, mode=options.parity)


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = model_arguments(__doc__, "eval.generate", out="folder for the answers, results/<run>")
    add_options(parser, GenerateOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 generated, 2 an error whose message has the remedy, 130 or 143
    interrupted."""
    options = read_options(new_arguments().parse_args(argv), GenerateOptions)
    select_gpu()
    configure_logging()
    return run_command(
        "eval.generate",
        lambda: run(options),
        errors=MODEL_ERRORS,
        resumable=True,
        out_of_memory_hint=_OUT_OF_MEMORY,
    )


if __name__ == "__main__":
    sys.exit(main())
