"""When a command's answer began is read from what it prints."""

import io

from benchmarks.forecast import moments


def test_the_answer_begins_behind_the_inputs():
    shown = "AAA: AAA.\nWeek from\n\nknown at\n-----\n1 prices\n\nIt may rise.\n\nCall: up\n"
    found = moments(io.StringIO(shown + "Probabilities of the twelve"), 0.0)
    assert found.first_word and found.probabilities and found.first_word < found.probabilities
    assert moments(io.StringIO(shown), 0.0).probabilities is None
    assert moments(io.StringIO("forecast: no\n"), 0.0).first_word is None
