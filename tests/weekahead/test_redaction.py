"""Secrets: every form is found and hidden, ordinary text is not, and hostile text takes no time."""

import json
import logging
import sys

import pytest

from tests.support.linear import linear_work
from weekahead.cli import configure_logging, run_command
from weekahead.manifest import provenance
from weekahead.redaction import (
    HIDDEN,
    find_secret,
    has_password,
    without_secret_flags,
    without_secrets,
    without_secrets_in,
)

HEX40 = "0a" * 20
SECRETS = {
    "hf": "hf_" + "aB3" * 12,
    "openai": "sk-" + "a1" * 24,
    "openai project": "sk-proj-" + "a_1-" * 12,
    "anthropic": "sk-ant-api03-" + "a_1-" * 12,
    "wandb of 86 characters": "wandb_v1_" + "a1B" * 26,
    "aws id": "AKIA" + "A1B2" * 4,
    "alpaca id": "PK" + "A1B" * 6,
    "github": "ghp_" + "a1B" * 12,
    "groq": "gsk_" + "a1B" * 12,
    "google": "AIza" + "a1B" * 12,
    "jwt": "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4",
}
IN_CONTEXT = {
    "wandb of 40 characters": (f"WANDB_API_KEY={HEX40}", HEX40),
    "wandb as a list": (f'["--wandb_api_key", "{HEX40}"]', HEX40),
    "netrc": (f"machine api.wandb.ai\n  login user\n  password {HEX40}", HEX40),
    "finnhub header": ("X-Finnhub-Token: c1abcdefgh2ijklmnopq", "c1abcdefgh2ijklmnopq"),
    "finnhub address": (
        "https://finnhub.io/api/v1/quote?symbol=A&token=c1abcdefgh2ij",
        "c1abcdefgh2ij",
    ),
    "alpaca secret": ("APCA-API-SECRET-KEY: abcDEF" + "g1" * 17, "abcDEF" + "g1" * 17),
    "aws secret": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG"),
    "bearer": ("Authorization: Bearer abc.DEF-123456789", "abc.DEF-123456789"),
    "bearer in json": ('{"authorization": "Bearer abcdef123456789"}', "abcdef123456789"),
    "password in an address": ("to https://bob:s3cr@host/v1 failed", "s3cr"),
    "with signs": ("proxy http://bob:p/a#s?s@host:8080/v1", "p/a#s?s"),
    "with an at sign": ("http://bob:p@ss@host/v1", "p@ss"),
    "yaml": ("password: hunter2hunter2hunter2", "hunter2hunter2hunter2"),
}
HARMLESS = [
    "the bearer responsibilities of 2024 lie elsewhere",
    "https://news/sk-hynix-announces-new-memory-chips-in-korea-2024",
    "risk-adjusted-return-of-the-portfolio-was-higher",
    f"git_commit {HEX40} and sha256 {'0a' * 32}",
    '"pad_token": "<|finetune_right_pad_id|>", "hub_token": null, "max_tokens": 1024',
    "https://medium.com/@somebody/a-post and http://127.0.0.1:8080/a@b",
    "git@github.com:user/name.git",
    "FinGPT/fingpt-forecaster-dow30-202305-202405@main",
    "tokens per second: 1234567890123456789",
]
PIECES = [
    "wandb", "wandb_", "hf_", "sk-", "sk-or-", "eyJ", "eyJa.", "://", "://a:", "://a:b@", "a://",
    "password=", 'password="', "Bearer ", "authorization: token ", "login x password ", "?token=",
    "AKIA", "PK1", "api_key:", "-----BEGIN ", "A", "a1", " ", "\n", "\"':", "xoxb-", "token",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_key_is_found_and_hidden_in_any_place(secret):
    for text in (secret, f"x={secret}", f'{{"a": "{secret}"}}', f"an error: {secret}, mend it"):
        assert find_secret(text, {}), text
        assert secret not in without_secrets(text, {}), text


@pytest.mark.parametrize(("text", "secret"), IN_CONTEXT.values(), ids=IN_CONTEXT)
def test_a_secret_known_by_its_place_is_hidden(text, secret):
    hidden = without_secrets(text, {})
    assert secret not in hidden and HIDDEN in hidden
    assert secret not in json.dumps(without_secrets_in({"a": [text, 1, None]}))


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays(text):
    assert find_secret(text, {}) is None
    assert without_secrets(text, {}) == text


@pytest.mark.parametrize("piece", PIECES)
def test_the_time_is_linear_whatever_the_text(piece):
    """A megabyte; a pattern that begins again at each place would take minutes."""
    text = piece * (1_000_000 // len(piece))
    with linear_work():
        find_secret(text, {})


def test_values_of_the_environment_are_hidden():
    """Of a password in an address also the form without %xx, which libraries use."""
    variables = {
        "FINNHUB_API_KEY": "c1abcdefgh2ijklm",
        "OPENAI_BASE_URL": "https://bob:p%40ss@host",
        "https_proxy": "carol:secret1@proxy:3128",
        "OTHER_KEY": "short",
        "HOME": "/home/jane",
    }
    text = "c1abcdefgh2ijklm p%40ss p@ss secret1 short /home/jane"
    assert without_secrets(text, variables) == "*** *** *** *** short /home/jane"


def test_flags_that_hold_secrets_are_hidden_by_name():
    command = [
        "x",
        "--hub_token",
        "abc",
        "--eos_token",
        "<|x|>",
        "--token=abc",
        "--max_tokens",
        "5",
    ]
    expected = ["x", "--hub_token", "***", "--eos_token", "<|x|>", "--token=***"]
    assert without_secret_flags(command) == [*expected, "--max_tokens", "5"]
    assert without_secret_flags(["--api-key", "--seed", "1"]) == ["--api-key", "--seed", "1"]


def test_no_manifest_holds_a_secret(monkeypatch):
    secrets = [*SECRETS.values(), "hunter2hunter2"]
    monkeypatch.setattr(sys, "argv", ["x", *SECRETS.values(), "--password", "hunter2hunter2"])
    stored = json.dumps(provenance())
    assert not [secret for secret in secrets if secret in stored]


def test_no_error_and_no_log_line_holds_a_secret(capsys, monkeypatch):
    """And an error is one line, whatever its text."""

    def fail() -> int:
        raise ValueError(f"no answer from https://bob:s3cr@host\nwith {SECRETS['openai']}")

    assert run_command("x", fail) == 2
    assert capsys.readouterr().err == "x: no answer from https://***@host with ***\n"
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configure_logging()
    logging.getLogger("httpx").warning("POST %s", f"https://bob:s3cr@host {SECRETS['hf']}")
    assert capsys.readouterr().err == "POST https://***@host ***\n"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://api.wandb.ai", False),
        ("https://u:p@api.wandb.ai", True),
        ("https://key@api.wandb.ai/x", True),
        ("u:p@proxy:80", True),
        ("https://host/@user", False),
    ],
)
def test_an_address_with_a_login_is_known(address, expected):
    assert has_password(address) is expected
