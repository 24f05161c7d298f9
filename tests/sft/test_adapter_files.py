"""What of a run's folder is published: names, paths, secrets, the base's id."""

from pathlib import Path

import pytest

from sft.hub.adapter_files import (
    base_hub_id,
    bundle,
    check_complete,
    check_evaluation,
    dataset_id,
    is_ours,
    without_paths,
)
from tests.support.tiny_adapter import write_json
from weekahead.files import sha256
from weekahead.hub.client import HubError
from weekahead.redaction import find_secret
from weekahead.schema.file_names import ADAPTER_NEEDS
from weekahead.schema.manifests import generation_manifest, training_manifest

ROOTS = (Path("/home/jane doe/weekahead"), Path("/home/jane doe"))


@pytest.fixture
def folder(tmp_path):
    """A complete folder by its names, with JSON where JSON is read."""
    for name in ADAPTER_NEEDS:
        write_json(
            tmp_path / name,
            {"base": {"name": "user/base", "dtype": "bfloat16"}, "run": "r", "result": {}},
        )
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/jane doe/weekahead/outputs/r", "outputs/r"),
        ("--out=/home/jane doe/x.jsonl", "--out=x.jsonl"),
        ("/home/jane doe", "jane doe"),
        ("/mnt/disk-2/data/rows.jsonl", "rows.jsonl"),
        ("file:///mnt/disk/rows.jsonl", "rows.jsonl"),
        (r"C:\Users\jane\rows.jsonl", "rows.jsonl"),
        ("reads /mnt/a/b.json, then /mnt/a/c.json", "reads b.json, then c.json"),
        ("https://huggingface.co/user/name", "https://huggingface.co/user/name"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("../shared/data/rows.jsonl", "../shared/data/rows.jsonl"),
        ("up/down and 3/4 </s>", "up/down and 3/4 </s>"),
    ],
)
def test_strings_lose_the_places_they_name(text, expected):
    assert without_paths({"a": [text, 1, None]}, ROOTS) == {"a": [expected, 1, None]}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("token hf_" + "A1" * 17, "a Hugging Face token"),
        ("sk-proj-" + "a" * 24, "an OpenAI-style key"),
        ("WANDB_API_KEY=" + "0a" * 20, "a W&B key"),
        ('"wandb_key": "' + "0a" * 20 + '"', "a W&B key"),
        ("finnhub_api_key: c1abcdefgh2ijklmnop", "a key or password"),
        ("x hunter2hunter2 y", "the value of MY_TOKEN"),
        ("git_commit " + "0a" * 20, None),
        ("sha256 " + "0a" * 32, None),
        ('"pad_token": "<|finetune_right_pad_id|>", "hub_token": null', None),
    ],
)
def test_secrets_are_found_and_hashes_are_none(text, kind):
    variables = {"MY_TOKEN": "hunter2hunter2", "OTHER_KEY": "x", "HOME": "git_commit sha256"}
    assert find_secret(text, variables) == kind


@pytest.mark.parametrize("name", ADAPTER_NEEDS)
def test_a_missing_or_empty_file_is_named_with_the_remedy(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(HubError, match=rf"{name} missing or empty.*`make train` again"):
        check_complete(folder)
    (folder / name).unlink()
    with pytest.raises(HubError, match=rf"{name} missing or empty"):
        bundle(folder, "user/name")


def test_a_missing_folder_and_a_file_cut_off_are_refused(folder, tmp_path):
    with pytest.raises(HubError, match="is not a folder; expected outputs/<run>"):
        check_complete(tmp_path / "absent")
    (folder / "adapter_config.json").write_text('{"r": 8')
    with pytest.raises(HubError, match=r"adapter_config\.json cannot be read"):
        bundle(folder, "user/name")


@pytest.mark.parametrize(
    ("base", "named", "expected"),
    [
        ({"name": "meta-llama/Llama-3.1-8B"}, None, "meta-llama/Llama-3.1-8B"),
        ({"name": "models/smollm2", "hub_id": "a/b"}, None, "a/b"),
        (
            {"name": "/data/llama", "hub_id": None},
            "meta-llama/Llama-3.1-8B",
            "meta-llama/Llama-3.1-8B",
        ),
    ],
)
def test_the_base_has_a_hub_id(base, named, expected):
    assert base_hub_id(training_manifest({"base": base}), named) == expected


@pytest.mark.parametrize("base", [{"name": "/data/llama"}, {"name": "models/mine"}, {}, None])
def test_a_base_that_is_a_local_folder_is_refused(base, tmp_path, monkeypatch):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=r"not a Hub id.*--base user/name"):
        base_hub_id(training_manifest({"base": base}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "FinGPT/fingpt-forecaster-dow30-202305-202405",
            "FinGPT/fingpt-forecaster-dow30-202305-202405",
        ),
        ("data/rows.jsonl", None),
        ("/data/rows", None),
        (None, None),
    ],
)
def test_only_a_hub_dataset_is_linked(source, expected):
    assert dataset_id(training_manifest({"dataset": {"source": source}})) == expected


def test_metrics_of_other_weights_are_refused(folder):
    check_evaluation(folder, None)
    weights = sha256(folder / "adapter_model.safetensors")
    check_evaluation(folder, generation_manifest({"adapter_sha256": weights}))
    with pytest.raises(HubError, match=r"other weights.*: the base\..*make eval RUN="):
        check_evaluation(folder, generation_manifest({"adapter": None}))
    others = generation_manifest({"adapter": "outputs/old", "adapter_sha256": "ab" * 32})
    with pytest.raises(HubError, match=r"other weights.*: outputs/old\."):
        check_evaluation(folder, others)


def test_a_training_that_has_not_ended_is_refused(folder):
    write_json(folder / "manifest.json", {"base": {"name": "user/base"}, "result": None})
    with pytest.raises(HubError, match=r"has not ended.*`make train` again"):
        bundle(folder, "user/name")


def test_only_names_that_a_push_writes_may_be_removed():
    assert all(map(is_ours, [*ADAPTER_NEEDS, "README.md", "metrics.json", "figures/loss.png"]))
    others = [".gitattributes", "notes.md", "LICENSE", "figures/notes.md", "config.json"]
    assert not any(map(is_ours, others))
