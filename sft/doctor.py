"""What this machine offers for training: `python -m sft.doctor` prints it and exits 1 where something is broken.

Of keys and tokens only whether they are set is ever shown.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from weekahead.files import load_env
from weekahead.models.precision import choose_precision
from weekahead.tracking.gpu import check_torch_sees_gpu, driver_version, read_gpus
from weekahead.tracking.wandb_server import TrackingError, check_server, find_account

Fact = tuple[str, str]
_SECONDS_TO_ANSWER = 3.0
_EXAMPLE = Path(__file__).parent.parent / ".env.example"
_GIB = 2**30


def main() -> int:
    """Print the facts, one a line, and return the exit code."""
    try:
        load_env()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, fact in [*software(), *cards()]:
        _show(name, fact)
    try:
        check_torch_sees_gpu()
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    precision = choose_precision()
    _show("precision", f"{precision.mode} on {precision.device}: {precision.reason}")
    for name, fact in [*room(), *keys(), *services()]:
        _show(name, fact)
    return 0


def _show(name: str, fact: str) -> None:
    print(f"{name:<16}{fact}", flush=True)


def software() -> Iterator[Fact]:
    """Python and torch."""
    import torch

    cuda = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "torch", f"{torch.__version__}, {cuda}"


def cards() -> Iterator[Fact]:
    """Every visible card as NVML and torch see it, or why there is none."""
    import torch

    found, reason = read_gpus()
    if not found:
        yield "card", f"none ({reason})"
    for card in found or []:
        size = card["memory_total_bytes"]
        memory = "unknown memory" if size is None else f"{size / _GIB:.1f} GiB"
        yield "card", f"{card['index']}: {card['name']}, {memory}, driver {driver_version()}"
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        yield (
            "torch sees",
            f"{torch.cuda.get_device_name(number)}, compute capability {major}.{minor}",
        )


def room() -> Iterator[Fact]:
    """Processor, memory and disk."""
    import psutil

    memory = psutil.virtual_memory()
    yield "cpu", f"{os.cpu_count()} cores"
    yield "memory", f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    yield "disk here", f"{shutil.disk_usage(Path.cwd()).free / _GIB:.1f} GiB free"
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    yield "disk for models", f"{shutil.disk_usage(existing).free / _GIB:.1f} GiB free ({cache})"


def keys() -> Iterator[Fact]:
    """Which keys are set, from the environment, `.env`, or what `.venv/bin/hf auth login` left."""
    from huggingface_hub import get_token

    yield (
        "HF_TOKEN",
        "set"
        if get_token()
        else "not set (gated models and push need it: .venv/bin/hf auth login)",
    )
    for name in key_variables():
        yield name, "set" if os.environ.get(name) else "not set"


def key_variables() -> list[str]:
    """The keys that `.env.example` lists; those of all data providers are among them."""
    lines = _EXAMPLE.read_text(encoding="utf-8").splitlines()
    names = (line.partition("=")[0] for line in lines)
    return [name for name in names if name.endswith("_API_KEY")]


def services() -> Iterator[Fact]:
    """Whether the Hub and W&B answer, each asked once and briefly."""
    hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    yield "Hub", f"{hub}: {_answer(hub)}"
    try:
        account = find_account()
    except TrackingError as error:
        yield "W&B", f"unusable: {error}"
        return
    yield "W&B", f"{account.base_url}: {_answer(account.base_url)}"
    yield "W&B mode", f"{account.mode} ({account.reason})"
    if account.mode == "online":
        try:
            check_server(account, _SECONDS_TO_ANSWER)
        except TrackingError as error:
            yield "W&B key", f"unusable: {error}"
        else:
            yield "W&B key", "accepted"


def _answer(address: str) -> str:
    import requests

    try:
        answer = requests.head(address, timeout=_SECONDS_TO_ANSWER)
    except requests.RequestException as error:
        return f"not reachable ({type(error).__name__})"
    return f"reachable (HTTP {answer.status_code})"


if __name__ == "__main__":
    raise SystemExit(main())
