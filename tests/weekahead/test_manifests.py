"""What a manifest says in words."""

import pytest

from weekahead.schema.manifests import training_rows_in_words


def manifest(rows, settings=None, **result):
    return {"dataset": {"train_rows": rows}, "settings": settings or {}, "result": result or None}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (manifest(400, kept_step=100, used={"rows_per_step": 4}), "400"),
        (manifest(400, kept_step=300, used={"rows_per_step": 4}), "400"),  # three epochs
        (manifest(405, kept_step=26, used={"rows_per_step": 16}), "405"),  # a last step of 5 rows
        (manifest(400, kept_step=100, used={"rows_per_step": 2}), "200 of 400"),
        (manifest(400, kept_step=1, steps=100, used={"rows_per_step": 16}), "16 of 400"),
        (manifest(400, {"packing": True}, kept_step=10, used={"rows_per_step": 2}), "400"),
        (manifest(400, steps=100), "400"),  # an older file
        (manifest(400), "400"),
        (manifest(None), None),
    ],
)
def test_the_rows_that_an_adapter_has_learned_from(written, words):
    assert training_rows_in_words(written) == words
