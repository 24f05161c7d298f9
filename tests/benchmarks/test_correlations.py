"""The correlation within weeks, against numbers worked by hand and what worlds were drawn with."""

import pytest

from benchmarks.correlations import correlations, intraclass_correlation, main, of_worlds
from benchmarks.skill_worlds import World
from weekahead.files import write_jsonl


def test_intraclass_correlation_by_hand():
    """Means 1 and 4 around 2.5: between 9, within 1 each: (9 - 1) / (9 + 1)."""
    values = [0.5**0.5, -(0.5**0.5)]
    weeks = ["a", "a", "b", "b"]
    shifted = [1 + value for value in values] + [4 + value for value in values]
    assert intraclass_correlation(shifted, weeks) == pytest.approx((9 - 1) / (9 + 1))
    assert intraclass_correlation([1, 1, 2, 2], weeks) == 1
    assert intraclass_correlation([0, 1, 0, 1], weeks) == -1
    for cannot in ([1, 1, 1, 1], weeks), ([1, 2], ["a", "b"]), ([1, 2], ["a", "a"]), ([], []):
        assert intraclass_correlation(*cannot) is None


def test_weeks_of_unequal_size():
    """Sizes 3 and 1: 2.5 - ... the typical size is (4 - 10 / 4) / 1 = 1.5."""
    between, within = 3 * (1 - 1.75) ** 2 + (4 - 1.75) ** 2, 2 / 2
    expected = (between - within) / (between + 0.5 * within)
    assert intraclass_correlation([0, 1, 2, 4], ["a", "a", "a", "b"]) == pytest.approx(expected)


def test_worlds_have_the_stated_correlations():
    found = of_worlds(World(week=0.3, call_week=0.2, weeks=20), 200)
    assert found.truths == pytest.approx(0.3, abs=0.02)
    assert found.calls == pytest.approx(0.2, abs=0.02)
    assert found.skill == pytest.approx(0.3 * 0.2, abs=0.02), "the product of the two"


def test_a_constant_caller_has_the_truths_correlation():
    truths = [1, 1, -1, -1, 1, -1]
    found = correlations([1] * 6, truths, list("aabbcc"))
    assert found.hits == found.truths and found.calls is None and found.skill is None


def test_the_command_reads_scored_runs(tmp_path, capsys):
    rows = [
        {"id": f"A-2024-01-{week:02}", "direction": 1 - row % 2 * 2, "truth_direction": truth}
        for week in (1, 8, 15)
        for row, truth in enumerate((1, -1, None))
    ]
    write_jsonl(tmp_path / "scored.jsonl", rows)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1:3] == ["3", "6"]
    assert main([str(tmp_path / "none")]) == 2
    assert "none/scored.jsonl" in capsys.readouterr().err
    write_jsonl(tmp_path / "scored.jsonl", [{"direction": 1, "truth_direction": 1}])
    assert main([str(tmp_path)]) == 2
    assert "no week that every row has" in capsys.readouterr().err
