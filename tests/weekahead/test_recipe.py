"""Every recipe and every launch configuration, read by the parsers that will read them."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from sft.training.arguments import parse
from weekahead.models.families import EMBEDDED_HUB_ID, FAMILIES
from weekahead.models.precision import Precision
from weekahead.recipe import knowledge_cutoffs

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
LAUNCHES = sorted((ROOT / "accelerate_configs").glob("*.yaml"))
CPU = Precision("fp32", "cpu", "for the test")
# The embedded base is much smaller, so its recipe has settings of its own.
LARGE = [name for name, family in FAMILIES.items() if family.hub_id != EMBEDDED_HUB_ID]


def parsed(recipe, tmp_path, *flags):
    return parse(["--config", str(recipe), "--output_dir", str(tmp_path), *flags], CPU)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_real_parser_takes_every_recipe(recipe, tmp_path):
    script, training, model = parsed(recipe, tmp_path)
    assert script.turn_format and model.model_name_or_path
    assert model.load_in_4bit and model.use_bnb_nested_quant and model.bnb_4bit_quant_type == "nf4"
    assert len(model.lora_target_modules) == 7
    assert training.max_length >= 3200 and training.report_to == ["wandb"]


@pytest.mark.parametrize("name", LARGE)
def test_the_reference_runs_settings_stand(name, tmp_path):
    for suffix, rate, epochs, rank, alpha in (("", 5e-5, 3, 8, 16), ("_t4", 1e-5, 1, 6, 12)):
        _, training, model = parsed(ROOT / "recipes" / f"{name}{suffix}.yaml", tmp_path)
        assert (training.learning_rate, training.num_train_epochs) == (rate, epochs)
        assert (model.lora_r, model.lora_alpha) == (rank, alpha)
        assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (
            1,
            16,
        )
        assert (
            training.lr_scheduler_type == "constant_with_warmup" and training.warmup_steps == 0.03
        )


@pytest.mark.parametrize(
    "path", [*RECIPES, *LAUNCHES], ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_nothing_but_the_precision_module_speaks_of_precision(path):
    assert not {"bf16", "fp16", "mixed_precision", "dtype", "torch_dtype"} & set(
        yaml.safe_load(path.read_text())
    )


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_the_launcher_knows_every_line_of_a_config(path):
    """Read by accelerate itself, which leaves out names of an engine's that it does not know."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(path))
    assert config.num_processes >= config.num_machines
    flags = {action.dest for action in launch_command_parser()._actions}
    assert {*(config.fsdp_config or {}), *(config.deepspeed_config or {})} <= flags


def test_a_mistyped_field_is_an_error_that_names_it(tmp_path):
    recipe = tmp_path / "typo.yaml"
    recipe.write_text((ROOT / "recipes" / "smollm2.yaml").read_text() + "learning_rat: 1.0\n")
    with pytest.raises(ValueError, match="learning_rat"):
        parsed(recipe, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 042", "seed is 042, which is no decimal number"),
        ("max_rows: 1:30", "max_rows is 1:30, which is no decimal number"),
        ("model_revision: 0123456", "or in quotes if it is a text"),
        ("lr_scheduler_kwargs: {num_cycles: 010}", "num_cycles is 010"),
        ("lr_scheduler_kwargs: {num_cycles: 1, num_cycles: 2}", "num_cycles stands in line"),
        ("weight_decay: off", "weight_decay is false; expected a number"),
        ("max_rows: 10.0", "max_rows is '10.0'; expected a whole number"),
        ("torch_compile_backend: no", "torch_compile_backend is false; expected a text in quotes"),
        ("lora_modules_to_save: [lm_head, off]", "lora_modules_to_save is false"),
        ("lora_modules_to_save: [lm_head, [x]]", "lora_modules_to_save holds ['x']"),
        ("report_to: ''", "--report_to is ''"),
    ],
)
def test_a_value_that_yaml_reads_as_another_is_refused(tmp_path, line, message):
    """YAML takes 010 for 8, 1:30 for 90 and off for false, and keeps the last of two names."""
    name = line.partition(":")[0]
    lines = (ROOT / "recipes" / "smollm2.yaml").read_text().splitlines()
    kept = [other for other in lines if not other.startswith(f"{name}:")]
    recipe = tmp_path / "odd.yaml"
    recipe.write_text("\n".join([*kept, line]))
    with pytest.raises(ValueError) as error:
        parsed(recipe, tmp_path)
    assert message in str(error.value)


def test_numbers_may_have_any_clear_form(tmp_path):
    recipe = tmp_path / "clear.yaml"
    lines = (ROOT / "recipes" / "smollm2.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("seed:", "learning_rate:"))]
    clear = ["seed: 0x2a", "learning_rate: 1e-4", "max_rows: 1_000", "weight_decay: 0"]
    recipe.write_text("\n".join([*kept, *clear, "lr_scheduler_kwargs: &a {min_lr_rate: 0.1}"]))
    script, training, _ = parsed(recipe, tmp_path, "--lr_scheduler_type", "cosine_with_min_lr")
    assert (training.seed, training.learning_rate, script.max_rows) == (42, 1e-4, 1000)


def test_a_cutoff_without_a_base_is_that_of_the_recipe(tmp_path):
    (tmp_path / "own.yaml").write_text("model_name_or_path:\nknowledge_cutoff: 2023-12-31\n")
    assert knowledge_cutoffs(tmp_path) == {"own": date(2023, 12, 31)}


@pytest.mark.parametrize("flag", ["--trust_remote_code=true", "--max_rows=0", "--turn_format=gpt"])
def test_what_cannot_work_stops_at_the_arguments(flag, tmp_path):
    with pytest.raises(ValueError, match=flag.lstrip("-").split("=")[0].split("_")[0]):
        parsed(ROOT / "recipes" / "smollm2.yaml", tmp_path, *flag.split("="))


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_accelerate_reads_every_launch_configuration(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes >= 1 and config.use_cpu == (path.stem == "cpu")
