"""Recall of prices: questions from both layouts of prompts, a model that knows nothing or all."""

import copy
import json
import math
import random
from datetime import date

import pytest
import yaml

from data_pipeline.dataset import public_rows
from eval.memorization import (
    OPTIONS,
    PriceQuestion,
    ask,
    is_recalled,
    last_weekday_before,
    main,
    price_questions,
    prices_of,
    summarize,
)
from tests.data_pipeline.test_fingpt import FIXTURE
from tests.support.records import record
from weekahead.files import read_jsonl, write_jsonl
from weekahead.task.prompt import render_prompt


def made(symbol, end, price, **change):
    """One row whose prompt says what `symbol` cost at the end of the week to `end`."""
    text = f"[Company]: {symbol}.\n\n[Week to {end}]: 1.00 to {price} (+1.0%)\n\nForecast {symbol}."
    prompt = [{"role": "user", "content": text}]
    return {
        "id": f"{symbol}-{end}",
        "symbol": symbol,
        "week_start": end,
        "prompt": prompt,
        **change,
    }


def market(symbols=("AAAA", "BBBB", "CCCC"), weeks=16):
    """(symbol, end) -> a price that nothing but memory tells."""
    draw = random.Random(0)
    return {
        (
            symbol,
            date.fromordinal(date(2031, 1, 5).toordinal() + 7 * week).isoformat(),
        ): f"{draw.uniform(20, 400):.2f}"
        for symbol in symbols
        for week in range(weeks)
    }


def test_prices_come_from_our_price_lines():
    ours = record("AA", 3)
    row = {
        "id": ours.id,
        "symbol": "AA",
        "week_start": ours.week_start,
        "prompt": render_prompt(ours),
    }
    assert prices_of([row]) == {("AA", ours.weeks[-1].end): f"{ours.weeks[-1].close_price:.2f}"}


def test_prices_come_from_the_public_price_lines():
    row = public_rows.convert(read_jsonl(FIXTURE)[2:3], "rows")[0][0]
    assert prices_of([row]) == {("LKMR", "2031-01-12"): "52.02"}
    row["prompt"][1]["content"] = row["prompt"][1]["content"].replace("52.02", "1,052.02")
    assert prices_of([row]) == {("LKMR", "2031-01-12"): "1052.02"}


def test_the_earliest_prompt_tells_a_price_that_was_restated():
    early, late = (
        made("AA", "2031-01-05", "80.00"),
        made("AA", "2031-01-05", "40.00", week_start="2031-01-12", id="x"),
    )
    assert prices_of([late, early]) == {("AA", "2031-01-05"): "80.00"}


@pytest.mark.parametrize(
    ("day", "before"),
    [("2024-02-18", "2024-02-16"), ("2024-02-17", "2024-02-16"), ("2024-02-19", "2024-02-16"),
     ("2024-02-16", "2024-02-15")],
)  # fmt: skip
def test_the_last_weekday_before(day, before):
    assert last_weekday_before(day) == before


def test_a_question_has_the_truth_first_and_no_price_twice():
    questions = price_questions(market(), cutoff=None)
    assert len(questions) == 48
    for question in questions:
        assert question.options[0] == market()[question.symbol, question.week_end]
        assert len(set(question.options)) == len(question.options) == OPTIONS
        assert set(question.options) <= {
            price for (symbol, _), price in market().items() if symbol == question.symbol
        }
    assert (
        questions[0].sentences[0]
        == f"On 2031-01-03, the closing price of AAAA was ${questions[0].options[0]}."
    )
    assert price_questions(market(), cutoff=None) == questions


def test_decoys_come_from_the_same_side_of_the_cutoff():
    cutoff = date(2031, 2, 16)  # the seventh week's end is on it, and counts as before
    side = {price: date.fromisoformat(end) <= cutoff for (_, end), price in market().items()}
    questions = price_questions(market(), cutoff)
    assert {question.before_cutoff for question in questions} == {True, False}
    assert [question.before_cutoff for question in questions].count(True) == 3 * 7
    assert all(
        side[price] == question.before_cutoff
        for question in questions
        for price in question.options
    )


def test_a_symbol_with_too_few_prices_is_not_asked_about():
    few = {key: price for key, price in market(weeks=OPTIONS - 1).items() if key[0] == "AAAA"}
    assert price_questions({**few, ("AAAA", "2031-06-01"): next(iter(few.values()))}, None) == []


def test_a_taste_for_prices_of_any_day_is_at_chance():
    """A taste for low prices wins one question in five, also in a market that only rises."""
    rising = {
        key: f"{10 + place}.00"
        for place, key in enumerate(sorted(market(weeks=200), key=lambda key: key[1]))
    }
    questions = price_questions(rising, date(2032, 12, 1))
    recalled = [
        is_recalled([-float(price) for price in question.options]) for question in questions
    ]
    for side in summarize(questions, recalled).values():
        assert side["share"] == pytest.approx(0.2, abs=0.06)


def test_a_tie_is_no_recall():
    assert not is_recalled([-1.0, -1.0, -2.0])
    assert is_recalled([-1.0, -1.1, -2.0])


def test_a_side_without_questions_is_null():
    questions = [
        PriceQuestion("AA", end, True, ("1.00", "2.00")) for end in ("2031-01-05", "2031-01-12")
    ]
    recall = summarize(questions, [True, False])
    assert recall["after_cutoff"] is None
    assert (recall["before_cutoff"]["share"], recall["before_cutoff"]["ci95"]) == (0.5, None)


@pytest.fixture
def probe(tiny, tmp_path, monkeypatch):
    """Call the command on a base of two layers and the rows of `market`; returns recall.json."""
    rest = {"label": "up by 1-2%", "completion": [{"role": "assistant", "content": "x"}]}
    rows = [
        made(symbol, end, price, week_end=end, **rest) for (symbol, end), price in market().items()
    ]
    write_jsonl(tmp_path / "prices.jsonl", rows)
    monkeypatch.chdir(tmp_path)

    def call(base, **recipe):
        fields = yaml.safe_load((tiny / "recipe.yaml").read_text())
        fields |= {
            "model_name_or_path": str(base),
            "load_in_4bit": False,
            "knowledge_cutoff": "2031-02-16",
            **recipe,
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
        flags = ["--config", "recipe.yaml", "--adapter", "none", "--dataset", "prices.jsonl"]
        return main([*flags, "--out", "out"])

    return call


@pytest.fixture(scope="module")
def small():
    """(model, tokenizer) of two layers, of single characters: it learns by heart in seconds."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = ["<pad>", *map(chr, range(32, 127))]
    characters = Tokenizer(
        models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<pad>")
    )
    characters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token="<pad>")
    torch.manual_seed(0)
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # so small a model only waits for its threads, for minutes on a busy machine
    yield (
        LlamaForCausalLM(LlamaConfig(vocab_size=len(letters), num_key_value_heads=2, **shape)),
        tokenizer,
    )
    torch.set_num_threads(threads)


def learn_by_heart(model, tokenizer, lines, steps):
    """Train `model` in place on what follows the dollar sign of each line."""
    import torch

    encoded = tokenizer(lines, padding=True, padding_side="right", return_tensors="pt")
    ids, start = encoded["input_ids"], lines[0].index("$")
    labels = ids.masked_fill(encoded["attention_mask"] == 0, -100)
    labels[:, : start + 1] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        model(
            input_ids=ids, attention_mask=encoded["attention_mask"], labels=labels
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def recalled_by(model, tokenizer, questions):
    return [is_recalled(logs) for logs in ask(model, tokenizer, questions)]


@pytest.mark.slow
def test_a_model_is_at_chance_until_it_learns_by_heart(small):
    model, tokenizer = small
    questions = price_questions(market(weeks=8), None)
    before = summarize(questions, recalled_by(model, tokenizer, questions))["all"]
    assert before["ci95"][0] < 0.2 < before["ci95"][1]
    learn_by_heart(model, tokenizer, [question.sentences[0] for question in questions], steps=200)
    after = summarize(questions, recalled_by(model, tokenizer, questions))["all"]
    assert after["share"] > 0.8
    assert after["versus_chance"]["verdict"] == "better"


def test_a_model_without_finite_probabilities_is_refused(small):
    model, tokenizer = small
    broken = copy.deepcopy(model)
    next(broken.parameters()).data.fill_(math.nan)
    with pytest.raises(ValueError, match=r"week ending .*no finite probability"):
        ask(broken, tokenizer, price_questions(market(weeks=8), None)[:3])


def test_the_log_probability_is_that_of_the_whole_price(small):
    import torch

    model, tokenizer = small
    question = price_questions(market(weeks=8), None)[0]
    whole = []
    for sentence in question.sentences:
        ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            steps = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        whole.append(float(steps.sum()))
    logs = ask(model, tokenizer, [question])[0]
    # What the sentences share counts the same in all of them.
    assert [value - logs[0] for value in logs] == pytest.approx(
        [value - whole[0] for value in whole], abs=1e-3
    )


def test_the_command_finds_a_base_that_knows_nothing_at_chance(probe, tiny, tmp_path):
    assert probe(tiny / "base") == 0
    recall = json.loads((tmp_path / "out/recall.json").read_text())
    low, high = recall["all"]["ci95"]
    assert low < 0.2 < high
    assert recall["all"]["versus_chance"]["verdict"] == "not shown"
    assert (recall["all"]["n"], recall["before_cutoff"]["n"], recall["after_cutoff"]["n"]) == (
        48,
        21,
        27,
    )
    rows = read_jsonl(tmp_path / "out/recall.jsonl")
    assert sum(row["recalled"] for row in rows) / 48 == pytest.approx(recall["all"]["share"])


def test_without_a_cutoff_there_are_no_sides():
    questions = price_questions(market(), cutoff=None)
    recall = summarize(questions, [True] * len(questions))
    assert (recall["before_cutoff"], recall["after_cutoff"], recall["all"]["n"]) == (None, None, 48)


def test_bad_input_is_one_line_and_no_model_is_loaded(probe, tmp_path, capsys):
    assert probe(tmp_path / "nothing", knowledge_cutoff="December 2023") == 2
    assert "knowledge_cutoff is 'December 2023'" in capsys.readouterr().err
    rows = [row for row in read_jsonl(tmp_path / "prices.jsonl") if row["symbol"] == "AAAA"][:3]
    write_jsonl(tmp_path / "prices.jsonl", rows)
    assert probe(tmp_path / "nothing") == 2
    assert "3 prices in the prompts of 3 rows" in capsys.readouterr().err
