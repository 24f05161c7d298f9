"""The one home of loading: base, quantization, adapter and tokenizer, the same for training and evaluation."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from weekahead.files import Row
from weekahead.models.chat_format import apply_chat_format, chat_format
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded
from weekahead.models.families import EMBEDDED_HUB_ID
from weekahead.models.precision import Precision

log = logging.getLogger(__name__)

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
_ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors", "manifest.json"]
_ROOM_FOR_DEQUANTIZED = 1.3
"""Times its dequantized weights that a card must have free; less leaves no room for the cache."""


@dataclass(frozen=True)
class Base:
    """A base model and the precision it is used in."""

    name: str
    """Hub id or local folder."""
    turn_format: str
    dtype: str
    revision: str | None = None
    quantization: Row | None = None
    """Fields of BitsAndBytesConfig, without the compute dtype, which is `dtype`; None for a plain base."""

    def manifest_fields(self) -> Row:
        """For manifests. `hub_id` is what a reader elsewhere can load."""
        hub_id = EMBEDDED_HUB_ID if Path(self.name) == DEFAULT_OUT else self.name
        return {**asdict(self), "hub_id": None if Path(hub_id).exists() else hub_id}


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk. `manifest` is None for one that this suite did not train."""

    reference: str
    folder: Path
    revision: str | None
    base_name: str
    manifest: Row | None


def base_from_recipe(recipe: Row, precision: Precision) -> Base:
    """The base a recipe names. Raises ValueError for a recipe without base or turn format."""
    for key in ("model_name_or_path", "turn_format"):
        if not recipe.get(key):
            raise ValueError(f"the recipe has no {key}; every recipe in recipes/ names one")
    return Base(
        name=recipe["model_name_or_path"],
        revision=recipe.get("model_revision"),
        turn_format=recipe["turn_format"],
        quantization=dict(NF4) if recipe.get("load_in_4bit") else None,
        dtype=precision.dtype,
    )


def resolve_base_and_adapter(
    recipe: Row, adapter_name: str, precision: Precision, pin: bool = True
) -> tuple[Base, Adapter | None]:
    """The base and the adapter that a recipe and a name stand for; "none" is no adapter.

    The base is pinned unless nothing of it is needed here, as where a server answers.
    Raises ValueError or OSError where one cannot be had or the two do not fit.
    """
    base = base_from_recipe(recipe, precision)
    adapter = None if adapter_name == "none" else find_adapter(adapter_name)
    base = base_for_adapter(adapter, base) if adapter else base
    return resolve_revision(base) if pin else base, adapter


def resolve_revision(base: Base) -> Base:
    """`base` at the commit that its revision names now, for a manifest; a local folder stays as it is.

    Raises OSError where the base cannot be had.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(_local(base.name), revision=base.revision)
    return replace(base, revision=getattr(config, "_commit_hash", None) or base.revision)


def load_tokenizer(base: Base) -> Any:
    """The base's tokenizer with its turn format, padding on the left as batched generation needs.

    Raises ValueError for a turn format that does not fit, OSError where the base cannot be had.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_local(base.name), revision=base.revision)
    apply_chat_format(tokenizer, chat_format(base.turn_format))
    tokenizer.padding_side = "left"
    return tokenizer


def load_base(base: Base, device_map: Any = None) -> Any:
    """The base model in its precision; weights are safetensors and no code of the repository runs."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, base.dtype)
    quantization = None
    if base.quantization:
        quantization = BitsAndBytesConfig(**base.quantization, bnb_4bit_compute_dtype=dtype)
    return AutoModelForCausalLM.from_pretrained(
        _local(base.name),
        revision=base.revision,
        dtype=dtype,
        device_map=device_map,
        quantization_config=quantization,
        use_safetensors=True,
        trust_remote_code=False,
    )


def find_adapter(reference: str) -> Adapter:
    """The adapter at a folder, or of a Hub id with an optional `@revision`.

    Raises ValueError where there is none, naming what is missing.
    """
    folder, revision = Path(reference), None
    if not folder.is_dir():
        # Whoever owns the name `outputs` on the Hub must not be asked for a run that is missing here.
        if reference.startswith((".", "/", "outputs/")):
            raise ValueError(
                f"no adapter at {reference}; train it first: make train RUN={folder.name}, or name another"
            )
        folder, revision = _download(reference)
    missing = [name for name in _ADAPTER_FILES[:2] if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{reference} is not a complete adapter: {', '.join(missing)} missing. "
            "Finish its training (the same `make train` goes on from the last checkpoint) or name another one."
        )
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return Adapter(reference, folder, revision, config["base_model_name_or_path"], manifest)


def _download(reference: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = reference.partition("@")
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=["*.json", "*.safetensors"]
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"no adapter at {reference!r}: not a folder here, and not to be had from the Hub ({error}). "
            "Expected outputs/<run> or user/name[@revision]; a private one needs HF_TOKEN (.venv/bin/hf auth login)."
        ) from error
    return folder, folder.name


def base_for_adapter(adapter: Adapter, recipe_base: Base) -> Base:
    """The base to evaluate `adapter` on: the one its manifest names, in the precision it was trained on.

    The dtype is this machine's. An adapter without a manifest is taken to fit the recipe's base.
    Raises ValueError where adapter and recipe name different bases.
    """
    trained = (adapter.manifest or {}).get("base")
    if trained is None:
        log.warning(
            "%s has no manifest; it is evaluated on %s as the recipe loads it",
            adapter.reference,
            recipe_base.name,
        )
        names = {adapter.base_name}
    else:
        names = {trained["name"], trained.get("hub_id") or trained["name"]}
    if not names & {recipe_base.name, recipe_base.manifest_fields()["hub_id"]}:
        raise ValueError(
            f"wrong adapter for the base: {adapter.reference} was trained on "
            f"{' or '.join(sorted(names))}, the recipe's base is {recipe_base.name}. "
            "Name the recipe it was trained with (make eval MODEL=...)."
        )
    if trained is None:
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
    """A model ready to generate, and a word for how it was put together.

    A quantized base is dequantized and the adapter merged into it: that is the model the adapter was
    trained in, and faster than computing on 4-bit weights. Merging into the *original* weights is a
    different model and can break every answer. On a card without room for the dequantized weights the
    base stays in 4 bits and the adapter unmerged.

    Raises ValueError where the adapter's weights do not fit the base.
    """
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig

    model: Any = load_base(base, device_map={"": 0} if precision.device == "cuda" else None)
    form = "plain"
    if base.quantization:
        dequantized = _has_room(model, precision)
        form = "NF4 dequantized" if dequantized else "NF4"
        model = model.dequantize() if dequantized else model
    if adapter:
        try:
            model = PeftModel.from_pretrained(model, str(adapter.folder))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{adapter.reference} does not fit the base {base.name}: {error}"
            ) from error
        if form != "NF4":
            model, form = model.merge_and_unload(), f"{form}, adapter merged"
        else:
            form = "NF4, adapter unmerged"
    model.config.use_cache = True
    # A base's own file may ask for sampling or a repetition penalty, and generate() obeys it even when greedy.
    model.generation_config = GenerationConfig()
    return model.eval(), form


def _has_room(model: Any, precision: Precision) -> bool:
    import torch

    if precision.device != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info()
    return free > _ROOM_FOR_DEQUANTIZED * 2 * model.num_parameters()


def _local(name: str) -> str:
    """`name`, after converting the embedded base if it is that one and not there yet."""
    return str(ensure_embedded(DEFAULT_OUT)) if Path(name) == DEFAULT_OUT else name
