"""llama.cpp's own server on files that were exported here; skipped on a machine without it."""

import shutil

import pytest

from eval.generation.llama_server import check_can_serve, serving_gguf
from eval.generation.parity import compare, parity_table, parity_verdict
from eval.generation.parting import ServedModel
from eval.parity import main
from sft.gguf.model_file import GgufTitle, write_gguf
from tests.support.tiny import FP32
from tests.support.tiny_models import ARCHITECTURES, tiny_model
from weekahead.models.loading import Base, find_adapter, load_for_generation, load_tokenizer

needs_llama_cpp = pytest.mark.skipif(
    shutil.which("llama-server") is None, reason="no llama-server (llama.cpp) on this machine"
)
TITLE = GgufTitle("mine", None, None)


@needs_llama_cpp
@pytest.mark.parametrize("prompt", ["ids", "chat"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_llama_cpp_computes_what_we_do(name, prompt, small, market, tmp_path):
    """The same answers, first log-probabilities and prompts; chat is llama.cpp's own rendering."""
    model = tiny_model(name, len(small.tokenizer))
    model.save_pretrained(tmp_path / "base")
    small.tokenizer.save_pretrained(tmp_path / "base")
    base = Base(str(tmp_path / "base"), "smollm2", "float32")
    write_gguf(tmp_path / "model.gguf", model, load_tokenizer(base), TITLE)
    served = ServedModel("mine", prompt, max_new_tokens=8, tolerance=0.02)
    with serving_gguf(tmp_path / "model.gguf", window=4096):
        compared = compare(market.rows[:3], base, None, FP32, served)
    assert parity_verdict(compared, 0.02)[0] == 0, parity_table(compared, 0.02)
    assert all(prompt.gap is not None and not prompt.prompt_tokens for prompt in compared)


@needs_llama_cpp
def test_the_command_compares_a_file(small, tiny, tmp_path, capsys):
    adapter = find_adapter(str(small.adapter))
    for name, tuned in (("right", adapter), ("base", None)):
        model, _ = load_for_generation(small.base, tuned, FP32)
        write_gguf(tmp_path / f"{name}.gguf", model, small.tokenizer, TITLE)
    flags = ["--config", str(tiny / "fp32.yaml"), "--adapter", str(small.adapter)]
    flags += ["--dataset", str(tiny / "data/datasets/m"), "--prompts", "3", "--against", "gguf"]
    flags += ["--max_new_tokens", "8"]
    assert main([*flags, "--model", str(tmp_path / "right.gguf")]) == 0
    assert "the adapter changes 3" in capsys.readouterr().out
    assert main([*flags, "--model", str(tmp_path / "base.gguf")]) == 1
    assert "is the adapter loaded there?" in capsys.readouterr().out


def test_what_cannot_be_served_is_told(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    with pytest.raises(ValueError, match="make export"):
        check_can_serve(path)
    path.write_bytes(b"GGUF")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"install llama\.cpp"):
        check_can_serve(path)
    server = tmp_path / "llama-server"
    server.write_text("#!/bin/sh\necho loading\necho bad file >&2\nexit 3\n")
    server.chmod(0o755)
    told = pytest.raises(RuntimeError, match=r"ended with 3 .* loading / bad file")
    with told, serving_gguf(path, 64):
        pass
