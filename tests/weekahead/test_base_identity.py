"""Which base a name stands for: pinned on the Hub, the same under other names, whole on disk."""

import ast
import json
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.servers.hub import Fault, Hub
from tests.support.servers.hub_store import Blob
from tests.support.tiny import ROOT
from weekahead.models.adapter_check import probe_logits
from weekahead.models.base_identity import difference_between, fingerprint, stored_quantization
from weekahead.models.loading import load_base, load_tokenizer, resolve_revision
from weekahead.models.weight_files import weights_sample

LOADERS = ("from_pretrained", "from_config")
CLIENT = """
import json, os, sys
from huggingface_hub import constants
from weekahead.models.base_identity import difference_between, hub_commit
from weekahead.models.loading import Base, resolve_revision
base = Base("org/base", "smollm2", "float32")
answers = []
def say(call):
    try:
        answers.append(call())
    except ValueError as error:
        answers.append("refused: " + str(error))
"""


@pytest.fixture
def copy(tiny, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny / "base", folder)
    return folder


def client(hub, home, code, **variables):
    process = subprocess.run(
        [sys.executable, "-c", f"{CLIENT}{code}\nprint(json.dumps(answers))"],
        env={**hub.environment(home), "PYTHONPATH": str(ROOT), **variables},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_a_base_of_the_hub_is_pinned(tiny, tmp_path):
    """Online, offline from the cache, with a moved branch, by tag, under a former name."""
    with Hub() as hub:
        first = hub.add_folder("org/base", tiny / "base")
        online = client(
            hub,
            tmp_path,
            "say(lambda: resolve_revision(base).revision)\n"
            f"say(lambda: hub_commit('org/base', '{first}'))\n"
            "say(lambda: hub_commit('org/base', 'no-such-branch'))\n"
            "say(lambda: hub_commit('org/none', None))",
        )
        assert online[:2] == [first, first]
        assert "no revision 'no-such-branch'" in online[2] and "nor a model on the Hub" in online[3]
        offline = client(
            hub,
            tmp_path,
            "say(lambda: resolve_revision(base).revision)\n"
            "say(lambda: hub_commit('org/other', None))",
            HF_HUB_OFFLINE="1",
        )
        assert offline[0] == first and "is not in the cache" in offline[1]

        repo = hub.repo("org/base")
        config = json.loads((tiny / "base/config.json").read_text()) | {"rope_theta": 5.0}
        files = {**repo.at("main").files, "config.json": Blob(json.dumps(config).encode(), False)}
        second = repo.add_commit("main", files, "moved", "org").oid
        hub.store.repos["model", "org/old-name"] = repo
        code = (
            "say(lambda: resolve_revision(base).revision)\n"
            f"trained = {{'name': 'org/base', 'revision': '{first}'}}\n"
            "for name in ('ORG/Base', 'org/base/', './org/base', 'org/old-name', 'org/none'):\n"
            "    now = {'name': name}\n"
            "    say(lambda: difference_between(trained, now))"
        )
        moved = client(hub, tmp_path, code)
        assert moved[0] == second != first
        assert moved[1:5] == [None] * 4 and "org/base" in moved[5]


def test_a_base_that_cannot_be_had_says_what_to_do(tiny, tmp_path):
    """Without access, one that is not there, a Hub that fails, no Hub: one line, no token in it."""
    code = "say(lambda: resolve_revision(base).revision)"
    with Hub() as hub:
        hub.add_folder("org/base", tiny / "base")
        hub.repo("org/base").gated = True
        hub.faults.append(Fault("HEAD", "/config.json", 503, {"Retry-After": "1"}))
        # The config and no weights are in the cache, from before it was gated.
        hub.repo("org/base").gated = False
        assert client(hub, tmp_path, code) == [hub.repo("org/base").branches["main"]]
        hub.repo("org/base").gated = True
        for variables, reason in (
            ({}, "there is no token"),
            ({"HF_TOKEN": "hf_other"}, "the account of this token has no access"),
        ):
            (gated,) = client(hub, tmp_path, code, **variables)
            assert f"accept its licence at {hub.url}/org/base" in gated and reason in gated
            assert "hf_other" not in gated and "\n" not in gated
    (known,) = client(hub, tmp_path, code)  # the server is gone, and the cache knows the commit
    assert len(known) == 40
    (absent,) = client(hub, tmp_path, code, HF_HOME=str(tmp_path / "empty"))
    assert "is not in the cache, and the Hub cannot be asked" in absent


def test_evaluation_uses_the_commit_of_the_training(tiny, small, tmp_path):
    """Main has moved since: the base's name, files and hash are those of the training."""
    adapter = tmp_path / "adapter"
    shutil.copytree(small.adapter, adapter)
    facts = resolve_revision(small.base).manifest_fields()
    foreign = json.loads((adapter / "adapter_config.json").read_text())
    with Hub() as hub:
        first = hub.add_folder("org/base", tiny / "base")
        repo = hub.repo("org/base")
        config = json.loads((tiny / "base/config.json").read_text()) | {"rope_theta": 5.0}
        files = {**repo.at("main").files, "config.json": Blob(json.dumps(config).encode(), False)}
        second = repo.add_commit("main", files, "moved", "org").oid
        trained = {**facts, "name": "org/base", "hub_id": "org/base", "revision": first}
        manifest = {"kind": "train", "base": trained, "result": {"steps": 1}}
        (adapter / "manifest.json").write_text(json.dumps(manifest))
        without = tmp_path / "foreign"
        shutil.copytree(small.adapter, without)
        foreign |= {"base_model_name_or_path": "org/base", "revision": first}
        (without / "adapter_config.json").write_text(json.dumps(foreign))
        code = f"""
from weekahead.models.loading import resolve_base_and_adapter
from weekahead.models.precision import Precision
def resolved(adapter, **more):
    recipe = {{"model_name_or_path": "org/base", "turn_format": "smollm2", **more}}
    base, _ = resolve_base_and_adapter(recipe, adapter, Precision("fp32", "cpu", "test"))
    return [base.revision, base.content_sha256]
say(lambda: resolved("none"))
say(lambda: resolved({str(adapter)!r}))
say(lambda: resolved({str(without)!r}))
say(lambda: resolved({str(adapter)!r}, model_revision={first!r}))
say(lambda: resolved({str(adapter)!r}, model_revision={second!r}))
"""
        base, ours, theirs, asked, otherwise = client(hub, tmp_path, code)
    pinned = [first, facts["content_sha256"]]
    assert base[0] == second != first and base[1] != facts["content_sha256"]
    assert ours == theirs == asked == pinned
    assert "leave model_revision out" in otherwise and second in otherwise


def test_a_copy_of_a_base_is_that_base(tiny, copy, caplog):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"_name_or_path": "elsewhere"}))
    hashes = [
        fingerprint(folder / "config.json", folder / "tokenizer.json")
        for folder in (tiny / "base", copy)
    ]
    assert hashes[0] == hashes[1]
    trained = {"name": "org/base", "content_sha256": hashes[0]}
    assert difference_between(trained, {"name": str(copy), "content_sha256": hashes[1]}) is None
    assert f"{copy} is taken to be a copy of org/base" in caplog.text
    another = difference_between(trained, {"name": str(copy), "content_sha256": "0"})
    assert another is not None and str(copy) in another


def test_a_folder_whose_files_became_others_is_another_base(small):
    facts = resolve_revision(small.base).manifest_fields()
    assert difference_between(facts, facts) is None
    changed = {**facts, "content_sha256": "0"}
    assert "config or tokenizer differ" in str(difference_between(facts, changed))
    older = {**facts, "content_sha256": None}  # a manifest of an older version
    assert difference_between(older, facts) is None


def trained_further(folder, key):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[key] = tensors[key] * 1.01
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_folder_whose_weights_became_others_is_another_base(small, copy, caplog):
    """Config and tokenizer stay the same if a base is trained further."""
    facts = resolve_revision(replace(small.base, name=str(copy))).manifest_fields()
    for key in sorted(load_file(copy / "model.safetensors"))[:3]:
        trained_further(copy, key)
        now = resolve_revision(replace(small.base, name=str(copy))).manifest_fields()
        assert f"other weights than {copy} holds now" in str(difference_between(facts, now))
        older = {**facts, "weights_sample_sha256": None}  # a manifest of an older version
        assert difference_between(older, now) is None
        assert difference_between(now, now) is None
        facts = now
    original = resolve_revision(small.base).manifest_fields()
    assert difference_between(original, facts) is None and "differ in bytes" in caplog.text


def test_weights_in_several_files_are_the_same_weights(tiny, tmp_path, caplog):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny / "base")
    model.save_pretrained(tmp_path, max_shard_size="2MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert weights_sample(tmp_path) == weights_sample(tiny / "base")


def emptied(folder):
    (folder / "model.safetensors").write_bytes(b"")


def cut_off(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1000])


def pointed(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (folder / "model.safetensors").write_text(pointer)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def shard_missing(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def gguf_only(folder):
    (folder / "model.safetensors").rename(folder / "model.gguf")


def changed_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def quantized(**fields):
    return lambda folder: changed_config(folder, quantization_config=fields)


DAMAGED = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "a config that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    "empty weights": (emptied, "is empty"),
    "weights cut off": (cut_off, "its header says"),
    "a pointer": (pointed, "LFS pointer"),
    "a pickle": (pickled, "pytorch_model.bin, which is not loaded"),
    "a missing shard": (shard_missing, "1 are missing"),
    "GGUF": (gguf_only, "model.gguf, which is not loaded"),
    "a tokenizer that is a list": (
        lambda folder: (folder / "tokenizer.json").write_text("[]"),
        "expected a JSON object",
    ),
    "an adapter inside": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        "is no base: it holds an adapter_config.json",
    ),
    "code of the Hub as attention": (
        lambda folder: changed_config(folder, attn_implementation="someone/kernel"),
        "attn_implementation is 'someone/kernel', code of the Hub",
    ),
    "quantization that is no object": (
        lambda folder: changed_config(folder, quantization_config="nf4"),
        "expected an object",
    ),
    "AWQ in the part for text": (
        lambda folder: changed_config(
            folder, text_config={"quantization_config": {"quant_method": "awq"}}
        ),
        "stored as awq",
    ),
    "compressed tensors": (
        lambda folder: changed_config(folder, compression_config={"quant_method": "x"}),
        "stored as x",
    ),
    "AWQ": (quantized(quant_method="awq", bits=4), "stored as awq"),
    "8 bits": (quantized(quant_method="bitsandbytes", load_in_8bit=True), "8-bit bitsandbytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_base_is_named_before_it_is_loaded(small, copy, name):
    damage, message = DAMAGED[name]
    damage(copy)
    with pytest.raises(ValueError) as error:
        resolve_revision(replace(small.base, name=str(copy)))
    assert message in str(error.value) and str(copy) in str(error.value)


def renamed(old, new):
    return lambda weights: {name.replace(old, new): value for name, value in weights.items()}


def without(part):
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


def poisoned(weights):
    weights["model.norm.weight"][3] = float("inf")
    return weights


WEIGHTS = {
    "half of the layers": (without("layers.1."), "9 missing (model.layers.1."),
    "a compiled model": (renamed("model.", "_orig_mod.model."), "20 missing"),
    "a wrapped model": (
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        "21 missing",
    ),
    "no output layer": (without("lm_head"), "1 missing (lm_head.weight)"),
    "no tensor": (lambda weights: {}, "21 missing"),
    "an infinity": (poisoned, "1 weights of the base"),
    "a bias of a layer without one": (
        lambda weights: {**weights, "model.layers.0.self_attn.q_proj.bias": torch.ones(64)},
        "1 not known to the model",
    ),
    "another head": (
        lambda weights: {**weights, "score.weight": torch.ones(2, 64)},
        "1 not known to the model (score.weight)",
    ),
}
CONFIGS = {
    "a layer less": ({"num_hidden_layers": 1}, "9 not known to the model (model.layers.1."),
    "a layer more": ({"num_hidden_layers": 3}, "9 missing (model.layers.2."),
    "another shape": ({"intermediate_size": 64}, "6 of another shape (model.layers.0.mlp."),
    "another architecture": ({"model_type": "bert"}, "missing (bert."),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_base_whose_weights_are_not_whole_is_refused(small, copy, name):
    """transformers gives random values to what is missing."""
    from safetensors.torch import load_file, save_file

    change, message = WEIGHTS[name]
    weights = change(load_file(copy / "model.safetensors"))
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError) as error:
        load_base(resolve_revision(replace(small.base, name=str(copy))))
    assert message in str(error.value) and str(copy) in str(error.value)


def test_parts_that_are_no_language_model_are_left_out(small, copy):
    """Vision towers, heads for further tokens, and buffers that old files hold."""
    weights = load_file(copy / "model.safetensors")
    others = ("vision_tower.patch.weight", "model.mtp.layers.0.weight", "mtp.fc.weight")
    weights |= {name: torch.ones(8, 8) for name in others}
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    loaded = load_base(resolve_revision(replace(small.base, name=str(copy))))
    assert torch.equal(probe_logits(loaded), probe_logits(load_base(small.base)))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_base_whose_config_is_another_ones_is_refused(small, copy, name):
    fields, message = CONFIGS[name]
    changed_config(copy, **fields)
    with pytest.raises(ValueError) as error:
        load_base(resolve_revision(replace(small.base, name=str(copy))))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{}", '{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_is_one_line(small, copy, content):
    """The libraries raise KeyError and a plain Exception."""
    (copy / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"the tokenizer of .* cannot be loaded: [^\n]*\Z"):
        load_tokenizer(replace(small.base, name=str(copy)))


def test_a_base_stored_in_4_bits_says_so(small, copy):
    quantized(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4")(copy)
    expected = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False,
    }
    assert stored_quantization(copy / "config.json") == expected
    base = resolve_revision(replace(small.base, name=str(copy)))
    assert base.quantization == expected and base.stored_quantized


@pytest.mark.slow
def test_weights_stored_in_4_bits_are_loaded_as_stored(small, tmp_path):
    """Quantized once by the library, saved, loaded: the same weights, in this machine's dtype."""
    import torch

    from weekahead.models.loading import NF4

    direct = load_base(replace(small.base, quantization=NF4))
    direct.save_pretrained(tmp_path / "stored")
    shutil.copy(f"{small.base.name}/tokenizer.json", tmp_path / "stored")
    base = resolve_revision(replace(small.base, name=str(tmp_path / "stored"), quantization=None))
    loaded = load_base(base)
    ids = torch.arange(8).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, direct(ids).logits)
    assert base.quantization == NF4


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        function = getattr(node, "func", None)
        if isinstance(function, ast.Attribute) and function.attr in LOADERS:
            yield node


def test_no_call_runs_code_of_a_model_repository():
    """Every call that loads a config, a tokenizer or a model says trust_remote_code=False."""
    # An adapter is data, and peft reads no code.
    allowed = {"loader.from_pretrained(model, str(adapter.folder))"}
    seen = 0
    for room in ("weekahead", "data_pipeline", "sft", "eval", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            for call in calls(path):
                seen += 1
                flags = {flag.arg: flag.value for flag in call.keywords}
                flag = flags.get("trust_remote_code")
                is_false = isinstance(flag, ast.Constant) and flag.value is False
                assert is_false or ast.unparse(call) in allowed, f"{path}:{call.lineno}"
    assert seen >= 5
    for room in ("weekahead", "data_pipeline", "sft", "eval", "benchmarks", "recipes"):
        for path in (ROOT / room).rglob("*.*"):
            if path.suffix in (".py", ".yaml"):
                text = path.read_text(encoding="utf-8")
                assert (
                    "trust_remote_code=True" not in text and "trust_remote_code: true" not in text
                )


def test_code_of_a_base_is_not_run_even_at_a_terminal(copy, tmp_path):
    """transformers asks at a terminal, and "y" would run the file."""
    marker = tmp_path / "code_ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    tokens = json.loads((copy / "tokenizer_config.json").read_text())
    tokens |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    (copy / "tokenizer_config.json").write_text(json.dumps(tokens))
    script = (
        "from weekahead.models.loading import *\n"
        f"base = Base({str(copy)!r}, 'smollm2', 'float32')\n"
        "for call in (load_tokenizer, load_base):\n"
        "    try:\n        call(base)\n"
        "    except (ValueError, OSError) as error:\n        print('refused', error)"
    )
    ours, theirs = pty.openpty()
    os.write(ours, b"y\ny\ny\ny\n")
    process = subprocess.run(
        [sys.executable, "-c", script],
        stdin=theirs,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        timeout=120,
    )
    os.close(ours), os.close(theirs)
    assert process.returncode == 0, process.stderr
    assert "refused" in process.stdout and not marker.exists()


def test_a_slow_tokenizer_is_refused(small, monkeypatch):
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(small.base.name)
    monkeypatch.setattr(type(slow), "is_fast", property(lambda self: False))
    with pytest.raises(ValueError, match="expected a fast tokenizer"):
        load_tokenizer(small.base)
