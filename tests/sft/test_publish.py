"""`python -m sft.publish` against a local Hub: the real command and clients, in own processes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sft.publish import read_evaluation
from tests.support.servers.hub import Hub
from tests.support.servers.hub_store import Blob
from tests.support.tiny_adapter import (
    BASE_ID,
    IDS,
    local_logits,
    make_base,
    make_run,
    metrics,
    write_json,
)
from weekahead.files import sha256

ROOT = Path(__file__).resolve().parents[2]
REPO = "user/tiny"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("machine") / "models" / "tiny")


@pytest.fixture(scope="module")
def trained(base):
    return make_run(base.parents[1] / "outputs" / "tiny", base)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, under a path that must never be seen on the Hub."""
    return shutil.copytree(trained, tmp_path / "outputs" / "tiny")


@pytest.fixture
def hub():
    with Hub() as running:
        yield running


def push(
    hub: Hub, home: Path, *arguments: object, token: str | None = "hf_owner", **environment: str
):
    """Run the command in a process of its own, in the folder `home`: no other .env is read."""
    home.mkdir(exist_ok=True)
    env = {**hub.environment(home, token), "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "sft.publish", *map(str, arguments)]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=120)


def pushed(hub: Hub, home: Path, *arguments: object, **options) -> str:
    """The commit id that a push which must succeed prints."""
    process = push(hub, home, *arguments, **options)
    assert process.returncode == 0, process.stderr
    return process.stdout.rsplit("@", 1)[1].strip()


def contents(hub: Hub, repo: str = REPO) -> dict[str, bytes]:
    return {path: blob.data for path, blob in hub.repo(repo).at("main").files.items()}


def test_the_whole_folder_arrives_and_nothing_else(hub, run, tmp_path):
    write_json(tmp_path / "metrics.json", metrics())
    pushed(hub, tmp_path / "home", run, "--repo", REPO, "--metrics", tmp_path / "metrics.json")
    assert sorted(contents(hub)) == [
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "figures/loss.png",
        "generation_config.json",
        "manifest.json",
        "metrics.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads(contents(hub)["metrics.json"]) == metrics()
    weights = (run / "adapter_model.safetensors").read_bytes()
    assert contents(hub)["adapter_model.safetensors"] == weights


def test_no_path_of_this_machine_arrives(hub, run, base, tmp_path):
    """And the local folder stays as it was."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    pushed(hub, tmp_path / "home", run, "--repo", REPO)
    for name, data in contents(hub).items():
        for path in (str(tmp_path), str(base.parents[1]), str(ROOT), "/tmp/"):
            assert path.encode() not in data, f"{name} names {path}"
    assert json.loads(contents(hub)["adapter_config.json"])["base_model_name_or_path"] == BASE_ID
    assert json.loads(contents(hub)["manifest.json"])["base"]["name"] == BASE_ID
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


LOAD = """
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
def load(adapter, revision=None):
    base = AutoModelForCausalLM.from_pretrained({base!r}, dtype=torch.bfloat16)
    return PeftModel.from_pretrained(base, adapter, revision=revision).eval()
models = [load({repo!r}), load({repo!r}, {first!r}), load({old!r}), load({new!r})]
"""
SAVE = """
with torch.no_grad():
    torch.save([model(torch.tensor({ids})).logits for model in models], {out!r})
"""


def logits(hub: Hub, home: Path, code: str):
    """The logits of the `models` that `code` makes, in a reader's process with an empty cache."""
    import torch

    out = home / "logits.pt"
    home.mkdir()
    env = hub.environment(home, "hf_reader")
    script = code + SAVE.format(ids=IDS, out=str(out))
    process = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return torch.load(out)


@pytest.mark.slow
def test_the_adapter_loads_by_id_by_revision_and_as_on_its_card(hub, run, base, tmp_path):
    """By its id and by the card's Python the latest one comes back, by a revision the older one."""
    import torch

    hub.add_folder(BASE_ID, base)
    first = pushed(hub, tmp_path / "home", run, "--repo", REPO)
    other = make_run(tmp_path / "other", base, seed=3)
    pushed(hub, tmp_path / "home", other, "--repo", REPO)
    snippet = re.search(r"```python\n(.*?)```", contents(hub)["README.md"].decode(), re.DOTALL)
    assert snippet is not None
    code = LOAD.format(base=str(base), repo=REPO, first=first, old=str(run), new=str(other))
    code += f"{snippet[1]}\nmodels.append(model)\n"
    latest, pinned, old, new, of_card = logits(hub, tmp_path / "reader", code)
    assert torch.equal(latest, new) and torch.equal(pinned, old)
    assert not torch.equal(old, new)
    assert torch.equal(of_card, local_logits(other, base))
    assert not any(seen.authorized for seen in hub.seen if seen.origin == "cdn")


def test_pushing_again_commits_only_what_changed(hub, run, tmp_path):
    home, measured = tmp_path / "home", tmp_path / "metrics.json"
    write_json(measured, metrics())
    first = pushed(hub, home, run, "--repo", REPO, "--metrics", measured)
    assert pushed(hub, home, run, "--repo", REPO, "--metrics", measured) == first

    repo = hub.repo(REPO)
    files = {**repo.at("main").files, "notes.md": Blob(b"mine", lfs=False)}
    repo.add_commit("main", files, "by hand", "user")
    (run / "figures" / "loss.png").rename(run / "figures" / "speed.png")
    assert pushed(hub, home, run, "--repo", REPO) != first
    files = contents(hub)
    # Those of the earlier push are gone.
    assert "metrics.json" not in files and "figures/loss.png" not in files
    assert {"notes.md", "figures/speed.png"} <= set(files)


def test_private_is_hidden_and_cannot_be_had_afterwards(hub, run, tmp_path):
    pushed(hub, tmp_path / "home", run, "--repo", "user/hidden", "--private")
    assert hub.repo("user/hidden").private
    pushed(hub, tmp_path / "home", run, "--repo", REPO)
    commits = len(hub.repo(REPO).commits)
    (run / "figures" / "loss.png").write_bytes(b"\x89PNG\0 new")
    process = push(hub, tmp_path / "home", run, "--repo", REPO, "--private")
    assert process.returncode == 2 and "exists and is public" in process.stderr
    assert len(hub.repo(REPO).commits) == commits


@pytest.mark.parametrize(
    ("token", "repo", "environment", "expected"),
    [
        (None, REPO, {}, "no Hugging Face token found.*hf auth login.*HF_TOKEN"),
        ("hf_reader", REPO, {}, "may only read.*write access"),
        ("hf_unknown", REPO, {}, r"refused user/tiny \(401\).*token is not valid"),
        ("hf_other", REPO, {}, "not yours to write: this token is other's.*--repo other/tiny"),
        ("hf_owner", "tiny", {}, "'tiny' is not a repository id; expected user/name"),
        ("hf_owner", "user/ti ny", {}, "'user/ti ny' is not a repository id"),
        ("hf_owner", "a/b/c", {}, "'a/b/c' is not a repository id"),
        (
            "hf_owner",
            REPO,
            {"HF_ENDPOINT": "http://127.0.0.1:1"},
            "127.0.0.1:1 cannot be reached.*HF_ENDPOINT",
        ),
        ("hf_owner", REPO, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set.*unset it"),
    ],
)
def test_what_cannot_be_pushed_says_why_and_what_to_do(
    hub, trained, tmp_path, token, repo, environment, expected
):
    process = push(hub, tmp_path / "home", trained, "--repo", repo, token=token, **environment)
    assert process.returncode == 2
    assert re.search(expected, process.stderr), process.stderr
    assert process.stderr.count("sft.publish: ") == 1 and "Traceback" not in process.stderr
    assert hub.store.repos == {}


def test_a_token_in_dot_env_counts(hub, trained, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".env").write_text("HF_TOKEN=hf_owner\n")
    assert pushed(hub, home, trained, "--repo", REPO, token=None) == hub.repo(REPO).branches["main"]


def test_metrics_of_the_run_are_found_others_refused(hub, run, tmp_path):
    results = tmp_path / "home" / "results" / "tiny"
    results.mkdir(parents=True)
    write_json(results / "metrics.json", metrics())
    weights = sha256(run / "adapter_model.safetensors")
    write_json(results / "manifest.json", {"adapter_sha256": weights})
    pushed(hub, tmp_path / "home", run, "--repo", REPO)
    assert json.loads(contents(hub)["metrics.json"]) == metrics()

    others = {"adapter": "outputs/another", "adapter_sha256": "ab" * 32}
    write_json(results / "manifest.json", others)
    process = push(hub, tmp_path / "home", run, "--repo", REPO)
    assert process.returncode == 2
    assert "measured other weights than this adapter's: outputs/another" in process.stderr


def test_a_refused_upload_leaves_no_commit(hub, run, tmp_path):
    (run / "tokenizer_config.json").write_text('{"note": "hf_' + "a" * 34 + '"}')
    process = push(hub, tmp_path / "home", run, "--repo", REPO)
    assert process.returncode == 2
    assert "tokenizer_config.json holds a Hugging Face token" in process.stderr
    assert "a" * 34 not in process.stderr
    assert hub.store.repos == {} and hub.seen == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"accuracy": 1}', r"m\.json has no n, .* not one of eval\.score: run `make eval` again"),
        ('{"n": ', r"m\.json cannot be read"),
        (None, r"m\.json does not exist; `make eval` writes it, or leave --metrics out"),
    ],
)
def test_metrics_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path / "m.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_evaluation(tmp_path / "outputs" / "tiny", path)


def test_metrics_are_uploaded_as_they_are_stored(tmp_path):
    """The model card reads them with the keys that older files lack."""
    write_json(tmp_path / "metrics.json", metrics())
    evaluation = read_evaluation(tmp_path / "tiny", tmp_path / "metrics.json")
    assert evaluation is not None and evaluation.manifest is None
    assert evaluation.stored == metrics() and "effective_n" not in evaluation.stored
    assert evaluation.metrics["effective_n"] is None
