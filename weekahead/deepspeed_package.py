"""The package of DeepSpeed, which is optional: whether it is there, and how it is installed."""

import importlib.util

DEEPSPEED = "deepspeed==0.19.8"
"""The version that was tested."""
INSTALL = f"DS_BUILD_OPS=0 .venv/bin/python -m pip install {DEEPSPEED}"
"""It compiles nothing while it is installed: none of its kernels are used."""


def missing_line(asked_by: str) -> str:
    """What is said if DeepSpeed is asked for and missing: the command that installs it."""
    return f"{asked_by} asks for DeepSpeed, which is not installed; install it: {INSTALL}"


def check_deepspeed_installed(asked_by: str) -> None:
    """Raise ValueError with the command that installs DeepSpeed if it is missing."""
    if importlib.util.find_spec("deepspeed") is None:
        raise ValueError(missing_line(asked_by))
