"""The price-recall probe: its questions from both forms of prompts, and a model that knows nothing or everything."""

import json
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
    prices_of,
    questions,
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


def test_a_question_names_the_day_and_has_the_truth_first_and_no_price_twice():
    asked = questions(market(), cutoff=None)
    assert len(asked) == 48
    for one in asked:
        assert one.options[0] == market()[one.symbol, one.week_end]
        assert len(set(one.options)) == len(one.options) == OPTIONS
        assert set(one.options) <= {
            price for (symbol, _), price in market().items() if symbol == one.symbol
        }
    assert (
        asked[0].sentences[0]
        == f"On 2031-01-03, the closing price of AAAA was ${asked[0].options[0]}."
    )
    assert questions(market(), cutoff=None) == asked


def test_decoys_come_from_the_same_side_of_the_cutoff():
    cutoff = date(2031, 2, 16)  # the seventh week's end is on it, and counts as before
    side = {price: date.fromisoformat(end) <= cutoff for (_, end), price in market().items()}
    asked = questions(market(), cutoff)
    assert {one.before_cutoff for one in asked} == {True, False}
    assert sum(one.before_cutoff for one in asked) == 3 * 7
    assert all(side[price] == one.before_cutoff for one in asked for price in one.options)


def test_a_symbol_with_too_few_prices_is_not_asked_about():
    few = {key: price for key, price in market(weeks=OPTIONS - 1).items() if key[0] == "AAAA"}
    assert questions({**few, ("AAAA", "2031-06-01"): next(iter(few.values()))}, None) == []


def test_whoever_likes_prices_for_themselves_and_not_for_their_day_is_at_chance():
    """A taste for low prices wins one question in five, in a market that only rises too, on both sides."""
    rising = {
        key: f"{10 + place}.00"
        for place, key in enumerate(sorted(market(weeks=200), key=lambda key: key[1]))
    }
    asked = questions(rising, date(2032, 12, 1))
    recalled = [is_recalled([-float(price) for price in one.options]) for one in asked]
    for side in summarize(asked, recalled).values():
        assert side["share"] == pytest.approx(0.2, abs=0.06)


def test_a_tie_is_no_recall():
    assert not is_recalled([-1.0, -1.0, -2.0])
    assert is_recalled([-1.0, -1.1, -2.0])


def test_a_side_without_questions_is_null():
    asked = [
        PriceQuestion("AA", end, True, ("1.00", "2.00")) for end in ("2031-01-05", "2031-01-12")
    ]
    found = summarize(asked, [True, False])
    assert found["after_cutoff"] is None
    assert (found["before_cutoff"]["share"], found["before_cutoff"]["ci95"]) == (0.5, None)


@pytest.fixture
def probe(tiny, tmp_path, monkeypatch):
    """Call the command on a base of two layers and the rows of `market`; returns recall.json."""
    write_jsonl(tmp_path / "prices.jsonl", (
        made(symbol, end, price, week_end=end, label="up by 1-2%", completion=[{"role": "assistant", "content": "x"}])
        for (symbol, end), price in market().items()
    ))  # fmt: skip
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
        flags = [
            "--config",
            "recipe.yaml",
            "--adapter",
            "none",
            "--dataset",
            "prices.jsonl",
            "--out",
            "out",
        ]
        return main(flags)

    return call


@pytest.fixture(scope="module")
def small():
    """(model, tokenizer) of two layers that read single characters, so that learning by heart takes seconds."""
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


def test_a_model_is_at_chance_until_it_learns_the_prices_by_heart(small):
    model, tokenizer = small
    asked = questions(market(weeks=8), None)
    before = summarize(asked, [is_recalled(logs) for logs in ask(model, tokenizer, asked)])["all"]
    assert before["ci95"][0] < 0.2 < before["ci95"][1]
    learn_by_heart(model, tokenizer, [one.sentences[0] for one in asked], steps=200)
    after = summarize(asked, [is_recalled(logs) for logs in ask(model, tokenizer, asked)])["all"]
    assert after["share"] > 0.8
    assert after["versus_chance"]["verdict"] == "better"


def test_the_log_probability_is_that_of_the_whole_price(small):
    import torch

    model, tokenizer = small
    one = questions(market(weeks=8), None)[0]
    whole = []
    for sentence in one.sentences:
        ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            steps = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        whole.append(float(steps.sum()))
    found = ask(model, tokenizer, [one])[0]
    # What the sentences share counts the same in all of them.
    assert [value - found[0] for value in found] == pytest.approx(
        [value - whole[0] for value in whole], abs=1e-3
    )


def test_the_command_finds_a_base_that_knows_nothing_at_chance(probe, tiny, tmp_path):
    assert probe(tiny / "base") == 0
    found = json.loads((tmp_path / "out/recall.json").read_text())
    low, high = found["all"]["ci95"]
    assert low < 0.2 < high
    assert found["all"]["versus_chance"]["verdict"] == "not shown"
    assert (found["all"]["n"], found["before_cutoff"]["n"], found["after_cutoff"]["n"]) == (
        48,
        21,
        27,
    )
    rows = read_jsonl(tmp_path / "out/recall.jsonl")
    assert sum(row["recalled"] for row in rows) / 48 == pytest.approx(found["all"]["share"])


def test_without_a_cutoff_there_are_no_sides():
    asked = questions(market(), cutoff=None)
    found = summarize(asked, [True] * len(asked))
    assert (found["before_cutoff"], found["after_cutoff"], found["all"]["n"]) == (None, None, 48)


def test_bad_input_is_one_clear_line_and_no_model_is_loaded(probe, tmp_path, capsys):
    assert probe(tmp_path / "nothing", knowledge_cutoff="December 2023") == 2
    assert "knowledge_cutoff is 'December 2023'" in capsys.readouterr().err
    rows = [row for row in read_jsonl(tmp_path / "prices.jsonl") if row["symbol"] == "AAAA"][:3]
    write_jsonl(tmp_path / "prices.jsonl", rows)
    assert probe(tmp_path / "nothing") == 2
    assert "3 prices in the prompts of 3 rows" in capsys.readouterr().err
