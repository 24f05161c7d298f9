"""Several evaluating commands in one process, so that a model is loaded once for all of them.

    python -m eval.steps generate --config .. --adapter .. --dataset .. --out results/a \\
        --then likelihood --config .. --adapter .. --dataset .. --out results/a \\
        --then score results/a/generations.jsonl --out results/a

Each step is the command `python -m eval.<step>` with its own flags. The first one that fails ends
all of them, with its exit status.
"""

import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module

from weekahead.cli import new_parser

THEN = "--then"
LOADING = ("generate", "likelihood")
"""The steps that load a model."""
STEPS = {
    **{name: f"eval.{name}" for name in (*LOADING, "score", "publish")},
    "report": "eval.report.__main__",
}
"""The module of each step."""
_PROGRAM = "WANDB_PROGRAM"
"""What W&B records as the program; its own guess is the module that Python was started with."""


def split_steps(words: Sequence[str]) -> list[list[str]]:
    """The words of each step, its name first. Raises ValueError for a step that there is not."""
    steps: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            steps.append([])
        else:
            steps[-1].append(word)
    for step in steps:
        expected = f"expected one of {', '.join(STEPS)}"
        if not step:
            raise ValueError(f"name a step first; {expected}")
        if step[0] not in STEPS:
            raise ValueError(f"{step[0]!r} is no step; {expected}")
    return steps


def run_steps(steps: Sequence[Sequence[str]]) -> int:
    """Run the steps; the status of the first that fails, or 0.

    A flag that a step does not know ends the process with status 2, before the first step.
    """
    from weekahead.models.kept import kept_model

    for name, *words in steps:
        with _command_line(name, words):  # before anything is loaded
            import_module(STEPS[name]).new_arguments().parse_args(words)
    for name, *words in steps:
        kept_model.open = name in LOADING
        if not kept_model.open:
            kept_model.drop()
        with _command_line(name, words):
            command: Callable[[Sequence[str]], int] = import_module(STEPS[name]).main
            status = command(words)
        if status:
            return status
    return 0


@contextmanager
def _command_line(name: str, words: Sequence[str]) -> Generator[None]:
    """Let a step find its own words as the command line: manifests and W&B record them."""
    before, program = sys.argv, os.environ.get(_PROGRAM)
    sys.argv = [f"{name}.py", *words]
    os.environ[_PROGRAM] = f"-m eval.{name}"
    try:
        yield
    finally:
        sys.argv = before
        os.environ.pop(_PROGRAM)
        if program is not None:
            os.environ[_PROGRAM] = program


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, 2 for a step that does not exist, or the status of one that failed."""
    parser = new_parser(__doc__, "eval.steps")
    parser.usage = "%(prog)s STEP FLAG... [--then STEP FLAG...]..."
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"]):
        parser.parse_args(words)
    processes = os.environ.get("WORLD_SIZE") or "1"
    if processes != "1":
        parser.error(
            f"a launcher has started {processes} processes, and eval.steps runs in one: launch "
            "eval.generate, then run the other commands without a launcher"
        )
    try:
        steps = split_steps(words)
    except ValueError as error:
        parser.error(str(error))
    return run_steps(steps)


if __name__ == "__main__":
    sys.exit(main())
