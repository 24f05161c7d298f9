"""The names of the files that several packages read and write."""

MANIFEST = "manifest.json"
"""What a command did, beside its output: adapters, answers, datasets, reports."""
TRAIN_LOG = "train_log.jsonl"
GENERATIONS = "generations.jsonl"
LIKELIHOODS = "likelihoods.jsonl"
LIKELIHOODS_MANIFEST = "likelihoods.manifest.json"
SCORED = "scored.jsonl"
METRICS = "metrics.json"

ADAPTER_NEEDS = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    MANIFEST,
)
"""The files of every adapter of ours."""
ADAPTER_FILES = (
    *ADAPTER_NEEDS,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
"""With those that only some tokenizers have."""
