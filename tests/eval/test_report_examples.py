"""The answers that a report shows: which rows are chosen, how texts are printed and compared."""

import pytest

from eval.report.examples import choose_examples, clean, mark_differences
from eval.report.rows import outcome
from eval.report.runs import load_runs
from tests.support.report_runs import WEEKS, generation_rows, make_pair, make_run


def runs_of(example):
    return [answer.run for answer in example.answers]


def test_examples_are_the_same_rows_for_all_runs(tmp_path):
    pair = make_pair(tmp_path)
    runs = load_runs(pair)
    examples = choose_examples(runs)
    assert len(examples) == 10 and examples == choose_examples(load_runs(pair))
    assert all(runs_of(example) == ["demo-base", "demo-tuned"] for example in examples)
    rows = {row["id"]: row for row in runs[1].generations}
    for example in examples:
        row = rows[example.key]
        assert (example.truth, example.reference) == (row["label"], clean(row["answer"]))
        assert example.prompt == "", "these rows have none"


def test_examples_show_every_outcome(tmp_path):
    examples = choose_examples(load_runs(make_pair(tmp_path)))
    outcomes = {answer.outcome for example in examples for answer in example.answers}
    assert outcomes == {"right", "wrong", "unreadable"}


def test_an_example_holds_the_whole_prompt(tmp_path):
    rows = generation_rows(lambda week: 3)
    for row in rows:
        row["prompt"] = f"About {row['id']}:\x00 " + "much. " * 900
    for example in choose_examples(load_runs([make_run(tmp_path / "a", rows)])):
        assert example.prompt.startswith(f"About {example.key}:\ufffd much.")
        assert len(example.prompt) > 5000, "it is not cut"


def test_without_shared_rows_each_group_has_its_own_examples(tmp_path):
    early = generation_rows(lambda week: 3, weeks=WEEKS[:4])
    late = generation_rows(lambda week: 3, weeks=WEEKS[4:])
    folders = [
        make_run(tmp_path / "a", early),
        make_run(tmp_path / "late", late),
        make_run(tmp_path / "b", early),
    ]
    examples = choose_examples(load_runs(folders))
    assert [runs_of(example) for example in examples] == [["a", "b"]] * 10 + [["late"]] * 10


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ({"truth_direction": 1, "valid_lenient": True, "direction": 1}, "right"),
        ({"truth_direction": 1, "valid_lenient": True, "direction": -1}, "wrong"),
        ({"truth_direction": 1, "valid_lenient": True, "direction": 0}, "wrong"),
        ({"truth_direction": 1, "valid_lenient": False, "direction": None}, "unreadable"),
        ({"truth_direction": None, "valid_lenient": True, "direction": 1}, "no truth"),
    ],
)
def test_outcome(scored, expected):
    assert outcome(scored) == expected


def test_clean_makes_any_text_printable():
    assert clean("a\x00b\ud800c\u202ed\te\n") == "a\ufffdb\ufffdc\ufffdd\te"
    assert clean(None) == ""
    note = "[cut here for the page: 5,000 characters in generations.jsonl]"
    assert clean("x" * 5000).endswith(note)


@pytest.mark.parametrize(
    ("text", "other", "pieces"),
    [
        ("a b c", "a b c", [("a b c", False)]),
        (
            "Costs fell by 3%.",
            "Costs rose by 3%.",
            [("Costs", False), (" fell", True), (" by 3%.", False)],
        ),
        ("Costs fell!\n", "costs FELL", [("Costs fell!", False), ("\n", False)]),
        ("new words", "other ones", [("new words", True)]),
        ("anything", "", [("anything", False)]),
        ("", "anything", []),
    ],
)
def test_words_that_the_other_text_lacks_are_marked(text, other, pieces):
    assert mark_differences(text, other) == pieces


@pytest.mark.parametrize("text", ["  lead\n\n1. x   y\t", "a " * 2000, "\n", "x"])
def test_the_pieces_are_the_text_again(text):
    assert "".join(piece for piece, _ in mark_differences(text, "some other 1. words")) == text
