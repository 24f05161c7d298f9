"""The time of scoring: every part of an evaluation takes place, and is told apart."""

from benchmarks.scoring import FIRMS, main, score_and_compare, simulate_rows, write_run
from eval.report.comparisons import ACCURACY, BRIER, RANKED, compare_runs
from eval.report.runs import load_runs
from eval.report.skills import skill_results, tuning_results


def test_the_runs_have_every_interval(tmp_path):
    """A base and two tuned runs on the same rows of six weeks; nothing is left out as unknown."""
    folders = [tmp_path / name for name in ("base", "a", "b")]
    rows = simulate_rows(6 * FIRMS)
    for number, folder in enumerate(folders):
        write_run(folder, rows, number)
    assert min(score_and_compare(folders)) > 0
    compared = compare_runs(load_runs(folders))
    between = [shown for shown in compared.comparisons if shown.between_runs]
    assert [shown.measure for shown in between] == [ACCURACY, BRIER, RANKED] * 3
    assert all(shown.p is not None for shown in compared.comparisons)
    assert all(result.estimate.ci95 for result in skill_results(compared.entries))
    assert [result.base for result in tuning_results(compared.entries)] == ["base", "base"]
    metrics = compared.runs[0].metrics
    assert metrics["likelihood"]["direct"]["rps_skill"]["ci95"] and metrics["bin_baselines"]


def test_more_rows_than_a_year_has_weeks(tmp_path):
    """The weeks go on after December."""
    assert len({row["period"] for row in simulate_rows(54 * FIRMS)}) == 54


def test_the_command_prints_seconds(capsys):
    assert main(["--runs", "1", "--rows", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-3:] == ["scored", "compared", "both"]
    assert all(float(cell) >= 0 for cell in lines[-1].split()[-3:])
