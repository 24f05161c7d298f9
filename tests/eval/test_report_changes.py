"""What tuning changed: against numpy, by hand, under controls, on the public outputs."""

import json

import numpy
import pytest
from scipy.special import stdtrit
from scipy.stats import ttest_1samp

from eval.metrics.statistics import clustered_mean
from eval.report.changes import change_sentences, slope_values, tuning_changes
from eval.report.comparisons import compare_runs
from eval.report.runs import load_runs
from eval.report.skills import tuning_results
from eval.report.tables.changes import changes
from tests.support.report_runs import generation_rows, make_run, make_training
from tests.support.scorable_rows import UNREADABLE, answer_with
from weekahead.files import read_jsonl, write_json
from weekahead.task.labels import BINS

WEEKS, FIRMS = 8, 5


def said(rows, bins, control=None):
    """The rows with answers that state `bins`; None is an answer that cannot be read."""
    extra = {"control": control} if control else {}
    return [
        row | extra | {"generation": answer_with(label) if label else UNREADABLE}
        for row, label in zip(rows, bins, strict=True)
    ]


def drawn(seed, missing=0.0):
    draw = numpy.random.default_rng(seed)
    labels = draw.choice(BINS, WEEKS * FIRMS)
    return [str(label) if draw.random() >= missing else None for label in labels]


def rows_with_moves():
    draw = numpy.random.default_rng(4)
    moves = draw.normal(0, 0.03, WEEKS * FIRMS)
    return [
        row | {"last_week_return": float(move)}
        for row, move in zip(generation_rows(lambda week: 3), moves, strict=True)
    ]


def changes_of(folders):
    compared = compare_runs(load_runs(folders))
    return {found.wording.title: found for found in tuning_changes(compared)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(what a base said, what its adapter said, their changes), with some unread answers."""
    folder = tmp_path_factory.mktemp("pair")
    bins, tuned_bins = drawn(1, missing=0.2), drawn(2, missing=0.1)
    rows = rows_with_moves()
    runs = [
        make_run(folder / "base", said(rows, bins)),
        make_run(folder / "tuned", said(rows, tuned_bins), adapter="a"),
    ]
    return bins, tuned_bins, rows, changes_of(runs)


def both_read(bins, tuned_bins):
    return [i for i, pair in enumerate(zip(bins, tuned_bins, strict=True)) if all(pair)]


def ups(bins, indices):
    return numpy.array([float(bins[i].startswith("up")) for i in indices])


def linearized(values, weeks):
    """Mean, and error by week of a mean: the correction and formula of eval.metrics.statistics."""
    values, weeks = numpy.asarray(values), numpy.asarray(weeks)
    residuals, n = values - values.mean(), len(values)
    parts = [
        residuals[weeks == week].sum() ** 2 / (1 - (weeks == week).mean())
        for week in dict.fromkeys(weeks.tolist())
    ]
    return values.mean(), sum(parts) ** 0.5 / n


def half_width(change):
    return (change["ci95"][1] - change["ci95"][0]) / 2


def test_share_of_up_is_paired_on_the_rows_that_both_read(pair):
    bins, tuned_bins, _, found = pair
    indices = both_read(bins, tuned_bins)
    ours, theirs = ups(tuned_bins, indices), ups(bins, indices)
    share = found["Share of up"]
    assert (share.run, share.base) == ("tuned", "base")
    assert (share.ours, share.theirs) == pytest.approx((ours.mean(), theirs.mean()))
    mean, error = linearized(ours - theirs, [i // FIRMS for i in indices])
    assert share.change["mean"] == pytest.approx(mean)
    assert (share.change["n"], share.change["weeks"]) == (len(indices), WEEKS)
    by_week = clustered_mean((ours - theirs).tolist(), [i // FIRMS for i in indices])
    assert half_width(share.change) == pytest.approx(error * stdtrit(by_week.freedom, 0.975))
    assert share.change["p"] == pytest.approx(by_week.p)
    assert share.sentence.startswith(
        f"tuned says up in {100 * ours.mean():.0f} % of its calls and base in "
        f"{100 * theirs.mean():.0f} % ({len(indices)} rows; difference "
    )


def test_runs_that_share_no_call_with_their_base_get_one_sentence(tmp_path):
    rows, none = rows_with_moves(), [None] * (WEEKS * FIRMS)
    runs = [make_run(tmp_path / "base", said(rows, none))]
    runs += [make_run(tmp_path / name, said(rows, drawn(1)), adapter=name) for name in "ab"]
    found = tuning_changes(compare_runs(load_runs(runs)))
    assert change_sentences(found) == (
        "There is no row for which both base and one of a, b state a direction, so what they say "
        "cannot be compared.",
    )
    assert change_sentences([change for change in found if change.run == "a"]) == (
        "There is no row for which both base and a state a direction, so what they say cannot be "
        "compared.",
    )


def test_the_test_of_whole_weeks_is_a_t_test(tmp_path):
    """Each week of the tuned run is called as a whole: its error is that of weekly means."""
    rows = rows_with_moves()
    bins = ["down by 1-2%"] * (WEEKS * FIRMS)
    tuned = [("up by 2-3%", "down by 1-2%")[i // FIRMS % 3 == 0] for i in range(WEEKS * FIRMS)]
    runs = [make_run(tmp_path / "base", said(rows, bins))]
    runs.append(make_run(tmp_path / "tuned", said(rows, tuned), adapter="a"))
    share = changes_of(runs)["Share of up"]
    test = ttest_1samp([week % 3 != 0 for week in range(WEEKS)], 0)
    assert share.change["p"] == pytest.approx(test.pvalue)
    assert share.change["ci95"][0] == pytest.approx(test.confidence_interval().low)
    size = changes_of(runs)["Size of a call, percent"]
    assert (size.theirs, size.ours) == pytest.approx((1.5, 1.5 + 5 / 8))


def test_slope_on_last_week_is_that_of_least_squares(pair):
    bins, tuned_bins, rows, found = pair
    indices = both_read(bins, tuned_bins)
    x = numpy.array([100 * rows[i]["last_week_return"] for i in indices])
    slopes = [numpy.polyfit(x, ups(named, indices), 1)[0] for named in (tuned_bins, bins)]
    slope = found["Slope of the call on last week's move"]
    assert (slope.ours, slope.theirs) == pytest.approx(slopes)
    assert slope.change["mean"] == pytest.approx(slopes[0] - slopes[1])
    difference = ups(tuned_bins, indices) - ups(bins, indices)
    weeks = numpy.array([i // FIRMS for i in indices])
    left_out = [
        numpy.polyfit(x[weeks != week], difference[weeks != week], 1)[0] for week in range(WEEKS)
    ]
    error = numpy.std(left_out) * (WEEKS - 1) ** 0.5  # the jackknife's
    assert half_width(slope.change) == pytest.approx(error * stdtrit(WEEKS - 1, 0.975))
    assert (slope.change["n"], slope.change["weeks"]) == (len(indices), WEEKS)


def test_slopes_need_moves_that_differ_in_all_but_one_week():
    weeks = [i // 2 for i in range(12)]
    constant = numpy.full(12, 0.1)
    assert slope_values([numpy.ones(12)], constant, weeks).columns == []
    one_week = constant + (numpy.arange(12) == 3)
    assert slope_values([numpy.ones(12)], one_week, weeks).columns == []
    few = slope_values([numpy.arange(12.0)], numpy.arange(12.0), [i // 4 for i in range(12)])
    assert few.columns[0].tolist() == [1, 1, 1] and few.weeks == [0, 1, 2]
    assert slope_values([numpy.array([])], numpy.array([]), []).columns == []
    (only,), clusters = slope_values([numpy.arange(3.0)], numpy.arange(3.0), None)
    assert only.tolist() == [1.0] and clusters is None


def test_without_a_common_row_there_is_a_reason(tmp_path):
    rows = [row | {"last_week_return": None} for row in rows_with_moves()]
    runs = [make_run(tmp_path / "base", said(rows, [None] * len(rows)))]
    runs.append(make_run(tmp_path / "tuned", said(rows, drawn(2)), adapter="a"))
    found = changes_of(runs)
    assert found["Share of up"].ours is None
    assert found["Share of up"].sentence == (
        "Share of up, tuned and base: no row on which both state it."
    )
    slope = found["Slope of the call on last week's move"]
    assert slope.change["mean"] is None and "not known or do not differ" in slope.sentence


def test_without_a_base_nothing_is_compared(tmp_path):
    rows = generation_rows(lambda week: 3)
    runs = [
        make_run(tmp_path / "a", rows, adapter="a"),
        make_run(tmp_path / "b", rows, adapter="b"),
    ]
    assert changes_of(runs) == {}
    assert changes(compare_runs(load_runs(runs))).rows == ()


def test_few_weeks_have_no_interval(tmp_path):
    rows = rows_with_moves()[:20]
    runs = [make_run(tmp_path / "base", said(rows, drawn(1)[:20]))]
    runs.append(make_run(tmp_path / "tuned", said(rows, drawn(2)[:20]), adapter="a"))
    share = changes_of(runs)["Share of up"]
    assert share.change["ci95"] is None and share.change["mean"] is not None
    assert "no interval: 4 weeks; an interval needs at least 6" in share.sentence


def test_calls_that_change_without_the_news(tmp_path):
    """The tuned run changes half of its calls, the base none."""
    rows = rows_with_moves()
    bins = ["up by 1-2%" if i % 2 else "down by 1-2%" for i in range(len(rows))]
    without = ["up by 3-4%"] * len(rows)
    runs = [
        make_run(tmp_path / "base", said(rows, bins)),
        make_run(tmp_path / "base-no", said(rows, bins, "no_news")),
        make_run(tmp_path / "tuned", said(rows, bins), adapter="a"),
        make_run(tmp_path / "tuned-no", said(rows, without, "no_news"), adapter="a"),
        make_run(tmp_path / "tuned-mask", said(rows, without, "masked_names"), adapter="a"),
    ]
    found = changes_of(runs)
    assert "Calls that change without the names of the firms" not in found, "no such base"
    changed = found["Calls that change without the news"]
    assert (changed.run, changed.base) == ("tuned", "base")
    assert (changed.ours, changed.theirs, changed.change["mean"]) == (0.5, 0.0, 0.5)
    assert changed.sentence.startswith(
        "Without the news, tuned changes 50 % of its calls and base 0 % (40 rows; difference 50, "
    )
    results = tuning_results(compare_runs(load_runs(runs)).entries)
    pairs = [(result.run, result.base) for result in results]
    assert pairs == [("tuned", "base"), ("tuned-no", "base-no")], "the same question"


def test_rows_that_the_control_left_alone_are_not_counted(tmp_path):
    """Half of the rows keep their prompt: their calls say nothing about the news."""
    rows = [row | {"prompt": f"question {i}"} for i, row in enumerate(rows_with_moves())]
    other = [row | {"prompt": "swapped"} if i % 2 else row for i, row in enumerate(rows)]
    bins, all_up = drawn(1), ["up by 1-2%"] * len(rows)
    runs = []
    for name, adapter in (("base", None), ("tuned", "a")):
        runs.append(make_run(tmp_path / name, said(rows, bins), adapter=adapter))
        swapped = said(other, all_up, "swapped_news")
        runs.append(make_run(tmp_path / f"{name}-s", swapped, adapter=adapter))
    found = changes_of(runs)["Calls that change with the news of another firm"]
    falls = [bins[i].startswith("down") for i in range(1, len(rows), 2)]
    assert found.change["n"] == 20
    assert found.ours == found.theirs == pytest.approx(sum(falls) / 20)


def test_the_spread_of_seeds_widens_the_interval(tmp_path):
    rows = rows_with_moves()
    base = make_run(tmp_path / "base", said(rows, drawn(1)))
    folders = []
    for seed, bins in enumerate((["up by 1-2%"] * len(rows), drawn(3))):
        folder = tmp_path / "outputs" / f"s{seed}"
        train = make_training(folder)
        train["settings"]["seed"] = seed
        write_json(folder / "manifest.json", train)
        folders.append(
            make_run(tmp_path / f"s{seed}", said(rows, bins), adapter=str(folder), train=train)
        )
    share = changes_of([base, *folders])["Share of up"]
    single = [changes_of([base, folder])["Share of up"] for folder in folders]
    assert share.ours == pytest.approx((single[0].ours + single[1].ours) / 2)
    assert half_width(share.change) > max(half_width(one.change) for one in single)


def test_the_table_holds_what_the_sentences_say(pair, tmp_path):
    bins, tuned_bins, rows, found = pair
    runs = [make_run(tmp_path / "base", said(rows, bins))]
    runs.append(make_run(tmp_path / "tuned", said(rows, tuned_bins), adapter="a"))
    table = changes(compare_runs(load_runs(runs)))
    assert [row[2].value for row in table.rows] == list(found)
    assert [row[5].value for row in table.rows] == [one.change["mean"] for one in found.values()]
    said_words = " ".join([table.note, *(one.sentence for one in found.values())]).split()
    assert not {"better", "worse"} & set(said_words)


def test_the_public_outputs_give_what_was_found(shared_data, tmp_path):
    """The R1 base says up in 82 % of the answers that can be read, its adapter in 55 %, t 3.9."""
    lines = (shared_data / "dow30/test.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    runs = []
    for name, adapter in (("base", None), ("lora", "a")):
        rows = read_jsonl(shared_data / f"generations/deepseek_r1_llama8b_{name}.jsonl")
        joined = [row | {"answer": answers[index]} for index, row in enumerate(rows)]
        runs.append(make_run(tmp_path / name, joined, adapter=adapter))
    share = changes_of(runs)["Share of up"]
    assert (share.theirs, share.ours) == pytest.approx((0.82, 0.55), abs=0.005)
    assert share.change["n"] == 49
    freedom = 8.42  # Bell and McCaffrey's, of ten weeks that differ in size
    error = half_width(share.change) / stdtrit(freedom, 0.975)
    assert share.change["mean"] / error == pytest.approx(-3.9, abs=0.05)
