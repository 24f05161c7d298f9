"""What a report says: verdicts, tables, settings, and the reasons for what it lacks."""

import csv
import io
import json

import pytest

from eval.report.comparisons import compare_runs
from eval.report.page import build_report
from eval.report.rows import row_groups
from eval.report.runs import load_run, load_runs
from eval.report.summary import summarize
from eval.report.table import Cell, Table, format_value, to_csv
from eval.report.tables.probabilities import likelihood
from eval.report.tables.scores import rouge
from eval.report.write import write_report
from eval.score import score_files
from tests.support.report_runs import (
    WEEKS,
    generation_rows,
    likelihood_row,
    make_pair,
    make_run,
    read_page,
)
from weekahead.files import write_json, write_jsonl


@pytest.fixture
def pair(tmp_path):
    """Two runs to change."""
    return make_pair(tmp_path)


def compare(runs):
    return compare_runs(runs).comparisons


def between_runs(runs):
    return [comparison for comparison in compare(runs) if comparison.between_runs]


def versus(runs, name):
    """The comparisons of one run by what it is compared with."""
    return {shown.other: shown for shown in compare(runs) if shown.run == name}


def build(runs, folder):
    return build_report(runs, "T", folder / "figures")


def section_of(report, title):
    return next(section for section in report.sections if section.title.startswith(title))


def test_differences_are_those_of_metrics_json_and_between_runs(pair):
    runs = load_runs(pair)
    # Five baselines and the squared error of each run, and the two runs.
    assert len(compare(runs)) == 2 * 6 + 1
    tuned = versus(runs, "demo-tuned")
    stored = runs[1].metrics["versus"]["always_down"]
    assert tuned["always-down"].difference == stored["difference"]
    assert tuned["always-down"].p == stored["p"]
    over_base = tuned["demo-base"]
    accuracies = [run.metrics["bin_acc"] for run in runs]
    assert over_base.difference == pytest.approx(accuracies[1] - accuracies[0])


@pytest.mark.parametrize(
    ("answered", "both_read"),
    [(0, "no row that both could read"), (8, "on the 7 rows that both could read")],
    ids=["no answer", "too few answers"],
)
def test_more_readable_answers_are_not_better_forecasts(tmp_path, answered, both_read):
    """Half of the tuned run's predictions are right; the base hardly ever keeps the layout."""
    rows = generation_rows(lambda week: 2 + week % 2)
    silent = [row | {"generation": "Hm."} for row in rows]
    base = make_run(tmp_path / "base", rows[:answered] + silent[answered:])
    runs = load_runs([base, make_run(tmp_path / "tuned", rows, adapter="a")])
    (comparison,) = between_runs(runs)
    assert comparison.difference > 0.3 and comparison.p < 0.05  # an unreadable answer is wrong
    assert comparison.both_read.endswith(both_read)
    assert "Fine-tuning helped" not in summarize(compare_runs(runs)).answer


def test_differences_carry_no_verdict(pair, tmp_path):
    write_report(pair, tmp_path / "report", "T")
    for file in ("report.md", "tables/comparisons.csv"):
        text = (tmp_path / "report" / file).read_text("utf-8").lower()
        assert "better" not in text and "worse" not in text, file
    assert "minus" in text


def test_a_training_that_reached_the_weeks_is_warned_of(tmp_path):
    rows = generation_rows(lambda week: 5 - week % 2)
    folder = make_run(tmp_path / "tuned", rows, adapter="a", rows_in_training_weeks=12)
    report = build(load_runs([folder]), tmp_path)
    assert report.summary.runs[0].read == "38 of 40 answers could be read"
    assert "tuned: 12 of 40 rows lie in weeks that its training reached" in report.warnings[0]


def seed_run(folder, seed, rows, **manifest):
    """A run of a recipe that was trained with `seed`."""
    settings = {"learning_rate": 1e-4, "seed": seed}
    train = {"base": {"name": "org/base"}, "dataset": {"sha256": "d"}, "settings": settings}
    adapter = f"outputs/s{seed}"
    return make_run(folder / f"s{seed}", rows, adapter=adapter, train=train, **manifest)


@pytest.fixture
def three_seeds(tmp_path):
    """Three seeds of one recipe and their base."""
    folders = []
    for seed in range(3):
        rows = generation_rows(lambda week, seed=seed: 3 + (week + seed) % 2)
        folders.append(seed_run(tmp_path, seed, rows))
    base = make_run(tmp_path / "base", generation_rows(lambda week: 2 - week % 2))
    return load_runs([*folders, base])


def test_the_seeds_of_a_recipe_are_compared_as_one(three_seeds):
    name = "3 seeds: s0, s1, s2"
    assert {comparison.run for comparison in compare(three_seeds)} == {name, "base"}
    (over_base,) = between_runs(three_seeds)
    *seeds, base = [run.metrics["bin_acc"] for run in three_seeds]
    assert over_base.other == "base"
    assert over_base.difference == pytest.approx(sum(seeds) / 3 - base)
    over_baselines = versus(three_seeds, name)
    down = three_seeds[0].metrics["baselines"]["always_down"]["bin_acc"]
    assert over_baselines["always-down"].difference == pytest.approx(sum(seeds) / 3 - down)
    assert "zero-move" not in over_baselines and "train-majority" in over_baselines


def test_the_seeds_of_a_recipe_have_one_line(three_seeds, tmp_path):
    report = build(three_seeds, tmp_path)
    lines = report.summary.runs
    assert [line.name for line in lines] == ["3 seeds: s0, s1, s2", "base"]
    mean = sum(run.metrics["bin_acc"] for run in three_seeds[:3]) / 3
    assert lines[0].remarks[0].startswith(f"{mean:.3f} right; ")
    assert section_of(report, "Seeds of one recipe").tables[0].rows[0][1].text == "0, 1, 2"


def test_seeds_on_other_rows_stand_alone(tmp_path):
    folders = []
    for seed in range(2):
        rows = generation_rows(lambda week: 3)[seed:]
        folders.append(seed_run(tmp_path, seed, rows, dataset={"sha256": "0"}))
    assert {comparison.run for comparison in compare(load_runs(folders))} == {"s0", "s1"}


def test_probabilities_are_shown_after_the_answer_and_at_once(tmp_path):
    rows = generation_rows(lambda week: 3)
    folders = [make_run(tmp_path / name, rows) for name in ("own", "unread", "none")]
    for folder, prefix in zip(folders, ("own", "direct"), strict=False):
        write_jsonl(folder / "likelihoods.jsonl", [likelihood_row(row, prefix) for row in rows])
        score_files([folder / "generations.jsonl"], folder)
    table = likelihood(compare_runs(load_runs(folders)))
    assert [[cell.text for cell in row[:2]] for row in table.rows] == [
        ["own", "after its answer: 40"],
        ["own", "at once: 40"],
        ["unread", "at once: 40"],
    ]
    assert table.note.endswith("Without probabilities: none.")
    assert likelihood(compare_runs(load_runs(folders[2:]))).rows == ()


def test_rows_of_a_control_are_warned_of(tmp_path):
    rows = [{**row, "control": "no_news"} for row in generation_rows(lambda week: 3)]
    report = build(load_runs([make_run(tmp_path / "a", rows)]), tmp_path)
    assert any("a: its rows are the control no_news" in note for note in report.warnings)


def test_a_served_model_is_not_a_base(tmp_path):
    served = {"name": "endpoint", "model": "tuned"}
    (run,) = load_runs([make_run(tmp_path / "a", generation_rows(lambda week: 3), backend=served)])
    assert not run.is_base


def test_the_base_is_what_is_subtracted_in_either_order(pair):
    for folders in (pair, pair[::-1]):
        (comparison,) = between_runs(load_runs(folders))
        assert (comparison.run, comparison.other) == ("demo-tuned", "demo-base")


@pytest.mark.parametrize(
    ("ceiling", "sentence"),
    [
        (0.9, "knew the rule behind these prices would get 90 of 100 directions right."),
        (
            {"expected": 0.95, "rule_on_rows": {"test": 0.9375}},
            "would get 94 (split test), and over many rows 95 of 100 directions right.",
        ),
        (
            {"expected": 0.95, "rule_on_rows": 0.9},
            "would get 90 (split test), and over many rows 95 of 100 directions right.",
        ),
        (None, "Nothing here is about a real market."),
    ],
)
def test_made_up_rows_carry_a_banner(tmp_path, ceiling, sentence):
    rows = generation_rows(lambda week: 3, synthetic=True)
    run = make_run(tmp_path / "toy", rows, dataset={"split": "test", "ceiling": ceiling})
    out = tmp_path / "report"
    text = read_page(write_report([run], out, "T")).text
    assert "Fictional market:" in text and sentence in text
    assert "**Fictional market:**" in (out / "report.md").read_text(encoding="utf-8")


def test_runs_on_other_rows_are_flagged_and_not_compared(pair, tmp_path):
    other = make_run(
        tmp_path / "results" / "other", generation_rows(lambda week: 3, weeks=WEEKS[:6])
    )
    runs = load_runs([*pair, other])
    assert [[run.name for run in group] for group in row_groups(runs)] == [
        ["demo-base", "demo-tuned"],
        ["other"],
    ]
    assert len(between_runs(runs)) == 1
    text = read_page(write_report([*pair, other], tmp_path / "report", "T")).text
    assert "Compare runs only if they answered the same rows: A and B are different rows." in text
    assert "Rows A, answered by demo-base and demo-tuned: 40 weekly" in text
    assert "Rows B, answered by other: 30 weekly" in text


def test_the_same_ids_with_another_truth_are_other_rows(tmp_path):
    rows = generation_rows(lambda week: 3)
    first = make_run(tmp_path / "a", rows)
    second = make_run(tmp_path / "b", [{**rows[0], "label": "up by 4-5%"}, *rows[1:]])
    assert rows[0]["label"] != "up by 4-5%"
    assert len(row_groups(load_runs([first, second]))) == 2


def test_unknown_numbers_are_dashes_with_their_reason(tmp_path):
    columns = ("id", "label", "answer", "generation")
    rows = generation_rows(lambda week: 3, weeks=WEEKS[:4])
    bare = [{column: row[column] for column in columns} for row in rows]
    report = build([load_run(make_run(tmp_path / "bare", bare))], tmp_path)
    tables = {table.key: table for table in report.tables()}
    for key, column in (
        ("speed", "Seconds per row"),
        ("speed", "Latency, p50"),
        ("validity", "Stop rate"),
    ):
        cell = tables[key].rows[0][tables[key].columns.index(column)]
        assert cell.text == "–" and cell.details, column
    baselines = {row[0].text: row[1] for row in tables["leaderboard"].rows}
    assert baselines["train-majority"].text == "–"
    assert baselines["train-majority"].details == ["20 of 20 rows lack train_majority"]
    assert baselines["zero-move"].details == ["predicts no direction"]
    assert "4 weeks; an interval needs at least 6" in baselines["bare"].details[-1]
    assert report.summary.runs[0].verdict == "not judged"


def test_written_sections_stand_beside_unread_answers(pair, tmp_path):
    """Two of 40 answers cannot be read: they count in the first number alone."""
    runs = load_runs(pair)
    (positives, *_) = rouge(compare_runs(runs)).rows
    assert [cell.text for cell in positives[:2]] == ["demo-base", "Positives"]
    assert positives[2].value == pytest.approx(38 / 40)
    assert (positives[6].value, positives[9].value) == (1.0, 38)
    stored = json.loads((pair[0] / "metrics.json").read_text(encoding="utf-8"))
    older = {key: value for key, value in stored.items() if not key.startswith("rouge_written")}
    write_json(pair[0] / "metrics.json", older)
    (positives, *_) = rouge(compare_runs(load_runs(pair))).rows
    assert positives[2].value is not None and positives[6].text == "–"
    assert "run eval.score again" in positives[6].details[0]


def test_settings_that_differ_stand_apart_from_equal_ones(pair, tmp_path):
    rows = generation_rows(lambda week: 3)
    other = make_run(tmp_path / "results/long", rows, generation={"max_new_tokens": 512})
    section = section_of(build(load_runs([*pair, other]), tmp_path), "Settings")
    differing = {row[0].text: row for row in section.tables[0].rows}
    equal = {row[0].text: row for row in section.sections[0].tables[0].rows}
    lengths = differing["generation.max_new_tokens"][1:]
    assert [cell.text for cell in lengths] == ["256", "256", "512"]
    assert {cell.mark for cell in lengths} == {"differs"}
    assert equal["base.name"][1].text == "org/base"
    # A base model has no learning rate: that is not a difference, and the cell says why.
    assert [cell.text for cell in equal["training.learning_rate"][1:]] == ["–", "5e-05", "–"]
    assert equal["training.learning_rate"][1].details == ["not trained: the base model as it is"]


def test_a_run_without_a_manifest_says_what_is_missing(tmp_path):
    run = make_run(tmp_path / "bare", generation_rows(lambda week: 3))
    (run / "manifest.json").unlink()
    text = read_page(write_report([run], tmp_path / "report", "T")).text
    assert "bare: no manifest.json in the folder; what depends on it is left out." in text
    assert "bare: no manifest.json says how it was trained." in text
    assert "No settings are recorded." in text


def test_training_curves_stand_in_a_section_of_their_own(pair, tmp_path):
    section = section_of(build(load_runs(pair), tmp_path), "Training")
    assert [figure.path.name for figure in section.figures] == ["training.png"]
    (curves,) = section.sections
    assert curves.title == "tuned"
    assert {figure.path.name for figure in curves.figures} >= {"loss.png", "gpu.png"}
    note = "tuned: no GPU curves (no NVIDIA driver); processor and memory are shown."
    assert note in section.notes


def test_a_training_without_its_log_has_a_reason_instead(pair, tmp_path):
    (tmp_path / "outputs" / "tuned" / "train_log.jsonl").unlink()
    section = section_of(build(load_runs(pair), tmp_path), "Training")
    assert section.figures == section.sections == ()
    note = "tuned: its folder is not on this machine (outputs/tuned), so no curves."
    assert note in section.notes


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 3, "–"),
        (-0.0001, 3, "0.000"),
        (0.0, 2, "0.00"),
        (-1.25, 1, "-1.2"),
        (True, 3, "yes"),
        (7, 3, "7"),
    ],
)
def test_format_value(value, digits, text):
    assert format_value(value, digits) == text


def test_csv_keeps_full_precision_and_empty_cells():
    rows = ((Cell("x,y"), Cell(1 / 3, ci95=(0.25, 0.5), n=4)), (Cell("z"), Cell(None)))
    table = Table("t", "T", ("a", "b"), rows)
    assert to_csv(table) == f'a,b,b low,b high,b n\n"x,y",{1 / 3},0.25,0.5,4\nz,,,,\n'


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\t=1", "\r=1", " =1", "\uff1dA1"])
def test_no_cell_of_a_csv_is_a_formula(text):
    table = Table("k", "t", (text, "b"), ((Cell(text), Cell(-1.5)),))
    _, row = list(csv.reader(io.StringIO(to_csv(table), newline="")))
    assert row == ["'" + text.replace("\r", "\n"), "-1.5"]


@pytest.mark.parametrize("text", ["-1.5", "+2", "-3.0%", "1e-5", "AAPL", "a=b"])
def test_a_number_in_a_csv_stays_one(text):
    assert to_csv(Table("k", "t", ("a",), ((Cell(text),),))) == f"a\n{text}\n"


def test_losses_of_two_kinds_are_named_in_their_cells(tmp_path):
    from eval.report.tables.settings import training_table

    runs = []
    for name, loss in (("a", {}), ("b", {"loss_type": "dft"})):
        train = {"run": name, "settings": loss, "result": {"eval_loss": 0.5}}
        folder = make_run(tmp_path / name, generation_rows(lambda week: 3), train=train)
        runs.append(load_run(folder))
    one, two = training_table(compare_runs(runs)).rows
    assert (one[3].note, two[3].note) == ("nll", "dft")
    alone = training_table(compare_runs(runs[:1])).rows
    assert alone[0][3].note is None
