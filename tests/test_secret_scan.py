"""`make lint` finds a key in any file that git would take."""

import subprocess

from tests.secret_scan import Finding, scan, tracked, unexpected

KEY, VALUE = "hf_" + "aB3" * 12, "abcdefgh" * 2


def test_a_key_in_a_file_of_git_is_found(tmp_path):
    """In a tracked and in a new file, by its form and by its value; not in what git ignores."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    files = {
        "a b.py": f"x = 1\ntoken = '{KEY}'\n",
        "notes/ä.md": f"the value {VALUE} of a variable",
        "latin.txt": "\xe9 " + KEY,
        ".env": f"HF_TOKEN={KEY}",
        ".gitignore": ".env\n",
        "fine.py": "token = os.environ['HF_TOKEN']\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode("latin-1" if name == "latin.txt" else "utf-8"))
    subprocess.run(["git", "add", "a b.py"], cwd=tmp_path, check=True)
    found = scan(tmp_path, tracked(tmp_path), {"FINNHUB_API_KEY": VALUE})
    assert found == [
        Finding("a b.py", 2, "a Hugging Face token"),
        Finding("latin.txt", 1, "a Hugging Face token"),
        Finding("notes/ä.md", 1, "the value of FINNHUB_API_KEY"),
    ]


def test_made_up_keys_count_and_one_more_is_found():
    lines = [Finding("t.py", line, "a key or password") for line in (1, 2)]
    assert unexpected(lines, {"t.py": 2}) == []
    assert unexpected(lines, {"t.py": 1}) == lines
    assert unexpected(lines, {}) == lines
