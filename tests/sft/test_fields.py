"""Every field of the three argument classes is obeyed, refused with a reason, or without effect."""

import dataclasses
import importlib.util
import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from sft.training.arguments import argument_classes, parse
from sft.training.fields import DECIDED, HARMLESS, HONOURED
from sft.training.values import _TRACKERS, RANGES, _check_attention
from tests.support.tiny import FP32
from weekahead.models.precision import Precision

ROOT = Path(__file__).parents[2]
BF16 = Precision("bf16", "cpu", "for the test")
OTHER_VALUES = {
    "use_peft": "false",
    "gradient_checkpointing": "false",
    "gradient_checkpointing_kwargs": '{"use_reentrant": true}',
    "truncation_mode": "keep_end",
    "packing_strategy": "wrapped",
    "bnb_4bit_quant_storage": "bfloat16",
    "model_init_kwargs": '{"trust_remote_code": true}',
    "dataset_kwargs": '{"skip_prepare_dataset": true}',
    "fsdp_config": "x.json",
    "parallelism_config": "{}",
    "hub_strategy": "every_save",
    "use_cpu": "false",
    "dtype": "float16",
}
"""Values that the suite does not use, for the fields that take no switch and no text."""


@pytest.fixture(autouse=True)
def launched_plainly(monkeypatch):
    for name in ("MIXED_PRECISION", "USE_FSDP", "USE_DEEPSPEED"):
        monkeypatch.delenv(f"ACCELERATE_{name}", raising=False)


def parsed(folder, *flags, precision=FP32, recipe=ROOT / "recipes/smollm2.yaml"):
    return parse(["--config", str(recipe), "--output_dir", str(folder), *flags], precision)


def refusal(folder, *flags, **options):
    with pytest.raises(ValueError) as error:
        parsed(folder, *flags, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_field_has_one_entry():
    """A field of a newer library fails here until it has been looked at."""
    names = [field.name for owner in argument_classes() for field in fields(owner)]
    entries = [*DECIDED, *HONOURED, *HARMLESS]
    assert sorted(names) == sorted(entries)
    assert set(names) >= RANGES.keys()


@pytest.mark.parametrize("name", sorted(DECIDED))
def test_a_decided_field_refuses_another_value(tmp_path, name):
    takes_switch = bool in {type(value) for value in DECIDED[name].allowed or (False,)}
    value = OTHER_VALUES.get(name, "true" if takes_switch else "something")
    message = refusal(tmp_path, f"--{name}", value)
    assert f"--{name}" in message
    # no text of a command line can be a ParallelismConfig: the parser refuses all
    assert DECIDED[name].because in message or name == "parallelism_config"
    assert not list(tmp_path.iterdir())


def test_the_decided_precision_may_be_repeated(tmp_path):
    training = parsed(tmp_path, "--bf16", "false", "--fp16", "false", "--dtype", "float32").training
    assert not training.bf16 and not training.fp16
    assert "fp32 on cpu" in refusal(tmp_path, "--dtype", "bfloat16")
    assert "bf16 on cpu" in refusal(tmp_path, "--bf16", "false", precision=BF16)


def test_a_token_is_not_repeated(tmp_path):
    assert "hf_abc" not in refusal(tmp_path, "--hub_token", "hf_abc")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--learning_rat 1e-4", "did you mean --learning_rate?"),
        ("--lora-rank 8", "there is no field"),
        ("extra", "'extra' stands where a flag was expected"),
        ("--learning_rate 0", "--learning_rate is 0.0; expected more than 0"),
        ("--learning_rate nan", "--learning_rate is nan"),
        ("--learning_rate inf", "--learning_rate is inf"),
        ("--lora_r 0", "--lora_r is 0; expected at least 1"),
        ("--lora_dropout 1", "--lora_dropout is 1.0; expected at least 0 and less than 1"),
        ("--max_steps 1.5", "--max_steps: invalid int value"),
        ("--seed -1", "--seed is -1"),
        ("--save_total_limit 0", "--save_total_limit is 0; expected at least 1"),
        ("--lr_scheduler_type constant", "constant_with_warmup"),
        ("--optim adafactor --adam_beta2 0.95", "--adam_beta2 0.95 has no effect"),
        ("--attn_implementation kernels-community/flash-attn3", "download code from the Hub"),
        ("--attn_implementation flash_attention_2", "flash_attention_2"),
        ("--packing true", "a row would see its neighbours"),
        ("--padding_free true", "a row would see its neighbours"),
        ("--bnb_4bit_quant_type int4", "--bnb_4bit_quant_type: invalid choice: 'int4'"),
        ("--hub_model_id me/x", "no effect without --push_to_hub true"),
        ("--trackio_space_id me/x", "no effect without --report_to trackio"),
        ("--do_eval true --eval_strategy no", "--eval_strategy is no"),
        ("--eval_packing true", "a row would see its neighbours"),
        ("--pad_to_multiple_of 0", "--pad_to_multiple_of is 0; expected at least 1"),
        ("--pad_to_multiple_of eight", "--pad_to_multiple_of is eight; expected at least 1"),
        ("--dataset_num_proc 0", "--dataset_num_proc is 0; expected at least 1"),
        ("--gradient_checkpointing true", "give --activation_checkpointing, its new name"),
        ("--activation_offloading true", "there is none"),
        ("--activation_checkpointing_kwargs {}", "without --activation_checkpointing true"),
        ('--lr_scheduler_type linear --lr_scheduler_kwargs {"power":2}', "does not take"),
        ('--lr_scheduler_type constant_with_warmup --lr_scheduler_kwargs {"a":2}', "no kwargs"),
        ("--lr_scheduler_kwargs min_lr=3", "expected JSON such as"),
        ("--lr_scheduler_kwargs [1]", "expected JSON such as"),
        ("--lr_scheduler_type warmup_stable_decay", "needs num_decay_steps"),
        ('--lr_scheduler_type polynomial --lr_scheduler_kwargs {"power":"x"}', "a number"),
        ('--lr_scheduler_type greedy --lr_scheduler_kwargs {"patien":1}', "does not take"),
        (
            '--lr_scheduler_type reduce_lr_on_plateau --lr_scheduler_kwargs {"patien":1}',
            "does not take",
        ),
        ("--optim sgd --optim_args momentum=x", "--optim_args has momentum 'x'; expected a number"),
        ("--dataloader_prefetch_factor 0", "expected at least 1"),
        ("--optim adamw_torch --optim_args foo=3", "'foo', which has no effect on --optim adamw"),
        ("--optim sgd --optim_args weight_decay=0.1", "'weight_decay', which has no effect"),
        ("--optim sgd --optim_args momentum=0.9,5", "expected name=value,name=value"),
        ("--optim lion_32bit --adam_epsilon 1e-6", "--adam_epsilon 1e-06 has no effect"),
        ("--loss_type dft --label_smoothing_factor 0.1", "no effect on --loss_type dft"),
        ("--bnb_4bit_quant_type fp4 --load_in_4bit false", "without --load_in_4bit true"),
        ("--greater_is_better true", "no effect without --load_best_model_at_end true"),
        ("--metric_for_best_model eval_loss", "no effect without --load_best_model_at_end true"),
        ("--ddp_backend nccl", "and this is one"),
        ("--report_to wandbb", "--report_to is 'wandbb', which is unknown or not installed"),
        ("--project mine", "W&B's project is WANDB_PROJECT"),
        ('--accelerator_config {"foo":1}', "unexpected keyword argument 'foo'"),
        ("--config recipes/qwen.yaml", "expected one recipe"),
        ("--turn_format alpaca", "alpaca"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, flags, message):
    assert message in refusal(tmp_path, *flags.split())


def test_the_tensorboard_that_is_named_is_the_one_of_the_tests():
    pinned = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert _TRACKERS["tensorboard"] in pinned


@pytest.mark.parametrize("name", ["trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_named_with_its_remedy(tmp_path, name):
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    message = refusal(tmp_path, "--report_to", name)
    assert f"--report_to {name} needs a package that is not installed" in message
    assert f".venv/bin/python -m pip install {name}==" in message


@pytest.mark.parametrize(
    "flags",
    [
        '--lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs {"min_lr_rate":0.1}',
        '--lr_scheduler_type warmup_stable_decay --lr_scheduler_kwargs {"num_decay_steps":3}',
        '--lr_scheduler_type polynomial --lr_scheduler_kwargs {"power":2}',
        "--lr_scheduler_type reduce_lr_on_plateau --lr_scheduler_kwargs "
        '{"patience":1,"mode":"min","min_lr":1e-6}',
        '--lr_scheduler_type greedy --lr_scheduler_kwargs {"patience":3}',
        "--optim sgd --optim_args momentum=0.9,nesterov=true",
        "--optim paged_lion_8bit --adam_beta2 0.95",
        "--optim paged_adamw_8bit --adam_epsilon 1e-6",
        "--save_strategy best --metric_for_best_model eval_loss",
        "--lora_target_modules all-linear",
    ],
)
def test_what_can_work_is_not_refused(tmp_path, flags):
    parsed(tmp_path, *flags.split())


def test_several_trackers_stand_in_a_recipe_or_after_the_flag(tmp_path):
    recipe = tmp_path / "mine.yaml"
    stated = yaml.safe_load((ROOT / "recipes/smollm2.yaml").read_text())
    recipe.write_text(yaml.safe_dump(stated | {"report_to": ["wandb", "none"]}))
    assert parsed(tmp_path, recipe=recipe).training.report_to == ["wandb", "none"]
    assert parsed(tmp_path, "--report_to", "wandb", "none").training.report_to == ["wandb", "none"]


def test_the_word_no_needs_no_quotes_in_a_recipe(tmp_path):
    stated = (ROOT / "recipes/smollm2.yaml").read_text()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(stated.replace("eval_strategy: epoch", "eval_strategy: no"))
    assert parsed(tmp_path, recipe=recipe).training.eval_strategy == "no"


def test_the_old_name_of_checkpointing_in_a_recipe(tmp_path):
    stated = yaml.safe_load((ROOT / "recipes/smollm2.yaml").read_text())
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(stated | {"gradient_checkpointing": True}))
    assert "give --activation_checkpointing" in refusal(tmp_path, recipe=recipe)


@pytest.mark.slow
def test_every_name_of_a_lora_target_is_of_the_base(small):
    """PEFT leaves a name out that is none, and takes the name of one module for a pattern."""
    from peft import LoraConfig

    from sft.training.trainer import check_targets, own_targets
    from weekahead.models.loading import load_base

    model = load_base(small.base)
    assert own_targets(model, "q_proj") == ["q_proj"]
    assert own_targets(model, "all-linear") == "all-linear"
    assert own_targets(model, ".*(q|v)_proj") == ".*(q|v)_proj"
    check_targets(model, LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]))
    for flag, fields_ in (
        ("--lora_target_modules has 'no_proj'", {"target_modules": ["q_proj", "no_proj"]}),
        ("--lora_modules_to_save has 'nohead'", {"modules_to_save": ["nohead"]}),
        ("--lora_target_parameters has 'foo'", {"target_parameters": ["foo"]}),
    ):
        with pytest.raises(ValueError, match=flag):
            check_targets(model, LoraConfig(**fields_))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_USE_FSDP", "true"),
        ("ACCELERATE_USE_DEEPSPEED", "true"),
    ],
)
def test_an_accelerate_config_cannot_ask_for_more(tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert "the accelerate config asks for" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("learning_rat: 1.0e-4", "did you mean --learning_rate?"),
        ("learning_rate: fast", "mine.yaml: learning_rate is 'fast'; expected a number"),
        ("learning_rate: [1, 2]", "learning_rate is a list"),
        ("learning_rate: {a: 1}", "learning_rate is a mapping"),
        ("learning_rate:", "learning_rate has no value"),
        ("max_steps: 1.5", "mine.yaml: max_steps is '1.5'; expected a whole number"),
        ("load_in_4bit: 'on'", "load_in_4bit is 'on'; expected true or false"),
        ("env: {WANDB_MODE: disabled}", "env is not read"),
        ("seed: 1\nseed: 2", "seed stands in line"),
    ],
)
def test_a_wrong_line_of_a_recipe_is_named(tmp_path, lines, message):
    text = (ROOT / "recipes/smollm2.yaml").read_text()
    names = {line.partition(":")[0] for line in lines.splitlines()}
    kept = [line for line in text.splitlines() if line.partition(":")[0] not in names]
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("\n".join([*kept, lines]))
    reason = refusal(tmp_path / "out", recipe=recipe)
    assert message in reason


def test_values_of_a_recipe_are_read_as_flags_are(tmp_path):
    """YAML takes 1e-4 for a text and a day without quotes for a date."""
    recipe = yaml.safe_load((ROOT / "recipes/smollm2.yaml").read_text())
    lines = yaml.safe_dump(recipe).replace("learning_rate: 0.001", "learning_rate: 1e-4")
    path = tmp_path / "mine.yaml"
    path.write_text(lines.replace("'2024-11-02'", "2024-11-02"))
    script, training, model = parsed(tmp_path / "out", recipe=path)
    assert training.learning_rate == 1e-4 and script.knowledge_cutoff == "2024-11-02"
    assert model.lora_target_modules == recipe["lora_target_modules"]


def test_an_args_file_beside_the_command_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "train.args").write_text("--learning_rate 9")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "train.py")])
    assert parsed(tmp_path / "out").training.learning_rate == 1e-3


HONOURED_CASES = {
    "--attn_implementation eager": {"attention": "eager"},
    "--attn_implementation sdpa": {"attention": "sdpa"},
    "--attn_implementation sdpa_expanded": {"attention": "sdpa_expanded"},
    "--bnb_4bit_quant_type fp4": {"quantization": {"bnb_4bit_quant_type": "fp4"}},
    "--use_bnb_nested_quant false": {"quantization": {"bnb_4bit_use_double_quant": False}},
    "--load_in_4bit false": {"quantization": None, "base_dtype": "float32"},
    "--lora_r 3 --lora_alpha 5 --lora_dropout 0.25": {
        "lora_r": 3,
        "lora_alpha": 5,
        "lora_dropout": 0.25,
    },
    "--lora_target_modules q_proj o_proj": {"lora_targets": ["o_proj", "q_proj"]},
    "--lora_target_modules q_proj": {"lora_targets": ["q_proj"]},
    "--lora_target_modules .*(q|v)_proj": {"lora_targets": [".*(q|v)_proj"]},
    "--use_rslora true": {"use_rslora": True},
    "--use_dora true": {"use_dora": True},
    "--activation_checkpointing true": {"activation_checkpointing": True},
    "--optim adafactor": {"optimizer": "Adafactor"},
    "--learning_rate 3e-4": {"learning_rate": 3e-4},
    "--per_device_train_batch_size 2 --gradient_accumulation_steps 3": {"rows_per_step": 6},
    "--max_steps 2": {"planned_steps": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("flags", sorted(HONOURED_CASES))
def test_what_was_asked_is_what_was_used(tiny, tmp_path, monkeypatch, flags):
    """The facts are read from the trained objects, so a field that is ignored shows here."""
    from data_pipeline.dataset.load import load_dataset
    from sft.training.trainer import build_trainer
    from sft.training.used import used_facts
    from weekahead.models.loading import base_from_recipe, load_tokenizer

    monkeypatch.chdir(tiny)
    common = ["--max_steps", "1", "--report_to", "none", "--eval_strategy", "no"]
    common += ["--save_strategy", "no", "--gradient_accumulation_steps", "1"]
    recipe = tiny / "recipe.yaml"
    script, training, model = parsed(tmp_path, *common, *flags.split(), recipe=recipe)
    stated = {
        "model_name_or_path": model.model_name_or_path,
        "turn_format": script.turn_format,
        "load_in_4bit": model.load_in_4bit,
        "bnb_4bit_quant_type": model.bnb_4bit_quant_type,
        "use_bnb_nested_quant": model.use_bnb_nested_quant,
    }
    base = base_from_recipe(stated, FP32)
    data = load_dataset("data/datasets/m").train
    few = dataclasses.replace(data, train=data.train[:6], validation=[])
    tokenizer = load_tokenizer(base)
    trainer = build_trainer(base, tokenizer, few, training, model, callbacks=[])
    trainer.train()
    used = used_facts(trainer)
    for name, expected in HONOURED_CASES[flags].items():
        if isinstance(expected, dict):
            assert used[name].items() >= expected.items()
        else:
            assert used[name] == expected
    json.dumps(used)


def test_scores_that_overflow_in_fp16_are_refused():
    """The check alone: fp16 arguments can only be made on a GPU."""
    fp16 = Precision("fp16", "cuda", "as on a T4")
    with pytest.raises(ValueError, match="sdpa keeps them in fp32"):
        _check_attention({"attn_implementation": "eager"}, fp16)
    _check_attention({"attn_implementation": "sdpa"}, fp16)
    _check_attention({"attn_implementation": "eager"}, Precision("bf16", "cuda", "x"))
