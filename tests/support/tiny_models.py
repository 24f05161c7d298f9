"""One random model of two layers per architecture."""

_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}
ARCHITECTURES = {
    "llama": ("llama", {}),
    "llama3": ("llama", {"rope_parameters": _LLAMA3_ROPE, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
}


def tiny_model(name, vocabulary):
    """The model `name` of ARCHITECTURES for so many tokens; biases and norms are random too."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, settings = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, vocab_size=vocabulary, **_SHAPE, **settings)
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return model.eval()
