"""What is read from a server's answer; its shapes go over a wire in test_teacher_shapes."""

import pytest

from weekahead.openai_client import retry_after
from weekahead.openai_reply import is_other_model


@pytest.mark.parametrize(
    ("asked", "served", "other"),
    [
        ("gpt-4.1", "gpt-4.1-2025-04-14", False),
        ("openai/gpt-4.1:free", "GPT-4.1", False),
        ("gpt-4", "gpt-4-0613", False),
        ("claude-x", "claude-x-latest", False),
        ("gpt-4.1-2025-04-14", "gpt-4.1", False),
        ("mine", None, False),
        ("gpt-4.1", "gpt-4.1-mini", True),
        ("gpt-4.1", "gpt-4", True),
        ("gpt-4o", "gpt-4", True),
        ("mine", "/models/llama", True),
    ],
)
def test_a_version_is_the_same_model(asked, served, other):
    assert is_other_model(asked, served) is other


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 -0000"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers, seconds):
    assert retry_after(headers) == seconds
