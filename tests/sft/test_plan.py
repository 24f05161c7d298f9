"""`make plan`: what it prints, what it refuses, and its exit status."""

import re

import pytest

from sft.plan import main
from sft.planning.estimate import (
    beside_the_truth,
    check_plan,
    estimate_of,
    job_of,
    plan_for,
)
from tests.support.tiny import ROOT
from weekahead.hardware.cards import card_named
from weekahead.hardware.settings import training_settings
from weekahead.hardware.shapes import PROJECTIONS
from weekahead.recipe import PUBLIC_DATASET

RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if path.stem != "smollm2")


def plan(*words, recipe="llama", dataset=PUBLIC_DATASET):
    return main(["--config", str(ROOT / f"recipes/{recipe}.yaml"), "--dataset", dataset, *words])


def test_one_card_is_told_in_full(capsys):
    assert plan("--card", "l4") == 0
    text = capsys.readouterr().out
    lines = dict(re.findall(r"^(\w+) +(.+)$", text, re.MULTILINE))
    assert lines["verdict"] == "llama on L4: fits"
    assert re.fullmatch(r"7\.\d of 22\.4 GiB \(\d+%\)", lines["memory"])
    parts = [float(size) for size in re.findall(r"^ +(\d+\.\d) GiB  ", text, re.MULTILINE)]
    assert sum(parts) == pytest.approx(float(lines["memory"].split()[0]), abs=0.3)
    assert "tokens/s" in lines["speed"] and "231 steps of 16 rows" in lines["time"]
    assert "kWh at 65 W" in lines["energy"]
    assert "not known" in lines["money"] and "--price_per_hour" in lines["money"]
    assert max(map(len, text.splitlines())) <= 100


def test_a_large_card_is_told_how_to_be_used(capsys):
    """With larger micro-batches and without checkpointing, the same rows per step; a card that has
    no room for more is told nothing."""
    assert plan("--card", "h200") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    line = re.search(r"^faster .*\n(?: .*\n)*", text, re.MULTILINE)[0]
    rows, steps = map(int, re.findall(r"(?:batch_size|accumulation_steps) (\d+)", line))
    assert rows * steps == 16 and "--activation_checkpointing false" in line
    peak = float(re.search(r"at ([\d.]+) GiB", line)[1])
    assert peak < 0.85 * 140.6
    assert plan("--card", "t4") == 0
    assert "faster" not in capsys.readouterr().out


def test_a_price_is_obeyed_and_named(capsys):
    assert plan("--card", "l4", "--price_per_hour", "0.8") == 0
    assert "USD at 0.80 USD per card and hour (as given)" in capsys.readouterr().out
    assert plan("--card", "t4") == 0
    assert "Hugging Face Jobs, t4-small, 2026" in capsys.readouterr().out


def test_without_a_card_all_are_listed(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert plan() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-8:]] == [
        *("t4", "l4", "a10g", "4090", "a100-40", "a100-80", "h100", "h200")
    ]
    assert "GiB" in lines[2]


def test_what_does_not_fit_is_1_with_the_first_remedy(capsys):
    words = ("--card", "t4", "--activation_checkpointing", "false")
    assert plan(*words) == 1
    text = capsys.readouterr().out
    assert "llama on T4: does not fit" in text
    assert 'it fits with ARGS="--activation_checkpointing true"' in text
    assert plan("--card", "t4", "--load_in_4bit", "false") == 1
    assert "it fits with" in capsys.readouterr().out
    dataset = ("--max_length", "9000", "--per_device_train_batch_size", "64")
    assert plan("--card", "t4", *dataset) == 1


def test_nothing_that_helps_names_larger_cards(capsys, tmp_path):
    big = tmp_path / "config.json"
    big.write_text(
        '{"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,'
        '"num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256}'
    )
    assert plan("--card", "l4", "--model_name_or_path", str(tmp_path)) == 1
    assert "take a larger card: CARD=4090 or CARD=a100-40" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_planned_on_every_card(recipe):
    job = job_of(recipe, PUBLIC_DATASET, {}, 1)
    peaks = {key: plan_for(job, card_named(key)).peak for key in ("t4", "l4", "h200")}
    assert peaks["l4"] == peaks["h200"] < peaks["t4"]
    assert plan_for(job, card_named("l4")).verdict == "fits"


def test_rows_on_disk_are_counted_with_the_base_s_tokenizer(tiny, capsys):
    assert plan("--card", "t4", recipe="smollm2", dataset=str(tiny / "data/datasets/m")) == 0
    assert "(counted with the base's tokenizer)" in capsys.readouterr().out


def test_without_a_tokenizer_characters_are_counted_and_said(tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert plan("--card", "l4", dataset=str(tiny / "data/datasets/m")) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "estimated from characters, 4 per token: no tokenizer here" in text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--card", "v100"), "no card 'v100'; expected one of: t4, l4, a10g, 4090, a100-40"),
        (("--card", "l4", "--cards", "3"), "1 x 16 rows per step cannot be shared between 3"),
        (("--card", "l4", "--cards", "0"), "--cards is 0; expected 1 or more"),
        (("--card", "l4", "--learning_rat", "1"), "learning_rat"),
        (("--card", "l4", "--max_length", "2048"), "longer than max_length 2048"),
    ],
)
def test_what_cannot_be_planned_is_refused(words, error, capsys):
    assert plan(*words) == 2
    assert error in capsys.readouterr().err


def test_rows_of_the_hub_are_not_guessed(capsys):
    assert plan("--card", "l4", dataset="some/rows") == 2
    assert "some/rows is not on this disk" in capsys.readouterr().err


class Fields:
    """What TRL's config objects hold, as far as an estimate reads them."""

    def __init__(self, **fields):
        vars(self).update(fields)


def parsed(**changes):
    training = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
        "num_train_epochs": 3.0,
        "max_steps": -1,
        "optim": "adamw_torch_fused",
        "activation_checkpointing": True,
        "world_size": 1,
    }
    model = {"lora_r": 8, "lora_dropout": 0.05, "load_in_4bit": True, "use_bnb_nested_quant": True}
    return Fields(**training | changes), Fields(**model, lora_target_modules=list(PROJECTIONS))


def test_a_training_on_a_known_card_is_estimated_first(monkeypatch):
    base, rows = "meta-llama/Llama-3.1-8B", [2000] * 160
    assert estimate_of(*parsed(), base, rows) is None, "no GPU here"
    monkeypatch.setattr("sft.planning.estimate.card_here", lambda: card_named("l4"))
    assert estimate_of(*parsed(), "some/base", rows) is None
    found = estimate_of(*parsed(), base, rows)
    line = check_plan(found)
    assert re.match(r"estimate: peak 7\.\d of 22\.4 GiB \(fits\), [\d,]+ to [\d,]+ tokens/s$", line)
    truth = beside_the_truth(found, {"peak_memory_bytes": 8 << 30, "tokens_per_second": 1000.4})
    assert truth.startswith("peak memory 8.0 GiB, estimated 7.")
    assert "; 1,000 tokens/s, estimated" in truth
    assert beside_the_truth(found, {}).startswith("peak memory unknown")


def test_an_optimizer_as_an_enum_is_read():
    from transformers.training_args import OptimizerNames

    for name in ("paged_adamw_8bit", OptimizerNames.PAGED_ADAMW_8BIT):
        assert training_settings({"optim": name}, {}).eight_bit_optimizer


def test_a_training_that_cannot_fit_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr("sft.planning.estimate.card_here", lambda: card_named("t4"))
    arguments = parsed(activation_checkpointing=False, per_device_train_batch_size=4)
    found = estimate_of(*arguments, "meta-llama/Llama-3.1-8B", [2000] * 160)
    with pytest.raises(ValueError, match="would run out of memory: take --activation_checkpoint"):
        check_plan(found)
