"""The top of the page: its sentences for every outcome, and where bars lie on the axis."""

import pytest

from eval.metrics.skill import Error, SkillEstimate
from eval.report.comparisons import compare_runs
from eval.report.forest import axis_of, bar_of, signed
from eval.report.runs import load_runs
from eval.report.skills import SkillResult
from eval.report.summary import answer_sentence, certainty_sentences, summarize
from tests.support.report_runs import generation_rows, make_pair, make_run, make_training


def result(run, verdict, *, base=None, p=0.5, tests=1, value=0.1, half=0.05):
    value = -value if verdict == HARM else value
    estimate = SkillEstimate(
        excess_accuracy=value,
        ci95=(value - half, value + half),
        p=p,
        n=100,
        weeks=20,
        up_share=0.5,
        truth_up_share=0.5,
        error=Error(half / 2, 19),
    )
    p_holm = min(1.0, p * tests)
    return SkillResult(run, estimate, verdict, base=base, p_holm=p_holm, tests=tests)


SHOWN, NOT, HARM, OPEN = "skill shown", "no skill shown", "negative skill shown", "not judged"


@pytest.mark.parametrize(
    ("skills", "tuning", "sentence"),
    [
        (
            [("a", SHOWN), ("b", NOT)],
            [("a", "b", SHOWN)],
            "Fine-tuning helped: a has more skill than b. a shows skill.",
        ),
        (
            [("a", NOT), ("b", NOT)],
            [("a", "b", NOT)],
            "Fine-tuning has not been shown to help: no gain in skill of a over b. "
            "No run has shown skill.",
        ),
        (
            [("a", HARM), ("b", NOT)],
            [("a", "b", HARM)],
            "Fine-tuning did harm: a has less skill than b. No run has shown skill. "
            "Negative skill (wrong more often than by chance): a.",
        ),
        (
            [("a", OPEN), ("b", OPEN)],
            [("a", "b", OPEN)],
            "Whether fine-tuning helped cannot be judged. Not judged: a and b.",
        ),
        (
            [("a", SHOWN), ("c", NOT), ("b", NOT)],
            [("a", "b", SHOWN), ("c", "b", NOT)],
            "Fine-tuning helped: a has more skill than b. Fine-tuning has not been shown to help: "
            "no gain in skill of c over b. a shows skill.",
        ),
        (
            [("a", NOT), ("c", NOT), ("d", NOT), ("b", NOT)],
            [("a", "b", NOT), ("c", "b", NOT), ("d", "e", NOT)],
            "Fine-tuning has not been shown to help: no gain in skill of a and c over b; d over e. "
            "No run has shown skill.",
        ),
        (
            [("a", SHOWN), ("c", SHOWN), ("d", SHOWN), ("b", NOT)],
            [("a", "b", SHOWN), ("c", "b", SHOWN), ("d", "e", SHOWN)],
            "Fine-tuning helped: a and c have more skill than b; d has more skill than e. "
            "a, c and d show skill.",
        ),
        (
            [("a", NOT)],
            [],
            "No skill is shown. Whether fine-tuning helped is not tested: that needs its base, "
            "with a manifest, on the same rows.",
        ),
    ],
)
def test_the_answer(skills, tuning, sentence):
    own = [result(run, verdict, p=0.01) for run, verdict in skills]
    added = [result(run, verdict, base=base, p=0.01) for run, base, verdict in tuning]
    assert answer_sentence(own, added) == sentence


def test_a_page_of_bases_alone_asks_for_no_base():
    assert answer_sentence([result("b", NOT)], [], only_bases=True) == "No skill is shown."


def test_a_base_that_answers_nothing_is_said_in_the_answer():
    own = [result("a", SHOWN, p=0.01), result("b", NOT, p=1.0)]
    answer = answer_sentence(own, [result("a", SHOWN, base="b", p=0.01)], unread={"b"})
    told = "Fine-tuning helped: a shows skill, and b answers nothing that can be read."
    assert answer == told, "what a shows is told once"
    more = [*own, result("c", SHOWN, p=0.01)]
    answer = answer_sentence(more, [result("a", SHOWN, base="b", p=0.01)], unread={"b"})
    assert answer == f"{told} c shows skill too."


@pytest.mark.parametrize(
    ("value", "p", "tests", "size", "odds"),
    [
        (0.3, 0.0001, 1, "30 more right of 100", "in fewer than 1 of 1,000 tests"),
        (-0.214, 0.012, 3, "21 fewer right of 100", "in 36 of 1,000 tests"),
    ],
)
def test_a_shown_skill_has_its_size_interval_and_odds(value, p, tests, size, odds):
    """The size is in forecasts of a hundred; the odds are of the corrected p."""
    verdict = SHOWN if value > 0 else HARM
    shown = result("a", verdict, value=abs(value), p=p, tests=tests)
    (sentence,) = certainty_sentences([shown], [])
    assert sentence.startswith(f"a: {size} than guesses with as many ups (95 % ")
    (sentence,) = certainty_sentences([shown], [], accuracies={"a": 0.714})
    assert sentence.startswith(
        f"a: 71 of 100 directions right, {size.removesuffix(' right of 100')} "
    )
    low, high = (f"{round(100 * end)}".replace("-", "−") for end in shown.estimate.ci95)
    assert f"interval: {low} to {high})" in sentence and odds in sentence


def test_the_gain_of_fine_tuning_is_told_first():
    gain = result("a", SHOWN, base="b", p=0.001)
    sentences = certainty_sentences([result("a", SHOWN, p=0.001)], [gain])
    assert sentences[0].startswith("a against b: ") and sentences[1].startswith("a: ")
    (skill,) = certainty_sentences([result("a", SHOWN, p=0.001)], [gain], {"b"})
    assert skill.startswith("a: "), "b answers nothing: the gain is the skill of a"


def test_what_is_not_shown_states_what_could_be():
    """Corrected for the page's tests, so more runs need a larger skill."""
    (alone,) = certainty_sentences([result("a", NOT)], [])
    (of_ten,) = certainty_sentences([result("a", NOT, tests=10)], [])
    assert "show a true skill of 0.07 in four of five tests" in alone  # (2.09 + 0.86) * 0.025
    assert "show a true skill of 0.10 in four of five tests" in of_ten  # (3.17 + 0.86) * 0.025
    (gain,) = certainty_sentences([], [result("a", NOT, base="b")])
    assert "show a true gain in skill of 0.07" in gain


def test_what_was_tested_names_model_rows_weeks_and_dates(tmp_path):
    train = make_training(tmp_path / "outputs" / "tuned")
    train["dataset"] = {"source": "data/datasets/mine", "train_rows": 400}
    train["dataset"]["last_train_week"] = "2023-12-24"
    train["result"] |= {"kept_step": 5, "used": {"rows_per_step": 16}}
    rows = generation_rows(lambda week: 5 - week % 2)
    tuned = make_run(tmp_path / "results" / "t", rows, adapter="outputs/tuned", train=train)
    base = make_run(tmp_path / "results" / "b", generation_rows(lambda week: 2))
    assert summarize(compare_runs(load_runs([base, tuned]))).tested == (
        "b: base as it is, the base.",
        "t: base, fine-tuned on 80 of 400 rows of the dataset mine up to the week of 2023-12-24.",
        "Test: 40 weekly forecasts for 5 firms in 8 weeks from 2023-12-31 to 2024-02-28 "
        "(made-up, split test).",
    )


def test_a_gain_of_nothing_over_nothing_is_called_that(tmp_path):
    rows = [row | {"generation": "Hm."} for row in generation_rows(lambda week: 3)]
    runs = [make_run(tmp_path / "b", rows), make_run(tmp_path / "t", rows, adapter="x")]
    (line,) = summarize(compare_runs(load_runs(runs))).tuning
    assert line.remarks[0] == "no answer of either can be read"


def test_a_run_that_answers_nothing_is_not_said_to_be_worse(tmp_path):
    rows = [row | {"generation": "Hm."} for row in generation_rows(lambda week: 3)]
    (line,) = summarize(compare_runs(load_runs([make_run(tmp_path / "a", rows)]))).runs
    assert line.verdict == "answered nothing that can be read"
    assert line.bar is None and line.remarks == ()


def test_a_verdict_that_the_correction_takes_back_is_told(tmp_path):
    """The page's and the run's own verdict may differ: then the line says so."""
    from eval.report.summary import _line

    line = _line(result("a", SHOWN, p=0.04, tests=3), None)
    assert line.verdict == NOT
    assert line.remarks[0] == "tested alone it would be: skill shown (p 0.040, corrected 0.120)"


def test_bars_lie_on_one_axis_that_holds_zero():
    results = [result("a", SHOWN, value=0.3), result("b", NOT, value=0.1, half=0.2)]
    axis = axis_of(results)
    bars = [bar_of(each, axis) for each in results]
    assert 0 < axis.zero < bars[0].low < bars[0].value < bars[0].high < 100
    assert 0 < bars[1].low < axis.zero < bars[1].high < 100
    assert bars[0].value - axis.zero == pytest.approx(3 * (bars[1].value - axis.zero))
    assert axis_of([]) is None
    assert [signed(value) for value in (0.0004, -0.25, 0.5)] == ["0.000", "−0.250", "+0.500"]


@pytest.mark.parametrize(
    ("value", "half"),
    [
        (0, 0),
        (0.003, 0.002),
        (-0.01, 0.02),
        (0.06, 0.07),
        (-0.045, 0.045),
        (0.06, 0.55),
        (0.37, 0.1),
    ],
)
def test_an_axis_of_small_values_has_ticks_that_differ(value, half):
    axis = axis_of([result("a", NOT, value=value, half=half)])
    texts = [tick.text for tick in axis.ticks]
    assert len(set(texts)) == len(texts) and 3 <= len(texts) <= 6 and axis.at(0.05) < 100
    for tick in axis.ticks:
        assert axis.at(float(tick.text.replace("−", "-"))) == pytest.approx(tick.at)


def test_a_page_of_two_runs_reads_as_one_story(tmp_path):
    summary = summarize(compare_runs(load_runs(make_pair(tmp_path))))
    assert summary.answer.startswith("Fine-tuning helped: demo-tuned has more skill than demo-base")
    assert [line.name for line in summary.tuning] == ["demo-tuned minus demo-base"]
    assert "2 verdicts on skill" in summary.correction
