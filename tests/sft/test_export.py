"""sft.export: the merged model, as plain transformers reads it."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sft.export import export, main, recipe_of, serving_lines
from tests.support.tiny import FP32
from weekahead.models.decoding import SamplingParams, decode
from weekahead.models.loading import find_adapter, load_for_generation, resolve_base_and_adapter


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """An adapter folder of ours: `small`'s weights with a manifest that names its 4-bit base."""
    folder = tmp_path_factory.mktemp("trained") / "outputs" / "mine"
    shutil.copytree(small.adapter, folder)
    base = small.base.manifest_fields() | {
        "dtype": "float32",
        "quantization": {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
        },
    }
    manifest = {"kind": "train", "base": base, "settings": {"max_length": 3200}, "result": {}}
    manifest |= {"dataset": {}, "train_majority": None, "train_labels": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return find_adapter(str(folder))


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "mine" / "merged"
    return export(trained, recipe_of(trained, None), out)


def test_plain_transformers_computes_what_we_do(exported, trained, small, market):
    """The same logits and answers as our own loading of base, quantization and adapter."""
    plain = AutoModelForCausalLM.from_pretrained(exported.folder).eval()
    assert not hasattr(plain.config, "quantization_config")
    base, adapter = resolve_base_and_adapter(recipe_of(trained, None), trained.reference, FP32)
    ours, form = load_for_generation(base, adapter, FP32)
    assert form == "NF4 dequantized, adapter merged"
    tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    prompts = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)[
            "input_ids"
        ]
        for row in market.rows[:3]
    ]
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            torch.testing.assert_close(plain(ids).logits, ours(ids).logits, rtol=0, atol=0)
    sampling = SamplingParams(max_new_tokens=8, batch_size=3)
    texts = [
        [answer.text for answer in decode(model, tokenizer, prompts, small.ends, sampling)]
        for model in (plain, ours)
    ]
    assert texts[0] == texts[1] and len(set(texts[0])) > 1


def test_the_manifest_says_what_it_is(exported, trained):
    stored = json.loads((exported.folder / "manifest.json").read_text())
    assert (stored["kind"], stored["form"]) == ("export", "merged")
    assert stored["adapter"] == trained.reference and len(stored["adapter_sha256"]) == 64
    assert stored["base"]["dtype"] == "float32"
    there = {path.name for path in exported.folder.iterdir()} - {"manifest.json"}
    assert set(stored["files"]) == there >= {"model.safetensors", "tokenizer.json", "config.json"}
    assert not list(exported.folder.parent.glob(".*partial"))


def test_a_second_export_writes_nothing(exported, trained):
    before = {path: path.stat().st_mtime_ns for path in exported.folder.iterdir()}
    again = export(trained, recipe_of(trained, None), exported.folder)
    assert again.manifest == json.loads((exported.folder / "manifest.json").read_text())
    assert before == {path: path.stat().st_mtime_ns for path in exported.folder.iterdir()}


def test_a_folder_of_something_else_stays(trained, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main([trained.reference, "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_export_that_lost_a_file_is_no_export(exported, trained, tmp_path):
    shutil.copytree(exported.folder, tmp_path / "merged")
    (tmp_path / "merged/tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"lacks tokenizer\.json"):
        export(trained, recipe_of(trained, None), tmp_path / "merged")


def test_a_full_disk_is_told_before_the_base_is_loaded(trained, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    monkeypatch.setattr("sft.export.load_for_generation", None)
    with pytest.raises(OSError, match=r"GiB, and 0\.0 are free"):
        export(trained, recipe_of(trained, None), tmp_path / "x" / "merged")


def test_an_adapter_of_other_software_needs_a_recipe(small, tiny, tmp_path, capsys):
    out = str(tmp_path / "merged")
    assert main([str(small.adapter), "--out", out]) == 2
    assert "--config recipes/<model>.yaml" in capsys.readouterr().err
    assert main([str(small.adapter), "--out", out, "--config", str(tiny / "fp32.yaml")]) == 0
    assert capsys.readouterr().out.strip() == out


def test_the_commands_serve_and_evaluate_it(exported):
    serve, evaluate = serving_lines(exported)
    assert serve == (
        f"vllm serve {exported.folder} --served-model-name mine --dtype float32 "
        "--max-model-len 3712"
    )
    assert evaluate.startswith("OPENAI_BASE_URL=http://127.0.0.1:8000/v1 make eval RUN=mine ")
    assert "--model mine --endpoint_prompt ids --batch_size 64" in evaluate


def test_a_gguf_export_has_all_that_a_runtime_needs(trained, tmp_path):
    """`model.gguf` holds the weights that plain transformers computes with."""
    out = tmp_path / "mine" / "gguf"
    gguf = export(trained, recipe_of(trained, None), out, "gguf")
    assert (gguf.manifest["form"], set(gguf.manifest["files"])) == (
        "gguf",
        {"model.gguf", "Modelfile"},
    )
    text = (out / "Modelfile").read_text()
    assert "PARAMETER num_ctx 3712" in text
    assert "SYSTEM" not in text  # its manifest does not say which prompts it was trained on
    serve, evaluate = serving_lines(gguf)
    assert serve == (
        f"llama-server --model {out}/model.gguf --alias mine --port 8000 --parallel 4 "
        "--ctx-size 14848"
    )
    assert "--model mine --endpoint_prompt ids --batch_size 4" in evaluate


def test_another_form_in_the_folder_stays(exported, trained):
    with pytest.raises(ValueError, match=r"holds another export \(form differ\)"):
        export(trained, recipe_of(trained, None), exported.folder, "gguf")


def test_a_form_that_the_base_cannot_have_is_told_first(trained, tmp_path, monkeypatch, capsys):
    """Before the base is loaded, and nothing is left."""
    config = AutoConfig.for_model("gpt2")
    monkeypatch.setattr("sft.export._config", lambda base: config)
    monkeypatch.setattr("sft.export.load_for_generation", None)
    out = tmp_path / "mine" / "gguf"
    assert main([trained.reference, "--form", "gguf", "--out", str(out)]) == 2
    assert "a model of type gpt2 cannot be written as GGUF here" in capsys.readouterr().err
    assert not out.exists()
