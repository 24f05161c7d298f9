"""The import contract: who may import whom, and that importing a module does nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("weekahead", "data_pipeline", "sft", "eval", "forecast")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MAY_IMPORT = {
    "weekahead": ("weekahead",),
    "weekahead.task": ("weekahead.task", "weekahead.files", "weekahead.schema"),
    "data_pipeline": ("weekahead", "data_pipeline"),
    "eval": ("weekahead", "eval", "data_pipeline.dataset"),
    "sft": ("weekahead", "sft", "data_pipeline.dataset", "eval.metrics"),
    "forecast": (
        "weekahead",
        "forecast",
        *("data_pipeline.providers", "data_pipeline.records", "data_pipeline.dataset"),
        *("eval.generation", "eval.likelihoods", "eval.metrics"),
    ),
}
"""Room or folder -> what of this project it may import; the longest name that fits counts."""
STANDARD_LIBRARY_ONLY = ("weekahead.task", "weekahead.schema", "weekahead.files")
COMMANDS = {
    "data_pipeline": {"__main__", "fetch", "build", "fingpt", "forecasts", "push"},
    "sft": {"train", "publish", "doctor", "plan", "export"},
    "eval": {
        *("generate", "likelihood", "score", "publish", "parity", "tfidf", "memorization"),
        *("inspect_log", "steps"),
    },
    "forecast": {"__main__", "app"},
}
"""Room -> the files at its top level: each is a command, and nothing else lies there."""


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name, folders):
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def allowed(name):
    return MAY_IMPORT[max((key for key in MAY_IMPORT if within(name, [key])), key=len)]


def foreign_imports(path):
    """What of this project a module imports and may not."""
    names = {name for name in imports(path) if name.split(".")[0] in ROOMS}
    ours = {name for name in names if "." in name}
    return sorted(name for name in ours if not within(name, allowed(module(path))))


def folder_edges(room):
    """(folder, folder) for every import between two folders of a room.

    A file at the top of a room is a folder of its own.
    """
    edges = set()
    for path in (ROOT / room).rglob("*.py"):
        source = module(path).split(".")[1]
        targets = {
            name.split(".")[1] for name in imports(path) if within(name, [room]) and "." in name
        }
        edges |= {(source, target) for target in targets if target != source}
    return edges


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_module_imports_what_its_room_may(path):
    assert foreign_imports(path) == []
    assert "eval" not in set(imports(path)), "import eval hides the builtin: from eval.x import ..."


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_the_task_needs_the_standard_library_alone(name):
    for path in FILES:
        if within(module(path), [name]):
            roots = {name.split(".")[0] for name in imports(path)}
            assert roots <= sys.stdlib_module_names | {"weekahead"}, module(path)


@pytest.mark.parametrize("room", COMMANDS)
def test_the_top_of_a_room_is_its_list_of_commands(room):
    assert {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"} == COMMANDS[room]


@pytest.mark.parametrize("room", COMMANDS)
def test_folders_of_a_room_import_each_other_in_one_direction(room):
    edges = folder_edges(room)
    assert not {edge for edge in edges if edge[::-1] in edges}
    assert not {
        (source, target)
        for source, target in edges
        if target in COMMANDS[room] and source != "__main__"
    }


def test_the_task_loads_nothing_heavy():
    names = [module(path) for path in FILES if within(module(path), STANDARD_LIBRARY_ONLY)]
    modules = ", ".join(name.removesuffix(".__init__") for name in names)
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy", "pandas", "transformers", "datasets", "wandb"} & set(
        done.stdout.split()
    )
