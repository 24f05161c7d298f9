"""`.env`: what a shell or python-dotenv would read, and refusals that never show a value."""

import os

import pytest

from weekahead.env_file import load_env

LINES = {
    "A_X=abc": "abc",
    "A_X=abc # mine": "abc",
    "A_X=abc\t# mine": "abc",
    "A_X=abc#mine": "abc#mine",
    "A_X='abc # mine'": "abc # mine",
    'A_X="abc # mine" # yours': "abc # mine",
    'A_X="abc"  ': "abc",
    "export A_X=abc": "abc",
    "export  A_X = abc ": "abc",
    "  A_X=abc": "abc",
    "A_X = 'a b'": "a b",
    "A_X=a b": "a b",
    "A_X=it's": "it's",
    "A_X=a=b==": "a=b==",
    "A_X='first\nsecond'": "first\nsecond",
    'A_X="first\nsecond # x\n"': "first\nsecond # x\n",
    r'A_X="a\nb\"c\\"': 'a\nb"c\\',
    r"A_X='a\nb'": r"a\nb",
    "A_X=abc\r\nA_Y=d\r\n": "abc",
    "\ufeffA_X=abc": "abc",
    "A_X=abc\nA_X=abc": "abc",
    "A_X=\nA_X=abc": "abc",
    "A_X=abc\nA_X=": "abc",
    "# A_X=no\n\nA_X=abc": "abc",
    "A_X=": None,
    "A_X= # later": None,
    "A_X=''": None,
}
REFUSED = {
    "A_X": "line 1: expected NAME=value",
    "A_Y=1\nA_X: s3cret": "line 2: expected NAME=value",
    "A-X=s3cret": "line 1: expected NAME=value",
    "A_X='s3cret\nA_Y=1": "line 1: the quotes do not end",
    'A_X="s3cret" more': "line 1: there is text behind the closing quote",
    "A_X=s3cret\nA_Y=1\nA_X=other": "line 3: A_X has another value in line 1",
    "A_X=\u201cs3cret\u201d": "line 1: typographic quotes",
    "A_X=s3\0cret": "line 1: the value holds a NUL byte",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("A_X", "A_Y"):
        monkeypatch.setenv(name, "")  # so that it is removed afterwards
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("text", "value"), LINES.items(), ids=map(repr, LINES))
def test_a_line_gives_its_value(tmp_path, text, value):
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    load_env(path)
    assert os.environ.get("A_X") == value


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=map(repr, REFUSED))
def test_another_line_is_refused_without_its_value(tmp_path, text, message):
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=message) as error:
        load_env(path)
    assert str(path) in str(error.value) and "s3cret" not in str(error.value)
    assert "A_X" not in os.environ and "A_Y" not in os.environ


def test_a_variable_that_is_set_wins(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("A_X=file\nA_Y=file\n")
    monkeypatch.setenv("A_X", "mine")
    assert load_env(tmp_path / ".env") == ["A_Y"]
    assert os.environ["A_X"] == "mine"
    assert load_env(tmp_path / "absent") == []


def test_what_is_no_file_is_refused(tmp_path):
    path = tmp_path / ".env"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"\.env is a link to .*gone, which is not there"):
        load_env(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"\.env is a folder; expected a file"):
        load_env(path)


@pytest.mark.parametrize("name", ["HF_TOKN", "hf_token", "OPENAI_KEY", "WANDB_MOD"])
def test_a_name_that_nothing_reads_is_told(tmp_path, caplog, monkeypatch, name):
    monkeypatch.setenv(name, "")
    (tmp_path / ".env").write_text(f"{name}=s3cret\nHF_TOKEN=\nOTHER=\n")
    load_env(tmp_path / ".env")
    assert f".env, line 1: nothing reads {name}: did you mean " in caplog.text
    assert len(caplog.records) == 1 and "s3cret" not in caplog.text


@pytest.mark.parametrize("content", ["A_X=abc".encode("utf-16"), b"A_X=\xff\xfe"])
def test_another_encoding_is_refused(tmp_path, content):
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ValueError, match=r"\.env, line 1: not UTF-8.*iconv"):
        load_env(tmp_path / ".env")
