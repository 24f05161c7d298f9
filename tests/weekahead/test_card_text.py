"""New results in the `model-index` of a card: everything else keeps its bytes."""

import pytest
import yaml
from huggingface_hub import ModelCard

from weekahead.hub.card_text import with_results
from weekahead.hub.client import HubError
from weekahead.hub.eval_results import Evaluated, Figure, model_index_results

HEAD = """\
---
# by hand
license: mit   # as the base
tags:
- lora
"""
TEXT = "\n# Mine\n\n---\nmodel-index: not this one\n"
FOREIGN = """\
model-index:
- name: mine
  results:
  - task:
      type: text-generation
    dataset:
      type: other/rows
      name: Other rows
    metrics:
    - type: accuracy
      value: 0.5
      note: kept
"""


def results(value, source="a/rows", split="test"):
    figure = Figure("direction_accuracy", "direction accuracy", value, [0.4, 0.6], 30)
    dataset = {"source": source, "split": split}
    return model_index_results(Evaluated((figure,), 10, "no skill shown", dataset, None))


def shown(card):
    found = ModelCard(card).data.eval_results
    return [(result.dataset_name, result.dataset_split, result.metric_value) for result in found]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("after", ["", "language: en\n"])
def test_results_are_added_and_the_rest_stays(after, newline):
    card = f"{HEAD}{FOREIGN}{after}---\n{TEXT}".replace("\n", newline)
    changed = with_results(card, results(0.5), "mine")
    assert shown(changed) == [("Other rows", None, 0.5), ("a/rows", "test", 0.5)]
    assert changed.startswith(HEAD.replace("\n", newline))
    assert changed.endswith(f"{after}---\n{TEXT}".replace("\n", newline))
    stored = yaml.safe_load(changed.split(f"---{newline}")[1])["model-index"][0]
    assert stored["results"][0]["metrics"][0]["note"] == "kept"


def test_results_of_the_same_rows_are_replaced():
    card = f"{HEAD}---\n{TEXT}"
    first = with_results(card, results(0.5), "mine")
    assert shown(with_results(first, results(0.6), "mine")) == [("a/rows", "test", 0.6)]
    assert with_results(first, results(0.5), "mine") == first
    other = with_results(first, results(0.6, split="validation"), "mine")
    assert shown(other) == [("a/rows", "test", 0.5), ("a/rows", "validation", 0.6)]


def test_a_card_without_metadata_gets_some():
    assert with_results("# Mine\n", results(0.5), "mine").endswith("---\n# Mine\n")
    assert shown(with_results("---\n---\n# Mine\n", results(0.5), "mine"))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("a: [1", "is not YAML"),
        ("- a", "is no YAML mapping"),
        ("model-index: [1]", "model-index of README.md is not as the Hub expects it"),
        ('"model-index": null', "a form that a new result cannot be added to"),
        ("{license: mit}", "is not YAML|a form that a new result cannot be added to"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(head, message):
    with pytest.raises(HubError, match=message):
        with_results(f"---\n{head}\n---\n# Mine\n", results(0.5), "mine")
