"""The direction of imports, and that importing a module does nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("data_pipeline", "sft", "eval", "tracking")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
_NAMES = ("record", "labels", "prompts", "answers", "sections", "wording", "files")
CONTRACT = {f"data_pipeline.{name}" for name in _NAMES}
NEVER = {"eval": {"sft"}, "data_pipeline": {"sft", "eval", "tracking"}, "tracking": {"sft", "eval", "data_pipeline"}}


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_run_one_way(path):
    names = set(imports(path))
    room = path.relative_to(ROOT).parts[0]
    assert not {name for name in names if name.split(".")[0] in NEVER.get(room, set())}
    assert "eval" not in names, "import eval hides the builtin: from eval.x import ..."
    if module(path) in CONTRACT:
        foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"data_pipeline"}
        assert not foreign
        ours = {name for name in names if name.startswith("data_pipeline.")}
        assert all(any(name == c or name.startswith(f"{c}.") for c in CONTRACT) for name in ours)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_file_has_one_job_and_says_its_types(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare and node.returns is not None, f"{node.name}: {bare}"


def test_the_contract_modules_load_nothing_heavy():
    code = f"import sys, {', '.join(sorted(CONTRACT))}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "transformers", "datasets", "wandb"} & set(done.stdout.split())
