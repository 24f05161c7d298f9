"""ROUGE by hand, and the Rust scorer against the reference one."""

import json
import random
from itertools import pairwise

import pytest

from eval.metrics.rouge import KINDS, installed, section_rouge

TEXTS = [
    "Orders grew by 12% and the plant's margins are rising.",
    "The plant is growing; margins rose, orders fell 12 percent.",
    "1. Strong demand: shipments up 3.5x.\n2. Naïve café prices — “higher” costs\t& fees.",
    "weekahead weekahead weekahead week ahead",
    "你好 мир 12",
    "!!! ...",
    "a" * 400,
]
FAST = pytest.mark.skipif(
    "rouge_score_rs" not in installed(), reason="rouge-score-rs is not installed"
)


def test_by_hand():
    scores = section_rouge("the cat sat down", "the cat ran")
    # Two words in common: precision 2/3, recall 2/4. One bigram of two and of three. "the cat" is
    # the longest common subsequence.
    assert scores == pytest.approx({"rouge1": 4 / 7, "rouge2": 2 / 5, "rougeL": 4 / 7})


@pytest.mark.parametrize("package", installed())
def test_words_are_stemmed_and_an_empty_text_scores_zero(package):
    assert section_rouge("prices rising", "price rises", package)["rouge2"] == 1.0
    assert (
        section_rouge(" \n", "words", package)
        == section_rouge("words", "", package)
        == dict.fromkeys(KINDS, 0.0)
    )


def test_the_reference_scorer_is_always_there():
    assert installed()[-1] == "rouge_score"


@FAST
def test_both_scorers_agree_to_the_last_bit():
    for reference in TEXTS:
        for generation in TEXTS:
            pair = reference, generation
            assert section_rouge(*pair, "rouge_score_rs") == section_rouge(*pair, "rouge_score"), (
                pair
            )


@FAST
def test_both_scorers_agree_on_random_texts():
    draw = random.Random(7)
    words = [
        "growing",
        "grew",
        "growth",
        "organizing",
        "3.5%",
        "$12",
        "it's",
        "naïve",
        "İstanbul",
        "ﬁnance",
        "ties",
    ]
    for _ in range(300):
        a, b = (" ".join(draw.choices(words, k=draw.randrange(1, 60))) for _ in range(2))
        assert section_rouge(a, b, "rouge_score_rs") == section_rouge(a, b, "rouge_score"), (a, b)


@FAST
def test_both_scorers_agree_on_real_answers(shared_data):
    rows = (
        (shared_data / "generations" / "llama3.1_8b_lora.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()[:25]
    )
    texts = [json.loads(row)["generation"] for row in rows]
    for pair in pairwise(texts):
        assert section_rouge(*pair, "rouge_score_rs") == section_rouge(*pair, "rouge_score")
