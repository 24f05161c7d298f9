"""Answers of validation rows during a training: their numbers; the training does not notice."""

import json
import signal
import time

import pytest
from safetensors.torch import load_file

from tests.support.tiny import command
from weekahead.files import read_jsonl

FLAGS = (
    "--config recipe.yaml --dataset data/datasets/m --max_steps 4 --save_steps 2 "
    "--gradient_accumulation_steps 2 --eval_strategy steps --eval_steps 2"
)
GEN = "--gen_rows 4 --gen_max_new_tokens 16 --gen_time_share 1000"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other are the slow part of so small a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def train(folder, out, *flags, module="-m sft.train", **options):
    return command(
        folder, module, *FLAGS.split(), "--output_dir", f"outputs/{out}", *flags, **options
    )


def trained(folder, out, *flags, **options):
    process = train(folder, out, *flags, **options)
    assert process.returncode == 0, process.stderr[-2000:]
    return folder / "outputs" / out


def of_kind(folder, kind):
    return [row for row in read_jsonl(folder / "train_log.jsonl") if row["kind"] == kind]


def weights(folder):
    return {
        name: weight.tolist()
        for name, weight in load_file(folder / "adapter_model.safetensors").items()
    }


@pytest.fixture(scope="module")
def plain(tiny):
    """A run that answers nothing."""
    return trained(tiny, "plain")


@pytest.fixture(scope="module")
def watched(tiny):
    """The same run with four rows answered at each evaluation."""
    return trained(tiny, "watched", *GEN.split())


@pytest.mark.slow
def test_the_adapter_is_the_same_with_answers_as_without(plain, watched):
    assert [row["step"] for row in of_kind(watched, "gen")] == [2, 4] and not of_kind(plain, "gen")
    losses = [[row["loss"] for row in of_kind(run, "train")] for run in (plain, watched)]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert weights(plain) == weights(watched)


@pytest.mark.slow
def test_the_same_rows_are_answered_each_time(tiny, watched):
    """They are rows of the validation split, and reach the table of the tracked run."""
    validation = {row["id"]: row for row in read_jsonl(tiny / "data/datasets/m/validation.jsonl")}
    first, second = ([answer["id"] for answer in row["answers"]] for row in of_kind(watched, "gen"))
    assert first == second and len(set(first)) == 4 and set(first) <= set(validation)
    for row in of_kind(watched, "gen"):
        for answer in row["answers"]:
            assert answer["label"] == validation[answer["id"]]["label"]
        assert row["n"] == row["direction_n"] == 4
        assert row["direction_ci95"] is None and row["interval_reason"]
        assert 1 <= row["new_tokens"] <= 16 and row["seconds"] > 0
    tables = [json.loads(path.read_text()) for path in (watched / "wandb").rglob("*.table.json")]
    by_step = {table["data"][0][1]: table["data"] for table in tables}
    assert [table["columns"] for table in tables] == [
        ["id", "step", "label", "prediction", "text"]
    ] * 2
    for row in of_kind(watched, "gen"):
        cells = by_step[row["step"]]
        assert [line[0] for line in cells] == first
        assert [line[4] for line in cells] == [answer["text"] for answer in row["answers"]]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_answers_and_weights(tiny, watched):
    out = tiny / "outputs" / "killed"
    process = train(tiny, "killed", *GEN.split(), wait=False)
    deadline = time.monotonic() + 240
    while not (out / "checkpoint-2/trainer_state.json").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not json.loads((out / "manifest.json").read_text())["result"]
    trained(tiny, "killed", *GEN.split())
    expected = [(row["step"], row["answers"]) for row in of_kind(watched, "gen")]
    assert [(row["step"], row["answers"]) for row in of_kind(out, "gen")] == expected
    assert weights(out) == weights(watched)
    assert of_kind(out, "end")[0]["resumed_from_step"] in (2, 4)


@pytest.mark.slow
def test_three_seeds_of_a_recipe_differ_in_the_seed_alone(tiny, plain):
    runs = [plain, *(trained(tiny, f"seed{seed}", "--seed", seed) for seed in (1, 2))]
    manifests = [json.loads((run / "manifest.json").read_text()) for run in runs]
    assert [manifest["settings"].pop("seed") for manifest in manifests] == [42, 1, 2]
    for part in ("settings", "base", "dataset", "precision", "train_majority"):
        assert manifests[0][part] == manifests[1][part] == manifests[2][part]
    assert all(
        weights(a) != weights(b)
        for a, b in ((runs[0], runs[1]), (runs[0], runs[2]), (runs[1], runs[2]))
    )


SECOND_PROCESS_COMES_LATE = """
import os, sys, time
from pathlib import Path
from sft import train
from sft.training import saving

save_adapter = saving.save_adapter
def late(trainer, tokenizer, folder):
    while not (Path(folder) / ".adapter/adapter_model.safetensors").exists():
        time.sleep(0.001)
    save_adapter(trainer, tokenizer, folder)
if os.environ["RANK"] == "1":
    saving.save_adapter = late
sys.exit(train.main())
"""


@pytest.mark.slow
def test_two_processes_end_together_and_one_of_them_logs(tiny):
    """Answered at the first evaluation, left out at the second: no process is left waiting.

    The second process touches nothing of the adapter, which the first one writes at that moment.
    """
    (tiny / "late.py").write_text(SECOND_PROCESS_COMES_LATE)
    launch = "-m torch.distributed.run --standalone --nproc_per_node 2 late.py"
    flags = "--gen_rows 2 --gen_max_new_tokens 8 --gen_time_share 0.0001 --ddp_backend gloo"
    folder = trained(tiny, "answers-of-two", *flags.split(), module=launch)
    first, second = of_kind(folder, "gen")
    assert len(first["answers"]) == 2 and "the limit of 0% (--gen_time_share)" in second["skipped"]
    assert json.loads((folder / "manifest.json").read_text())["settings"]["world_size"] == 2


# --- without a training ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_and_rows(tiny):
    """(model with adapters and much dropout, tokenizer, validation rows)."""
    import torch
    from peft import LoraConfig, get_peft_model

    from weekahead.models.loading import Base, load_base, load_tokenizer

    base = Base(str(tiny / "base"), "smollm2", "float32")
    torch.manual_seed(3)
    lora = LoraConfig(
        r=4, lora_dropout=0.9, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    model = get_peft_model(load_base(base), lora)
    return model, load_tokenizer(base), read_jsonl(tiny / "data/datasets/m/validation.jsonl")


def arguments(folder):
    from transformers import TrainingArguments

    return TrainingArguments(output_dir=str(folder), use_cpu=True, report_to="none", bf16=False)


def sampling(time_share):
    from sft.training.sample_answers import Sampling
    from weekahead.models.decoding import SamplingParams

    return Sampling(SamplingParams(max_new_tokens=8, batch_size=2), [2], time_share)


def test_generating_leaves_the_model_as_it_was(model_and_rows, tmp_path):
    """Mode, cache, generation config and random states are as before."""
    import torch

    from sft.training.sample_answers import answer, ready_to_generate

    model, tokenizer, rows = model_and_rows
    inner = model.get_base_model()
    # A wish of the base's own, which greedy decoding must not follow.
    inner.generation_config.repetition_penalty = 5.0
    inner.config.use_cache = False
    model.train()
    before = (inner.generation_config, torch.random.get_rng_state())
    texts = []
    for _ in range(2):
        with ready_to_generate(model, arguments(tmp_path)) as ready:
            assert not ready.training and ready.config.use_cache
            assert ready.generation_config.repetition_penalty is None
            torch.rand(3)
            answers = answer(ready, tokenizer, rows[:3], sampling(1.0))
            texts.append([row["generation"] for row in answers])
    assert texts[0] == texts[1] and len(set(texts[0])) > 1
    assert model.training and all(module.training for module in model.modules())
    assert inner.config.use_cache is False and inner.generation_config is before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_the_numbers_are_those_of_the_metrics(model_and_rows):
    from eval.metrics.evaluate import evaluate
    from sft.training.sample_answers import measure

    _, _, rows = model_and_rows
    right, wrong = rows[0]["completion"][0]["content"], rows[1]["completion"][0]["content"]
    texts = [
        right,
        wrong.replace("[Positive Developments]:", "**Positive Developments**"),
        "nothing",
        "",
    ]
    answered = [
        {
            "id": row["id"],
            "label": row["label"],
            "answer": row["completion"][0]["content"],
            "generation": text,
            "new_tokens": 10 * index,
            "finish_reason": "stop" if index else "length",
        }
        for index, (row, text) in enumerate(zip(rows, texts, strict=False))
    ]
    values, answers = measure(answered)
    metrics, _ = evaluate(answered)
    assert values["parse_rate_strict"] == metrics["valid_strict"] / 4 == 0.25
    assert values["parse_rate_lenient"] == metrics["valid_lenient"] / 4 == 0.5
    assert values["direction_accuracy"] == metrics["bin_acc"] and values["direction_n"] == 4
    assert values["pros_rouge1"] == metrics["pros_rouge_scores"]["rouge1"]
    assert values["anal_rougeL"] > 0
    assert values["new_tokens"] == 15 and values["stop_rate"] == 0.75
    expected = [rows[0]["label"], rows[1]["label"], None, None]
    assert [answer["prediction"] for answer in answers] == expected


def make_callback(model_and_rows, folder, time_share):
    from sft.training.sample_answers import AnswersCallback
    from sft.training.train_log import TrainLog
    from weekahead.tracking.run import TrackedRun

    _, tokenizer, rows = model_and_rows
    train_log = TrainLog(folder / "train_log.jsonl")
    train_log.begin(0)
    run = TrackedRun(folder, None, "disabled")
    return AnswersCallback(rows[:2], tokenizer, sampling(time_share), train_log, run)


def evaluate_twice(callback, model, folder):
    """The rows of kind gen that two evaluations leave."""
    from transformers import TrainerControl, TrainerState

    for step in (1, 2):
        state = TrainerState(global_step=step, is_world_process_zero=True)
        callback.on_evaluate(arguments(folder), state, TrainerControl(), model=model)
    return [row for row in read_jsonl(folder / "train_log.jsonl") if row["kind"] == "gen"]


def test_answers_stop_when_they_have_taken_their_share(model_and_rows, tmp_path, caplog):
    caplog.set_level("INFO")
    model, within, over = model_and_rows[0], tmp_path / "a", tmp_path / "b"
    rows = evaluate_twice(make_callback(model_and_rows, within, 1e9), model, within)
    assert [len(row["answers"]) for row in rows] == [2, 2] and not caplog.records
    first, second = evaluate_twice(make_callback(model_and_rows, over, 0.1), model, over)
    assert first["answers"] and "answers" not in second
    assert len(caplog.records) == 1 and second["skipped"] in caplog.text
    assert "would pass the limit of 10% (--gen_time_share)" in caplog.text


def test_too_little_gpu_memory_does_not_end_the_training(model_and_rows, tmp_path, monkeypatch):
    import torch

    def generate(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = model_and_rows[0].train()
    monkeypatch.setattr(model.get_base_model(), "generate", generate)
    rows = evaluate_twice(make_callback(model_and_rows, tmp_path, 1e9), model, tmp_path)
    assert all("fewer --gen_rows" in row["skipped"] for row in rows) and len(rows) == 2
    assert model.training


def test_the_chosen_rows_do_not_depend_on_the_order_of_the_file():
    from sft.training.sample_answers import choose_rows

    rows = [{"id": f"AAPL-2031-01-{day:02d}"} for day in range(1, 29)]
    chosen = choose_rows(rows, 8)
    assert choose_rows(rows[::-1], 8) == chosen and chosen[:4] == choose_rows(rows, 4)
    assert chosen != rows[:8] and len(choose_rows(rows[:3], 8)) == 3


def test_a_gpu_answers_eight_rows_and_a_cpu_none_unless_asked():
    from types import SimpleNamespace

    from data_pipeline.dataset.load import TrainData
    from sft.training.arguments import ScriptArguments
    from sft.training.checks import rows_to_answer

    some = TrainData(train=[], validation=[{"id": "a"}], source="m", sha256="")
    none = TrainData(train=[], validation=[], source="m", sha256="")
    gpu = SimpleNamespace(use_cpu=False, eval_strategy="steps")
    cpu = SimpleNamespace(use_cpu=True, eval_strategy="steps")
    no_evaluations = SimpleNamespace(use_cpu=False, eval_strategy="no")
    unset, three = ScriptArguments(), ScriptArguments(gen_rows=3)
    assert [rows_to_answer(unset, args, some) for args in (gpu, cpu, no_evaluations)] == [8, 0, 0]
    assert rows_to_answer(unset, gpu, none) == 0 and rows_to_answer(three, cpu, some) == 3
