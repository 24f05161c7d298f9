"""Answers of validation rows while a model trains: their numbers, and that the training does not notice them."""

import json
import signal
import time

import pytest
from safetensors.torch import load_file

from tests.support.tiny import command
from weekahead.files import read_jsonl

FLAGS = (
    "--config",
    "recipe.yaml",
    "--dataset",
    "data/datasets/m",
    "--max_steps",
    "4",
    "--save_steps",
    "2",
)
FLAGS += ("--gradient_accumulation_steps", "2", "--eval_strategy", "steps", "--eval_steps", "2")
GEN = ("--gen_rows", "4", "--gen_max_new_tokens", "16", "--gen_time_share", "1000")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other are the slow part of so small a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def train(folder, out, *flags, module="-m sft.train", **how):
    return command(folder, module, *FLAGS, "--output_dir", f"outputs/{out}", *flags, **how)


def trained(folder, out, *flags, **how):
    done = train(folder, out, *flags, **how)
    assert done.returncode == 0, done.stderr[-2000:]
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
    return trained(tiny, "watched", *GEN)


@pytest.mark.slow
def test_each_evaluation_has_its_answers_and_the_adapter_is_the_same_as_without(plain, watched):
    assert [row["step"] for row in of_kind(watched, "gen")] == [2, 4] and not of_kind(plain, "gen")
    losses = [[row["loss"] for row in of_kind(run, "train")] for run in (plain, watched)]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert weights(plain) == weights(watched)


@pytest.mark.slow
def test_the_same_validation_rows_are_answered_each_time_and_reach_the_table(tiny, watched):
    validation = {row["id"]: row for row in read_jsonl(tiny / "data/datasets/m/validation.jsonl")}
    first, second = ([one["id"] for one in row["answers"]] for row in of_kind(watched, "gen"))
    assert first == second and len(set(first)) == 4 and set(first) <= set(validation)
    for row in of_kind(watched, "gen"):
        assert all(one["label"] == validation[one["id"]]["label"] for one in row["answers"])
        assert (
            row["n"] == row["direction_n"] == 4
            and row["direction_ci95"] is None
            and row["interval_reason"]
        )
        assert 1 <= row["new_tokens"] <= 16 and row["seconds"] > 0
    tables = [json.loads(path.read_text()) for path in (watched / "wandb").rglob("*.table.json")]
    found = {row[1]: table["data"] for table in tables for row in table["data"]}
    assert [table["columns"] for table in tables] == [
        ["id", "step", "label", "prediction", "text"]
    ] * 2
    for row in of_kind(watched, "gen"):
        assert [cells[0] for cells in found[row["step"]]] == first
        assert [cells[4] for cells in found[row["step"]]] == [one["text"] for one in row["answers"]]


@pytest.mark.slow
def test_killed_after_a_checkpoint_it_goes_on_to_the_same_answers_and_weights(tiny, watched):
    out = tiny / "outputs" / "killed"
    process = train(tiny, "killed", *GEN, wait=False)
    deadline = time.monotonic() + 240
    while not (out / "checkpoint-2/trainer_state.json").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not json.loads((out / "manifest.json").read_text())["result"]
    trained(tiny, "killed", *GEN)
    answers = [
        [(row["step"], row["answers"]) for row in of_kind(run, "gen")] for run in (watched, out)
    ]
    assert answers[0] == answers[1] and weights(out) == weights(watched)
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


@pytest.mark.slow
def test_two_processes_end_together_and_one_of_them_logs(tiny):
    """Answered at the first evaluation, passed over at the second: neither leaves a process waiting."""
    launch = "-m torch.distributed.run --standalone --nproc_per_node 2 -m sft.train"
    share = (
        "--gen_rows",
        "2",
        "--gen_max_new_tokens",
        "8",
        "--gen_time_share",
        "0.0001",
        "--ddp_backend",
        "gloo",
    )
    folder = trained(tiny, "two", *share, module=launch)
    first, second = of_kind(folder, "gen")
    assert len(first["answers"]) == 2 and "the limit of 0% (--gen_time_share)" in second["skipped"]
    assert json.loads((folder / "manifest.json").read_text())["settings"]["world_size"] == 2


# --- without a training --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tiny):
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


def test_generating_leaves_mode_cache_config_and_random_states_as_they_were(made, tmp_path):
    import torch

    from sft.training.sample_answers import answer, ready_to_generate
    from weekahead.models.decoding import SamplingParams

    model, tokenizer, rows = made
    inner = model.get_base_model()
    inner.generation_config.repetition_penalty = (
        5.0  # a base's own wish, which greedy decoding must not follow
    )
    inner.config.use_cache = False
    model.train()
    before = (inner.generation_config, torch.random.get_rng_state())
    texts = []
    for _ in range(2):
        with ready_to_generate(model, arguments(tmp_path)) as ready:
            assert (
                not ready.training
                and ready.config.use_cache
                and ready.generation_config.repetition_penalty is None
            )
            torch.rand(3)
            texts.append(
                [
                    row["generation"]
                    for row in answer(ready, tokenizer, rows[:3], [2], SamplingParams(8, 2))
                ]
            )
    assert texts[0] == texts[1] and len(set(texts[0])) > 1
    assert model.training and all(module.training for module in model.modules())
    assert inner.config.use_cache is False and inner.generation_config is before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_the_numbers_are_those_of_the_metrics_over_the_same_texts(made):
    from eval.metrics.evaluate import evaluate
    from sft.training.sample_answers import measure

    _, _, rows = made
    right, wrong = rows[0]["completion"][0]["content"], rows[1]["completion"][0]["content"]
    texts = [
        right,
        wrong.replace("[Positive Developments]:", "**Positive Developments**"),
        "nothing",
        "",
    ]
    written = [
        {"id": row["id"], "label": row["label"], "answer": row["completion"][0]["content"], "generation": text,
         "new_tokens": 10 * i, "finish_reason": "stop" if i else "length"}
        for i, (row, text) in enumerate(zip(rows, texts, strict=False))
    ]  # fmt: skip
    values, answers = measure(written)
    metrics, _ = evaluate(written)
    assert values["parse_rate_strict"] == metrics["valid_strict"] / 4 == 0.25
    assert values["parse_rate_lenient"] == metrics["valid_lenient"] / 4 == 0.5
    assert values["direction_accuracy"] == metrics["bin_acc"] and values["direction_n"] == 4
    assert (
        values["pros_rouge1"] == metrics["pros_rouge_scores"]["rouge1"]
        and values["anal_rougeL"] > 0
    )
    assert values["new_tokens"] == 15 and values["stop_rate"] == 0.75
    assert [one["prediction"] for one in answers] == [
        rows[0]["label"],
        rows[1]["label"],
        None,
        None,
    ]


def callback(made, folder, share):
    from sft.training.sample_answers import AnswersCallback
    from sft.training.train_log import TrainLog
    from weekahead.models.decoding import SamplingParams
    from weekahead.tracking.run import TrackedRun

    _, tokenizer, rows = made
    train_log = TrainLog(folder / "train_log.jsonl")
    train_log.begin(0)
    return AnswersCallback(
        rows[:2],
        tokenizer,
        [2],
        SamplingParams(8, 2),
        share,
        train_log,
        TrackedRun(folder, None, "disabled"),
    )


def evaluated(one, model, folder, times):
    from transformers import TrainerControl, TrainerState

    for step in range(1, times + 1):
        state = TrainerState(global_step=step, is_world_process_zero=True)
        one.on_evaluate(arguments(folder), state, TrainerControl(), model=model)
    return [row for row in read_jsonl(folder / "train_log.jsonl") if row["kind"] == "gen"]


def test_an_evaluation_goes_without_answers_when_they_have_taken_their_share(
    made, tmp_path, caplog
):
    caplog.set_level("INFO")
    within = evaluated(callback(made, tmp_path / "a", 1e9), made[0], tmp_path / "a", 2)
    assert [len(row["answers"]) for row in within] == [2, 2] and not caplog.records
    over = evaluated(callback(made, tmp_path / "b", 0.1), made[0], tmp_path / "b", 2)
    assert over[0]["answers"] and "answers" not in over[1]
    assert (
        len(caplog.records) == 1 and "would pass the limit of 10% (--gen_time_share)" in caplog.text
    )
    assert over[1]["skipped"] in caplog.text


def test_a_card_too_small_for_the_answers_does_not_end_the_training(made, tmp_path, monkeypatch):
    import torch

    def generate(**how):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made[0].get_base_model(), "generate", generate)
    rows = evaluated(callback(made, tmp_path, 1e9), made[0].train(), tmp_path, 2)
    assert ["fewer --gen_rows" in row["skipped"] for row in rows] == [True, True] and made[
        0
    ].training


def test_the_chosen_rows_do_not_depend_on_the_order_of_the_file():
    from sft.training.sample_answers import choose_rows

    rows = [{"id": f"AAPL-2031-01-{day:02d}"} for day in range(1, 29)]
    chosen = choose_rows(rows, 8)
    assert choose_rows(rows[::-1], 8) == chosen and chosen[:4] == choose_rows(rows, 4)
    assert (
        chosen != rows[:8] and choose_rows(rows[:3], 8) != [] and len(choose_rows(rows[:3], 8)) == 3
    )


def test_a_gpu_answers_eight_rows_and_a_cpu_none_unless_asked(tmp_path):
    from types import SimpleNamespace

    from data_pipeline.dataset.load import TrainData
    from sft.training.arguments import ScriptArguments
    from sft.training.checks import rows_to_answer

    some, none = (TrainData(train=[], validation=rows, source="m", sha256="") for rows in ([{"id": "a"}], []))
    card = SimpleNamespace(use_cpu=False, eval_strategy="steps")
    cpu = SimpleNamespace(use_cpu=True, eval_strategy="steps")
    blind = SimpleNamespace(use_cpu=False, eval_strategy="no")
    auto, three = ScriptArguments(), ScriptArguments(gen_rows=3)
    assert [rows_to_answer(auto, where, some) for where in (card, cpu, blind)] == [8, 0, 0]
    assert rows_to_answer(auto, card, none) == 0 and rows_to_answer(three, cpu, some) == 3
