"""What is not finite stops a training; what ended above its beginning is said to have diverged.

The trainings are real ones of a model of two layers: a callback spoils a number of the model, as a
bad batch, a driver or a memory cell would.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from data_pipeline.dataset.load import load_dataset
from sft.training.arguments import parse
from sft.training.checkpoints import Resumable, checkpoints, last_checkpoint
from sft.training.divergence import TrainingDivergedError, ended_above
from tests.support.tiny import command
from weekahead.files import read_jsonl
from weekahead.models.loading import NF4, Base, load_tokenizer
from weekahead.models.precision import Precision

FP32 = Precision("fp32", "cpu", "for the test")
FLAGS = (
    "--lora_dropout 0 --report_to none --per_device_train_batch_size 1 --disable_tqdm true "
    "--gradient_accumulation_steps 2 --logging_steps 10 --max_steps 4 --save_steps 1 "
)
NAN, INFINITY = float("nan"), float("inf")
NORM = "the gradient norm is not finite"


@pytest.fixture(autouse=True)
def one_thread():
    """More only wait for each other on a model this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(tiny, tmp_path):
    """Trains on eight rows into `tmp_path`, with a callback if given; returns the trainer."""
    from sft.training.callbacks import CheckpointCallback, TrainLogCallback
    from sft.training.trainer import build_trainer

    data = load_dataset(tiny / "data/datasets/m").train
    data = replace(data, train=data.train[:8], validation=data.validation[:2])

    def train(flags="", spoil=None, resume=None, scale=None):
        arguments = ["--config", str(tiny / "recipe.yaml"), "--output_dir", str(tmp_path)]
        script, training, model = parse([*arguments, *FLAGS.split(), *flags.split()], FP32)
        base = Base(model.model_name_or_path, script.turn_format, "float32", quantization=NF4)
        callbacks = [TrainLogCallback(tmp_path), CheckpointCallback(tmp_path, None)]
        trainer = build_trainer(base, load_tokenizer(base), data, training, model, callbacks)
        if spoil:
            spoil.trainer = trainer
            trainer.add_callback(spoil)
        if scale:
            trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.train(resume_from_checkpoint=resume and str(resume))
        return trainer

    return train


class Spoil(TrainerCallback):
    """Spoils the model at the beginning of step `step`; how, a subclass says."""

    def __init__(self, step, value=NAN):
        self.step, self.value = step, value

    def weight(self):
        named = self.model.named_parameters()
        return next(weight for name, weight in named if "lora_B" in name)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.model = model

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            self.spoil()


class SpoilWeight(Spoil):
    def spoil(self):
        self.weight().data[0, 0] = self.value


class SpoilGradient(Spoil):
    """Of the second batch of the step alone; loss and weights stay finite."""

    def spoil(self):
        batches = []

        def second_of_two(gradient):
            batches.append(1)
            return gradient if len(batches) != 2 else torch.full_like(gradient, self.value)

        self.weight().register_hook(second_of_two)


class SpoilEvaluation(Spoil):
    """The weights are spoiled while a step's evaluation runs, and restored afterwards."""

    def on_step_begin(self, *args, **kwargs):
        pass

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.weight().data[0, 0] = self.value

    def on_evaluate(self, args, state, control, **kwargs):
        self.weight().data.nan_to_num_(0.0)


def rows_of(trainer, batches):
    """The ids of the rows in these batches, by the sampler's own order."""
    order = list(iter(trainer._get_train_sampler()))
    return {trainer._data.train[index]["id"] for index in order[batches]}


@pytest.mark.parametrize(
    ("spoil", "flags", "what"),
    [
        (SpoilWeight(3), "", "the loss is not finite"),
        pytest.param(SpoilGradient(3), "", NORM, marks=pytest.mark.slow),
        pytest.param(SpoilGradient(3, INFINITY), "", NORM, marks=pytest.mark.slow),
        pytest.param(SpoilGradient(3, INFINITY), "--max_grad_norm 0", NORM, marks=pytest.mark.slow),
        pytest.param(SpoilGradient(3, 1e30), "", NORM, marks=pytest.mark.slow),
    ],
)
def test_the_training_stops_before_the_step_is_made(run, tmp_path, spoil, flags, what):
    """Step and rows are named, what was saved is good, and no row of the log has a better mean.

    Gradients of 1e30 are finite and their norm is not: clipping would make them zero.
    """
    with pytest.raises(TrainingDivergedError) as raised:
        run(flags, spoil)
    finding = raised.value.finding
    assert (finding.step, finding.what) == (3, what)
    # Two rows per step: the third step has the fifth and the sixth of the first epoch.
    assert set(finding.rows) <= {row["id"] for row in spoil.trainer._data.train}
    assert len(finding.rows) == 2
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-1"]
    assert last_checkpoint(tmp_path, Resumable(steps=4)) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "adapter_model.safetensors").exists()
    assert [
        row for row in read_jsonl(tmp_path / "train_log.jsonl") if row["kind"] != "system"
    ] == []


@pytest.mark.slow
def test_a_rate_that_breaks_the_weights_stops_in_its_own_step(run, tmp_path):
    """The last step too, after which nothing would look at a loss any more."""
    with pytest.raises(TrainingDivergedError, match="a weight is not finite at step 1; its rows: "):
        run("--learning_rate 1e38 --lr_scheduler_type constant --warmup_steps 0 --max_steps 1")
    assert checkpoints(tmp_path) == []


@pytest.mark.slow
def test_a_gradient_scaler_may_leave_steps_out_but_not_all(run):
    """A scale that is too high is halved; a gradient that overflows at a scale of 1 does so at any,
    and a training whose steps were all left out has trained nothing."""
    from sft.training.trainer import check_result

    class Overflow(SpoilGradient):
        """Gradients overflow at a scale of 2^16 and above, as large ones do in fp16."""

        def spoil(self):
            scaler = self.trainer.accelerator.scaler
            self.weight().register_hook(
                lambda gradient: gradient * (INFINITY if scaler.get_scale() >= 2**16 else 1)
            )

    trainer = run(spoil=Overflow(1), scale=2.0**17)
    assert trainer.skipped_steps == 2 and trainer.accelerator.scaler.get_scale() == 2**15
    check_result(trainer)

    class AllInfinite(SpoilGradient):
        def spoil(self):
            self.weight().register_hook(lambda gradient: torch.full_like(gradient, INFINITY))

    with pytest.raises(TrainingDivergedError, match="overflow in fp16 at any scale at step 2"):
        run(spoil=AllInfinite(1), scale=2.0)
    with pytest.raises(TrainingDivergedError, match="overflow in fp16 at every step"):
        check_result(run(spoil=AllInfinite(1), scale=2.0**60))


@pytest.mark.slow
def test_rows_are_named_in_the_order_of_the_sampler(run):
    spoil = SpoilWeight(1)
    with pytest.raises(TrainingDivergedError) as raised:
        run("--train_sampling_strategy sequential", spoil)
    first_two = [row["id"] for row in spoil.trainer._data.train[:2]]
    assert list(raised.value.finding.rows) == first_two


@pytest.mark.slow
def test_an_evaluation_that_is_not_finite_is_told_and_never_best(run, tmp_path, caplog):
    """Its rows are named; the training ends, and its result is JSON: null with a reason."""
    from sft.training.trainer import check_result, result_of

    flags = "--eval_strategy steps --eval_steps 1 --load_best_model_at_end true"
    trainer = run(f"{flags} --learning_rate 1e-6", SpoilEvaluation(4))
    ids = [row["id"] for row in trainer._data.validation]
    (line,) = [text for text in caplog.messages if "validation loss is not finite" in text]
    assert line.startswith("step 4: ") and all(name in line for name in ids)
    rows = read_jsonl(tmp_path / "train_log.jsonl")
    losses = {row["step"]: row["eval_loss"] for row in rows if row["kind"] == "eval"}
    assert losses[4] is None and all(losses[step] > 1 for step in (1, 2, 3))
    (end,) = [row for row in rows if row["kind"] == "end"]
    check_result(trainer)
    result = result_of(trainer, end)
    assert json.loads(json.dumps(result, allow_nan=False))["eval_loss"] is None
    assert result["eval_loss_reason"] == "not finite"
    assert result["kept_step"] < 4 and result["kept_eval_loss"] == min(
        loss for loss in losses.values() if loss
    )
    assert result["kept_because"] == "the lowest validation loss of 3 evaluations"
    assert result["failed"] is None


@pytest.mark.slow
def test_a_kept_step_without_a_finite_evaluation_has_failed(run, tmp_path):
    from sft.training.trainer import result_of

    trainer = run("--eval_strategy steps --eval_steps 4", SpoilEvaluation(4))
    (end,) = [row for row in read_jsonl(tmp_path / "train_log.jsonl") if row["kind"] == "end"]
    result = result_of(trainer, end)
    assert result["kept_step"] == 4 and result["kept_eval_loss"] is None
    assert result["failed"] == "the validation loss of the kept step 4 is not finite"


@pytest.mark.slow
def test_an_old_best_is_kept_and_not_finite_weights_are_not(run):
    from sft.training.trainer import check_result

    trainer = run()
    check_result(trainer)
    name, weight = next(
        (name, weight) for name, weight in trainer.model.named_parameters() if "lora_B" in name
    )
    weight.data[0, 0] = NAN
    with pytest.raises(TrainingDivergedError, match=f"{name} is not finite at step 4"):
        check_result(trainer)


@pytest.mark.parametrize("place", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
def test_a_base_with_a_weight_that_is_not_finite_is_refused(tiny, tmp_path, place):
    """Also if it is in 4 bits: quantization makes numbers of NaN that look like any others."""
    from safetensors.torch import load_file, save_file

    from weekahead.models.loading import load_base

    for path in (tiny / "base").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights[place].view(-1)[5] = NAN
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    base = Base(str(tmp_path), "chatml", "float32", quantization=NF4)
    with pytest.raises(ValueError, match=f"weights of the base .* not finite, .* {place}"):
        load_base(base)
    good = replace(base, name=str(tiny / "base"))
    load_base(good)


@pytest.mark.slow
def test_a_resumed_training_knows_the_losses_before_it(run, tmp_path):
    """And one that goes on from its last step makes no step more."""
    whole = run()
    losses = whole.record.losses
    assert len(losses) == 4 and all(math.isfinite(loss) for loss in losses)
    resumed = run(resume=tmp_path / "checkpoint-2")
    assert resumed.record.losses == losses
    ended = run(resume=tmp_path / "checkpoint-4")
    assert ended.state.global_step == 4 and ended.record.losses == losses
    (end,) = [row for row in read_jsonl(tmp_path / "train_log.jsonl") if row["kind"] == "end"]
    assert end["train_loss"] is None  # the Trainer says 0.0


def series(start, end, noise, steps, seed):
    """Losses that go from `start` to `end`, with noise of rows as a share of the loss."""
    rng = np.random.default_rng(seed)
    values = np.linspace(start, end, steps)
    return list(values * (1 + noise * rng.standard_normal(steps)))


@pytest.mark.parametrize("steps", [4, 6, 20, 200])
@pytest.mark.parametrize("noise", [0.02, 0.08, 0.15])
def test_noise_of_rows_is_no_divergence(steps, noise):
    """A loss that does not change at all is called diverged at most once in 60 trainings.

    Of few steps the estimate of their spread is itself uncertain. The loss of
    one row of the fictional market varies by 8 % (SmolLM2 135M, without learning).
    """
    called = [ended_above(series(2, 2, noise, steps, seed)) for seed in range(600)]
    assert sum(map(bool, called)) <= 10


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(2, 2.6, 60), (2, 9, 20), (10.8, 11.2, 40), (2, 4.5, 2)]
)
def test_a_loss_that_rises_is_said_to_have_diverged(start, end, steps):
    losses = series(start, end, 0.02 if end < 3 else 0.01, steps, 1)
    assert "ended above the loss it began with" in ended_above(losses)
    assert ended_above(losses[::-1]) is None


def test_a_validation_loss_that_rises_decides_a_doubtful_case():
    losses = [2.0, 2.1, 1.9, 2.05]
    assert ended_above(losses) is None and ended_above(losses, [2.0, 2.01]) is None
    assert ended_above(losses, [2.0, 2.2]) and ended_above(losses[::-1], [2.0, 2.2]) is None
    assert ended_above(losses, [2.0, 2.2, NAN]) and ended_above([1.0]) is None


SPOIL_THE_SECOND_PROCESS = """
import os, sys
from sft import train
from tests.sft.test_divergence import SpoilWeight

callbacks_before_the_log = train.callbacks_before_the_log
if os.environ["RANK"] == "1":
    train.callbacks_before_the_log = lambda *job: [*callbacks_before_the_log(*job), SpoilWeight(3)]
sys.exit(train.main())
"""


@pytest.mark.slow
def test_all_processes_stop_if_one_has_a_loss_that_is_not_finite(tiny):
    """None waits for another, one line names the rows of all, and nothing takes what is left."""
    out = tiny / "outputs" / "diverged-of-two"
    (tiny / "two.py").write_text(SPOIL_THE_SECOND_PROCESS)
    flags = "--config recipe.yaml --dataset data/datasets/m --max_steps 4 --save_steps 2 "
    flags += f"--eval_strategy no --gradient_accumulation_steps 2 --output_dir {out} "
    flags += "--ddp_backend gloo --disable_tqdm true"
    launch = "-m torch.distributed.run --nproc_per_node 2 --master_port 29619"
    process = command(tiny, f"{launch} two.py {flags}")
    assert process.returncode == 1
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("sft.train:")]
    assert "diverged: the loss is not finite at step 3; its rows: " in line
    assert "checkpoint-2 is the last good checkpoint" in line
    diverged = json.loads((out / "manifest.json").read_text())["diverged"]
    assert diverged["step"] == 3 and len(diverged["rows"]) == 4
    assert diverged["last_good_checkpoint"] == "checkpoint-2"
    for refused in (
        f"-m eval.generate --config recipe.yaml --adapter {out} --dataset data/datasets/m --out r",
        f"-m sft.publish {out} --repo user/name",
    ):
        process = command(tiny, refused)
        assert process.returncode == 2
        assert "its training diverged at step 3: the loss is not finite" in process.stderr
