"""An adapter is applied whole or not at all, whatever happened to its folder."""

import json
import shutil

import pytest

from tests.support.tiny import FP32
from weekahead.files import sha256
from weekahead.models.adapter_check import CONFIG, WEIGHTS
from weekahead.models.loading import find_adapter, load_for_generation


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
    "a shape": (first_changed(lambda tensor: tensor[:, :-1].contiguous()), "does not fit the base"),
    "a NaN": (first_changed(poisoned), "1 not finite"),
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
