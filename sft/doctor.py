"""Print what this machine offers for training.

    python -m sft.doctor

Of keys and tokens it only says whether they are set. Exits 1 if something is broken.
"""

import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from weekahead.cli import MODEL_ERRORS, run_command
from weekahead.models.precision import choose_precision
from weekahead.redaction import without_secrets
from weekahead.tracking.gpu import check_torch_sees_gpu, driver_version, read_gpus
from weekahead.tracking.wandb_server import Account, TrackingError, check_server, find_account

_SECONDS_TO_ANSWER = 3.0
_EXAMPLE = Path(__file__).parent.parent / ".env.example"
_GIB = 2**30


class Fact(NamedTuple):
    """One line of the output."""

    name: str
    text: str


def main() -> int:
    """The command: exit 0, or 1 if something is broken."""
    status = run_command("sft.doctor", run, errors=MODEL_ERRORS)
    return 1 if status == 2 else status


def run() -> int:
    """Print the facts, one per line.

    Raises RuntimeError naming the remedy if there is a GPU that torch does not see.
    """
    _show(software())
    _show(gpus())
    check_torch_sees_gpu()
    precision = choose_precision()
    reason = f"{precision.mode} on {precision.device}: {precision.reason}"
    _show([Fact("precision", reason)])
    for facts in (resources(), keys(), services()):
        _show(facts)
    return 0


def _show(facts: Iterable[Fact]) -> None:
    for fact in facts:
        print(f"{fact.name:<16}{fact.text}", flush=True)


def software() -> Iterator[Fact]:
    """Python and torch."""
    import torch

    cuda = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield Fact("python", f"{platform.python_version()} on {platform.platform()}")
    yield Fact("torch", f"{torch.__version__}, {cuda}")


def gpus() -> Iterator[Fact]:
    """Every visible GPU as NVML and torch see it, or why there is none."""
    import torch

    visible, reason = read_gpus()
    if not visible:
        yield Fact("GPU", f"none ({reason})")
    for gpu in visible or []:
        size = gpu["memory_total_bytes"]
        memory = "unknown memory" if size is None else f"{size / _GIB:.1f} GiB"
        yield Fact("GPU", f"{gpu['index']}: {gpu['name']}, {memory}, driver {driver_version()}")
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        name = torch.cuda.get_device_name(number)
        yield Fact("torch sees", f"{name}, compute capability {major}.{minor}")


def resources() -> Iterator[Fact]:
    """Processor, memory and disk."""
    import psutil

    memory = psutil.virtual_memory()
    available, total = memory.available / _GIB, memory.total / _GIB
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    yield Fact("cpu", f"{os.cpu_count()} cores")
    yield Fact("memory", f"{available:.1f} of {total:.1f} GiB free")
    yield Fact("disk here", f"{_free_gib(Path.cwd()):.1f} GiB free")
    yield Fact("disk for models", f"{_free_gib(existing):.1f} GiB free ({cache})")


def _free_gib(path: Path) -> float:
    return shutil.disk_usage(path).free / _GIB


def keys() -> Iterator[Fact]:
    """Which keys are set, from the environment, `.env`, or what `.venv/bin/hf auth login` left."""
    from huggingface_hub import get_token

    remedy = "gated models and push need it: .venv/bin/hf auth login"
    yield Fact("HF_TOKEN", "set" if get_token() else f"not set ({remedy})")
    for name in key_variables():
        yield Fact(name, "set" if os.environ.get(name) else "not set")


def key_variables() -> list[str]:
    """The keys that `.env.example` lists; those of all data providers are among them."""
    lines = _EXAMPLE.read_text(encoding="utf-8").splitlines()
    names = (line.partition("=")[0] for line in lines)
    return [name for name in names if name.endswith("_API_KEY")]


def services() -> Iterator[Fact]:
    """Whether the Hub and W&B answer, each asked once and briefly."""
    hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    yield Fact("Hub", f"{without_secrets(hub)}: {_answer(hub)}")
    try:
        account = find_account()
    except TrackingError as error:
        yield Fact("W&B", f"unusable: {error}")
        return
    yield Fact("W&B", f"{account.base_url}: {_answer(account.base_url)}")
    yield Fact("W&B mode", f"{account.mode} ({account.reason})")
    if account.mode == "online":
        yield Fact("W&B key", _key_check(account))


def _key_check(account: Account) -> str:
    try:
        check_server(account, _SECONDS_TO_ANSWER)
    except TrackingError as error:
        return f"unusable: {error}"
    return "accepted"


def _answer(address: str) -> str:
    import requests

    try:
        answer = requests.head(address, timeout=_SECONDS_TO_ANSWER)
    except requests.RequestException as error:
        return f"not reachable ({type(error).__name__})"
    return f"reachable (HTTP {answer.status_code})"


if __name__ == "__main__":
    raise SystemExit(main())
