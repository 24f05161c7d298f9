"""The public benchmark's scoring: every quirk worked by hand, none of them ours."""

import json

import pytest

from eval.metrics.fingpt_compatible import fingpt_metrics, parse_upstream
from eval.metrics.rouge import section_rouge


def text(
    prediction, analysis="Fine.", positives="1. a", concerns="1. b", last="[Prediction & Analysis]:"
):
    return (
        f"[Positive Developments]:\n{positives}\n\n[Potential Concerns]:\n{concerns}\n\n"
        f"{last}\nPrediction: {prediction}\nAnalysis: {analysis}"
    )


@pytest.mark.parametrize(
    ("prediction", "direction", "value"),
    [
        ("Up by 1-2%", 1, 1.5),
        ("Down by 1-2%", -1, -1.5),
        ("Down by more than 5%", -1, -5.5),
        ("DECLINE of 3-4%", -1, -3.5),
        ("Decrease of 3-4%", -1, -3.5),
        ("Flat", 0, 0.0),
        ("Flat within 0-1%", 0, 0.0),
        ("Rise by 1-2%", 0, 0.0),  # "rise" is none of its words
        ("...", 0, 0.0),
        ("Not up by 1-2%", 1, 1.5),
    ],
)
def test_direction_and_margin(prediction, direction, value):
    parsed = parse_upstream(text(prediction))
    assert parsed is not None
    assert (parsed.direction, parsed.prediction) == (direction, value)


@pytest.mark.parametrize(
    "prediction",
    [
        "Down by 1-2% in the upcoming week",
        "Down by 1-2% (support at 100)",
        "Supply falls, down 1-2%",
    ],
)
def test_up_in_any_word_is_up(prediction):
    assert parse_upstream(text(prediction)).prediction == 1.5


@pytest.mark.parametrize(
    ("prediction", "value"),
    [
        ("Up by 12%", 2.5),  # the last digit of the run
        ("Down by 0.5-1%", -5.5),  # "5-1%"
        ("Up by 5+%", 0.0),
        ("Down by 2 - 3%", -3.5),
        ("Up by 2–3%", 3.5),  # an en dash is no hyphen, so "3%" is all it finds
        ("Up by 10-12%", 2.5),  # two digits after the hyphen: no range, then "12%"
        ("Up 7% within 1-2%", 1.5),  # a range wins over an earlier single figure
        ("Up by 1.5%", 5.5),
        ("Up by 3 %", 0.0),
    ],
)
def test_margins_as_the_benchmark_reads_them(prediction, value):
    assert parse_upstream(text(prediction)).prediction == value


@pytest.mark.parametrize(
    "broken",
    [
        "<think>\n\n</think>\n\n" + text("Up by 1-2%"),
        "Sure. " + text("Up by 1-2%"),
        text("Up by 1-2%").replace("[Positive Developments]:", "**Positive Developments**:"),
        text("Up by 1-2%", last="[Prediction & Analysis]"),
        text("Up by 1-2%", last="[Prediction And Analysis]:"),
        text("Up by 1-2%").replace("[Potential Concerns]:", "[Potential Concerns]"),
        text("Up by 1-2%").replace("Prediction: Up", "It goes Up"),
        text("Up by 1-2%").replace("Prediction: Up", "**Prediction**: Up"),
        text("Up by 1-2%").replace("\nAnalysis:", "\nAnalysis"),
        text("Up by 1-2%").replace("[Positive", "[Potential").replace("Developments]", "Concerns]"),
        "[Prediction & Analysis]:\nPrediction: Up\nAnalysis: x\n"
        "[Positive Developments]:\n[Potential Concerns]:\n",
        "[Positive Developments]:\n[Prediction & Analysis]:\nPrediction: Up\nAnalysis: x\n"
        "[Potential Concerns]:\n",
        "",
    ],
)
def test_anything_but_the_exact_layout_is_invalid(broken):
    assert parse_upstream(broken) is None


def test_and_replaces_the_ampersand_and_white_space_may_lead():
    plain = parse_upstream(text("Up by 1-2%"))
    assert (
        parse_upstream("\n \t" + text("Up by 1-2%", last="[Prediction and Analysis]:"))
        == plain
        is not None
    )


def test_sections_keep_trailing_white_space_and_lose_leading():
    parsed = parse_upstream(text("Up by 1-2%", analysis="  Fine. \n"))
    assert (parsed.positives, parsed.concerns, parsed.analysis) == (
        "1. a\n\n",
        "1. b\n\n",
        "Fine. \n",
    )


def test_of_repeated_headers_the_last_counts():
    twice = text("Up by 1-2%", "One.") + text("Down by 3-4%", "Two.")
    parsed = parse_upstream(twice)
    # The whole first copy falls into the positives, and the second copy's prediction is the answer.
    assert (
        parsed.positives
        == twice[len("[Positive Developments]:\n") : twice.rindex("[Potential Concerns]:")]
    )
    assert (parsed.concerns, parsed.analysis, parsed.prediction) == ("1. b\n\n", "Two.", -3.5)


def test_a_second_copy_cut_off_leaves_the_last_whole_header():
    first = text("Up by 1-2%", "One.")
    cut_in_concerns = parse_upstream(
        first + "[Positive Developments]:\n1. c\n[Potential Concerns]:\n1. d"
    )
    assert (cut_in_concerns.positives, cut_in_concerns.concerns) == ("1. a\n\n", "1. b\n\n")
    assert (
        cut_in_concerns.analysis
        == "One.[Positive Developments]:\n1. c\n[Potential Concerns]:\n1. d"
    )
    assert parse_upstream(first + "\n[Prediction & Analysis]:\nPrediction: Up") is None


def test_the_last_analysis_label_counts():
    parsed = parse_upstream(text("Up by 1-2%", "It falls, down 3-4%.\nAnalysis: Two."))
    assert parsed.analysis == "Two."
    up_in_the_rest = parse_upstream(text("Flat", "It goes up by 3-4%.\nAnalysis: Two."))
    assert up_in_the_rest.prediction == 3.5  # what stood between the labels is read as prediction


def words_in_common(reference, generation):
    share = len(set(reference.split()) & set(generation.split())) / len(set(reference.split()))
    return {"rouge1": share, "rouge2": 0.0, "rougeL": float(len(reference))}


def test_metrics_are_means_over_the_pairs_that_parse():
    generations = [
        text("Up by 1-2%", "a b"),
        text("Down by 12%", "a x"),
        text("Flat", "y z"),
        "<think></think>" + text("Up by 1-2%"),
        text("Up by 1-2%"),
    ]
    references = [
        text("Up by 3-4%", "a b"),
        text("Up by 0-1%", "a b"),
        text("Down by 0-1%", "a b"),
        text("Up by 1-2%"),
        "no layout",
    ]
    metrics = fingpt_metrics(generations=generations, references=references, rouge=words_in_common)
    assert metrics["valid_count"] == 3
    assert metrics["bin_acc"] == pytest.approx(1 / 3)  # up and up, down and up, 0 and down
    assert metrics["mse"] == pytest.approx(
        ((1.5 - 3.5) ** 2 + (-2.5 - 0.5) ** 2 + (0 + 0.5) ** 2) / 3
    )
    assert metrics["anal_rouge_scores"] == {
        "rouge1": pytest.approx((1 + 1 / 2 + 0) / 3),
        "rouge2": 0.0,
        "rougeL": 3.0,
    }
    assert metrics["pros_rouge_scores"]["rouge1"] == metrics["cons_rouge_scores"]["rouge1"] == 1.0


def test_no_pair_is_a_count_of_zero_and_nothing_else():
    metrics = fingpt_metrics(generations=["", "x"], references=[text("Up by 1-2%")] * 2)
    assert metrics.pop("valid_count") == 0
    assert metrics == dict.fromkeys(
        ["bin_acc", "mse", "pros_rouge_scores", "cons_rouge_scores", "anal_rouge_scores"], None
    )


def test_lists_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="2 generations for 1 references"):
        fingpt_metrics(generations=["a", "b"], references=["a"])


def test_section_rouge_by_hand():
    # Stemmed: "order grow quick" against "order grow slow": 2 of 3 words, 1 of 2 pairs, a
    # subsequence of 2.
    metrics = section_rouge(reference="Orders growing slow", generation="order grow quick")
    assert metrics == {
        "rouge1": pytest.approx(2 / 3),
        "rouge2": pytest.approx(1 / 2),
        "rougeL": pytest.approx(2 / 3),
    }
    assert section_rouge("a b", "a b") == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}


@pytest.mark.parametrize(
    ("reference", "generation"), [("", "a"), ("a", ""), (" \n", "a"), ("...", "...")]
)
def test_section_rouge_of_nothing_is_zero(reference, generation):
    assert section_rouge(reference, generation) == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


def test_every_answer_of_the_reasoning_model_is_rejected(shared_data):
    folder = shared_data / "generations"
    generations = [
        json.loads(line)["generation"]
        for line in (folder / "deepseek_r1_llama8b_lora.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    references = [text("Up by 1-2%")] * len(generations)
    metrics = fingpt_metrics(generations=generations, references=references)
    assert metrics["valid_count"] == 0
