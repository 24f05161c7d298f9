"""Loading of base, quantization, adapter and tokenizer, the same for training and evaluation."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weekahead.models.chat_format import apply_chat_format, chat_format
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded
from weekahead.models.families import EMBEDDED_HUB_ID
from weekahead.models.precision import Precision
from weekahead.recipe import Recipe
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import (
    BaseFacts,
    Quantization,
    TrainingManifest,
    read_training_manifest,
    why_unusable,
)

log = logging.getLogger(__name__)

NF4: Quantization = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_ROOM_FOR_DEQUANTIZED = 1.3
"""A GPU must have this many times the dequantized weights free, to leave room for the cache."""


@dataclass(frozen=True)
class Base:
    """A base model and the precision it is used in."""

    name: str
    """Hub id or local folder."""
    turn_format: str
    dtype: str
    revision: str | None = None
    quantization: Quantization | None = None
    """None for a base that is not quantized. The compute dtype is `dtype`."""

    def manifest_fields(self) -> BaseFacts:
        """What a manifest states; `hub_id` is what a reader elsewhere can load."""
        hub_id = EMBEDDED_HUB_ID if Path(self.name) == DEFAULT_OUT else self.name
        return {
            "name": self.name,
            "turn_format": self.turn_format,
            "dtype": self.dtype,
            "revision": self.revision,
            "quantization": self.quantization,
            "hub_id": None if Path(hub_id).exists() else hub_id,
        }


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk. `manifest` is None for one that this project did not train."""

    reference: str
    folder: Path
    revision: str | None
    base_name: str
    manifest: TrainingManifest | None


def base_from_recipe(recipe: Recipe, precision: Precision) -> Base:
    """The base that a recipe names. Raises ValueError for a recipe without base or chat format."""
    name, turn_format = recipe.get("model_name_or_path"), recipe.get("turn_format")
    if not name or not turn_format:
        missing = "turn_format" if name else "model_name_or_path"
        raise ValueError(f"the recipe has no {missing}; every recipe in recipes/ names one")
    return Base(
        name=name,
        revision=recipe.get("model_revision"),
        turn_format=turn_format,
        quantization=_quantization(recipe),
        dtype=precision.dtype,
    )


def _quantization(recipe: Recipe) -> Quantization | None:
    """The quantization that a recipe asks for. Raises ValueError for an unknown 4-bit type."""
    if not recipe.get("load_in_4bit"):
        return None
    quant_type = recipe.get("bnb_4bit_quant_type", "nf4")
    if quant_type not in ("nf4", "fp4"):
        raise ValueError(f"bnb_4bit_quant_type is {quant_type!r}; expected nf4 or fp4")
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": quant_type,
        "bnb_4bit_use_double_quant": bool(recipe.get("use_bnb_nested_quant", False)),
    }


def resolve_base_and_adapter(
    recipe: Recipe, adapter_name: str, precision: Precision, *, pin: bool = True
) -> tuple[Base, Adapter | None]:
    """The base and the adapter that a recipe and a name stand for; "none" is no adapter.

    `pin` fixes the revision of the base. It is False if nothing of the base is needed here, as with
    a server that answers.
    Raises ValueError or OSError if one cannot be loaded or the two do not fit.
    """
    base = base_from_recipe(recipe, precision)
    adapter = None if adapter_name == "none" else find_adapter(adapter_name)
    if adapter:
        base = base_for_adapter(adapter, base)
    return resolve_revision(base) if pin else base, adapter


def resolve_revision(base: Base) -> Base:
    """`base` at the commit that its revision names now; a local folder stays as it is.

    Raises OSError if the base cannot be loaded.
    """
    from transformers import AutoConfig

    loader: Any = AutoConfig
    config = loader.from_pretrained(_local(base.name), revision=base.revision)
    commit: str | None = getattr(config, "_commit_hash", None)
    return replace(base, revision=commit or base.revision)


def load_tokenizer(base: Base) -> Any:
    """The base's tokenizer with its chat format, padding on the left as batched generation needs.

    Raises ValueError for a chat format that does not fit, OSError if the base cannot be loaded.
    """
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    tokenizer = loader.from_pretrained(_local(base.name), revision=base.revision)
    apply_chat_format(tokenizer, chat_format(base.turn_format))
    tokenizer.padding_side = "left"
    return tokenizer


def load_base(base: Base, device_map: Any = None, attention: str | None = None) -> Any:
    """The base model in its precision, from safetensors; no code of its repository runs.

    `attention` is the name of transformers for an implementation; None is the library's choice.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, base.dtype)
    quantization = None
    if base.quantization:
        quantization = BitsAndBytesConfig(**base.quantization, bnb_4bit_compute_dtype=dtype)
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(
        _local(base.name),
        revision=base.revision,
        dtype=dtype,
        device_map=device_map,
        quantization_config=quantization,
        use_safetensors=True,
        trust_remote_code=False,
        attn_implementation=attention,
    )


def find_adapter(reference: str) -> Adapter:
    """The adapter in a folder, or of a Hub id with an optional `@revision`.

    Raises ValueError naming what is missing if there is none.
    """
    folder, revision = Path(reference), None
    if not folder.is_dir():
        # The owner of the name `outputs` on the Hub must not be asked for a run that is missing.
        if reference.startswith((".", "/", "outputs/")):
            raise ValueError(
                f"no adapter at {reference}; train it first: make train RUN={folder.name}, or name "
                "another"
            )
        folder, revision = _download(reference)
    path = folder / MANIFEST
    manifest = read_training_manifest(path) if path.exists() else None
    reason = why_unusable(manifest) if manifest else None
    if reason:
        raise ValueError(
            f"{reference} is no adapter to answer with: {reason}. Train it to its end, or name "
            "another one."
        )
    missing = [name for name in _ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{reference} is not a complete adapter: {', '.join(missing)} missing. Finish its "
            "training (the same `make train` goes on from the last checkpoint) or name another one."
        )
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return Adapter(reference, folder, revision, config["base_model_name_or_path"], manifest)


def _download(reference: str) -> tuple[Path, str]:
    """The folder of the Hub's cache that holds an adapter, and the commit it is of."""
    from huggingface_hub import (
        snapshot_download,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = reference.partition("@")
    patterns = ["*.json", "*.safetensors"]
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"no adapter at {reference!r}: not a folder here, and not to be had from the Hub "
            f"({error}). Expected outputs/<run> or user/name[@revision]; a private one needs "
            "HF_TOKEN (.venv/bin/hf auth login)."
        ) from error
    return folder, folder.name


def base_for_adapter(adapter: Adapter, recipe_base: Base) -> Base:
    """The base to evaluate `adapter` on: the one in its manifest, quantized as in its training.

    The dtype is this machine's. An adapter without a manifest is taken to fit the recipe's base.
    Raises ValueError if adapter and recipe name different bases.
    """
    trained = adapter.manifest["base"] if adapter.manifest else None
    if trained:
        name = trained.get("name", adapter.base_name)
        names = {name, trained.get("hub_id") or name}
    else:
        log.warning(
            "%s has no manifest; it is evaluated on %s as the recipe loads it",
            adapter.reference,
            recipe_base.name,
        )
        names = {adapter.base_name}
    if names.isdisjoint({recipe_base.name, recipe_base.manifest_fields().get("hub_id")}):
        raise ValueError(
            f"wrong adapter for the base: {adapter.reference} was trained on "
            f"{' or '.join(sorted(names))}, the recipe's base is {recipe_base.name}. "
            "Name the recipe it was trained with (make eval MODEL=...)."
        )
    if not trained:
        return recipe_base
    return replace(
        recipe_base,
        revision=trained.get("revision") or recipe_base.revision,
        quantization=trained.get("quantization"),
        turn_format=trained.get("turn_format") or recipe_base.turn_format,
    )


def load_for_generation(
    base: Base, adapter: Adapter | None, precision: Precision
) -> tuple[Any, str]:
    """A model ready to generate, and how its weights are held, such as "plain, adapter merged".

    A quantized base is dequantized and the adapter merged into it: that is the model the adapter
    was trained in, and faster than computing on 4-bit weights. Merging into the *original* weights
    is a different model and can break every answer. On a GPU without room for the dequantized
    weights the base stays in 4 bits and the adapter unmerged.

    Raises ValueError if the adapter's weights do not fit the base.
    """
    from transformers import GenerationConfig

    model = load_base(base, device_map={"": 0} if precision.device == "cuda" else None)
    weights_form = "plain"
    if base.quantization:
        weights_form = "NF4"
        if _has_room(model, precision):
            model, weights_form = model.dequantize(), "NF4 dequantized"
    if adapter:
        model = _with_adapter(model, adapter, base)
        if weights_form == "NF4":
            weights_form = "NF4, adapter unmerged"
        else:
            model, weights_form = model.merge_and_unload(), f"{weights_form}, adapter merged"
    model.config.use_cache = True
    # A base's own file may ask for sampling or a repetition penalty, and generate() obeys it even
    # when greedy.
    model.generation_config = GenerationConfig()
    return model.eval(), weights_form


def _with_adapter(model: Any, adapter: Adapter, base: Base) -> Any:
    import torch
    from peft import PeftModel

    loader: Any = PeftModel
    try:
        return loader.from_pretrained(model, str(adapter.folder))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{adapter.reference} does not fit the base {base.name}: {error}"
        ) from error


def _has_room(model: Any, precision: Precision) -> bool:
    import torch

    if precision.device != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info()
    bytes_per_weight = 2
    return free > _ROOM_FOR_DEQUANTIZED * bytes_per_weight * model.num_parameters()


def _local(name: str) -> str:
    """`name`, after converting the embedded base if it is that one and not there yet."""
    return str(ensure_embedded(DEFAULT_OUT)) if Path(name) == DEFAULT_OUT else name
