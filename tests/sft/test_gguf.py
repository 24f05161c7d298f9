"""Models as GGUF files: what is in them, and what is refused."""

import re
import resource

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM

from sft.gguf.model_file import GgufTitle, check_can_be_gguf, check_gguf, write_gguf
from sft.gguf.modelfile import go_template, modelfile
from sft.gguf.vocabulary import read_vocabulary
from tests.support.family_tokenizers import family_tokenizer
from tests.support.tiny_models import ARCHITECTURES, tiny_model
from weekahead.models.chat_format import render_prompt_ids
from weekahead.models.embedded import gguf_file
from weekahead.models.families import FAMILIES

TITLE = GgufTitle("mine", "apache-2.0", "owner/base")
PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Up or down?"}]


def entries(path):
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_tensors_are_in_the_file(name, dtype, tmp_path):
    tokenizer = family_tokenizer("qwen")
    model, path = tiny_model(name, len(tokenizer) + 2).to(dtype), tmp_path / "model.gguf"
    write_gguf(path, model, tokenizer, TITLE)
    assert check_gguf(path, model, tokenizer) == len(GGUFReader(path).tensors) > 20
    types = {tensor.tensor_type.name for tensor in GGUFReader(path).tensors}
    own = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}[dtype]
    assert types == {own, "F32"}


def test_llama3s_rotary_factors_are_in_the_file(tmp_path):
    """Low frequencies are divided by the factor, high ones stay."""
    tokenizer = family_tokenizer("qwen")
    write_gguf(tmp_path / "a.gguf", tiny_model("llama3", len(tokenizer)), tokenizer, TITLE)
    (factors,) = [
        tensor.data
        for tensor in GGUFReader(tmp_path / "a.gguf").tensors
        if tensor.name == "rope_freqs.weight"
    ]
    assert factors[0] == pytest.approx(1) and factors[-1] == pytest.approx(8)
    assert np.all(np.diff(factors) >= -1e-5)


def test_a_changed_weight_or_token_is_found(tmp_path):
    tokenizer = family_tokenizer("qwen")
    path, model = tmp_path / "model.gguf", tiny_model("llama", len(tokenizer))
    write_gguf(path, model, tokenizer, TITLE)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes(4) + whole[-36:])
    with pytest.raises(ValueError, match="is not what was written"):
        check_gguf(path, model, tokenizer)
    path.write_bytes(whole.replace(b"<|im_start|>", b"<|im_strat|>", 1))
    with pytest.raises(ValueError, match="the tokens are not what was written"):
        check_gguf(path, model, tokenizer)


def test_a_disk_that_gets_full_is_called_so(tmp_path):
    """In the middle of the weights, where numpy says only how many were written."""
    tokenizer = family_tokenizer("qwen")
    model, limits = tiny_model("llama", len(tokenizer)), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"No space left|too large"):
            write_gguf(tmp_path / "model.gguf", model, tokenizer, TITLE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
def test_the_file_is_as_llama_cpps_own_converter_writes_it(embedded_model, small, tmp_path):
    """The package's file of the embedded base was made with convert_hf_to_gguf.py.

    Ours differs in the title, in the number format, and in what this project changes: the chat
    template and the padding token.
    """
    model = AutoModelForCausalLM.from_pretrained(embedded_model, dtype=torch.bfloat16)
    write_gguf(tmp_path / "model.gguf", model, small.tokenizer, TITLE)
    ours, shapes = entries(tmp_path / "model.gguf"), GGUFReader(tmp_path / "model.gguf").tensors
    with gguf_file() as source:
        theirs, their_shapes = entries(source), GGUFReader(source).tensors
    assert {tensor.name: tuple(tensor.shape) for tensor in shapes} == {
        tensor.name: tuple(tensor.shape) for tensor in their_shapes
    }
    both = ours.keys() & theirs.keys()
    assert {name for name in both if ours[name] != theirs[name]} == {
        *("GGUF.kv_count", "general.name", "general.file_type"),
        *("tokenizer.chat_template", "tokenizer.ggml.padding_token_id"),
    }
    model_entries = {name for name in theirs if not name.startswith("general.")}
    assert model_entries - both == {
        "tokenizer.ggml.unknown_token_id",  # a byte-level tokenizer meets none
        "tokenizer.ggml.add_space_prefix",  # false is the default
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizers_splitting_has_llama_cpps_name(family):
    tokenizer = family_tokenizer(family)
    size = len(tokenizer) + 2
    vocabulary = read_vocabulary(tokenizer, size)
    names = {"smollm2": "smollm", "llama": "llama-bpe", "deepseek": "llama-bpe", "qwen": "gpt-2"}
    assert vocabulary.splitting == names[family]
    assert len(vocabulary.tokens) == len(vocabulary.types) == size
    assert vocabulary.tokens[-1] == f"[PAD{size - 1}]" and vocabulary.types[-1] == 5
    assert vocabulary.tokens[vocabulary.eos_id] == FAMILIES[family].chat_format.stop_tokens[0]
    assert vocabulary.types[vocabulary.eos_id] == 3


def test_qwens_own_pattern_has_a_name():
    """The stand-in for Qwen's vocabulary has no pattern; this is the published one."""
    from tokenizers import Regex, pre_tokenizers

    tokenizer = family_tokenizer("qwen")
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(words), behavior="isolated")
    rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, rest])
    assert read_vocabulary(tokenizer, len(tokenizer)).splitting == "qwen2"
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    with pytest.raises(ValueError, match="has no name for how this tokenizer"):
        read_vocabulary(tokenizer, len(tokenizer))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model_type": "gpt2"}, "a model of type gpt2"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "the rotary embedding yarn"),
        ({"use_sliding_window": True}, "a sliding window"),
        ({"vocab_size": 100}, "the model only 100 rows"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(settings, reason, small):
    kind = settings.pop("model_type", "llama")
    config = AutoConfig.for_model(kind, **{"vocab_size": len(small.tokenizer), **settings})
    with pytest.raises(ValueError, match=reason):
        check_can_be_gguf(config, small.tokenizer)


@pytest.mark.parametrize("family", FAMILIES)
def test_ollama_writes_the_prompt_of_the_training(family):
    """Filled in by hand, as Go would, with and without a system message."""
    tokenizer = family_tokenizer(family)
    template = go_template(tokenizer)
    block = re.compile(r"{{ if \.System }}(.*?){{ end }}", re.DOTALL)
    for messages, kept in ((PROMPT, r"\1"), (PROMPT[1:], "")):
        text = block.sub(kept, template)
        text = text.replace("{{ .System }}", "Be brief.").replace("{{ .Prompt }}", "Up or down?")
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == render_prompt_ids(tokenizer, messages)


def test_a_modelfile_says_what_ollama_would_guess(small):
    text = modelfile("m.gguf", small.tokenizer, system="Be brief.", window=3712, answer_tokens=512)
    lines = text.splitlines()
    assert lines[0] == "FROM ./m.gguf"
    assert lines[-6:] == [
        'SYSTEM """Be brief."""',
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        "PARAMETER num_ctx 3712",
        "PARAMETER num_predict 512",
        'PARAMETER stop "<|im_end|>"',
    ]
    assert "SYSTEM" not in modelfile("m.gguf", small.tokenizer, None, 3712, 512)
