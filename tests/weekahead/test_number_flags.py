"""Numbers of flags that nothing can be reckoned with are refused with a sentence, exit 2."""

import pytest

from data_pipeline.audit.run import main as audit
from data_pipeline.build import main as build
from data_pipeline.fetch import main as fetch
from data_pipeline.fingpt import main as fingpt
from sft.plan import main as plan
from weekahead.hardware.cpu import main as cpu
from weekahead.live import main as live
from weekahead.recipe import PUBLIC_DATASET

HUGE = "1" + "0" * 400
PLAN = ["--config", "recipes/llama.yaml", "--dataset", PUBLIC_DATASET, "--card", "l4"]
FETCH = ["--symbols", "AAPL", "--start", "2025-01-05", "--end", "2025-02-01", "--news", "none"]


def refusal(main, argv, capsys):
    """The last line of a command that exits 2."""
    try:
        status = main(argv)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", HUGE, "1e400"])
@pytest.mark.parametrize(
    "name",
    [
        "gradient_accumulation_steps", "num_train_epochs", "per_device_train_batch_size",
        "per_device_eval_batch_size", "max_length", "lora_r", "lora_alpha", "learning_rate",
        "max_rows", "gen_time_share", "gen_max_new_tokens", "save_total_limit", "cards",
    ],
)  # fmt: skip
def test_plan_refuses_numbers_without_sense(capsys, name, value):
    line = refusal(plan, [*PLAN, f"--{name}", value], capsys)
    assert f"--{name}" in line and value[:40] in line and "expected" in line


@pytest.mark.parametrize("value", ["-1", "nan", "inf", HUGE])
def test_plan_refuses_a_price_without_sense(capsys, value):
    line = refusal(plan, [*PLAN, "--price_per_hour", value], capsys)
    assert "--price_per_hour is" in line and "expected USD, 0 or more and finite" in line


@pytest.mark.parametrize("value", ["0", "-2", HUGE])
def test_plan_refuses_steps_without_sense(capsys, value):
    line = refusal(plan, [*PLAN, "--max_steps", value], capsys)
    assert "expected at least 1, or -1" in line


def test_plan_checks_the_recipe_as_well(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model_name_or_path: meta-llama/Llama-3.1-8B\nlora_r: 0\n")
    line = refusal(plan, ["--config", str(recipe), *PLAN[2:]], capsys)
    assert "--lora_r is 0; expected at least 1" in line


@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (audit, ["none", "--out", "out", "--filing-lag"]),
        (build, ["none", "--answers", "none", "--name", "x", "--gap_weeks"]),
        (fingpt, ["none", "--out", "out", "--gap-weeks"]),
        (fetch, [*FETCH, "--max_weeks"]),
        (fetch, [*FETCH, "--filing_lag"]),
        (fetch, [*FETCH, "--finnhub_per_minute"]),
        (live, ["none", "--every"]),
        (cpu, ["--teraflop"]),
    ],
)
@pytest.mark.parametrize("value", ["-1", "nan", "inf", HUGE])
def test_commands_refuse_numbers_without_sense(tmp_path, monkeypatch, capsys, main, argv, value):
    monkeypatch.chdir(tmp_path)
    line = refusal(main, [*argv, value], capsys)
    assert "expected" in line
