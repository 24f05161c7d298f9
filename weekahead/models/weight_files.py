"""Files of weights: whether they are whole, told from their first bytes and their header."""

import hashlib
import json
from pathlib import Path
from typing import Any

from weekahead.models.base_check import check_no_adapter_inside
from weekahead.schema.manifests import read_json_object

Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor -> its shape."""

_LFS_POINTER = b"version https://git-lfs"
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_DOWNLOAD_AGAIN = "download it again"
_SAMPLED = 4096
"""Bytes of each of the three parts of a tensor in `weights_sample`."""
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library."""


def read_shapes(path: Path, remedy: str = _DOWNLOAD_AGAIN) -> Shapes:
    """The shapes of the tensors in a safetensors file, from its header.

    Raises ValueError naming the file if it is empty, an LFS pointer, a web page, cut off or not
    safetensors; OSError if it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        problem = _other_file(start + file.read(256), size)
        if problem:
            raise ValueError(f"{path} {problem}; {remedy}")
        length = int.from_bytes(start, "little")
        if length > min(size - 8, _LONGEST_HEADER):
            raise ValueError(f"{path} is cut off or not safetensors ({size} bytes); {remedy}")
        file.seek(8)
        header = _header(file.read(length))
    if header is None:
        raise ValueError(f"{path} is not safetensors: its header cannot be read; {remedy}")
    end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if end != size:
        raise ValueError(f"{path} has {size} bytes, its header says {end}; {remedy}")
    return {name: tuple(tensor["shape"]) for name, tensor in header.items()}


def _other_file(start: bytes, size: int) -> str | None:
    if size == 0:
        return "is empty"
    if start.startswith(_LFS_POINTER):
        return "is a Git LFS pointer, not the weights (git lfs pull fetches them)"
    if start.lstrip()[:1] == b"<":
        return "is a web page, not weights"
    return "is cut off" if size < 8 else None


def _header(text: bytes) -> dict[str, Any] | None:
    """The tensors of a header; None if it is not one."""
    try:
        header: Any = json.loads(text)
        header.pop("__metadata__", None)
        for tensor in header.values():
            _, end = tensor["data_offsets"]
            if not isinstance(end, int) or not all(isinstance(n, int) for n in tensor["shape"]):
                return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return header


def check_base_folder(folder: Path) -> None:
    """Check that a local folder holds a whole base: config, tokenizer and all its weights.

    Raises ValueError naming the file that is missing or damaged, and the remedy.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} has no {name}; expected a model folder as save_pretrained leaves it: "
                "config.json, tokenizer.json and model.safetensors"
            )
        read_json_object(folder / name)
    for path in _weights_of(folder):
        read_shapes(path)
    inside = folder / "adapter_config.json"
    check_no_adapter_inside(str(inside) if inside.exists() else None, str(folder))


def weights_sample(folder: Path) -> str:
    """A hash over parts of every tensor in the base in `folder`, read in well under a second.

    Of each tensor, by name: its type, its shape and the bytes at its beginning, middle and end. It
    tells weights that were trained further; how they are split into files does not matter.
    Raises ValueError or OSError as `check_base_folder` does.
    """
    parts: dict[str, bytes] = {}
    for path in _weights_of(folder):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            for name, tensor in (_header(file.read(length)) or {}).items():
                digest = hashlib.sha256(f"{name} {tensor['dtype']} {tensor['shape']}".encode())
                start, end = (8 + length + offset for offset in tensor["data_offsets"])
                for place in (start, (start + end) // 2, max(start, end - _SAMPLED)):
                    file.seek(place)
                    digest.update(file.read(min(_SAMPLED, end - place)))
                parts[name] = digest.digest()
    return hashlib.sha256(b"".join(parts[name] for name in sorted(parts))).hexdigest()


def _weights_of(folder: Path) -> list[Path]:
    """The weight files of a base. Raises ValueError if there are none, or one is missing."""
    if (folder / _SINGLE).is_file():  # transformers prefers it to an index
        return [folder / _SINGLE]
    if not (folder / _INDEX).is_file():
        others = sorted(
            path.name for kind in ("*.bin", "*.gguf", "*.pth", "*.pt") for path in folder.glob(kind)
        )
        found = f" (there is {others[0]}, which is not loaded)" if others else ""
        raise ValueError(f"{folder} has no {_SINGLE}{found}; expected weights as safetensors")
    index: Any = read_json_object(folder / _INDEX)
    weight_map: dict[str, str] = index.get("weight_map") or {}
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise ValueError(
            f"{folder}: {_INDEX} names {len(names)} files and {len(missing)} are missing"
            f"{', such as ' + missing[0] if missing else ''}; {_DOWNLOAD_AGAIN}"
        )
    return [folder / name for name in names]


def bytes_here(name: str, revision: str | None) -> int | None:
    """The size of a base's weight files on this machine; None if they are not here.

    `name` is a folder or a Hub id, of which the cache is looked into.
    """
    from huggingface_hub import try_to_load_from_cache

    folder = Path(name).expanduser()
    if not folder.is_dir():
        found = [
            try_to_load_from_cache(name, file, revision=revision) for file in (_INDEX, _SINGLE)
        ]
        paths = [Path(path) for path in found if isinstance(path, str)]
        if not paths:
            return None
        folder = paths[0].parent
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    return sum(sizes) or None
