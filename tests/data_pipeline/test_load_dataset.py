"""The reader of datasets: every kind of source, and every bad one named before work begins."""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from data_pipeline import fingpt
from data_pipeline.dataset import load, public_rows
from data_pipeline.dataset.load import load_dataset
from tests.support.servers.hub import Hub
from weekahead.files import read_jsonl, sha256, write_jsonl
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS
from weekahead.task.prompt import completion

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "fingpt_rows.jsonl"


@pytest.fixture
def public():
    return read_jsonl(FIXTURE)


@pytest.fixture
def ours(public):
    return public_rows.convert(public, "rows")[0]


def read_train(source):
    return load_dataset(source).train


def read_test(source):
    return load_dataset(source).split()


def ids(rows):
    return [row["id"] for row in rows]


def test_one_file_is_cut_for_training_and_whole_for_evaluation(ours, tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ours)
    data, whole = load_dataset(path, gap_weeks=1).train, load_dataset(path).split()
    assert sorted(ids(data.train + data.validation + data.dropped)) == sorted(ids(ours))
    assert len(data.validation) == 2
    assert (ids(whole.rows), whole.split, whole.train_majority) == (ids(ours), "all", None)
    assert whole.train_labels is None
    assert data.sha256 == whole.sha256 == sha256(path)


def test_one_file_of_public_rows_is_converted_on_the_way(public):
    data, whole = load_dataset(FIXTURE, gap_weeks=1).train, load_dataset(FIXTURE).split("test")
    assert (
        len(data.train) + len(data.validation) + len(data.dropped) == len(whole.rows) == len(public)
    )
    assert whole.rows[0]["prompt"][0]["role"] == "system"
    assert {row["reason"] for row in data.dropped} > {
        "gap",
        "answer names another bin than the label",
    }


def test_a_folder_that_was_built_is_taken_as_it_stands(public, tmp_path):
    write_jsonl(tmp_path / "in" / "train.jsonl", public[:14])
    write_jsonl(tmp_path / "in" / "test.jsonl", public[14:])
    out = tmp_path / "out"
    assert fingpt.main([str(tmp_path / "in"), "--out", str(out), "--gap-weeks", "0"]) == 0
    data, test = load_dataset(out).train, load_dataset(out).split()
    assert ids(data.train) == ids(read_jsonl(out / "train.jsonl"))
    assert ids(data.validation) == ids(read_jsonl(out / "validation.jsonl"))
    assert (data.dropped, data.warnings) == ([], [])
    assert (ids(test.rows), test.split) == (ids(read_jsonl(out / "test.jsonl")), "test")
    assert test.train_majority == data.train_majority
    assert test.sha256 == sha256(out / "test.jsonl")


def test_training_and_evaluation_have_one_majority(public, tmp_path):
    write_jsonl(tmp_path / "train.jsonl", public[:14])
    write_jsonl(tmp_path / "test.jsonl", public[14:])
    data, test = load_dataset(tmp_path).train, load_dataset(tmp_path).split()
    assert test.train_majority == data.train_majority
    assert len(test.rows) == 2
    assert not {row["week_start"] for row in data.train + data.validation} & {
        row["week_start"] for row in test.rows
    }


def test_a_source_is_read_once_and_each_split_converted_once(public, tmp_path, monkeypatch):
    """Training rows, their majority and the rows to evaluate come from one reading."""
    write_jsonl(tmp_path / "train.jsonl", public[:14])
    write_jsonl(tmp_path / "test.jsonl", public[14:])
    reads, conversions = [], []
    read_source, convert = load.read_source, public_rows.convert

    def counted_read(source):
        reads.append(source)
        return read_source(source)

    def counted_convert(rows, origin):
        conversions.append(Path(origin).name)
        return convert(rows, origin)

    monkeypatch.setattr(load, "read_source", counted_read)
    monkeypatch.setattr(public_rows, "convert", counted_convert)
    dataset = load_dataset(tmp_path)
    data, test = dataset.train, dataset.split("test")
    assert test.train_majority == data.train_majority == dataset.train_majority
    assert test.train_up_share == data.train_up_share == dataset.train_up_share
    assert test.train_labels == data.train_labels == dataset.train_labels
    assert list(data.train_labels) == list(BINS)
    assert sum(data.train_labels.values()) == len(data.train)
    assert dataset.split().rows == test.rows
    assert len(reads) == 1 and sorted(conversions) == ["test.jsonl", "train.jsonl"]


def test_a_caller_may_shorten_the_rows_of_a_split(ours, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", ours)
    dataset = load_dataset(tmp_path / "rows.jsonl")
    del dataset.split().rows[1:]
    assert ids(dataset.split().rows) == ids(ours)


def test_one_majority_without_the_rows_that_teach_no_bin(ours, tmp_path):
    """Evaluation states the majority of the rows that training takes."""
    ups = [row for row in ours if row["label"].startswith("up")]
    downs = [row for row in ours if row["label"].startswith("down")]
    broken_downs = [{**row, "completion": completion("Prediction: down")} for row in downs]
    write_jsonl(tmp_path / "train.jsonl", [ups[0], *broken_downs])
    write_jsonl(tmp_path / "validation.jsonl", ours[-1:])
    dataset = load_dataset(tmp_path)
    assert len(broken_downs) > 1
    assert dataset.split("validation").train_majority == dataset.train.train_majority == 1
    assert dataset.train_up_share == 1.0


def test_public_and_own_rows_in_one_source_are_refused(public, ours, tmp_path):
    write_jsonl(tmp_path / "train.jsonl", ours[:10])
    write_jsonl(tmp_path / "test.jsonl", public[10:])
    message = "rows of train have our shape, rows of test have the public dataset's shape; convert"
    for ask in (read_train, read_test):
        with pytest.raises(ValueError, match=message):
            ask(tmp_path)


def test_an_empty_split_beside_public_rows_is_called_empty(public, tmp_path):
    """It has no shape, so it is not told apart from the others by one."""
    write_jsonl(tmp_path / "train.jsonl", public[:10])
    write_jsonl(tmp_path / "validation.jsonl", [])
    write_jsonl(tmp_path / "test.jsonl", public[10:])
    with pytest.raises(ValueError, match=r"validation\.jsonl: no rows"):
        read_train(tmp_path)


def test_splits_are_evaluated_by_name(ours, tmp_path):
    """An unknown one is an error that lists those there are."""
    write_jsonl(tmp_path / "train.jsonl", ours[:8])
    write_jsonl(tmp_path / "test_unseen.jsonl", ours[14:])
    assert ids(load_dataset(tmp_path).split("test_unseen").rows) == ids(ours[14:])
    with pytest.raises(ValueError, match=r"no split 'test'; it has: test_unseen, train"):
        read_test(tmp_path)


def test_a_week_in_train_and_test_of_a_folder_is_a_warning(ours, tmp_path):
    for name in ("train", "validation", "test"):
        write_jsonl(tmp_path / f"{name}.jsonl", ours[:4])
    warnings = read_train(tmp_path).warnings
    assert sum("weeks lie in both train and" in warning for warning in warnings) == 2


def test_own_rows_whose_answer_teaches_no_bin_are_left_out(ours, tmp_path):
    """A model that learns such an answer would be scored as wrong whenever it gives it."""
    bad = [
        {**row, "completion": [{"role": "assistant", "content": "Prediction: up"}]} for row in ours
    ]
    write_jsonl(tmp_path / "train.jsonl", bad)
    with pytest.raises(ValueError, match="no training row is left"):
        read_train(tmp_path / "train.jsonl")


def test_parquet_arrow_and_saved_datasets_are_the_same_rows(public, tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(public)
    data.to_parquet(tmp_path / "rows.parquet")
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(
        train=data.select(range(14)), test=data.select(range(14, 16))
    ).save_to_disk(tmp_path / "two")
    (tmp_path / "clone" / "data").mkdir(parents=True)
    data.to_parquet(tmp_path / "clone" / "data" / "test-00000-of-00001.parquet")
    expected = ids(load_dataset(FIXTURE).split().rows)
    arrow = next((tmp_path / "one").glob("*.arrow"))
    for source in (tmp_path / "rows.parquet", arrow, tmp_path / "one", tmp_path / "clone"):
        assert ids(load_dataset(source).split().rows) == expected, source
    assert ids(load_dataset(tmp_path / "two").split().rows) == expected[14:]
    assert load_dataset(tmp_path / "two").train.train_majority in (1, -1)


def broken(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "a.jsonl: no rows; expected at least one"),
        ("a.jsonl", FIXTURE.read_bytes() + b'{"prompt": "cut o', "a.jsonl, line 17: not JSON"),
        (
            "a.jsonl",
            FIXTURE.read_bytes() + b'{"prompt": "caf\xe9"}\n',
            "a.jsonl, line 17: not UTF-8 (byte 0xe9",
        ),
        ("a.jsonl", b'{"text": "x"}\n', "a.jsonl, row 1: missing column id, symbol, week_start"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: not a whole .parquet file"),
        ("a.arrow", b"no arrow", "a.arrow: not a whole .arrow file"),
        ("a.csv", b"id,label\n", "a.csv: files of type '.csv' are not read; use .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_line_and_remedy(tmp_path, name, content, message):
    path = broken(tmp_path, name, content)
    for read in (read_train, read_test):
        with pytest.raises(ValueError) as error:
            read(path)
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "up a lot"}, "row 3: unknown label 'up a lot'"),
        ({"week_start": "next week"}, "row 3: week_start is 'next week'; expected a date"),
        (
            {"prompt": "[INST]"},
            "row 3: prompt is '[INST]'; expected a list of {role, content} messages",
        ),
        ({"completion": [{"role": "assistant"}]}, "row 3: completion is"),
        ({"id": "LKMR-2031-01-05"}, "row 3: the id LKMR-2031-01-05 stands in row 1 already"),
    ],
)
def test_a_bad_value_in_our_rows_is_named(ours, tmp_path, change, message):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [*ours[:2], {**ours[2], **change}])
    for read in (read_train, read_test):
        with pytest.raises(ValueError) as error:
            read(path)
        assert f"{path}, {message}" in str(error.value)


def test_a_label_in_other_spelling_comes_back_in_ours(ours, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{**ours[0], "label": " Up by  1-2% "}])
    assert load_dataset(tmp_path / "rows.jsonl").split().rows[0]["label"] == "up by 1-2%"


def test_a_file_in_which_no_answer_can_be_trained_on_is_an_error(public, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [public[2]])
    with pytest.raises(ValueError, match="no training row is left of 1; dropped for: answer"):
        read_train(tmp_path / "rows.jsonl")


def test_a_source_that_is_not_there_says_what_was_expected(tmp_path):
    for missing in (tmp_path / "none.jsonl", "data/none.jsonl", "nowhere"):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            read_test(missing)
    with pytest.raises(ValueError, match="no split found; expected files named train"):
        read_train(tmp_path)


def test_a_hub_id_without_network_is_one_clear_message(tmp_path):
    """In a process of its own: the offline switch is read when the Hub client is imported."""
    code = (
        "from data_pipeline.dataset.load import load_dataset\n"
        "try: load_dataset('nobody/none')\n"
        "except OSError as error: print(error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True
    )
    message = "nobody/none: not a path here, and the Hub cannot be reached"
    assert process.stdout.startswith(message), process.stderr
    assert "HF_HUB_OFFLINE=1" in process.stdout


HUB_ROUND_TRIP = """
import sys
from datasets import Dataset, DatasetDict
from data_pipeline.dataset.load import load_dataset
from weekahead.files import read_jsonl
rows = read_jsonl(sys.argv[1])
parts = DatasetDict(train=Dataset.from_list(rows[:14]), test=Dataset.from_list(rows[14:]))
parts.push_to_hub("user/rows", private=True)
test, data = load_dataset("user/rows").split(), load_dataset("user/rows@main").train
try:
    load_dataset("user/rows@v9").split()
except FileNotFoundError as error:
    print(error)
print(*[row["id"] for row in test.rows], test.revision, data.train_majority == test.train_majority)
"""
HUB_REFUSAL = """
from data_pipeline.dataset.load import load_dataset
try:
    load_dataset("user/rows").split()
except OSError as error:
    print(type(error).__name__, error)
"""


def in_process(code, *arguments, env):
    """Lines printed by code in a process of its own: Hub clients read settings at import."""
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_a_hub_id_is_read_at_one_commit(tmp_path):
    """A refusal names the remedy."""
    with Hub() as hub:
        printed = in_process(
            HUB_ROUND_TRIP, str(FIXTURE), env=hub.environment(tmp_path / "owner", "hf_owner")
        )
        commit = hub.repo("user/rows", "dataset").at("main").oid
        refused = in_process(HUB_REFUSAL, env=hub.environment(tmp_path / "other", "hf_other"))
    assert printed[-1] == f"LKMR-2031-02-23 QHBF-2031-02-23 {commit} True"
    assert printed[-2] == "user/rows: no revision 'v9' on the Hub; leave out '@v9'"
    assert refused[-1].startswith(
        "FileNotFoundError user/rows: neither a path here nor a dataset on the Hub"
    )
    assert "set HF_TOKEN" in refused[-1]


def test_the_majority_of_the_first_rows_is_their_own(tmp_path):
    """Not that of the whole split: `max_rows` shortens a training."""
    from sft.train import rows_to_train_on

    def row_of(week, label):
        start = date(2024, 1, 7) + timedelta(weeks=week)
        answer = render_answer(["Orders rose."], ["Costs rose."], label, "So it seems.")
        return {
            "id": f"AAA-{start}",
            "symbol": "AAA",
            "week_start": str(start),
            "week_end": str(start + timedelta(7)),
            "prompt": [{"role": "user", "content": f"Week {week}"}],
            "completion": [{"role": "assistant", "content": answer}],
            "label": label,
        }

    rows = [row_of(week, "up by 1-2%" if week < 4 else "down by 1-2%") for week in range(40)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    dataset = load_dataset(tmp_path / "rows.jsonl")
    whole, first = (rows_to_train_on(dataset, max_rows) for max_rows in (None, 5))
    assert (whole.train_majority, first.train_majority, len(first.train)) == (-1, 1, 5)
