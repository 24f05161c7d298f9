"""Loading of base, quantization, adapter and tokenizer, the same for training and evaluation."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from weekahead.files import sha256
from weekahead.hub.access import check_may_read
from weekahead.hub.client import patiently
from weekahead.models.adapter_check import (
    CONFIG,
    WEIGHTS,
    check_adapter_files,
    check_applied,
    check_changes_something,
    check_config_as_trained,
    check_config_is_known,
    check_logits_finite,
    check_same_tokens,
    probe_logits,
)
from weekahead.models.base_check import (
    check_all_finite,
    check_all_loaded,
    check_config,
    check_no_adapter_inside,
)
from weekahead.models.base_identity import (
    base_files,
    difference_between,
    fingerprint,
    hub_commit,
    is_commit,
    is_folder,
    is_same_repository,
    stored_quantization,
)
from weekahead.models.chat_format import apply_chat_format, chat_format
from weekahead.models.dequantized import dequantize, room_dequantized
from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded
from weekahead.models.families import EMBEDDED_HUB_ID
from weekahead.models.kept import Loaded, Request, kept_model
from weekahead.models.precision import Precision
from weekahead.models.weight_files import check_base_folder, weights_sample
from weekahead.recipe import Recipe
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import (
    BaseFacts,
    Quantization,
    TrainingManifest,
    TrainingResult,
    read_json_object,
    read_training_manifest,
    why_unusable,
)

log = logging.getLogger(__name__)

NF4: Quantization = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}


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
    stored_quantized: bool = False
    """Whether the files hold quantized weights, so that nothing is quantized while loading."""
    content_sha256: str | None = None
    """What `fingerprint` says of config and tokenizer; None if nobody looked."""
    weights_sample_sha256: str | None = None
    """What `weights_sample` says of a local folder; None for a base of the Hub."""

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
            "content_sha256": self.content_sha256,
            "weights_sample_sha256": self.weights_sample_sha256,
        }


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk. `manifest` is None for one that this project did not train."""

    reference: str
    folder: Path
    revision: str | None
    base_name: str
    base_revision: str | None
    """What its config says; a commit, a branch or a tag."""
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
    if pin:
        base = resolve_revision(base)
    if adapter is None:
        return base, None
    fitting = base_for_adapter(adapter, base)
    if not pin:
        return fitting, adapter
    if fitting.revision != base.revision:
        _check_not_asked_otherwise(recipe, adapter, base, fitting)
        fitting = resolve_revision(fitting)  # states the files of that commit, not of a newer one
    check_same_tokens(adapter.folder, base_files(fitting.name, fitting.revision)[1])
    return fitting, adapter


def _check_not_asked_otherwise(recipe: Recipe, adapter: Adapter, base: Base, fitting: Base) -> None:
    """Raise ValueError if the recipe names another revision than the adapter was trained on."""
    asked = recipe.get("model_revision")
    if asked not in (None, "main"):
        raise ValueError(
            f"the recipe's model_revision {asked!r} is commit {base.revision}, and "
            f"{adapter.reference} was trained on {fitting.revision}; leave model_revision out"
        )


def resolve_revision(base: Base) -> Base:
    """`base` at the commit that its revision names now, and with what its files say.

    A local folder has no commit; its files are checked. A base that is stored quantized states
    that, whatever the recipe asks for.
    Raises ValueError naming what is missing or damaged, or if neither Hub nor cache knows the base.
    """
    if Path(base.name) == DEFAULT_OUT:
        ensure_embedded(DEFAULT_OUT)
    if is_folder(base.name):
        folder = Path(base.name).expanduser()
        check_base_folder(folder)
        base = replace(base, revision=None, weights_sample_sha256=weights_sample(folder))
    else:
        check_may_read(base.name.rstrip("/"), base.revision)
        if not is_commit(base.revision):
            base = replace(base, revision=hub_commit(base.name.rstrip("/"), base.revision))
    config, tokenizer = base_files(base.name, base.revision)
    check_config(read_json_object(config), config)
    stored = stored_quantization(config)
    if stored:
        log.info("the weights of %s are stored in 4 bits (%s)", base.name, stored)
    return replace(
        base,
        quantization=stored or base.quantization,
        stored_quantized=bool(stored),
        content_sha256=fingerprint(config, tokenizer),
    )


def load_tokenizer(base: Base) -> Any:
    """The base's tokenizer with its chat format, padding on the left as batched generation needs.

    Raises ValueError for a chat format that does not fit, OSError if the base cannot be loaded.
    """
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    with _one_line_for(f"the tokenizer of {base.name} cannot be loaded"):
        tokenizer = loader.from_pretrained(
            _local(base.name), revision=base.revision, trust_remote_code=False
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{base.name} has no tokenizer.json that {type(tokenizer).__name__} can read; expected "
            "a fast tokenizer"
        )
    apply_chat_format(tokenizer, chat_format(base.turn_format))
    tokenizer.padding_side = "left"
    return tokenizer


def load_base(
    base: Base, device_map: Any = None, attention: str | None = None, storage: str | None = None
) -> Any:
    """The base model in its precision, from safetensors; no code of its repository runs.

    `attention` is the name of transformers for an implementation; None is the library's choice.
    `storage` is the number format that 4-bit weights are packed into, two or more per number; the
    values are the same (None: uint8).
    Raises ValueError unless every weight comes from the base's files, fits and is finite.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.peft_utils import (
        find_adapter_config_file,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )

    # It registers an attention with transformers.
    from weekahead.models.attention import capability_here, expand_heads_if_needed

    dtype = getattr(torch, base.dtype)
    loader: Any = AutoModelForCausalLM
    name = _local(base.name)
    with _one_line_for(f"the model {base.name} cannot be loaded"):
        check_no_adapter_inside(find_adapter_config_file(name, revision=base.revision), base.name)
        model, report = loader.from_pretrained(
            name,
            revision=base.revision,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            ignore_mismatched_sizes=True,  # refused below, with their names
            output_loading_info=True,
            **_quantization_flags(base, storage),
        )
    check_all_loaded(report, base.name)
    check_all_finite(model, base.name)
    if base.stored_quantized:
        _compute_in(model, dtype)
    if attention is None:
        expand_heads_if_needed(model, capability_here())
    return model


def _quantization_flags(base: Base, storage: str | None) -> dict[str, Any]:
    """The flags of from_pretrained that quantize; a None would undo what a file states."""
    from transformers import BitsAndBytesConfig

    if not base.quantization or base.stored_quantized:
        return {}
    config = BitsAndBytesConfig(
        **base.quantization, bnb_4bit_compute_dtype=base.dtype, bnb_4bit_quant_storage=storage
    )
    return {"quantization_config": config}


@contextmanager
def _one_line_for(what: str) -> Generator[None]:
    """Turn whatever a library raises for damaged files into a ValueError that says `what` failed.

    Libraries raise nearly any class for them, tokenizers a plain Exception. What commands print in
    one line anyway passes: a full memory, a disk, a network, torch's errors of a device.
    """
    try:
        yield
    except Exception as error:
        passes = isinstance(error, (ValueError, OSError, MemoryError, RuntimeError))
        if passes and not isinstance(error, JSONDecodeError):  # that one names no file
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{what}: {type(error).__name__}: {reason}. A file of it may be damaged or of a newer "
            "version: download it again"
        ) from error


def _compute_in(model: Any, dtype: Any) -> None:
    """Let the 4-bit layers of `model` compute in `dtype`: their file states that of its maker."""
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = dtype


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
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing and not (folder / "adapter_model.bin").is_file():
        raise ValueError(
            f"{reference} is not a complete adapter: {', '.join(missing)} missing. Finish its "
            "training (the same `make train` goes on from the last checkpoint) or name another one."
        )
    base_name, base_revision = check_adapter_files(folder)
    _check_as_trained(reference, folder, manifest)
    return Adapter(reference, folder, revision, base_name, base_revision, manifest)


def _check_as_trained(reference: str, folder: Path, manifest: TrainingManifest | None) -> None:
    """Raise ValueError if weights or config are not those that the manifest states.

    Manifests of older versions state neither.
    """
    result: TrainingResult = (manifest["result"] if manifest else None) or {}
    stated, used = result.get("adapter_sha256"), result.get("used")
    if stated and sha256(folder / WEIGHTS) != stated:
        raise ValueError(
            f"{reference}: {WEIGHTS} is not the file that its training wrote (manifest.json states "
            f"sha256 {stated[:12]}...); take the folder from its source again, or train it again"
        )
    if used:
        check_config_as_trained(folder, used)


def _download(reference: str) -> tuple[Path, str]:
    """The folder of the Hub's cache that holds an adapter, and the commit it is of."""
    from huggingface_hub import (
        snapshot_download,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = reference.partition("@")
    patterns = ["*.json", "*.safetensors"]
    try:
        folder = Path(
            patiently(
                lambda: snapshot_download(name, revision=revision or None, allow_patterns=patterns)
            )
        )
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
    if not trained:
        log.warning(
            "%s has no manifest; it is evaluated on %s as the recipe loads it",
            adapter.reference,
            recipe_base.name,
        )
    stated: BaseFacts = trained or {
        "name": adapter.base_name,
        "hub_id": None,
        "revision": adapter.base_revision,
    }
    facts = recipe_base.manifest_fields()
    difference = difference_between(stated, facts)
    if difference:
        raise ValueError(
            f"wrong adapter for the base: {adapter.reference} was trained on {difference}. "
            "Name the recipe it was trained with (make eval MODEL=...)."
        )
    stays = is_folder(recipe_base.name) or not is_same_repository(stated, facts)
    revision = None if stays else stated.get("revision")
    if not trained:
        return replace(recipe_base, revision=revision or recipe_base.revision)
    return replace(
        recipe_base,
        revision=revision or recipe_base.revision,
        quantization=trained.get("quantization"),
        turn_format=trained.get("turn_format") or recipe_base.turn_format,
    )


def load_for_generation(
    base: Base, adapter: Adapter | None, precision: Precision, cached_tokens: int = 0
) -> tuple[Any, str]:
    """A model ready to generate, and how its weights are held, such as "plain, adapter merged".

    `cached_tokens` is how many tokens of prompts and answers it will hold keys and values of.

    A quantized base is dequantized and the adapter merged into it: that is the model the adapter
    was trained in, and faster than computing on 4-bit weights. Merging into the *original* weights
    is a different model and can break every answer. On a GPU without room for the dequantized
    weights the base stays in 4 bits and the adapter unmerged.

    A model that is kept from the command before (`weekahead.models.kept`) is not loaded again.

    Raises ValueError if the adapter's weights do not fit the base.
    """
    request = Request(base, adapter, precision, cached_tokens)
    loaded = kept_model.find(request)
    if loaded is None:
        loaded = _load_for_generation(request)
        kept_model.keep(loaded)
    return loaded.model, loaded.weights_form


def _load_for_generation(request: Request) -> Loaded:
    from transformers import GenerationConfig

    base, adapter, on_gpu = request.base, request.adapter, request.precision.device == "cuda"
    model = load_base(base, device_map={"": 0} if on_gpu else None)
    weights_form, room = "plain", None
    if base.quantization:
        weights_form = "NF4"
        room = room_dequantized(model, request.cached_tokens) if on_gpu else None
        if room is None or request.cached_tokens <= room:
            dequantize(model)
            weights_form = "NF4 dequantized"
    untuned = probe_logits(model)
    check_logits_finite(untuned, base.name, base.dtype)
    if adapter:
        model = with_adapter(model, adapter, base)
        if weights_form == "NF4":
            weights_form = "NF4, adapter unmerged"
        else:
            model, weights_form = model.merge_and_unload(), f"{weights_form}, adapter merged"
        tuned = probe_logits(model.eval())
        check_logits_finite(tuned, adapter.reference, base.dtype)
        check_changes_something(untuned, tuned, adapter.reference, base.name)
    model.config.use_cache = True
    # A base's own file may ask for sampling or a repetition penalty, and generate() obeys it even
    # when greedy.
    model.generation_config = GenerationConfig()
    return Loaded(model.eval(), weights_form, request, room)


def with_adapter(model: Any, adapter: Adapter, base: Base) -> Any:
    """A PeftModel of `model` with all of `adapter`.

    Raises ValueError if a tensor is missing, unexpected, of another shape or not finite.
    """
    import torch
    from peft import PeftModel

    check_config_is_known(adapter.folder)
    loader: Any = PeftModel
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*missing adapter keys.*")  # refused below
            tuned = loader.from_pretrained(model, str(adapter.folder))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{adapter.reference} does not fit the base {base.name}: {reason}"
        ) from error
    check_applied(tuned, adapter.folder, adapter.reference, base.name)
    return tuned


def _local(name: str) -> str:
    """`name`, after converting the embedded base if it is that one and not there yet."""
    return str(ensure_embedded(DEFAULT_OUT)) if Path(name) == DEFAULT_OUT else name
