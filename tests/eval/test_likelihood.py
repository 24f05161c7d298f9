"""The probability of the twelve bins: against plain forward passes, and as a command."""

import json
import math
import random
import shutil
import signal
import time

import pytest

from eval import generate, likelihood
from eval.likelihoods.continuations import (
    CONTINUATIONS,
    DIRECT_PREFIX,
    Choices,
    check_as_in_a_row,
    choices,
    log_probabilities,
    own_prefix,
)
from tests.support.family_tokenizers import family_tokenizer
from tests.support.tiny import command
from weekahead.files import read_jsonl, write_jsonl
from weekahead.models.chat_format import render_prompt_ids, render_row_ids
from weekahead.models.families import FAMILIES
from weekahead.models.loading import Base, load_base, load_tokenizer
from weekahead.task.answer import HEADERS, parse_answer, render_answer
from weekahead.task.labels import BINS

SECTIONS = f"{HEADERS[0]}\n1. Orders rose.\n\n{HEADERS[1]}\n1. Costs rose.\n\n"
OWN = f"{SECTIONS}{HEADERS[2]}\nPrediction:"


def answer(label="up by 1-2%"):
    return render_answer(["Orders rose."], ["Costs rose."], label, "More orders than costs.")


@pytest.fixture(scope="module")
def parts(tiny):
    base = Base(str(tiny / "base"), "smollm2", "float32")
    return load_base(base).eval(), load_tokenizer(base)


def asked(tokenizer, prefixes=(DIRECT_PREFIX, OWN, f"**{OWN}**")):
    """Rows of different lengths; a long one in the middle."""
    words = ["Up or down?", "Orders, costs and the week to come. " * 5, "Who?"]
    prompts = [render_prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in words]
    return [choices(tokenizer, ids, prefix) for ids, prefix in zip(prompts, prefixes, strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_tokenizes_a_bin_as_in_a_row(family):
    check_as_in_a_row(family_tokenizer(family), [{"role": "user", "content": "Up or down?"}])


def test_a_bin_that_is_joined_to_what_follows_is_refused(tiny):
    """A tokenizer that has one token for the end of the line and the next word."""
    tokenizer = load_tokenizer(Base(str(tiny / "base"), "smollm2", "float32"))
    tokenizer.add_tokens(["%\nAnalysis"])
    with pytest.raises(ValueError, match="tokenized otherwise in a training row"):
        check_as_in_a_row(tokenizer, [{"role": "user", "content": "Up or down?"}])


def plain(model, row):
    """Each whole text alone through the model, no cache, no padding, no mask of ours."""
    import torch

    sums = []
    for tail in row.tails:
        ids = torch.tensor([row.shared + tail])
        with torch.inference_mode():
            logs = model(ids).logits[0].float().log_softmax(-1)
        places = range(len(row.shared), ids.shape[1])
        sums.append(sum(logs[at - 1, ids[0, at]].item() for at in places))
    return sums


def test_likelihoods_equal_a_plain_forward_pass_of_each_text(parts):
    model, tokenizer = parts
    rows = asked(tokenizer)
    assert len({len(row.shared) for row in rows}) == 3
    for row, logs in zip(rows, log_probabilities(model, rows, tokenizer.pad_token_id), strict=True):
        assert logs == pytest.approx(plain(model, row), abs=1e-5)
        assert len(set(logs)) == 12


def test_tails_may_differ_from_row_to_row(parts):
    model, _ = parts
    rows = [Choices([5, 6, 7], [[8], [9, 10, 11]]), Choices([5], [[8, 9], [4, 3], [2, 20, 21, 22]])]
    for row, logs in zip(rows, log_probabilities(model, rows, 0), strict=True):
        assert logs == pytest.approx(plain(model, row), abs=1e-5)


def test_all_that_can_follow_a_text_adds_up_to_it_in_bf16_too(tiny):
    """What tails share is read once: read apart, each would be rounded in its own way."""
    model = load_base(Base(str(tiny / "base"), "smollm2", "bfloat16")).eval()
    every = [[9, token] for token in range(model.config.vocab_size)]
    row = Choices([5, 6, 7], [*every, [9]])
    *longer, alone = log_probabilities(model, [row, Choices([5], [[3], [4]])], 0)[0]
    assert math.log(math.fsum(map(math.exp, longer))) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batch_size_and_order_change_nothing(parts, batch_size):
    model, tokenizer = parts
    rows, pad = asked(tokenizer), tokenizer.pad_token_id
    whole = log_probabilities(model, rows, pad)
    order = random.Random(batch_size).sample(range(len(rows)), len(rows))
    for at in range(0, len(order), batch_size):
        batch = order[at : at + batch_size]
        for i, logs in zip(
            batch, log_probabilities(model, [rows[i] for i in batch], pad), strict=True
        ):
            assert logs == pytest.approx(whole[i], abs=1e-5)


@pytest.mark.usefixtures("embedded_model")
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_scored_are_the_tokens_that_training_rows_have(name):
    tokenizer = family_tokenizer(name)
    prompt = [
        {"role": "system", "content": "You are an analyst."},
        {"role": "user", "content": "Up 12%?"},
    ]
    prompt_ids = render_prompt_ids(tokenizer, prompt)
    found = choices(tokenizer, prompt_ids, OWN)
    for label, tail in zip(BINS, found.tails, strict=True):
        _, trained = render_row_ids(
            tokenizer, prompt, [{"role": "assistant", "content": answer(label)}]
        )
        whole = found.shared + tail
        assert whole == (prompt_ids + trained)[: len(whole)]
        # Decoded as a whole: the space before a bin may be shared, and SentencePiece drops one at
        # the start of a text.
        assert tokenizer.decode(whole).endswith(OWN + CONTINUATIONS[label])


def test_a_token_across_the_end_of_the_prefix_is_not_shared():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    merges = [(":", " "), (": ", "U")]
    alphabet = sorted(set("".join(CONTINUATIONS.values()) + OWN))
    vocabulary = {token: i for i, token in enumerate([*alphabet, *map("".join, merges)])}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merges)))
    found = choices(tokenizer, [99], OWN)
    assert found.shared == [99, *tokenizer(OWN[:-1])["input_ids"]]
    for label, tail in zip(BINS, found.tails, strict=True):
        assert tail[0] == vocabulary[": U" if label.startswith("up") else ": "]
        assert found.shared[1:] + tail == tokenizer(OWN + CONTINUATIONS[label])["input_ids"]


@pytest.mark.parametrize(
    ("generation", "prefix"),
    [
        (answer(), OWN),
        (f"<think>\n\n</think>\n\n{answer()}", f"<think>\n\n</think>\n\n{OWN}"),
        (
            f"<think>Prediction: Up by 1-2%</think>{answer()}",
            f"<think>Prediction: Up by 1-2%</think>{OWN}",
        ),
        (
            answer().replace("Prediction: Up by 1-2%", "**Prediction:**  Up by 1-2%"),
            f"{OWN[:-11]}**Prediction:**",
        ),
        (
            answer().replace("1. Orders", "1. Up by 1-2% since Orders"),
            OWN.replace("Orders", "Up by 1-2% since Orders"),
        ),
        (answer() + "\n\n" + answer(), OWN),
        (answer().replace("Up by 1-2%", "Up or down"), None),
        ("I cannot say.", None),
        ("", None),
        (None, None),
    ],
)
def test_own_prefix_ends_where_the_answer_s_prediction_begins(generation, prefix):
    assert own_prefix(generation) == prefix


def test_every_continuation_is_read_as_its_bin():
    for label, text in CONTINUATIONS.items():
        read = parse_answer(f"{OWN}{text}Analysis: More orders.", strict=True)
        assert read.valid and read.prediction.lower() == label


@pytest.fixture(scope="module")
def ask(tiny):
    """Call a command on the tiny base; flags may name other things."""
    recipe, data = str(tiny / "recipe.yaml"), str(tiny / "data/datasets/m")

    def call(out, *flags, main=likelihood.main):
        words = ["--config", recipe, "--adapter", "none", "--dataset", data, "--out", str(out)]
        return main([*words, "--limit", "6", "--batch_size", "4", *flags])

    return call


@pytest.fixture(scope="module")
def whole(ask, tmp_path_factory):
    """The folder of a run with the direct prefix; tests copy it before they write."""
    folder = tmp_path_factory.mktemp("likelihoods") / "whole"
    assert ask(folder, "--prefix", "direct") == 0
    return folder


@pytest.fixture(scope="module")
def answered(ask, tmp_path_factory):
    """The folder of a finished generation; tests copy it before they write."""
    folder = tmp_path_factory.mktemp("likelihoods") / "answered"
    assert ask(folder, "--max_new_tokens", "2", main=generate.main) == 0
    return folder


def likelihoods(folder):
    return [
        {k: v for k, v in row.items() if k != "seconds"}
        for row in read_jsonl(folder / "likelihoods.jsonl")
    ]


def test_one_row_for_each_id_in_the_order_of_the_split(whole, tiny):
    rows, wanted = likelihoods(whole), read_jsonl(tiny / "data/datasets/m/test.jsonl")[:6]
    assert [(row["id"], row["label"]) for row in rows] == [
        (row["id"], row["label"]) for row in wanted
    ]
    train = read_jsonl(tiny / "data/datasets/m/train.jsonl")
    share = sum(row["label"].startswith("up") for row in train) / len(train)
    for row in rows:
        assert list(row["probs"]) == list(BINS) and sum(row["probs"].values()) == pytest.approx(1)
        assert row["up"] == pytest.approx(
            sum(p for label, p in row["probs"].items() if label.startswith("up"))
        )
        assert 0 < row["mass"] < 1 and row["prefix"] == "direct" and row["train_up_share"] == share
    manifest = json.loads((whole / "likelihoods.manifest.json").read_text())
    assert (
        manifest["complete"]
        and manifest["prefixes"] == {"direct": 6}
        and manifest["form"] == "NF4 dequantized"
    )


def test_an_interrupted_run_ends_like_a_whole_one(ask, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "cut")
    log, manifest = tmp_path / "cut/likelihoods.jsonl", tmp_path / "cut/likelihoods.manifest.json"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[4] + lines[1] + b'{"id": "cut off in the mid')
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "complete": False}))
    assert ask(tmp_path / "cut") == 0
    assert "6 rows" in capsys.readouterr().out
    assert likelihoods(tmp_path / "cut") == likelihoods(whole)
    assert json.loads(manifest.read_text())["complete"]


@pytest.mark.slow
def test_a_killed_run_ends_like_a_whole_one(tiny, tmp_path):
    flags = [
        "--config",
        "recipe.yaml",
        "--adapter",
        "none",
        "--dataset",
        "data/datasets/m",
        "--batch_size",
        "1",
    ]
    assert command(tiny, "-m eval.likelihood", *flags, "--out", tmp_path / "whole").returncode == 0
    log = tmp_path / "cut/likelihoods.jsonl"
    started = command(tiny, "-m eval.likelihood", *flags, "--out", tmp_path / "cut", wait=False)
    while started.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    assert started.returncode == -signal.SIGKILL and len(read_jsonl(log)) >= 3
    assert command(tiny, "-m eval.likelihood", *flags, "--out", tmp_path / "cut").returncode == 0
    assert likelihoods(tmp_path / "cut") == likelihoods(tmp_path / "whole")


def test_a_finished_run_is_never_mixed_with_another(ask, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert ask(tmp_path / "a") == 0
    for flags in (["--batch_size", "2"], ["--limit", "5"], ["--split", "validation"]):
        assert ask(tmp_path / "a", *flags) == 2
        assert "other settings" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    (tmp_path / "a/likelihoods.manifest.json").unlink()
    assert ask(tmp_path / "a") == 2
    assert "no likelihoods.manifest.json that says whose" in capsys.readouterr().err


def test_own_answers_are_the_prefix_where_they_can_be_read(ask, answered, whole, tmp_path):
    shutil.copytree(answered, tmp_path / "a")
    rows = read_jsonl(tmp_path / "a/generations.jsonl")
    write_jsonl(
        tmp_path / "a/generations.jsonl",
        [{**row, "generation": row["answer"]} for row in rows[:2]] + rows[2:5],
    )
    assert ask(tmp_path / "a") == 0
    own = likelihoods(tmp_path / "a")
    assert [row["prefix"] for row in own] == ["own"] * 2 + ["direct"] * 4
    assert json.loads((tmp_path / "a/likelihoods.manifest.json").read_text())["prefixes"] == {
        "own": 2,
        "direct": 4,
    }
    direct = likelihoods(whole)
    assert own[0]["probs"] != direct[0]["probs"]
    for mine, theirs in zip(
        own, direct, strict=True
    ):  # beside its own answer each row is asked as all others are
        assert (
            mine["direct"]["logprobs"] == pytest.approx(theirs["logprobs"], abs=0.2)
            and "direct" not in theirs
        )
    for mine, theirs in zip(own[2:], direct[2:], strict=True):
        assert mine["logprobs"] == pytest.approx(
            theirs["logprobs"], abs=0.2
        )  # bf16 where the CPU has it


def test_answers_of_another_run_are_no_prefix(ask, answered, tmp_path, capsys):
    shutil.copytree(answered, tmp_path / "a")
    path = tmp_path / "a/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "adapter_sha256": "of another"}))
    assert ask(tmp_path / "a") == 2
    assert (
        "the answers of another run: adapter_sha256: 'of another' is now None"
        in capsys.readouterr().err
    )
    path.write_text(json.dumps({**manifest, "complete": False}))
    assert ask(tmp_path / "a") == 2
    assert "is not finished; run eval.generate" in capsys.readouterr().err
    assert not (tmp_path / "a/likelihoods.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--limit", "0"), "--limit is 0"),
        (("--batch_size", "0"), "--batch_size is 0"),
        (("--split", "exam"), "exam"),
        (("--prefix", "own"), "generations.jsonl is not there; run eval.generate"),
    ],
)
def test_bad_input_is_one_clear_line(ask, tmp_path, capsys, flags, message):
    assert ask(tmp_path / "x", *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "x").exists()


def test_a_model_that_gives_no_number_is_an_error_and_not_a_row(ask, tiny, tmp_path, capsys):
    import torch
    import yaml
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny / "base", tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tiny / "base")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path / "base")
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump({**recipe, "model_name_or_path": str(tmp_path / "base")})
    )
    assert ask(tmp_path / "x", "--config", str(tmp_path / "r.yaml")) == 2
    assert "weights of the base" in capsys.readouterr().err
    assert not (tmp_path / "x/likelihoods.jsonl").exists()
    with pytest.raises(ValueError, match=r"row r1: the model gives no finite probability \(nan"):
        likelihood.bin_probabilities("r1", [float("nan")] * len(BINS))
