"""Print what this machine offers for training.

    python -m sft.doctor

Of keys and tokens it only says whether they are set. Exits 1 if something is broken.
"""

import os
import platform
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sft.planning.estimate import job_of, plan_for
from weekahead.cli import MODEL_ERRORS, run_command
from weekahead.hardware.cards import Card, card_here
from weekahead.machine import check_model_fits, gpu_memory, parameters_of
from weekahead.models.precision import choose_precision
from weekahead.recipe import PUBLIC_DATASET, RECIPES, read_recipe
from weekahead.redaction import without_secrets
from weekahead.schema.dataset_files import hub_id
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
    for facts in (resources(), compilers(), keys(), services(), recipes()):
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
        fault = "" if _is_built_for(major, minor) else "; THIS BUILD OF TORCH HAS NO CODE FOR IT"
        yield Fact("torch sees", f"{name}, compute capability {major}.{minor}{fault}")


def _is_built_for(major: int, minor: int) -> bool:
    """Whether torch has code for a capability: of the same major one, up to its minor."""
    import torch

    built = [name.removeprefix("sm_").rstrip("af") for name in torch.cuda.get_arch_list()]
    numbers = [int(name) for name in built if name.isdigit()]
    return any(number // 10 == major and number % 10 <= minor for number in numbers)


def compilers() -> Iterator[Fact]:
    """What Triton needs to compile the kernels of the loss on a GPU; nothing without one."""
    import torch

    if not torch.cuda.is_available():
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    remedy = "the loss on a GPU needs it: apt install gcc python3-dev"
    yield Fact("C compiler", compiler or f"none ({remedy})")
    yield Fact("Python.h", str(header) if header.exists() else f"none ({remedy})")


def recipes() -> Iterator[Fact]:
    """For each recipe whether this machine can train it, with the public rows."""
    card = card_here()
    for path in sorted(RECIPES.glob("*.yaml")):
        yield Fact(path.stem, recipe_verdict(path, card))


def recipe_verdict(path: Path, card: Card | None) -> str:
    """Yes, or no with the reason and what to take instead; `card` is None without a known GPU."""
    fields = read_recipe(path)
    base = fields.get("model_name_or_path") or ""
    try:
        check_model_fits(base, in_4bit=bool(fields.get("load_in_4bit")), on_cpu=False)
        if card is None:
            return f"yes{_download(base)}"
        plan = plan_for(job_of(path, PUBLIC_DATASET, {}, 1), card)
    except ValueError as error:
        weights = parameters_of(base)
        needs = f"{weights / 1e9:.0f} billion weights need a GPU" if weights else str(error)
        return f"no: {error if gpu_memory() else needs}"
    peak, total = plan.peak / _GIB, card.memory_bytes / _GIB
    need = f"{peak:.1f} of {total:.1f} GiB"
    if plan.verdict == "fits":
        return f"yes, {need}{_download(base)}"
    smaller = path.with_name(f"{path.stem}_t4.yaml")
    take = f"; take {smaller.stem}" if smaller.exists() and _fits(smaller, card) else ""
    if plan.remedy:
        take += f'{" or" if take else "; take"} ARGS="{plan.remedy.flags}"'
    return f"{'hardly' if plan.verdict == 'tight' else 'no'}: {need}{take}"


def _fits(path: Path, card: Card) -> bool:
    plan = plan_for(job_of(path, PUBLIC_DATASET, {}, 1), card)
    return plan.verdict != "does not fit"


def _download(base: str) -> str:
    """What a base still takes of the disk, and whether there is room."""
    parameters = parameters_of(base)
    if hub_id(base) is None or parameters is None:
        return ""
    folder = _model_cache()
    if (folder / f"models--{base.replace('/', '--')}" / "snapshots").exists():
        return ", downloaded"
    size, free = 2 * parameters / _GIB, _free_gib(_existing(folder))
    room = "" if free > size else f" but only {free:.0f} are free"
    return f", a download of {size:.0f} GiB{room}"


def resources() -> Iterator[Fact]:
    """Processor, memory and disk."""
    import psutil

    memory = psutil.virtual_memory()
    available, total = memory.available / _GIB, memory.total / _GIB
    cache = _model_cache()
    yield Fact("cpu", f"{os.cpu_count()} cores")
    yield Fact("memory", f"{available:.1f} of {total:.1f} GiB free")
    yield Fact("disk here", f"{_free_gib(Path.cwd()):.1f} GiB free")
    yield Fact("disk for models", f"{_free_gib(_existing(cache)):.1f} GiB free ({cache})")


def _model_cache() -> Path:
    """Where the Hub's client keeps models."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


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
