"""Train one adapter.

    accelerate launch --config_file accelerate_configs/single_gpu.yaml \\
        -m sft.train --config recipes/llama.yaml --dataset data/datasets/mine \\
        --output_dir outputs/llama

Flags override the fields of a recipe. After an interrupt the same command goes on from the last
checkpoint. The output folder is then a complete adapter with its manifest, log and figures.
"""

import logging
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipeline.dataset.load import Dataset, TrainData, load_dataset
from data_pipeline.dataset.reader import rows_sha256
from sft.planning.estimate import Plan, beside_the_truth, check_plan, estimate_of
from sft.training.arguments import Arguments, ScriptArguments, parse
from sft.training.checkpoints import last_checkpoint
from sft.training.checks import (
    check_processes,
    check_selection,
    log_detectable_effects,
    planned_steps,
    rows_to_answer,
)
from sft.training.dataset import check_lengths, row_lengths
from sft.training.divergence import TrainingDivergedError
from sft.training.launch import check_can_be_sharded, check_sharding, is_sharded
from sft.training.resume import RunFacts, Start, find_start, resumable, settings_of
from sft.training.row_order import check_row_order
from weekahead.cli import MODEL_ERRORS, configure_logging, run_command
from weekahead.distributed import launched_process, select_gpu, sole_writer_of_all
from weekahead.files import sha256, write_json
from weekahead.interrupts import Interrupted, postponed
from weekahead.manifest import provenance
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.decoding import SamplingParams
from weekahead.models.loading import Base, base_from_recipe, load_tokenizer, resolve_revision
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import Recipe
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import (
    Divergence,
    JsonObject,
    TrainingManifest,
    TrainingResult,
    read_training_manifest,
)
from weekahead.schema.rows import DatasetRow, is_synthetic
from weekahead.tracking.artifacts import ArtifactContent, adapter_content, dataset_content
from weekahead.tracking.gpu import check_torch_sees_gpu
from weekahead.tracking.gpu_check import GpuCheck
from weekahead.tracking.run import TrackedRun

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from sft.hub.checkpoints import HubCheckpoints, HubRun
    from sft.training.callbacks import TrainLogCallback
    from sft.training.stopping import StopCallback

log = logging.getLogger(__name__)

_FEWER_ROWS = "take the model's _t4 recipe, or a smaller --per_device_train_batch_size"


@dataclass(frozen=True)
class Job:
    """A training whose arguments, rows and folder have been checked."""

    arguments: Arguments
    precision: Precision
    base: Base
    tokenizer: Any
    data: TrainData
    longest: int
    """Tokens of the longest row."""
    settings: JsonObject
    """What the manifest and the tracked run state of the arguments."""
    start: Start
    plan: Plan | None = None
    """The estimate of memory and speed; None without a known GPU."""
    tracked_data: ArtifactContent | None = None
    """The dataset as W&B records it; None without W&B."""
    hub: "HubRun | None" = None
    """Where checkpoints and the adapter go on the Hub; None without an upload."""

    @property
    def folder(self) -> Path:
        """Where the adapter goes."""
        return Path(self.arguments.training.output_dir)


def prepare(arguments: Arguments, precision: Precision) -> Job:
    """Check arguments, rows and folder before the model is loaded.

    Nothing is written, except that an empty folder gets the checkpoints that the Hub has of it.
    Raises ValueError or OSError naming what is wrong and the remedy.
    """
    script, training, model = arguments
    check_processes(training.world_size)
    check_sharding(training)
    hub, brought = _opened_hub(training)
    base = _base(script, model, precision)
    log.info("precision: %s on %s (%s)", precision.mode, precision.device, precision.reason)
    dataset = load_dataset(script.dataset)
    data = rows_to_train_on(dataset, script.max_rows)
    check_selection(script, training, len(data.validation))
    check_row_order(training, len(data.train))
    steps = planned_steps(training, len(data.train))
    script = replace(script, gen_rows=rows_to_answer(script, training, data))
    settings = settings_of(script, training, model)
    base = resolve_revision(base)
    check_can_be_sharded(base.name, stored_in_4_bits=base.stored_quantized)
    if hub:
        _check_base_has_an_id(base)
    facts = RunFacts(
        settings,
        base.manifest_fields(),
        train_sha256=data.sha256,
        validation_sha256=rows_sha256(data.validation),
        steps=None if training.packing else steps,
    )
    with _taking_back(brought, hub):
        start = find_start(Path(training.output_dir), facts)
    tokenizer = load_tokenizer(base)
    lengths = row_lengths(tokenizer, [*data.train, *data.validation])
    check_lengths(lengths, training.max_length)
    log.info(
        "rows: %d to train, %d to validate, %d left out; longest %d of %d tokens allowed",
        len(data.train),
        len(data.validation),
        len(data.dropped),
        max(lengths),
        training.max_length,
    )
    plan = None  # it is of a whole copy on each GPU
    if not is_sharded():
        plan = estimate_of(training, model, base.name, lengths[: len(data.train)])
    if plan:
        log.info("%s", check_plan(plan))
    if training.process_index == 0:
        log_detectable_effects(data.validation, rows_of_the_test_split(dataset))
    checked = Arguments(script, training, model)
    tracked = _tracked_data(script, training, dataset)
    longest = max(lengths)
    return Job(
        checked, precision, base, tokenizer, data, longest, settings, start, plan, tracked, hub
    )


def _tracked_data(
    script: ScriptArguments, training: Any, dataset: Dataset
) -> ArtifactContent | None:
    """The dataset as W&B records it. Raises ValueError if one of its files holds a secret."""
    if "wandb" not in training.report_to or training.process_index != 0:
        return None
    source = dataset.source
    content = dataset_content(source.name, source.sha256.values(), source.revision)
    if content and not script.upload_artifacts:
        return content.left_in_place()
    if content:
        content.check_no_secret()
    return content


def _opened_hub(training: Any) -> tuple["HubRun | None", list[Path]]:
    """What the training asks of the Hub, checked by the first process, and what it brought here."""
    if not training.push_to_hub:
        return None, []
    from sft.hub.checkpoints import hub_run, open_hub

    hub, brought = hub_run(training), list[Path]()
    with training.main_process_first(local=False, desc="the Hub is asked"):
        if hub and training.process_index == 0:
            brought = open_hub(hub, Path(training.output_dir))
    return hub, brought


def _check_base_has_an_id(base: Base) -> None:
    if not base.manifest_fields().get("hub_id"):
        raise ValueError(
            f"--push_to_hub true, and the base is the folder {base.name}, which nobody else could "
            "load the adapter with; name its Hub id as --model_name_or_path, or leave the flag out "
            'and push at the end: make push RUN=.. REPO=user/name ARGS="--base user/base"'
        )


@contextmanager
def _taking_back(brought: Sequence[Path], hub: "HubRun | None") -> Generator[None]:
    """Remove what the Hub has brought if it is of a training with other settings."""
    try:
        yield
    except ValueError as error:
        if not brought or not hub:
            raise
        from sft.hub.checkpoints import remove

        remove(brought)
        raise ValueError(
            f"{error} (This is what {hub.target.repo} on the Hub holds, and it was not kept here: "
            "another --hub_model_id starts over.)"
        ) from error


def train(job: Job) -> None:
    """Train, and leave a complete adapter in the job's folder; an interrupted training goes on.

    Raises TrainingDivergedError, with the manifest saying so and no adapter, if something is not
    finite.
    """
    from accelerate import PartialState

    from sft.training.callbacks import TrainLogCallback
    from sft.training.stopping import WAITS_FOR, StopCallback
    from weekahead.tracking.run import start_run

    folder = job.folder
    PartialState().wait_for_everyone()  # every process has read the manifest that is now replaced
    folder.mkdir(parents=True, exist_ok=True)
    run = start_run(
        folder,
        name=folder.name,
        kind="train",
        config=job.settings,
        resume_id=job.start.run_id,
        recorded="wandb" in job.arguments.training.report_to,
    )
    manifest = new_training_manifest(job, run.id)
    check = GpuCheck() if job.precision.device == "cuda" else None
    peak = job.plan.peak_tokens_per_second if job.plan else None
    train_log = TrainLogCallback(folder, run, gpu_check=check, peak_tokens_per_second=peak)
    stop = StopCallback()
    uploads = _uploads(job)
    try:
        with run:
            if job.arguments.training.process_index == 0:
                write_json(folder / MANIFEST, manifest)
            if job.tracked_data:
                run.use_artifact(job.tracked_data)
            trainer = _new_trainer(job, run, train_log, stop)
            if uploads:
                trainer.add_callback(uploads)
            with postponed(WAITS_FOR):
                result = _train_to_the_end(job, trainer, train_log, manifest)
            if result:
                run.log_artifact(_adapter_artifact(job, result))
    except Interrupted:
        stop.wait_for_all(job.arguments.training)
        raise
    finally:
        train_log.close()
        if uploads:
            uploads.close()


def _uploads(job: Job) -> "HubCheckpoints | None":
    """What uploads the checkpoints; None in every process but the first, and without an upload."""
    from sft.hub.checkpoints import HubCheckpoints

    is_first = job.arguments.training.process_index == 0
    return HubCheckpoints(job.hub, job.folder) if job.hub and is_first else None


def _new_trainer(
    job: Job, run: TrackedRun, train_log: "TrainLogCallback", stop: "StopCallback"
) -> Any:
    """The trainer of a job, with all callbacks in their order."""
    from sft.training.callbacks import CheckpointCallback, guard_wandb
    from sft.training.reporters import named_for_reports, take_over_reporters
    from sft.training.trainer import build_trainer

    _, training, model = job.arguments
    training = named_for_reports(training, job.folder, run.id)
    if job.start.checkpoint:
        # It evaluated at its start; once more would count for early stopping.
        training.eval_on_start = False
    callbacks = [*callbacks_before_the_log(job, run, train_log), train_log]
    callbacks.append(CheckpointCallback(job.folder, training.save_total_limit))
    trainer = build_trainer(
        job.base,
        job.tokenizer,
        job.data,
        training=training,
        model_args=model,
        callbacks=callbacks,
    )
    trainer.record.run = run.id
    guard_wandb(trainer, run)
    train_log.reporters = take_over_reporters(trainer, job.folder)
    trainer.add_callback(stop)
    return trainer


def _train_to_the_end(
    job: Job, trainer: Any, train_log: "TrainLogCallback", manifest: TrainingManifest
) -> TrainingResult | None:
    """Train, write the adapter, and complete the manifest: with the result, or why there is none.

    Returns the result, or None in every process but the first.
    Raises TrainingDivergedError, and Interrupted if a signal came and a checkpoint was saved.
    """
    path = job.folder / MANIFEST
    try:
        result = _train_and_save(job, trainer, train_log)
    except TrainingDivergedError as error:
        if job.arguments.training.process_index == 0:
            write_json(path, {**manifest, "diverged": _divergence(job, manifest, error)})
        raise
    if result:
        # The result comes last: a manifest with a result means that the run is complete.
        write_json(path, {**manifest, "result": result})
    return result


def _adapter_artifact(job: Job, result: TrainingResult) -> ArtifactContent:
    """The adapter as W&B records it."""
    script, training, _ = job.arguments
    content = adapter_content(
        job.folder,
        result.get("adapter_sha256", ""),
        job.data.sha256,
        is_best=training.load_best_model_at_end,
    )
    return content if script.upload_artifacts else content.left_in_place()


def _train_and_save(job: Job, trainer: Any, train_log: "TrainLogCallback") -> TrainingResult | None:
    """Train and write the adapter; the result, or None in every process but the first."""
    from sft.training.saving import save_adapter
    from sft.training.trainer import check_result, result_of
    from weekahead.tracking.plots import plot_training

    checkpoint = job.start.checkpoint
    log.info("training: %s", f"going on from {checkpoint.name}" if checkpoint else "from the start")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    check_result(trainer)
    save_adapter(trainer, job.tokenizer, job.folder)
    if not trainer.is_world_process_zero():
        return None
    plot_training(train_log.log.rows(), job.folder / "figures")
    assert train_log.end is not None  # on_train_end of this process wrote it
    result = result_of(trainer, train_log.end)
    if job.plan:
        log.info("%s", beside_the_truth(job.plan, result))
    return {**result, "adapter_sha256": sha256(job.folder / "adapter_model.safetensors")}


def _divergence(job: Job, manifest: TrainingManifest, error: TrainingDivergedError) -> Divergence:
    """What a manifest states of a training that was stopped."""
    finding = error.finding
    kept = last_checkpoint(job.folder, resumable(manifest))
    return {
        "step": finding.step,
        "what": finding.what,
        "rows": list(finding.rows),
        "last_good_checkpoint": kept.name if kept else None,
    }


def rows_to_train_on(dataset: Dataset, max_rows: int | None) -> TrainData:
    """The rows of a training, of which the first `max_rows` by date if asked; logs warnings."""
    data = dataset.train
    for warning in data.warnings:
        log.warning("%s", warning)
    if max_rows is None:
        return data
    by_date = sorted(data.train, key=lambda row: (row["week_start"], row["id"]))
    return replace(data, train=by_date[:max_rows])


def rows_of_the_test_split(dataset: Dataset) -> list[DatasetRow]:
    """The rows of the test split; empty if the dataset has none."""
    return dataset.split("test").rows if "test" in dataset.split_names else []


def callbacks_before_the_log(
    job: Job, run: TrackedRun, train_log: "TrainLogCallback"
) -> list["TrainerCallback"]:
    """The callbacks of a training in their order; the log itself must come after them.

    The log's clock of training proper goes on after an evaluation, so what is done at an evaluation
    has to be done by then.
    """
    from sft.training.callbacks import ResumableEarlyStopping
    from sft.training.sample_answers import AnswersCallback, Sampling, choose_rows

    script = job.arguments.script
    callbacks: list[TrainerCallback] = []
    if script.early_stopping_patience is not None:
        callbacks.append(ResumableEarlyStopping(script.early_stopping_patience))
    if script.gen_rows:
        rows = choose_rows(job.data.validation, script.gen_rows)
        log.info(
            "%d validation rows are answered at each evaluation: enough to see whether the layout "
            "is learnt, too few for an interval",
            len(rows),
        )
        sampling = Sampling(
            SamplingParams(max_new_tokens=script.gen_max_new_tokens, batch_size=8),
            stop_token_ids(job.tokenizer),
            script.gen_time_share,
        )
        callbacks.append(AnswersCallback(rows, job.tokenizer, sampling, train_log.log, run))
    return callbacks


def new_training_manifest(job: Job, run_id: str | None) -> TrainingManifest:
    """The manifest of a training that has begun: `result` is still null."""
    data, precision = job.data, job.precision
    return {
        **provenance(),
        "kind": "train",
        "run": job.folder.name,
        "run_id": run_id,
        "base": job.base.manifest_fields(),
        "turn_format": job.base.turn_format,
        "precision": {
            "mode": precision.mode,
            "device": precision.device,
            "reason": precision.reason,
        },
        "dataset": {
            "source": data.source,
            "revision": data.revision,
            "sha256": data.sha256,
            "train_rows": len(data.train),
            "last_train_week": max(row["week_start"] for row in data.train),
            "validation_rows": len(data.validation),
            "validation_sha256": rows_sha256(data.validation),
            "dropped_rows": len(data.dropped),
            "max_tokens": job.longest,
        },
        "synthetic": is_synthetic(data.train),
        "prompt_versions": sorted({str(row.get("prompt_version")) for row in data.train}),
        "settings": job.settings,
        "train_majority": data.train_majority,
        "train_labels": data.train_labels,
        "diverged": None,
        "result": None,
    }


def _base(script: ScriptArguments, model: Any, precision: Precision) -> Base:
    revision = model.model_revision
    if revision not in (None, "main") and Path(model.model_name_or_path).is_dir():
        raise ValueError(
            f"--model_revision {revision} is for a base on the Hub, and {model.model_name_or_path} "
            "is a folder here; leave it out, or name the folder of that revision"
        )
    recipe: Recipe = {
        "model_name_or_path": model.model_name_or_path,
        "model_revision": None if revision == "main" else revision,  # main is TRL's default
        "turn_format": script.turn_format or "",
        "load_in_4bit": model.load_in_4bit,
        "bnb_4bit_quant_type": model.bnb_4bit_quant_type,
        "use_bnb_nested_quant": model.use_bnb_nested_quant,
    }
    return base_from_recipe(recipe, precision)


def run(argv: Sequence[str] | None) -> int:
    """Parse the command line, train, and print where the adapter is."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        select_gpu()  # the Trainer multiplies the batch by the GPUs that one process sees
    check_torch_sees_gpu()
    precision = choose_precision()
    arguments = parse(argv, precision)
    folder = Path(arguments.training.output_dir)
    process = launched_process()
    with sole_writer_of_all(folder, process):
        status = _run_alone(prepare(arguments, precision))
    process.leave()
    return status


def _run_alone(job: Job) -> int:
    """Train, and print how it ended, while no other process may write into the folder."""
    try:
        train(job)
    except TrainingDivergedError as error:
        if job.arguments.training.process_index == 0:
            # Below the progress bar, which has no line end yet.
            print(f"\nsft.train: {diverged_line(job, error)}", file=sys.stderr)
        return 1
    if job.arguments.training.process_index != 0:
        return 0
    status = report(job.folder)
    if job.hub and status == 0:
        _push(job.hub, job.folder)
    return status


def _push(hub: "HubRun", folder: Path) -> None:
    """Upload the finished adapter; its checkpoints on the Hub go, unless all were asked for."""
    from sft.hub.checkpoints import is_of_training
    from sft.hub.push import push_trained

    keeps_all = hub.strategy == "all_checkpoints"
    commit = push_trained(folder, hub.target, lambda name: not keeps_all and is_of_training(name))
    print(f"on the Hub: {hub.target.repo}@{commit}")


def diverged_line(job: Job, error: TrainingDivergedError) -> str:
    """What is said of a training that was stopped: what, where, what is left and the remedy."""
    stated = read_training_manifest(job.folder / MANIFEST).get("diverged")
    kept = stated["last_good_checkpoint"] if stated else None
    rate = job.arguments.training.learning_rate
    return (
        f"the training diverged: {error}. No adapter was written; "
        f"{f'{kept} is the last good checkpoint' if kept else 'there is no checkpoint yet'}. "
        f"Look at these rows, or give another RUN a lower --learning_rate than {rate:g}"
    )


def report(folder: Path) -> int:
    """Print where the adapter is and how its training ended; 1 if it cannot be used, else 0."""
    result = read_training_manifest(folder / MANIFEST)["result"] or {}
    failed, diverged = result.get("failed"), result.get("diverged")
    if diverged:
        log.warning("the training diverged: %s", diverged)
    if failed:
        print(f"sft.train: {failed}, so {folder} is no adapter to use", file=sys.stderr)
        return 1
    print(f"adapter: {folder}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 trained, 1 diverged, 2 an error whose message has the remedy, 130 or
    143 interrupted."""
    configure_logging()
    return run_command(
        "sft.train",
        lambda: run(argv),
        errors=(*MODEL_ERRORS, ImportError),  # an optimizer or a loss may need another package
        resumable=True,
        out_of_memory_hint=_FEWER_ROWS,
    )


if __name__ == "__main__":
    sys.exit(main())
