"""Controls of a dataset: calls dealt out again, prompts without news, companies without a name."""

import json
from collections import Counter
from pathlib import Path

import pytest

from data_pipeline.controls import __main__ as command
from data_pipeline.controls.apply import CONTROLS, apply_control
from data_pipeline.controls.masked_names import mask_row, name_variants
from data_pipeline.controls.shuffled_labels import rewrite_prediction, shuffle_labels
from data_pipeline.dataset import public_rows
from data_pipeline.dataset.load import load_dataset
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from weekahead.files import read_jsonl, write_jsonl
from weekahead.schema.rows import user_text
from weekahead.task.answer import parse_answer, render_answer
from weekahead.task.labels import BINS, direction_of, magnitude_of
from weekahead.task.prompt_reader import news_by_week, read_prompt, replace_news

FIXTURE = Path(__file__).parents[1] / "fixtures" / "fingpt_rows.jsonl"


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return write_market(Market(), tmp_path_factory.mktemp("market"), "m")


@pytest.fixture
def public():
    return public_rows.convert(read_jsonl(FIXTURE), "rows")[0]


def splits_of(folder):
    return {
        name: read_jsonl(folder / f"{name}.jsonl")
        for name in ("train", "validation", "test", "test_unseen")
    }


def texts(row):
    return [turn["content"] for turn in row["prompt"] + row["completion"]]


def masked(text, name="Larkmoor Tools Inc", symbol="LKMR"):
    """One line of news in a prompt of ours, masked."""
    prompt = f"[Company]: {name} ({symbol}), a firm.\n\n- {text}"
    row = {"symbol": symbol, "prompt": [{"role": "user", "content": prompt}], "completion": []}
    return user_text(mask_row(row)["prompt"]).split("\n\n- ")[1]


def test_labels_are_shuffled_within_train_and_within_validation(market):
    """Test splits keep theirs."""
    before = splits_of(market)
    after, dropped = shuffle_labels(before, 0)
    assert dropped == []
    for name in ("train", "validation"):
        assert Counter(row["label"] for row in after[name]) == Counter(
            row["label"] for row in before[name]
        )
        assert [row["id"] for row in after[name]] == [row["id"] for row in before[name]]
    assert (after["test"], after["test_unseen"]) == (before["test"], before["test_unseen"])


def test_label_return_and_answer_of_a_shuffled_row_agree(market):
    after, _ = shuffle_labels(splits_of(market), 0)
    for row in after["train"]:
        answer = parse_answer(row["completion"][0]["content"], strict=True)
        assert (answer.direction, answer.magnitude) == (
            direction_of(row["label"]),
            magnitude_of(row["label"]),
        )
        assert (row["weekly_return"] >= 0) == (direction_of(row["label"]) > 0)


def test_a_shuffled_label_depends_on_neither_prompt_nor_week(market):
    before = splits_of(market)["train"]
    after = shuffle_labels({"train": before}, 0)[0]["train"]
    same = [
        direction_of(a["label"]) == direction_of(b["label"])
        for a, b in zip(after, before, strict=True)
    ]
    up = sum(direction_of(row["label"]) > 0 for row in before) / len(before)
    assert sum(same) / len(same) == pytest.approx(up**2 + (1 - up) ** 2, abs=0.08)
    weeks = {row["week_start"] for row in before}
    ups = {
        week: [
            sum(direction_of(row["label"]) > 0 for row in rows if row["week_start"] == week)
            for rows in (before, after)
        ]
        for week in weeks
    }
    assert sum(one != other for one, other in ups.values()) > len(weeks) / 2


def test_the_seed_alone_decides_the_shuffle(market):
    """The order of the splits does not."""
    before = splits_of(market)
    first = shuffle_labels(before, 0)[0]["train"]
    assert shuffle_labels(dict(reversed(before.items())), 0)[0]["train"] == first
    assert shuffle_labels(before, 1)[0]["train"] != first


@pytest.mark.parametrize("label", BINS)
def test_only_the_prediction_of_an_answer_is_rewritten(label):
    text = render_answer(
        ["Up by 1-2% last week."], ["It fell."], "up by 1-2%", "It was Up by 1-2% before."
    )
    expected = text.replace("Prediction: Up by 1-2%", f"Prediction: {label.capitalize()}")
    assert rewrite_prediction(text, label) == expected


def test_public_answers_are_rewritten_or_dropped(public):
    """One without a prediction cannot be rewritten."""
    after, dropped = shuffle_labels({"train": public}, 3)
    unreadable = [
        row["id"] for row in public if not parse_answer(row["completion"][0]["content"]).valid
    ]
    assert [row["id"] for row in dropped] == unreadable == ["LKMR-2031-01-12"]
    assert dropped[0]["split"] == "train" and dropped[0]["reason"] == "its call cannot be rewritten"
    for row in after["train"]:
        answer = parse_answer(row["completion"][0]["content"])
        # A row that drew its own label keeps its answer, here one that contradicted it before.
        assert answer.magnitude == magnitude_of(row["label"]) or row in public


def test_rows_whose_control_is_null_are_no_control(market, tmp_path):
    """As in a Parquet file, where every row has every column."""
    rows = [{**row, "control": None} for row in read_jsonl(market / "test.jsonl")]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    arguments = [str(tmp_path / "rows.jsonl"), "--control", "no_news", "--out"]
    assert command.main([*arguments, str(tmp_path / "out")]) == 0


def test_no_news_is_left_in_public_rows(public):
    """Answers are not touched."""
    changed, dropped, counts = apply_control("no_news", {"test": public})
    assert dropped == [] and counts == {"test": {"changed": len(public), "unchanged": 0}}
    for row, source in zip(changed["test"], public, strict=True):
        assert "[Headline]" not in user_text(row["prompt"]) and "[Summary]" not in user_text(
            row["prompt"]
        )
        assert "stock price" in user_text(row["prompt"]) and "[Basic Financials]" in user_text(
            row["prompt"]
        )
        assert row["completion"] == source["completion"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Larkmoor Tools Inc's lathe", "the company's lathe"),
        ("Larkmoor Tools, Inc. sells", "the company sells"),
        ("The Larkmoor Tools Company (LKMR) sells", "the company (TICKER) sells"),
        ("Larkmoor’s lathe, LKMR’s depot", "the company’s lathe, TICKER’s depot"),
        ("LARKMOOR TOOLS INC REPORTS", "the company REPORTS"),
        ("A depot of Larkmoor Tools Inc. It opens", "A depot of the company. It opens"),
        ("Farvale Tools and Larkmoorland stay", "Farvale Tools and Larkmoorland stay"),
        ("XLKMR and LKMRX stay", "XLKMR and LKMRX stay"),
    ],
)  # fmt: skip
def test_a_name_is_masked_whole_in_part_and_as_a_possessive(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Wald Brisley Co", "Brisley opens a park", "the company opens a park"),
        (
            "Quell & Marden Co",
            "Q&M, Quell and Quell & Marden",
            "the company, the company and the company",
        ),
        (
            "American Quarry Inc",
            "American Quarry and American Lathe",
            "the company and American Lathe",
        ),
        ("O'Dell Foods Corp", "O’Dell's loaf", "the company's loaf"),
    ],
)
def test_parts_and_initials_of_a_name_are_masked(name, text, expected):
    """But not words that many firms share."""
    assert masked(text, name) == expected


def test_variants_never_hold_a_shared_word_or_a_legal_form_alone():
    assert "American" not in name_variants("American Express Co")
    assert not {"Inc", "Co", "&", ""} & set(name_variants("Merrow & Co Inc"))


def test_the_fictional_markets_rows_do_not_say_whose_they_are(market):
    changed, _, counts = apply_control("masked_names", splits_of(market))
    assert counts["train"] == {"changed": 400, "unchanged": 0, "name_unknown": 0}
    for row, source in zip(changed["train"], read_jsonl(market / "train.jsonl"), strict=True):
        assert not any(
            read_prompt(user_text(source["prompt"])).company in text or row["symbol"] in text
            for text in texts(row)
        )
        assert "the company (TICKER)" in user_text(row["prompt"])
        assert parse_answer(texts(row)[-1]).magnitude == magnitude_of(row["label"])
        assert row["id"] == source["id"]


def test_public_rows_do_not_say_whose_they_are(public):
    for row in (mask_row(row) for row in public):
        assert not any(
            word in text
            for text in texts(row)
            for word in ("Larkmoor", "LKMR", "Quill Harbor", "QHBF")
        )


def test_rows_without_a_name_are_counted():
    """And rows in which there is nothing to mask."""
    blank = {
        "id": "a",
        "symbol": "ZZ",
        "prompt": [{"role": "user", "content": "Who?"}],
        "completion": [],
    }
    ticker = {
        "id": "b",
        "symbol": "ZZ",
        "prompt": [{"role": "user", "content": "[Company]: ZZ.\n\nZZ"}],
        "completion": [],
    }
    changed, _, counts = apply_control("masked_names", {"test": [blank, ticker]})
    assert counts == {"test": {"changed": 1, "unchanged": 1, "name_unknown": 1}}
    assert user_text(changed["test"][1]["prompt"]) == "[Company]: TICKER.\n\nTICKER"


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("form", ["ours", "public"])
def test_training_and_evaluation_read_a_control(control, form, market, tmp_path, capsys):
    source, out = market, tmp_path / "out"
    if form == "public":
        source = tmp_path / "public"
        write_jsonl(source / "train.jsonl", read_jsonl(FIXTURE)[:12])
        write_jsonl(source / "test.jsonl", read_jsonl(FIXTURE)[12:])
    assert command.main([str(source), "--control", control, "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["kind"], manifest["control"], manifest["synthetic"]) == (
        "dataset",
        control,
        form == "ours",
    )
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    rows = load_dataset(out).split().rows
    assert [row["id"] for row in rows] == [row["id"] for row in load_dataset(source).split().rows]
    assert [row["label"] for row in rows] == [
        row["label"] for row in load_dataset(source).split().rows
    ]
    train = load_dataset(out).train
    assert {row["control"] for row in [*rows, *train.train]} == {control}
    assert sum(manifest["counts"]["test"].values()) >= len(rows)


def test_bad_controls_and_targets_are_refused(market, tmp_path, capsys):
    """An unknown control, a control of a control, and the source's own folder."""
    with pytest.raises(
        ValueError, match="unknown control 'no_prices'; expected one of: shuffled_labels"
    ):
        apply_control("no_prices", {})
    assert command.main([str(market), "--control", "no_news", "--out", str(tmp_path / "a")]) == 0
    assert (
        command.main(
            [str(tmp_path / "a"), "--control", "masked_names", "--out", str(tmp_path / "b")]
        )
        == 2
    )
    assert "is the control no_news already" in capsys.readouterr().err
    before = {path.name: path.read_bytes() for path in market.iterdir()}
    assert command.main([str(market), "--control", "no_news", "--out", str(market)]) == 2
    assert "holds the source" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in market.iterdir()} == before


def test_real_rows_keep_neither_news_nor_ticker(shared_data):
    rows = load_dataset(shared_data / "dow30" / "test.jsonl").split().rows
    for name in ("no_news", "masked_names"):
        changed, _, counts = apply_control(name, {"test": rows})
        assert (counts["test"]["changed"], counts["test"].get("name_unknown", 0)) == (300, 0)
        for row in changed["test"]:
            text = user_text(row["prompt"])
            assert (
                "[Headline]" not in text
                if name == "no_news"
                else f"{row['symbol']}'s stock price" not in text
            )
            assert "[Basic Financials]" in text and "Based on all the information" in text


def news_of(row):
    return news_by_week(user_text(row["prompt"]))


def test_swapped_news_is_that_of_another_firm_of_the_week(market):
    """Nothing else changes, and the same seed swaps alike."""
    before = splits_of(market)["test"]
    after = apply_control("swapped_news", {"test": before}, 0).splits["test"]
    assert apply_control("swapped_news", {"test": before}, 0).splits["test"] == after
    assert apply_control("swapped_news", {"test": before}, 1).splits["test"] != after
    for row, swapped in zip(before, after, strict=True):
        texts_of = [user_text(each["prompt"]) for each in (row, swapped)]
        assert replace_news(texts_of[0], {}) == replace_news(texts_of[1], {})
        donors = [
            other["symbol"]
            for other in before
            if other["week_start"] == row["week_start"] and news_of(other) == news_of(swapped)
        ]
        assert set(donors) - {row["symbol"]}
        assert swapped | {"prompt": row["prompt"], "control": None} == row | {"control": None}


def test_public_news_is_swapped_by_week(public):
    """A week that the donor does not show has no news; a row alone in its week stays."""
    first, *others = public
    week, period = first["week_start"], first["period"]
    donor = {**others[0], "symbol": "OTHER", "week_start": week, "period": period}
    rows = [first, donor, {**others[1], "week_start": "2001-01-07"}]
    changed, _, counts = apply_control("swapped_news", {"test": rows})
    assert counts == {"test": {"changed": 2, "unchanged": 1}}
    shown = news_of(donor)
    assert news_of(changed["test"][0]) == {end: shown.get(end, "") for end in news_of(first)}
    assert user_text(changed["test"][2]["prompt"]) == user_text(rows[2]["prompt"])


def test_replaced_by_itself_news_stays(market, public):
    for row in [*public, *splits_of(market)["test"]]:
        text = user_text(row["prompt"])
        assert replace_news(text, news_by_week(text)) == text
