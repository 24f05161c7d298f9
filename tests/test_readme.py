"""Every command in README and docs exists: make targets, variables, modules and flags."""

import contextlib
import io
import re
import runpy
import warnings
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VARIABLES = {*re.search(r"^known := (.*)$", MAKEFILE, re.MULTILINE)[1].split(), "TORCH"}
"""Those that the Makefile knows, and the one that setup.sh reads."""
ROOMS = ("weekahead", "data_pipeline", "sft", "eval", "forecast", "benchmarks")


def commands():
    """(page, command) of every command in a code block or between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        spans = re.findall(r"`([^`]+)`", text.replace("```", ""))
        for line in "\n".join(blocks + spans).replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|\|", line.strip().lstrip("!")):
                if re.match(r"(\.venv/bin/)?(make|python)\b", part.strip()):
                    yield page.name, part.strip()


COMMANDS = sorted(set(commands()))


@cache
def usage(module):
    """What `python -m <module> --help` prints; in this process, which has most of it imported."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr("sys.argv", [module, "--help"])
        with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    return printed.getvalue() if not end.value.code else ""


def flags_of(text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def check_module(module, flags):
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    if flags:
        unknown = flags - flags_of(usage(module))
        assert not unknown, f"{module} has no {unknown}"


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 25


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS]
)
def test_a_command_exists(page, command):
    if command.startswith("make"):
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", command)
        targets = [word for word in bare.split()[1:] if "=" not in word]
        for target in targets:
            assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), target
        assert set(re.findall(r"\b([A-Z_]+)=", bare)) <= VARIABLES
        for recipe in re.findall(r"MODEL=([a-z]\w*)", bare):
            assert (ROOT / "recipes" / f"{recipe}.yaml").is_file()
        for config in re.findall(r"ACCEL=([a-z]\w*)", bare):
            assert (ROOT / "accelerate_configs" / f"{config}.yaml").is_file()
        return
    module = re.search(r"-m ([\w.]+)", command)
    if module and module[1].split(".")[0] in ROOMS:
        check_module(module[1], flags_of(command))


def test_the_makefile_runs_modules_with_flags_they_have():
    recipes = re.findall(r"\$\(PY\) -m ([\w.]+)((?:[^\n]|\\\n)*)", MAKEFILE)
    assert len(recipes) > 8
    for module, rest in recipes:
        if module.split(".")[0] in ROOMS:
            check_module(module, flags_of(rest.split("$(ARGS)")[0]))


def test_contributing_names_only_what_exists():
    for path in re.findall(
        r"`([\w/]+\.(?:py|md|yaml))`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ):
        assert (ROOT / path).is_file(), path


def test_ci_runs_the_readmes_command():
    assert (
        "make test" in (ROOT / ".ci" / "run").read_text()
        and "make test" in (ROOT / "README.md").read_text()
    )
