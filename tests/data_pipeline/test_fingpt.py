"""Public rows into ours: wrapping, wording, labels, the folder.

The firms and texts of the fixture are invented.
"""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from data_pipeline import fingpt
from data_pipeline.dataset import public_rows
from data_pipeline.dataset.public_text import (
    last_week_return,
    repair_answer,
    repair_prompt,
    repair_text,
    unwrap,
)
from data_pipeline.dataset.writer import write_dataset
from weekahead.files import read_jsonl, sha256, write_jsonl

FIXTURE = Path(__file__).parents[1] / "fixtures" / "fingpt_rows.jsonl"


@pytest.fixture
def public():
    return read_jsonl(FIXTURE)


def converted(rows, wording="repaired"):
    return public_rows.convert(rows, "rows", wording)[0]


def test_a_row_has_the_fields_of_a_dataset_row(public):
    row = converted(public)[2]
    assert {name: value for name, value in row.items() if name not in ("prompt", "completion")} == {
        "id": "LKMR-2031-01-12",
        "symbol": "LKMR",
        "week_start": "2031-01-12",
        "week_end": "2031-01-19",
        "decision_time": "2031-01-12T00:00:00+00:00",
        "period": "2031-01-12 to 2031-01-19",
        "label": "down by 0-1%",
        "weekly_return": None,
        "last_week_return": pytest.approx(0.02),
        "teacher": "gpt-4, told the label",
        "prompt_version": "fingpt-1",
    }
    assert [turn["role"] for turn in row["prompt"] + row["completion"]] == [
        "system",
        "user",
        "assistant",
    ]


def test_no_llama_2_wrapping_is_left_in_any_message(public):
    texts = [turn["content"] for row in converted(public) for turn in row["prompt"]]
    assert not any(
        mark in text for text in texts for mark in ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
    )


def test_companies_are_asked_about_stock(public):
    """News about cryptocurrencies keeps its words."""
    rows = converted(public)
    assert all(
        "cryptocurrency price movement for next week" not in row["prompt"][1]["content"]
        for row in rows
    )
    assert all("stock price movement for next week" in row["prompt"][1]["content"] for row in rows)
    assert "a cryptocurrency price movement display" in rows[1]["prompt"][1]["content"]


def test_a_prompt_for_cryptocurrencies_keeps_its_asset():
    user = (
        "Then make your prediction of the XYZ cryptocurrency price movement for next week (A to B)."
    )
    assert repair_prompt("You are a seasoned crypto market analyst.", user)[1] == user


def test_the_system_prompt_shows_the_header_of_the_answers(public):
    for row in converted(public):
        assert "[Prediction & Analysis]:\n" in row["prompt"][0]["content"]
    assert "[Prediction & Analysis]::" not in repair_prompt("[Prediction & Analysis]:", "")[0]


def test_the_original_wording_is_not_changed(public):
    """It is the text inside the wrapping to the letter."""
    for row, ours in zip(public, converted(public, "original"), strict=True):
        system, user = (turn["content"] for turn in ours["prompt"])
        assert f"[INST]<<SYS>>\n{system}\n<</SYS>>\n\n{user}[/INST]" == row["prompt"]
        assert ours["completion"][0]["content"] == row["answer"]
        assert ours["prompt_version"] == "fingpt-0"


@pytest.mark.parametrize(
    ("text", "repaired", "kinds"),
    [
        ("Larkmoor\u00e2\u0080\u0099s", "Larkmoor\u2019s", {"mojibake": 1}),
        ("Larkmoor\u00e2\u20ac\u2122s", "Larkmoor\u2019s", {"mojibake": 1}),
        ("a\u00e2\u0080\u0093b\u00c2\u00a0c\u00c2\u00ae", "a\u2013b\u00a0c\u00ae", {"mojibake": 3}),
        ("\u00f0\u009f\u0093\u0088", "\U0001f4c8", {"mojibake": 1}),
        ("\u00c3\u00a9t\u00c3\u00a9", "\u00e9t\u00e9", {"mojibake": 2}),
        ("\u00e9t\u00e9 \u00c2ge p\u00e2t\u00e9 \u00ae \u00a0 \u2019 \u2026 \u20ac5", None, {}),
        ("Johnson &amp; Johnson", "Johnson & Johnson", {"html_entity": 1}),
        ("it&#39;s it&amp;#39;s &quot;it&quot;", "it's it's \"it\"", {"html_entity": 4}),
        ("AT&T; R&D; &unknown; a & b", None, {}),
        ("&lt;think&gt; &lt;|end_of_text|&gt;", None, {}),
    ],
)
def test_only_what_is_surely_broken_is_repaired(text, repaired, kinds):
    assert repair_text(text) == (text if repaired is None else repaired, Counter(kinds))


def test_answers_lose_stray_white_space_and_keep_their_lines():
    text, repairs = repair_answer(
        "[Prediction and Analysis]: \nPrediction: Up by 1-2%\n   Analysis: x. \n"
    )
    assert text == "[Prediction & Analysis]:\nPrediction: Up by 1-2%\n   Analysis: x."
    assert repairs == {"answer_outer_space": 1, "answer_line_space": 1, "answer_header": 1}


PRICES = (
    "From 2031-01-05 to 2031-01-12, LKMR's stock price {} from {} to {}. News during this period\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PRICES.format("increased", "1,000.00", "1,010.00"), 0.01),
        (PRICES.format("decreased", "50.00", "49.00"), -0.02),
        (PRICES.format("increased", "50.00", "50.00"), 0.0),
        (PRICES.replace("01-12", "01-11").format("increased", "50.00", "51.00"), None),
        (PRICES.format("increased", "0.00", "1.00"), None),
        ("[Summary]: the stock price increased from 10.00 to 12.00.", None),
        ("", None),
    ],
)
def test_last_week_return_is_read_from_the_last_price_line(text, expected):
    assert last_week_return(text, "2031-01-12") == (
        None if expected is None else pytest.approx(expected)
    )


@pytest.mark.parametrize("prompt", ["", "Tell me.", "[INST]no system[/INST]"])
def test_a_prompt_without_its_wrapping_is_an_error(prompt):
    with pytest.raises(ValueError, match=r"expected \[INST\]<<SYS>>"):
        unwrap(prompt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "up a lot"}, "rows, row 1: unknown label 'up a lot'; expected one of"),
        ({"period": "2031"}, "rows, row 1: period is '2031'; expected two dates"),
        ({"period": "2031-01-12 to 2031-01-05"}, "expected two dates in order"),
        ({"answer": None}, "rows, row 1: column answer is None"),
        ({"symbol": ""}, "rows, row 1: column symbol is ''"),
    ],
)
def test_a_bad_value_is_named_with_row_and_column(public, change, message):
    with pytest.raises(ValueError) as error:
        public_rows.convert([{**public[0], **change}], "rows")
    assert message in str(error.value)


def test_missing_columns_no_rows_and_repeated_ids_are_errors(public):
    short = {name: value for name, value in public[1].items() if name != "label"}
    for rows, message in [
        (
            [public[0], short],
            "rows, row 2: missing column label; expected prompt, answer, period, label, symbol",
        ),
        ([], "rows: no rows"),
        (
            [public[0], public[1], public[0]],
            "rows, row 3: the id LKMR-2031-01-05 stands in row 1 already",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            public_rows.convert(rows, "rows")


def test_training_answers_that_contradict_labels_are_dropped(public):
    """Test rows stay."""
    built = public_rows.build_public_rows({"train": public}, {"train": "train"}, gap_weeks=0)
    assert [row["id"] for row in built.dropped] == ["LKMR-2031-01-12", "QHBF-2031-01-12"]
    assert built.dropped[0]["reason"].startswith("answer: ")
    assert built.dropped[1]["reason"] == "answer names another bin than the label"
    dataset = public_rows.build_public_rows({"test": public}, {"test": "test"})
    assert dataset.dropped == []
    assert len(dataset.splits["test"]) == len(public)
    assert list(dataset.unreadable) == ["LKMR-2031-01-12", "QHBF-2031-01-12"]


def test_the_command_writes_a_folder_that_accounts_for_every_row(public, tmp_path, capsys):
    write_jsonl(tmp_path / "in" / "train.jsonl", public[:14])
    write_jsonl(tmp_path / "in" / "test.jsonl", public[14:])
    out = tmp_path / "out"
    assert fingpt.main([str(tmp_path / "in"), "--out", str(out), "--gap-weeks", "1"]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    rows = {
        name: read_jsonl(out / f"{name}.jsonl")
        for name in ("train", "validation", "test", "dropped")
    }
    assert {name: len(split) for name, split in rows.items()} == {
        "train": 6, "validation": 2, "test": 2, "dropped": 6,
    }  # fmt: skip
    weeks = [{row["week_start"] for row in rows[name]} for name in ("train", "validation", "test")]
    assert not weeks[0] & weeks[1] and not (weeks[0] | weeks[1]) & weeks[2]
    assert manifest["kind"] == "dataset"
    assert manifest["read"] == {"test": 2, "train": 14}
    assert manifest["dropped"]["gap"] == 4
    assert manifest["repaired"]["asset_wording"] == manifest["repaired"]["header_colon"] == 16
    assert manifest["splits"]["test"]["sha256"] == sha256(out / "test.jsonl")
    assert manifest["train_majority"] == (
        1 if sum("up" in row["label"] for row in rows["train"]) >= 3 else -1
    )
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


def test_a_file_named_test_stays_whole(public, tmp_path):
    write_jsonl(tmp_path / "test.jsonl", public)
    assert fingpt.main([str(tmp_path / "test.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dropped.jsonl",
        "manifest.json",
        "test.jsonl",
    ]
    assert len(read_jsonl(tmp_path / "out" / "test.jsonl")) == len(public)


def test_a_second_build_is_the_same_and_replaces_the_first_whole(public, tmp_path):
    out = tmp_path / "out"
    assert fingpt.main([str(FIXTURE), "--out", str(out)]) == 0
    first = {name: sha256(out / f"{name}.jsonl") for name in ("train", "validation", "dropped")}
    write_jsonl(out / "test.jsonl", [{"left": "over"}])
    assert fingpt.main([str(FIXTURE), "--out", str(out)]) == 0
    assert {name: sha256(out / f"{name}.jsonl") for name in first} == first
    assert not (out / "test.jsonl").exists()


def test_dates_do_not_depend_on_the_machines_time_zone(tmp_path, monkeypatch):
    contents = []
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):  # 22 hours apart
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert fingpt.main([str(FIXTURE), "--out", str(tmp_path / zone)]) == 0
        files = (tmp_path / zone).glob("*.jsonl")
        contents.append({path.name: path.read_bytes() for path in files})
    monkeypatch.undo()
    time.tzset()
    assert contents[0] == contents[1] and contents[0]


def test_a_folder_with_other_things_is_never_replaced(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("three years of work")
    assert fingpt.main([str(FIXTURE), "--out", str(tmp_path)]) == 2
    assert "holds something other than a dataset" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_an_interrupt_leaves_the_old_folder_and_no_rest(tmp_path, public):
    out = tmp_path / "out"
    write_dataset(out, {"test": converted(public)}, [])
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def interrupted():
        yield converted(public)[0]
        raise KeyboardInterrupt

    class Rows(list):
        def __iter__(self):
            return interrupted()

    with pytest.raises(KeyboardInterrupt):
        write_dataset(out, {"test": Rows(converted(public))}, [])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys):
    bad = tmp_path / "rows.jsonl"
    bad.write_bytes(FIXTURE.read_bytes()[:-200])
    assert fingpt.main([str(bad), "--out", str(tmp_path / "out")]) == 2
    assert f"{bad}, line 16: not JSON" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_real_rows_keep_their_counts(shared_data):
    """300 test rows stay, one of 246 training answers has no prediction; all repairs."""
    source = {
        name: read_jsonl(shared_data / "dow30" / f"{name}.jsonl") for name in ("train", "test")
    }
    built = public_rows.build_public_rows(source, {name: name for name in source})
    faults = [row for row in built.dropped if row["reason"].startswith("answer")]
    assert [row["id"] for row in faults] == ["DOW-2023-07-16"]
    assert sorted(built.unreadable) == ["GS-2024-04-14", "KO-2024-03-31", "UNH-2024-03-17"]
    assert len(built.splits["test"]) == 300
    assert len(built.splits["train"]) + len(built.splits["validation"]) + len(built.dropped) == 246
    assert built.repaired == {
        "asset_wording": 546, "header_colon": 546, "mojibake": 64, "html_entity": 12,
        "answer_outer_space": 50, "answer_line_space": 532, "answer_header": 4,
    }  # fmt: skip
    prompts = [row["prompt"][1]["content"] for rows in built.splits.values() for row in rows]
    assert not any("cryptocurrency price movement" in text for text in prompts)
    assert not any(mark in text for text in prompts for mark in ("\u00e2\u0080", "\u00c2", "&amp;"))


def test_the_real_rows_last_week_moves(shared_data):
    rows = converted(read_jsonl(shared_data / "dow30" / "test.jsonl"))
    assert sum(row["last_week_return"] is not None for row in rows) == 300
