"""Numbers that JSON has not: the file, the row and the key are named, and nothing is written."""

import datetime
import math

import pyarrow
import pytest
from pyarrow.parquet import write_table

from data_pipeline.dataset.load import load_dataset
from data_pipeline.dataset.reader import read_source
from data_pipeline.dataset.writer import write_dataset
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from tests.support.records import record
from weekahead.files import append_jsonl, json_line, write_json, write_jsonl
from weekahead.task.record import read_records


@pytest.fixture(scope="module")
def fictional(tmp_path_factory):
    return write_market(Market(), tmp_path_factory.mktemp("market"), "m")


ODD = ("nan", "inf", "-inf")


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("write", [write_jsonl, append_jsonl])
def test_rows_with_such_a_number_are_not_written(tmp_path, write, odd):
    path = tmp_path / "rows.jsonl"
    write(path, [{"id": "first"}])
    rows = [{"id": "a"}, {"id": "b", "probs": [{"up": 0.5}, {"up": float(odd)}]}]
    with pytest.raises(ValueError, match="expected a finite number, or null") as error:
        write(path, rows)
    text = str(error.value)
    assert str(path) in text and "row 2 (b)" in text and f"probs[1].up is {odd}" in text
    assert path.read_text() == '{"id": "first"}\n'


@pytest.mark.parametrize("odd", ODD)
def test_a_value_with_such_a_number_is_not_written(tmp_path, odd):
    with pytest.raises(ValueError, match=rf"m\.json is not written: scores.rps is {odd}; expected"):
        write_json(tmp_path / "m.json", {"scores": {"rps": float(odd)}})
    assert not list(tmp_path.iterdir())


def test_another_fault_of_a_row_keeps_its_words():
    with pytest.raises(ValueError, match="a row is not written: Exceeds the limit"):
        json_line({"count": 10**5000})


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize("field", ["weekly_return", "last_week_return"])
def test_such_a_number_in_a_file_of_records_is_named(tmp_path, field, text):
    path = tmp_path / "made.jsonl"
    line = json_line(record("AA", 0, **{field: 0.123}).to_json())
    path.write_text(line + line.replace("0.123", text))
    with pytest.raises(ValueError, match=rf"made\.jsonl, row 2: record AA-2026-01-04: {field} is"):
        list(read_records(path))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "1" + "0" * 400, '"0.1"'])
@pytest.mark.parametrize("field", ["weekly_return", "last_week_return"])
def test_such_a_number_in_a_dataset_is_named(tmp_path, fictional, field, text):
    rows = read_source(fictional / "test.jsonl").splits["test"][:2]
    rows[1] |= {field: 0.123}
    path = tmp_path / "test.jsonl"
    path.write_text("".join(map(json_line, rows)).replace("0.123", text))
    with pytest.raises(ValueError, match=rf"test\.jsonl, row 2: {field} is .*; expected a finite"):
        load_dataset(path).split()


def test_a_dataset_with_such_a_number_is_called_by_its_own_name(tmp_path, fictional):
    row = read_source(fictional / "test.jsonl").splits["test"][0] | {"score": math.nan}
    with pytest.raises(ValueError, match="score is nan") as error:
        write_dataset(tmp_path / "out", {"train": [row]}, [])
    assert str(error.value).startswith(f"{tmp_path / 'out' / 'train.jsonl'}, row 1 ({row['id']}) ")
    assert not (tmp_path / "out").exists()


def test_days_of_columns_are_texts(tmp_path, fictional):
    rows = read_source(fictional / "test.jsonl").splits["test"][:4]
    days = [row | {"week_start": datetime.date.fromisoformat(row["week_start"])} for row in rows]
    for number in (0, 1):
        part = pyarrow.Table.from_pylist(days[2 * number : 2 * number + 2])
        write_table(part, tmp_path / f"test-0000{number}-of-00002.parquet")
    assert read_source(tmp_path).splits["test"] == rows
