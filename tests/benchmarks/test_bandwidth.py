"""What reading alone allows, by hand, and the cards whose bandwidth is known."""

import pytest
from transformers import LlamaConfig

from benchmarks.bandwidth import bandwidth_of, most_tokens_per_second


def test_a_step_reads_the_weights_once_and_every_rows_cache():
    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=64
    )
    # keys and values: 2 layers x 2 heads x 16 wide x 2 bytes, twice; 10 tokens; 4 rows
    cache = 4 * 10 * (2 * 2 * 2 * 16 * 2)
    assert most_tokens_per_second(config, 1000, 10, 4, 1e6) == pytest.approx(
        4 * 1e6 / (1000 + cache)
    )


@pytest.mark.parametrize(
    ("card", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35e12),
        ("NVIDIA H200", 4.8e12),
        ("Tesla T4", 320e9),
        ("NVIDIA A100-SXM4-80GB", 2.039e12),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA A100-SXM4-40GB", None),
        (None, None),
    ],
)
def test_a_bandwidth_is_known_or_left_out(card, rate):
    assert bandwidth_of(card) == rate
