"""Which base a name stands for: its commit on the Hub, its name there, and what its files say."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from weekahead.hub.client import patiently
from weekahead.schema.manifests import BaseFacts, JsonObject, Quantization, read_json_object

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 30
_NOT_CONTENT = frozenset(
    ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")
)
"""Keys of a config.json that a copy of a model may have otherwise."""
_SAMPLE = "weights_sample_sha256"
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")
"""The second is the older name that compressed-tensors gave it."""


def hub_commit(name: str, revision: str | None) -> str:
    """The commit that `revision` (a branch, a tag, a commit; None is main) of a model is now.

    Without network it is the one that the local cache knows.
    Raises ValueError if neither Hub nor cache knows it, or the Hub gives no access.
    """
    return _download(name, "config.json", revision).parent.name


def _download(name: str, file: str, revision: str | None) -> Path:
    """A file of a model in the cache, at `<commit>/<file>`; the client records what a branch is."""
    from huggingface_hub import (
        constants,
        hf_hub_download,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(patiently(lambda: hf_hub_download(name, file, revision=revision)))
    except GatedRepoError:
        reason = (
            f"no access; accept its licence at {constants.ENDPOINT}/{name} and set HF_TOKEN to a "
            "token that may read it"
        )
    except RevisionNotFoundError:
        reason = f"no revision {revision!r} on the Hub; leave model_revision out"
    except (RepositoryNotFoundError, HFValidationError):
        reason = (
            "neither a folder here nor a model on the Hub; a private one needs HF_TOKEN "
            "(.venv/bin/hf auth login)"
        )
    except RemoteEntryNotFoundError:
        reason = f"no {file} in it on the Hub; expected a model as save_pretrained leaves it"
    except LocalEntryNotFoundError:
        reason = (
            f"{file} of revision {revision or 'main'} is not in the cache, and the Hub cannot be "
            "asked (HF_HUB_OFFLINE, or no network); load it once with network, or name a folder"
        )
    except HfHubHTTPError as error:
        reason = f"the Hub answers {str(error).splitlines()[0]}; try again later"
    raise ValueError(f"{name}: {reason}")


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which cannot move."""
    return bool(revision and _COMMIT.fullmatch(revision))


def is_folder(name: str) -> bool:
    """Whether a base is a folder of this machine."""
    return Path(name).expanduser().is_dir()


def plain_name(name: str) -> str:
    """A name without what does not matter: `./`, trailing slashes, and the case of a Hub id."""
    if is_folder(name):
        return str(Path(name).expanduser().resolve())
    return name.removeprefix("./").rstrip("/").casefold()


def base_files(name: str, revision: str | None) -> tuple[Path, Path]:
    """The paths of config.json and tokenizer.json of a base, downloaded if it is on the Hub.

    Raises ValueError naming the file that the base has not.
    """
    if is_folder(name):
        folder = Path(name).expanduser()
        return folder / "config.json", folder / "tokenizer.json"
    config = _download(name, "config.json", revision)
    return config, _download(name, "tokenizer.json", revision)


def fingerprint(config: Path, tokenizer: Path) -> str:
    """A hash of what makes a base the base: its config without names and versions, its tokenizer.

    Equal for a model on the Hub and a copy of it.
    """
    stated = read_json_object(config)
    content = {key: stated[key] for key in stated if key not in _NOT_CONTENT}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    digest.update(tokenizer.read_bytes())
    return digest.hexdigest()


def difference_between(trained: BaseFacts, now: BaseFacts) -> str | None:
    """In what the base `now` differs from the one that an adapter was trained on; None if it fits.

    Names are compared without case and slashes, then as the Hub knows them today (former names lead
    to the new one); a copy fits if config and tokenizer are the same. One folder fits only if its
    weights are those of then, as far as both manifests know them.
    """
    before, after = trained.get("content_sha256"), now.get("content_sha256")
    names, others = _names(trained), _names(now)
    weights, weights_now = trained.get(_SAMPLE), now.get(_SAMPLE)
    other_weights = bool(weights and weights_now and weights != weights_now)
    if before and before == after:
        is_copy = {plain_name(name) for name in names}.isdisjoint(map(plain_name, others))
        if other_weights and not is_copy:
            return f"other weights than {others[0]} holds now"
        if is_copy and (weights is None or weights != weights_now):
            log.warning(
                "%s is taken to be a copy of %s: config and tokenizer are the same; the weights %s",
                others[0],
                " or ".join(names),
                "differ in bytes" if other_weights else "were not compared",
            )
        return None
    if not is_same_repository(trained, now):
        return f"{' or '.join(names)}, the recipe's base is {others[0]}"
    if before and after and is_folder(others[0]):
        return f"other files than {others[0]} holds now: config or tokenizer differ"
    return None


def is_same_repository(trained: BaseFacts, now: BaseFacts) -> bool:
    """Whether both name one folder or one model of the Hub, which may have a new name there."""
    names, others = _names(trained), _names(now)
    if not {plain_name(name) for name in names}.isdisjoint(map(plain_name, others)):
        return True
    return not _hub_ids(names).isdisjoint(_hub_ids(others))


def _names(base: BaseFacts) -> list[str]:
    stated = (base.get("name"), base.get("hub_id"))
    return sorted({name for name in stated if name})


def _hub_ids(names: Iterable[str]) -> set[str]:
    """What the Hub calls the models of these names today; nothing for one that it does not know."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, constants

    ids: set[str] = set()
    for name in names:
        if constants.is_offline_mode() or is_folder(name) or plain_name(name).count("/") != 1:
            continue
        try:
            info = HfApi().model_info(name.removeprefix("./").rstrip("/"), timeout=_SECONDS)
        except (HTTPError, OSError, ValueError) as error:
            log.info("the Hub does not tell which model %s is: %s", name, _first_line(error))
        else:
            ids.add(info.id.casefold())
    return ids


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def stored_quantization(config: Path) -> Quantization | None:
    """How the weights of a base are stored; None if they are not quantized.

    Raises ValueError for a form that adapters are not trained on here.
    """
    stated = _stated_quantization(config)
    if not stated:
        return None
    method = stated.get("quant_method", "bitsandbytes")
    if method != "bitsandbytes" or not stated.get("load_in_4bit"):
        kind = "8-bit bitsandbytes" if method == "bitsandbytes" else method
        raise ValueError(
            f"{config}: the weights are stored as {kind}; expected 4-bit bitsandbytes or weights "
            "that are not quantized: name the original model"
        )
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": stated.get("bnb_4bit_quant_type", "fp4"),
        "bnb_4bit_use_double_quant": bool(stated.get("bnb_4bit_use_double_quant", False)),
    }


def _stated_quantization(config: Path) -> JsonObject | None:
    """What a config.json says of it, at its top or in the part for text."""
    whole = read_json_object(config)
    nested = whole.get("text_config")
    parts = [whole, cast("JsonObject", nested)] if isinstance(nested, dict) else [whole]
    named = [part.get(key) for part in parts for key in _QUANTIZATION_KEYS]
    stated = next((value for value in named if value), None)
    if stated is not None and not isinstance(stated, dict):
        raise ValueError(
            f"{config}: quantization_config is {stated!r}, expected an object; download it again"
        )
    return cast("JsonObject | None", stated)
