"""What two answers do not share."""

import pytest

from eval.report.examples import mark_differences


@pytest.mark.parametrize(
    ("text", "against", "pieces"),
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
def test_words_of_its_own_are_marked(text, against, pieces):
    assert mark_differences(text, against) == pieces


@pytest.mark.parametrize("text", ["  lead\n\n1. x   y\t", "a " * 2000, "\n", "x"])
def test_the_pieces_are_the_text_again(text):
    assert "".join(piece for piece, _ in mark_differences(text, "some other 1. words")) == text
