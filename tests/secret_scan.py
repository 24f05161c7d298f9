"""Whether a file that git tracks holds a key: `python -m tests.secret_scan`, a part of `make lint`.

It uses the patterns of `weekahead.redaction`, which the project has and tests anyway, and the keys
of this machine's environment and `.env`. Scanners of packages find high entropy as well: here that
is every digest and every commit in the tests.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from weekahead.env_file import load_env
from weekahead.redaction import find_secret

ROOT = Path(__file__).parents[1]
MADE_UP = {
    "tests/data_pipeline/test_teacher.py": 1,
    "tests/sft/test_adapter_files.py": 1,
    "tests/weekahead/test_redaction.py": 17,
    "tests/weekahead/test_tracking.py": 2,
    "weekahead/redaction.py": 1,
    "weekahead/told_flags.py": 1,
}
"""File -> lines of it that look like a key and hold none: made-up ones, and text about them."""


_GIT_LOOKS_AT = 8000
"""Bytes: a file with a NUL among them is binary."""


class Finding(NamedTuple):
    """A line that seems to hold a key. The key itself is never printed."""

    file: str
    line: int
    kind: str


def scan(root: Path, names: Iterable[str], variables: Mapping[str, str]) -> list[Finding]:
    """The findings in files below `root`, line by line, without those that git calls binary."""
    found: list[Finding] = []
    for name in names:
        path = root / name
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        if b"\0" in content[:_GIT_LOOKS_AT]:
            continue
        text = content.decode("utf-8", errors="replace")
        if not find_secret(text, variables):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            kind = find_secret(line, variables)
            if kind:
                found.append(Finding(name, number, kind))
    return found


def unexpected(found: Iterable[Finding], made_up: Mapping[str, int]) -> list[Finding]:
    """The findings in files that have more or fewer of them than `made_up` says."""
    by_file: dict[str, list[Finding]] = {}
    for finding in found:
        by_file.setdefault(finding.file, []).append(finding)
    groups = [group for name, group in by_file.items() if len(group) != made_up.get(name, 0)]
    return [finding for group in groups for finding in group]


def tracked(root: Path) -> list[str]:
    """The files that git tracks, and new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
    return sorted(filter(None, listed.stdout.split("\0")))


def main() -> int:
    """The command: exit 0 if there is no key, else 1 with file, line and kind of each."""
    load_env(ROOT / ".env")
    found = unexpected(scan(ROOT, tracked(ROOT), os.environ), MADE_UP)
    for finding in found:
        print(f"{finding.file}:{finding.line}: {finding.kind}", file=sys.stderr)
    if found:
        print(
            "Take keys out, and revoke those that were pushed. For made-up ones change the number "
            "of lines in tests/secret_scan.py, or put the text together from two parts.",
            file=sys.stderr,
        )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
