"""An adapter is applied whole or not at all, whatever happened to its folder."""

import json
import shutil

import pytest
import torch

from tests.support.tiny import FP32
from weekahead.files import sha256
from weekahead.models.adapter_check import CONFIG, WEIGHTS, check_same_tokens, probe_logits
from weekahead.models.loading import find_adapter, load_base, load_for_generation


def renamed(old, new):
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def without(part):
    return lambda tensors: {name: value for name, value in tensors.items() if part not in name}


def doubled(tensors):
    return {f"base_model.model.{name}": value for name, value in tensors.items()}


def zeroed(tensors):
    return {name: value * (0 if "lora_B" in name else 1) for name, value in tensors.items()}


def first_changed(change):
    def spoil(tensors):
        name = sorted(tensors)[0]
        return {**tensors, name: change(tensors[name].clone())}

    return spoil


def poisoned(tensor):
    tensor.view(-1)[3] = float("nan")
    return tensor


def more(tensors):
    extra = {name: value.clone() for name, value in tensors.items() if "layers.0" in name}
    return {**tensors, **renamed("layers.0", "layers.9")(extra)}


SPOILED = {
    "half of the layers": (without("layers.1."), "missing"),
    "lora_A only": (without("lora_B"), "lora_A and 0 lora_B"),
    "lora_B only": (without("lora_A"), "0 tensors lora_A"),
    "one projection less": (without("v_proj"), "missing"),
    "a compiled model": (renamed("base_model.model.", "base_model.model._orig_mod."), "missing"),
    "a checkpoint wrapper": (renamed(".lora_A", "._checkpoint_wrapped_module.lora_A"), "missing"),
    "a doubled prefix": (doubled, "missing"),
    "another adapter name": (renamed(".weight", ".second.weight"), "missing"),
    "another module path": (renamed("self_attn", "attention"), "missing"),
    "a layer too many": (more, "6 unexpected"),
    "a weight of the base": (
        lambda tensors: {**tensors, "base_model.model.model.norm.weight": torch.ones(64)},
        "1 unexpected",
    ),
    "a shape": (first_changed(lambda tensor: tensor[:, :-1].contiguous()), "does not fit the base"),
    "a NaN": (first_changed(poisoned), "1 not finite"),
    "too large numbers": (
        lambda tensors: {name: value * 1e37 for name, value in tensors.items()},
        "logits on a prompt are not finite",
    ),
    "8-bit floats that overflow": (
        lambda tensors: {
            name: (value * 1e6).to(torch.float8_e5m2) for name, value in tensors.items()
        },
        "not finite",
    ),
    "zeros": (zeroed, "changes nothing"),
    "no tensor": (lambda tensors: {}, "0 tensors lora_A"),
}
CONFIGS = {
    "dora": ({"use_dora": True}, "missing"),
    "rank": ({"r": 8}, "does not fit the base"),
    "rank pattern": ({"rank_pattern": {"v_proj": 2}}, "does not fit the base"),
    "targets": ({"target_modules": ["q_proj"]}, "unexpected"),
    "other targets": ({"target_modules": ["lm_hed"]}, "does not fit the base"),
    "modules to save": ({"modules_to_save": ["lm_head"]}, "does not fit the base"),
    "another kind": ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    "a newer peft": ({"lora_quantum": 3}, "lora_quantum not known"),
    "a scale of 0": ({"lora_alpha": 0}, "changes nothing"),
    "an activated adapter": ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens is set"),
    "a random start": ({"init_lora_weights": "pissa_niter_4"}, "cannot be computed again"),
    "no base": ({"base_model_name_or_path": None}, "base_model_name_or_path is None"),
}
FILES = {
    "empty": (b"", "is empty"),
    "an LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid 0\n",
        "LFS pointer",
    ),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "five bytes": (b"\x05\x00\x00\x00\x00", "cut off"),
    "not safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00not a header at all", "not safetensors"),
}


@pytest.fixture
def folder(small, tmp_path):
    copy = tmp_path / "adapter"
    shutil.copytree(small.adapter, copy)
    return copy


def refusal(small, folder):
    with pytest.raises(ValueError) as error:
        load_for_generation(small.base, find_adapter(str(folder)), FP32)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_whole_adapter_is_loaded(small, folder):
    _, weights_form = load_for_generation(small.base, find_adapter(str(folder)), FP32)
    assert weights_form == "plain, adapter merged"


FOREIGN = {
    "ranks per projection": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 32}},
    "all linear layers": {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
    "a pattern": {"target_modules": r".*\.layers\.1\..*(q|k)_proj"},
    "one layer": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "head and embeddings": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "adapted embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": [5, 6]},
    "rank-stabilized": {"use_rslora": True},
    "decomposed": {"use_dora": True},
    "biases": {"bias": "lora_only"},
    "principal components": {"init_lora_weights": "pissa"},
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("saved", [{}, {"save_embedding_layers": True}], ids=["", "embeddings"])
def test_adapters_of_other_software_are_applied_whole(small, tmp_path, name, saved):
    """The same logits as those of the model that was saved."""
    from peft import LoraConfig, get_peft_model

    config = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
    torch.manual_seed(2)
    trained = get_peft_model(load_base(small.base), LoraConfig(**config | FOREIGN[name]))
    for weight in trained.parameters():
        if weight.requires_grad:
            weight.data += 0.02 * torch.randn_like(weight)
    trained.save_pretrained(tmp_path, **saved)
    expected = probe_logits(trained.eval())
    loaded, _ = load_for_generation(small.base, find_adapter(str(tmp_path)), FP32)
    assert torch.allclose(probe_logits(loaded), expected, atol=1e-5)


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_adapter_is_refused(small, folder, name):
    from safetensors.torch import load_file, save_file

    spoil, message = SPOILED[name]
    save_file(spoil(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    assert message in refusal(small, folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_does_not_fit_is_refused(small, folder, name):
    changed, message = CONFIGS[name]
    config = json.loads((folder / CONFIG).read_text()) | changed
    (folder / CONFIG).write_text(json.dumps(config))
    assert message in refusal(small, folder)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_before_the_base_is_loaded(folder, name):
    content, message = FILES[name]
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        find_adapter(str(folder))
    assert str(folder / WEIGHTS) in str(error.value)


def test_a_file_that_is_cut_off_is_named(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-100])
    with pytest.raises(ValueError, match="its header says"):
        find_adapter(str(folder))


def test_a_pickle_is_not_loaded(folder):
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model\.bin, a pickle"):
        find_adapter(str(folder))


def test_a_flipped_byte_is_refused_if_a_manifest_has_the_hash(small, folder):
    base = {"name": small.base.name, "turn_format": small.base.turn_format}
    result = {"steps": 1, "adapter_sha256": sha256(folder / WEIGHTS)}
    manifest = {"kind": "train", "base": base, "result": result}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    find_adapter(str(folder))
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match="not the file that its training wrote"):
        find_adapter(str(folder))
    del result["adapter_sha256"]  # a manifest of an older version
    (folder / "manifest.json").write_text(json.dumps(manifest))
    find_adapter(str(folder))


FACTS = {
    "attention": "sdpa",
    "quantization": None,
    "base_dtype": "float32",
    "adapter_dtype": "float32",
    "mixed_precision": "no",
    "trained_parameters": 1,
    "lora_dropout": 0.0,
    "lora_targets": [],
    "activation_checkpointing": False,
    "optimizer": "AdamW",
    "learning_rate": 0.1,
    "rows_per_step": 1,
    "processes": 1,
    "planned_steps": 1,
    "chat_template_sha256": "",
}
USED = {"lora_r": 4, "lora_alpha": 64, "use_rslora": False, "use_dora": False}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"lora_alpha": 32},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 1}},
        {"r": 8},
    ],
)
def test_a_config_that_training_did_not_use_is_refused(small, folder, changed):
    """Its weights fit, and make another model. A foreign adapter's config is what it is."""
    config = json.loads((folder / CONFIG).read_text()) | changed
    (folder / CONFIG).write_text(json.dumps(config))
    find_adapter(str(folder))
    base = {"name": small.base.name, "turn_format": small.base.turn_format}
    manifest = {"kind": "train", "base": base, "result": {"steps": 1, "used": {**FACTS, **USED}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if not changed:
        find_adapter(str(folder))
        return
    with pytest.raises(ValueError, match=next(iter(changed))):
        find_adapter(str(folder))


def test_tokens_with_other_ids_are_refused(small, tmp_path):
    """Also in the form of a Unigram model; a token more does not matter."""
    base = tmp_path / "base.json"
    vocabulary = {"a": 0, "b": 1, "c": 2}
    base.write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
    own = tmp_path / "tokenizer.json"
    check_same_tokens(tmp_path, base)  # an adapter without one
    added = [{"content": "<pad>", "id": 3}]
    own.write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": added}))
    check_same_tokens(tmp_path, base)
    for moved in ({"a": 0, "b": 2, "c": 1}, [["a", 0.0], ["c", -1.0], ["b", -2.0]]):
        own.write_text(json.dumps({"model": {"vocab": moved}}))
        with pytest.raises(ValueError, match=r"2 tokens other ids than the base's .* 'b': 2 and 1"):
            check_same_tokens(tmp_path, base)
    own.write_text(json.dumps({"model": {"vocab": 5}}))
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer\.json"):
        check_same_tokens(tmp_path, base)
