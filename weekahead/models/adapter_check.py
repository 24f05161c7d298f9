"""An adapter is applied whole or not at all: its file, its config, and the model it is applied to.

peft loads what it finds and leaves out the rest with a warning, so the tensors are compared here.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from weekahead.models.weight_files import Shapes, read_shapes
from weekahead.schema.manifests import JsonObject, UsedFacts, read_json_object

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_SHOWN = 2
"""Names of tensors in a message."""
_PROBE_TOKENS = 32
_RANDOM_STARTS = ("pissa_niter", "corda")
"""Values of init_lora_weights that change the base by a random decomposition or by data."""
_TAKE_ANOTHER = "take the adapter folder from its source again, or train it again"


def check_adapter_files(folder: Path) -> tuple[str, str | None]:
    """Check file and config of an adapter before a base is loaded.

    Returns the name of its base and the revision of it, if the config states one.

    Raises ValueError naming what is missing or damaged.
    """
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise ValueError(
            f"{folder} has adapter_model.bin, a pickle, which is not loaded; expected {WEIGHTS}: "
            "save the adapter again with a current peft"
        )
    config = read_json_object(folder / CONFIG)
    kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    if kind != "LORA":
        raise ValueError(f"{folder / CONFIG}: peft_type is {kind!r}; expected LORA")
    if config.get("alora_invocation_tokens"):
        raise ValueError(
            f"{folder / CONFIG}: alora_invocation_tokens is set; expected an adapter that acts on "
            "every token, an activated one cannot be merged"
        )
    if not base or not isinstance(base, str):
        raise ValueError(f"{folder / CONFIG}: base_model_name_or_path is {base!r}; expected a name")
    shapes = read_shapes(folder / WEIGHTS, _TAKE_ANOTHER)
    halves = {side: sum(_is_half(name, side) for name in shapes) for side in "AB"}
    if halves["A"] != halves["B"] or not halves["A"]:
        raise ValueError(
            f"{folder / WEIGHTS} has {halves['A']} tensors lora_A and {halves['B']} lora_B; "
            f"expected as many of both, at least one; {_TAKE_ANOTHER}"
        )
    revision = config.get("revision")
    return base, revision if isinstance(revision, str) and revision != "main" else None


def _is_half(name: str, side: str) -> bool:
    """Whether a tensor is the half A or B of an adapter; a bias is beside them."""
    return f"_{side}." in f"{name}." and not name.endswith(".bias")


def check_config_is_known(folder: Path) -> None:
    """Check that an adapter's config says all that is needed to rebuild the trained model.

    Raises ValueError for a field that the installed peft would ignore, and for an initialization
    that changed the base at random.
    """
    from peft import LoraConfig

    known = {field.name for field in fields(LoraConfig)}
    config = read_json_object(folder / CONFIG)
    unknown = [name for name, value in config.items() if name not in known and value]
    if unknown:
        raise ValueError(
            f"{folder / CONFIG}: {', '.join(unknown)} not known to the installed peft, which would "
            "ignore it; install the peft that wrote the adapter"
        )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_RANDOM_STARTS):
        raise ValueError(
            f"{folder / CONFIG}: init_lora_weights is {start!r}: its training began with base "
            "weights that cannot be computed again; save it with peft's "
            "path_initial_model_for_weight_conversion and take that folder"
        )


def check_config_as_trained(folder: Path, used: UsedFacts) -> None:
    """Raise ValueError if an adapter's config is not the one that its training used.

    The weights fit another scale as well, and are then another model.
    """
    config = read_json_object(folder / CONFIG)
    expected: JsonObject = {
        "r": used["lora_r"],
        "lora_alpha": used["lora_alpha"],
        "use_rslora": used["use_rslora"],
        "use_dora": used["use_dora"],
    }
    found = {name: config.get(name) or False for name in expected}
    changed = [
        f"{name} is {found[name]!r}, its training used {value!r}"
        for name, value in expected.items()
        if found[name] != value
    ]
    changed += [f"{name} is set" for name in ("rank_pattern", "alpha_pattern") if config.get(name)]
    if changed:
        raise ValueError(f"{folder / CONFIG}: {'; '.join(changed)}; {_TAKE_ANOTHER}")


def check_same_tokens(folder: Path, tokenizer: Path) -> None:
    """Check the tokenizer beside an adapter against its base's, the tokenizer.json `tokenizer`.

    Raises ValueError if a token that both have has another id: its answers would be read as other
    words. A token that only one has does not matter: prompts are written with the base's.
    """
    own = folder / "tokenizer.json"
    if not own.is_file():
        return
    ids, expected = _token_ids(own), _token_ids(tokenizer)
    moved = sorted(token for token in ids.keys() & expected.keys() if ids[token] != expected[token])
    if moved:
        raise ValueError(
            f"{own} gives {len(moved)} tokens other ids than the base's {tokenizer}, such as "
            f"{moved[0]!r}: {ids[moved[0]]} and {expected[moved[0]]}; the adapter is of another "
            "base: name that one"
        )


def _token_ids(path: Path) -> dict[str, int]:
    """Token -> id, of a tokenizer.json. Raises ValueError for a file of another form."""
    stored = read_json_object(path)
    model: Any = stored.get("model") or {}
    added: Any = stored.get("added_tokens") or []
    try:
        vocabulary: Any = model.get("vocab") or {}
        if isinstance(vocabulary, list):  # of a Unigram model: pairs of token and score
            pairs = cast("list[Any]", vocabulary)
            vocabulary = {pair[0]: number for number, pair in enumerate(pairs)}
        return {**vocabulary, **{token["content"]: token["id"] for token in added}}
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is no tokenizer.json ({error}); {_TAKE_ANOTHER}") from error


def check_applied(model: Any, folder: Path, name: str, base: str) -> None:
    """Check that every tensor of the adapter file `folder` is in `model`, and nothing else is new.

    `model` is a PeftModel, `name` and `base` name adapter and base in messages.
    Raises ValueError with the counts and two names if a tensor is missing, unexpected, of another
    shape, not finite or not the one of the file.
    """
    from peft import (
        get_peft_model_state_dict,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )
    from safetensors.torch import (
        load_file,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )

    state: Any = get_peft_model_state_dict(model, save_embedding_layers=False)
    expected: Shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    stored = load_file(folder / WEIGHTS)
    found: Shapes = {key: tuple(tensor.shape) for key, tensor in stored.items()}
    problems = {
        "missing": expected.keys() - found.keys(),
        "unexpected": found.keys() - expected.keys() - _loaded_embeddings(model, stored),
        "of another shape": {
            key for key in expected.keys() & found.keys() if expected[key] != found[key]
        },
    }
    if any(problems.values()):
        raise ValueError(
            f"{name} does not fit the base {base}: of {len(expected)} tensors "
            f"{_counted(problems)}; {_TAKE_ANOTHER}"
        )
    poisoned = {key for key, tensor in stored.items() if not _is_finite(tensor)}
    if poisoned:
        raise ValueError(
            f"{name}: {_counted({'not finite': poisoned})} of {len(stored)} tensors; "
            "its training diverged or the file is damaged: train it again"
        )
    changed = {
        key for key, tensor in stored.items() if key in state and not _is_equal(state[key], tensor)
    }
    if changed:
        raise ValueError(f"{name}: {_counted({'not loaded as stored': changed})}; {_TAKE_ANOTHER}")


def _loaded_embeddings(model: Any, stored: dict[str, Any]) -> set[str]:
    """The tensors of an adapter file that are the model's embeddings or head as stored.

    peft saves these two along with an adapter whose training may have changed them, and loads them.
    Of modules_to_save it then writes a second copy.
    """
    own = [model.get_input_embeddings(), model.get_output_embeddings()]
    weights = [id(weight) for module in own if module is not None for weight in module.parameters()]
    named = dict(model.named_parameters(remove_duplicate=False))
    copies = {
        key
        for key in stored
        if ".modules_to_save." in key
        and key.replace(".modules_to_save.", ".") in stored
        and _is_equal(stored[key.replace(".modules_to_save.", ".")], stored[key])
    }
    return copies | {
        key
        for key, tensor in stored.items()
        if key in named
        and id(named[key]) in weights
        and named[key].shape == tensor.shape
        and _is_equal(named[key], tensor)
    }


def _is_finite(tensor: Any) -> bool:
    import torch

    return bool(torch.isfinite(tensor.float()).all())  # of 8-bit floats torch cannot tell it


def _is_equal(loaded: Any, stored: Any) -> bool:
    import torch

    return torch.equal(loaded.detach().cpu(), stored.to(loaded.dtype))


def _counted(problems: dict[str, set[str]]) -> str:
    texts = [
        f"{len(names)} {kind} ({', '.join(sorted(names)[:_SHOWN])})"
        for kind, names in problems.items()
        if names
    ]
    return ", ".join(texts)


def probe_logits(model: Any) -> Any:
    """The logits of `model` on a fixed short prompt, on the CPU: (1, tokens, vocabulary)."""
    import torch

    size = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(1, _PROBE_TOKENS + 1, device=model.device).remainder(size).unsqueeze(0)
    with torch.no_grad():
        return model(input_ids=ids).logits.float().cpu()


def check_logits_finite(logits: Any, name: str, dtype: str) -> None:
    """Raise ValueError if the logits of a model whose weights are finite are not."""
    import torch

    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{name}: the logits on a prompt are not finite: its numbers are too large for "
            f"{dtype}. A damaged file, a training that diverged, or, with float16, a GPU that has "
            "no bfloat16"
        )


def check_changes_something(before: Any, after: Any, name: str, base: str) -> None:
    """Raise ValueError if the logits of base and tuned model are equal to the last bit."""
    import torch

    if torch.equal(before, after):
        raise ValueError(
            f"{name} changes nothing: the logits on a prompt equal those of the base {base} to the "
            "last bit. It was not trained, or its weights are lost to rounding; evaluate the base "
            "itself with ADAPTER=none (--adapter none)"
        )
