"""Every command in README and docs exists: make targets and their variables, modules and their flags."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VARIABLES = set(re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.MULTILINE)) | {
    "ARGS",
    "ADAPTER",
    "REPO",
    "SIGNAL",
    "SEED",
    "PYTHON",
}


def commands():
    """(page, command) of every command in a code block or between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(
            r"`([^`]+)`", text.replace("```", "")
        )
        for line in "\n".join(found).replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|\|", line.strip().lstrip("!")):
                if re.match(r"(\.venv/bin/)?(make|python)\b", part.strip()):
                    yield page.name, part.strip()


COMMANDS = sorted(set(commands()))


@cache
def usage(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout if done.returncode == 0 else ""


def flags_of(text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def check_module(module, flags):
    name = module.replace(".", "/")
    assert (ROOT / f"{name}.py").is_file() or (ROOT / name / "__main__.py").is_file(), (
        f"no module {module}"
    )
    if flags:
        assert flags <= flags_of(usage(module)), (
            f"{module} has no {flags - flags_of(usage(module))}"
        )


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 25


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS]
)
def test_a_command_exists(page, command):
    words = command.split()
    if words[0] == "make":
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", command)
        targets = [word for word in bare.split()[1:] if "=" not in word]
        assert all(re.search(rf"^{re.escape(t)}:", MAKEFILE, re.MULTILINE) for t in targets), (
            f"no target in {command}"
        )
        assert set(re.findall(r"\b([A-Z]+)=", bare)) <= VARIABLES
        for recipe in re.findall(r"MODEL=([a-z]\w*)", bare):
            assert (ROOT / "recipes" / f"{recipe}.yaml").is_file()
        for config in re.findall(r"ACCEL=([a-z]\w*)", bare):
            assert (ROOT / "accelerate_configs" / f"{config}.yaml").is_file()
        return
    module = re.search(r"-m ([\w.]+)", command)
    if module and module[1].split(".")[0] in (
        "weekahead",
        "data_pipeline",
        "sft",
        "eval",
        "benchmarks",
    ):
        check_module(module[1], flags_of(command))


def test_every_target_of_the_makefile_runs_a_module_that_exists_with_flags_it_has():
    recipes = re.findall(r"\$\(PY\) -m ([\w.]+)((?:[^\n]|\\\n)*)", MAKEFILE)
    assert len(recipes) > 8
    for module, rest in recipes:
        if module.split(".")[0] in ("data_pipeline", "eval", "benchmarks"):
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
