"""What a report says: verdicts, tables, examples, settings, and the reasons for what it cannot say."""

import pytest

from eval.metrics.statistics import holm
from eval.report.comparisons import Comparison, compare_all
from eval.report.examples import choose, clean
from eval.report.page import build
from eval.report.runs import load_run, load_runs, outcome, row_groups
from eval.report.table import Cell, Table, format_value, to_csv
from eval.report.tables import quality
from eval.report.write import write_report
from tests.support.report_runs import WEEKS, generation_rows, make_pair, make_run, read_page


@pytest.fixture
def pair(tmp_path):
    """Two runs to change."""
    return make_pair(tmp_path)


def test_verdicts_are_computed_and_corrected_over_all_comparisons(pair):
    runs = load_runs(pair)
    compared = compare_all(runs)
    assert [one.p_holm for one in compared] == holm([one.p for one in compared])
    expected = 2 * 6 + 1  # five baselines and the squared error of each run, and the two runs
    assert len(compared) == expected and all(one.p is not None for one in compared)
    tuned = {one.other: one for one in compared if one.run == "demo-tuned"}
    entry = runs[1].metrics["versus"]["always_down"]
    assert (tuned["always-down"].difference, tuned["always-down"].p) == (
        entry["difference"],
        entry["p"],
    )
    against = tuned["demo-base"]
    accuracies = [run.metrics["bin_acc"] for run in runs]
    assert against.difference == pytest.approx(accuracies[1] - accuracies[0])
    assert against.verdict == "better" and against.holds
    assert against.sentence.startswith(
        "demo-tuned: better than demo-base: shown (difference 0.55, "
    )


@pytest.mark.parametrize("answered", [0, 8], ids=["no answer", "too few answers"])
def test_answers_that_can_be_read_are_no_better_forecasts(tmp_path, answered):
    """Half of the tuned run's calls are right, and the base hardly ever keeps the layout."""
    rows = generation_rows(lambda week: 2 + week % 2)
    silent = [
        row | {"generation": "Hm."} if place >= answered else row for place, row in enumerate(rows)
    ]
    runs = load_runs(
        [make_run(tmp_path / "base", silent), make_run(tmp_path / "tuned", rows, adapter="a")]
    )
    one = next(one for one in compare_all(runs) if one.between_runs)
    assert one.difference > 0.3 and one.p < 0.05  # an unreadable answer is wrong
    assert one.verdict == "not shown" and not one.holds
    assert "it lies in what could be read: 38 rows of tuned could be read and" in one.sentence
    assert " p " not in one.sentence  # a small p would speak against the verdict beside it


def test_a_run_is_told_in_one_sentence_and_rows_of_training_weeks_are_a_warning(tmp_path):
    rows = generation_rows(lambda week: 5 - week % 2)
    folder = make_run(tmp_path / "tuned", rows, adapter="a", rows_in_training_weeks=12)
    report = build(load_runs([folder]), "t", tmp_path / "figures")
    short = report.headlines[0].short
    assert short.startswith(
        "In direction, after Holm's correction: better than always-up, always-down"
    )
    assert "38 of 40 answers could be read" in report.headlines[0].accuracy
    assert "tuned: 12 of 40 rows lie in weeks that its training reached" in report.warnings[0]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            {"difference": -0.03, "ci95": (-0.1, 0.05), "p": 0.42, "p_holm": 1.0},
            "a: better than b: not shown (difference -0.03, 95 % interval -0.10 to 0.05); "
            "p 0.420, after Holm's correction 1.000",
        ),
        (
            {
                "difference": -0.2,
                "ci95": (-0.3, -0.001),
                "p": 0.03,
                "p_holm": 0.09,
                "verdict": "worse",
            },
            "a: worse than b: not shown after Holm's correction (difference -0.20, 95 % interval -0.30 to -0.001); "
            "p 0.030, after Holm's correction 0.090",
        ),
        (
            {
                "difference": 0.2,
                "ci95": (0.1, 0.3),
                "p": 0.0001,
                "p_holm": 0.0003,
                "verdict": "better",
            },
            "a: better than b: shown (difference 0.20, 95 % interval 0.10 to 0.30); "
            "p below 0.001, after Holm's correction below 0.001",
        ),
        (
            {"difference": -0.0, "why": "no interval: 4 weeks; an interval needs at least 6"},
            "a: better than b: not shown (difference 0.00, no interval: 4 weeks; an interval needs at least 6)",
        ),
        (
            {"why": "3 of 3 rows lack last_week_return"},
            "a: better than b: not tested (3 of 3 rows lack last_week_return)",
        ),
    ],
)
def test_the_sentence_of_a_comparison(facts, sentence):
    values = {
        "difference": None,
        "ci95": None,
        "p": None,
        "verdict": "not shown",
        "detectable": None,
        "n": 9,
        **facts,
    }
    assert Comparison(run="a", other="b", **values).sentence == sentence


def test_the_seeds_of_a_recipe_are_compared_as_one(tmp_path):
    train = {"base": {"name": "org/base"}, "dataset": {"sha256": "d"}}
    folders = [
        make_run(tmp_path / f"s{seed}", generation_rows(lambda week, seed=seed: 3 + (week + seed) % 2),
                 adapter=f"outputs/s{seed}", train={**train, "settings": {"learning_rate": 1e-4, "seed": seed}})
        for seed in range(3)
    ]  # fmt: skip
    base = make_run(tmp_path / "base", generation_rows(lambda week: 2 - week % 2))
    runs = load_runs([*folders, base])
    compared = compare_all(runs)
    name = "3 seeds: s0, s1, s2"
    assert {one.run for one in compared} == {name, "base"}
    (between,) = (one for one in compared if one.between_runs)
    accuracies = [run.metrics["bin_acc"] for run in runs]
    assert between.other == "base"
    assert between.difference == pytest.approx(sum(accuracies[:3]) / 3 - accuracies[3])
    against = {one.other: one for one in compared if one.run == name}
    down = runs[0].metrics["baselines"]["always_down"]["bin_acc"]
    assert against["always-down"].difference == pytest.approx(sum(accuracies[:3]) / 3 - down)
    assert "zero-move" not in against and "train-majority" in against
    report = build(runs, "t", tmp_path / "figures")
    assert [one.run for one in report.headlines] == [name, "base"]
    assert (
        f"{sum(accuracies[:3]) / 3:.3f}, mean of 3 seeds (95 % interval"
        in report.headlines[0].accuracy
    )


def test_probabilities_are_shown_after_the_answer_and_at_once_and_only_where_there_are_some(
    tmp_path,
):
    rows = generation_rows(lambda week: 3)
    folders = [make_run(tmp_path / name, rows) for name in ("own", "unread", "none")]
    runs = load_runs(folders)
    found = {
        "prefixes": {"own": 40},
        "mass": 0.9,
        "direct": {"prefixes": {"direct": 40}, "mass": 0.2},
    }
    unread = {
        "prefixes": {"direct": 40},
        "mass": 0.3,
        "direct": {"prefixes": {"direct": 40}, "mass": 0.3},
    }
    runs[0].metrics["likelihood"], runs[1].metrics["likelihood"] = found, unread
    table = quality.likelihood(runs)
    assert [[cell.text for cell in row[:2]] for row in table.rows] == [
        ["own", "after its answer: 40"], ["own", "at once: 40"], ["unread", "at once: 40"],
    ]  # fmt: skip
    assert table.note.endswith("Not asked for any: none.")
    assert quality.likelihood(runs[2:]).rows == ()


def test_seeds_on_other_rows_stand_alone(tmp_path):
    train = {"base": {"name": "org/base"}, "dataset": {"sha256": "d"}}
    folders = [
        make_run(tmp_path / f"s{seed}", generation_rows(lambda week: 3)[seed:], adapter="outputs/x",
                 dataset={"sha256": "0"}, train={**train, "settings": {"seed": seed}})
        for seed in range(2)
    ]  # fmt: skip
    assert {one.run for one in compare_all(load_runs(folders))} == {"s0", "s1"}


def test_rows_of_a_control_are_a_warning_and_a_served_model_is_no_base(tmp_path):
    rows = [{**row, "control": "no_news"} for row in generation_rows(lambda week: 3)]
    served = make_run(tmp_path / "a", rows, backend={"name": "endpoint", "model": "tuned"})
    (run,) = load_runs([served])
    report = build([run], "t", tmp_path / "figures")
    assert not run.is_base
    assert any("a: its rows are the control no_news" in one for one in report.warnings)


def test_the_base_is_what_is_subtracted_in_either_order(pair):
    for folders in (pair, pair[::-1]):
        between = [one for one in compare_all(load_runs(folders)) if one.between_runs]
        assert [(one.run, one.other) for one in between] == [("demo-tuned", "demo-base")]


@pytest.mark.parametrize(
    ("ceiling", "words"),
    [
        (0.9, "Best reachable direction accuracy: 0.900."),
        (
            {"expected": 0.95, "rule_on_rows": {"test": 0.9375}},
            "Best reachable direction accuracy: 0.950 expected; the rule that made the rows gets 0.938 on split test.",
        ),
        (
            {"expected": 0.95, "rule_on_rows": 0.9},
            "0.950 expected; the rule that made the rows gets 0.900 on split test.",
        ),
        (None, "Nothing here is about a real market."),
    ],
)
def test_made_up_rows_carry_a_banner(tmp_path, ceiling, words):
    rows = generation_rows(lambda week: 3, synthetic=True)
    run = make_run(tmp_path / "toy", rows, dataset={"split": "test", "ceiling": ceiling})
    out = tmp_path / "report"
    text = read_page(write_report([run], out, "T")).text
    assert "Fictional market:" in text and words in text
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
    assert len([one for one in compare_all(runs) if one.between_runs]) == 1
    text = read_page(write_report([*pair, other], tmp_path / "report", "T")).text
    assert "Not on the same rows" in text and "A: demo-base, demo-tuned; B: other" in text


def test_the_same_ids_with_another_truth_are_other_rows(tmp_path):
    rows = generation_rows(lambda week: 3)
    first = make_run(tmp_path / "a", rows)
    second = make_run(tmp_path / "b", [{**rows[0], "label": "up by 4-5%"}, *rows[1:]])
    assert rows[0]["label"] != "up by 4-5%"
    assert len(row_groups(load_runs([first, second]))) == 2


def test_unknown_numbers_are_dashes_with_their_reason_and_never_zero(tmp_path):
    keep = ("id", "label", "answer", "generation")
    rows = [
        {key: row[key] for key in keep} for row in generation_rows(lambda week: 3, weeks=WEEKS[:4])
    ]
    report = build([load_run(make_run(tmp_path / "bare", rows))], "T", tmp_path / "figures")
    cells = {(table.key, table.columns[place]): cell for table in report.measured for row in table.rows[:1]
             for place, cell in enumerate(row)}  # fmt: skip
    for key in (("speed", "Seconds a row"), ("speed", "Latency, p50"), ("validity", "Stop rate")):
        assert cells[key].text == "–" and cells[key].details, key
    baselines = {row[0].text: row[1] for row in report.measured[0].rows}
    assert baselines["train-majority"].text == "–"
    assert baselines["train-majority"].details == ["20 of 20 rows lack train_majority"]
    assert baselines["zero-move"].details == ["calls no direction"]
    assert "4 weeks; an interval needs at least 6" in report.headlines[0].accuracy
    assert all(one.verdict == "not shown" for one in report.headlines[0].verdicts)


def test_examples_are_the_same_ids_for_all_runs_and_show_every_outcome(pair):
    runs = load_runs(pair)
    chosen = choose(runs)
    assert len(chosen) == 10 and chosen == choose(load_runs(pair))
    assert all(
        [reply.run for reply in one.replies] == ["demo-base", "demo-tuned"] for one in chosen
    )
    assert {reply.outcome for one in chosen for reply in one.replies} == {
        "right",
        "wrong",
        "unreadable",
    }
    rows = {row["id"]: row for row in runs[1].generations}
    for one in chosen:
        assert one.truth == rows[one.key]["label"] and one.reference == clean(
            rows[one.key]["answer"]
        )
        assert one.prompt == "", "these rows have none"


def test_an_example_says_what_the_model_was_told(tmp_path):
    rows = [
        {**row, "prompt": f"About {row['id']}:\x00 " + "much. " * 900}
        for row in generation_rows(lambda week: 3)
    ]
    for one in choose(load_runs([make_run(tmp_path / "a", rows)])):
        assert one.prompt.startswith(f"About {one.key}:\ufffd much.") and len(one.prompt) > 5000, (
            "it is not cut"
        )


def test_without_a_row_in_common_each_group_shows_its_own_examples(tmp_path):
    early, twin = (
        make_run(tmp_path / name, generation_rows(lambda week: 3, weeks=WEEKS[:4])) for name in "ab"
    )
    late = make_run(tmp_path / "late", generation_rows(lambda week: 3, weeks=WEEKS[4:]))
    shown = [[reply.run for reply in one.replies] for one in choose(load_runs([early, late, twin]))]
    assert shown == [["a", "b"]] * 10 + [["late"]] * 10


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


def test_settings_that_differ_stand_apart_from_equal_ones(pair, tmp_path):
    other = make_run(
        tmp_path / "results" / "long",
        generation_rows(lambda week: 3),
        generation={"max_new_tokens": 512},
    )
    report = build(load_runs([*pair, other]), "T", tmp_path / "figures")
    differing = {row[0].text: row for row in report.settings.rows}
    equal = {row[0].text: row for row in report.settings_equal.rows}
    assert [cell.text for cell in differing["generation.max_new_tokens"][1:]] == [
        "256",
        "256",
        "512",
    ]
    assert {cell.mark for cell in differing["generation.max_new_tokens"][1:]} == {"differs"}
    assert equal["base.name"][1].text == "org/base"
    # A base model has no learning rate; that is no difference, and the page says why the cell is empty.
    assert [cell.text for cell in equal["training.learning_rate"][1:]] == ["–", "5e-05", "–"]
    assert equal["training.learning_rate"][1].details == ["not trained: the base model as it is"]


def test_a_run_without_a_manifest_says_what_is_missing(tmp_path):
    run = make_run(tmp_path / "bare", generation_rows(lambda week: 3))
    (run / "manifest.json").unlink()
    text = read_page(write_report([run], tmp_path / "report", "T")).text
    assert "bare: no manifest.json in the folder; what would stand there is left out." in text
    assert "bare: no manifest.json says how it was trained." in text
    assert "No settings are recorded." in text


def test_training_pictures_or_the_reason_why_there_are_none(pair, tmp_path):
    report = build(load_runs(pair), "T", tmp_path / "figures")
    assert [picture.path.name for picture in report.comparison_pictures] == ["training.png"]
    assert {picture.path.name for picture in report.training_pictures["tuned"]} >= {
        "loss.png",
        "gpu.png",
    }
    assert (
        "tuned: no GPU curves (no NVIDIA driver); processor and memory are shown."
        in report.training_notes
    )
    (tmp_path / "outputs" / "tuned" / "train_log.jsonl").unlink()
    report = build(load_runs(pair), "T", tmp_path / "figures")
    assert report.training_pictures == {} and not report.comparison_pictures
    assert (
        "tuned: its folder is not on this machine (outputs/tuned), so no curves."
        in report.training_notes
    )


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


def test_csv_keeps_full_precision_and_empty_cells(tmp_path):
    table = Table(
        "t",
        "T",
        ("a", "b"),
        ((Cell("x,y"), Cell(1 / 3, ci95=(0.25, 0.5), n=4)), (Cell("z"), Cell(None))),
    )
    assert to_csv(table) == f'a,b,b low,b high,b n\n"x,y",{1 / 3},0.25,0.5,4\nz,,,,\n'
