"""Train one adapter.

    accelerate launch --config_file accelerate_configs/single_gpu.yaml \\
        -m sft.train --config recipes/llama.yaml --dataset data/datasets/mine --output_dir outputs/llama

A recipe's fields can be overridden by flags. The same command goes on from the last checkpoint of an
interrupted run. What is left in the output folder is a complete adapter with its manifest, log and figures.
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import TrainData, train_rows
from sft.training.arguments import ScriptArguments, parse
from sft.training.checks import check_selection, log_detectable_effects, rows_to_answer
from sft.training.dataset import check_lengths, row_lengths
from sft.training.resume import MANIFEST, check_folder, last_checkpoint, settings_of
from weekahead.cli import configure_logging, describe_error
from weekahead.distributed import select_gpu
from weekahead.files import Row, load_env, read_jsonl, write_json
from weekahead.manifest import new_manifest
from weekahead.models.decoding import SamplingParams
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.loading import Base, base_from_recipe, load_tokenizer, resolve_revision
from weekahead.models.precision import Precision, choose_precision
from weekahead.tracking.gpu import check_torch_sees_gpu
from weekahead.tracking.run import TrackedRun

log = logging.getLogger(__name__)

_FEWER_ROWS = "take the model's _t4 recipe, or a smaller --per_device_train_batch_size"


def train(script: ScriptArguments, training: Any, model_args: Any, precision: Precision) -> Path:
    """Train as the three argument objects say and return the adapter's folder.

    Everything that can be wrong with arguments, rows or folder raises ValueError or OSError before the
    model is loaded.
    """
    from sft.training.callbacks import guard_wandb
    from sft.training.trainer import build_trainer, result_of, save_adapter
    from weekahead.tracking.plots import plot_training
    from weekahead.tracking.run import saved_run_id, start_run

    folder = Path(training.output_dir)
    base = _base(script, model_args, precision)
    log.info("precision: %s on %s (%s)", precision.mode, precision.device, precision.reason)
    data = read_data(script)
    check_selection(script, training, len(data.validation))
    script.gen_rows = rows_to_answer(script, training, data)
    settings = settings_of(script, training, model_args)
    base = resolve_revision(base)
    check_folder(folder, settings, base.manifest_fields(), data.sha256)
    tokenizer = load_tokenizer(base)
    lengths = row_lengths(tokenizer, [*data.train, *data.validation])
    check_lengths(lengths, training.max_length)
    log.info("rows: %d to train, %d to validate, %d left out; longest %d of %d tokens allowed",
             len(data.train), len(data.validation), len(data.dropped), max(lengths), training.max_length)  # fmt: skip
    if training.process_index == 0:
        log_detectable_effects(data, script.dataset)

    checkpoint = last_checkpoint(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run = start_run(
        folder,
        name=folder.name,
        kind="train",
        config=settings,
        resume_id=saved_run_id(folder) if checkpoint else None,
    )
    facts = describe(folder, run.id, base, precision, data, max(lengths), settings)
    callbacks = callbacks_of(script, data, tokenizer, base, run)
    train_log = callbacks[-1]
    try:
        with run:
            if training.process_index == 0:
                write_json(folder / MANIFEST, facts)
            trainer = build_trainer(base, tokenizer, data, training, model_args, callbacks)
            guard_wandb(trainer, run)
            log.info(
                "training: %s",
                f"going on from {checkpoint.name}" if checkpoint else "from the start",
            )
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            save_adapter(trainer, tokenizer, base, folder)
            if trainer.is_world_process_zero():
                plot_training(read_jsonl(folder / "train_log.jsonl"), folder / "figures")
                # The result comes last: where it stands, the run is whole.
                write_json(
                    folder / MANIFEST, {**facts, "result": result_of(trainer, train_log.end)}
                )
    finally:
        train_log.close()
    return folder


def read_data(script: ScriptArguments) -> TrainData:
    """The rows to train on, the first `max_rows` of them by date if asked; warnings and drops are logged."""
    data = train_rows(script.dataset)
    for warning in data.warnings:
        log.warning("%s", warning)
    if script.max_rows is None:
        return data
    first = sorted(data.train, key=lambda row: (row["week_start"], row["id"]))[: script.max_rows]
    return replace(data, train=first)


def callbacks_of(
    script: ScriptArguments, data: TrainData, tokenizer: Any, base: Base, run: TrackedRun
) -> list[Any]:
    """The callbacks of a training in the order they must be called in; the log of the run is the last."""
    from sft.training.callbacks import ResumableEarlyStopping, TrainLogCallback
    from sft.training.sample_answers import AnswersCallback, choose_rows

    train_log = TrainLogCallback(run.folder, run)
    callbacks: list[Any] = []
    if script.early_stopping_patience is not None:
        callbacks.append(ResumableEarlyStopping(script.early_stopping_patience))
    if script.gen_rows:
        rows = choose_rows(data.validation, script.gen_rows)
        how = SamplingParams(max_new_tokens=script.gen_max_new_tokens, batch_size=8)
        log.info("%d validation rows are answered at each evaluation: enough to see the layout learnt, too few for an "
                 "interval", len(rows))  # fmt: skip
        ends = stop_token_ids(tokenizer)
        callbacks.append(
            AnswersCallback(rows, tokenizer, ends, how, script.gen_time_share, train_log.log, run)
        )
    return [*callbacks, train_log]


def describe(
    folder: Path,
    run_id: str | None,
    base: Base,
    precision: Precision,
    data: TrainData,
    longest: int,
    settings: Row,
) -> Row:
    """The manifest of a run that has begun: `result` is still null."""
    return new_manifest(
        kind="train",
        run=folder.name,
        run_id=run_id,
        base=base.manifest_fields(),
        turn_format=base.turn_format,
        precision={"mode": precision.mode, "device": precision.device, "reason": precision.reason},
        dataset={
            "source": data.source,
            "revision": data.revision,
            "sha256": data.sha256,
            "train_rows": len(data.train),
            "last_train_week": max(row["week_start"] for row in data.train),
            "validation_rows": len(data.validation),
            "dropped_rows": len(data.dropped),
            "max_tokens": longest,
        },
        synthetic=any(row.get("synthetic", False) for row in data.train),
        prompt_versions=sorted({str(row.get("prompt_version")) for row in data.train}),
        settings=settings,
        train_majority=data.train_majority,
        result=None,
    )


def _base(script: ScriptArguments, model_args: Any, precision: Precision) -> Base:
    revision = model_args.model_revision
    return base_from_recipe(
        {
            "model_name_or_path": model_args.model_name_or_path,
            "model_revision": None if revision == "main" else revision,
            "turn_format": script.turn_format,
            "load_in_4bit": model_args.load_in_4bit,
        },
        precision,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 trained, 2 for something the message says how to mend, 130 interrupted."""
    configure_logging()
    try:
        load_env()
        if os.environ.get("WORLD_SIZE", "1") == "1":
            select_gpu()  # the Trainer would multiply the batch by the cards that one process sees
        check_torch_sees_gpu()
        precision = choose_precision()
        folder = train(*parse(argv, precision), precision)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"sft.train: {describe_error(error, _FEWER_ROWS)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "sft.train: interrupted; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 130
    print(f"adapter: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
