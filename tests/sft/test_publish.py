"""`python -m sft.publish` against a local Hub: the real command and clients, in own processes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from sft.publish import read_evaluation
from tests.support.servers.hub import Fault, Hub
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


def command(
    hub: Hub, home: Path, *arguments: object, token: str | None = "hf_owner", **environment: str
):
    """Run a command in a process of its own, in the folder `home`: no other .env is read."""
    home.mkdir(exist_ok=True)
    env = {**hub.environment(home, token), "PYTHONPATH": str(ROOT), **environment}
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, cwd=home, env=env, capture_output=True, text=True, timeout=120)


def push(hub: Hub, home: Path, *arguments: object, **options):
    """Run `sft.publish` as `command` does."""
    return command(hub, home, "-m", "sft.publish", *arguments, **options)


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
        "recipe.yaml",
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
    hub.repo(BASE_ID).private = False
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


def test_a_new_repository_is_private_unless_public(hub, run, tmp_path):
    """And one that exists keeps its setting: a flag that says otherwise is refused."""
    home = tmp_path / "home"
    pushed(hub, home, run, "--repo", REPO)
    assert hub.repo(REPO).private
    pushed(hub, home, run, "--repo", "user/open", "--public")
    assert not hub.repo("user/open").private
    commits = len(hub.repo("user/open").commits)
    (run / "figures" / "loss.png").write_bytes(b"\x89PNG\0 new")
    for repo, flag, reason in (
        ("user/open", "--private", "exists and is public"),
        (REPO, "--public", "exists and is private"),
    ):
        process = push(hub, home, run, "--repo", repo, flag)
        assert process.returncode == 2 and reason in process.stderr
    assert len(hub.repo("user/open").commits) == commits
    pushed(hub, home, run, "--repo", "user/open")
    assert len(hub.repo("user/open").commits) == commits + 1


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


def test_evaluation_report_and_recipe_come_in_one_commit(hub, run, tmp_path):
    """The Hub's own client reads the results: interval and verdict stand with each figure."""
    results, report = tmp_path / "home/results/tiny", tmp_path / "home/reports/all"
    results.mkdir(parents=True)
    report.mkdir(parents=True)
    write_json(results / "metrics.json", metrics())
    dataset = {"source": "FinGPT/dow30", "split": "test", "revision": "a" * 40, "rows": 300}
    weights = sha256(run / "adapter_model.safetensors")
    write_json(results / "manifest.json", {"adapter_sha256": weights, "dataset": dataset})
    judged = {"run": "tiny", "metrics_sha256": sha256(results / "metrics.json"), "tests": 2}
    judged |= {"verdict": "no skill shown", "p_corrected": 0.4}
    write_json(report / "manifest.json", {"kind": "report", "runs": [judged], "files": []})
    (report / "report.html").write_text(f"<p>{tmp_path}/home/results</p>")
    pushed(hub, tmp_path / "home", run, "--repo", REPO)
    assert len(hub.repo(REPO).commits) == 2  # its creation and the push
    files = contents(hub)
    assert files["report.html"] == b"<p>results</p>"

    stated = yaml.safe_load(files[".eval_results/weekahead_FinGPT__dow30.yaml"])
    entries = parse_eval_result_entries(stated)
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("FinGPT/dow30", "direction_accuracy", 0.5167),
        ("FinGPT/dow30", "mse", 8.25),
    ]
    note = "95 % interval 0.431 to 0.602, 296 rows in 10 weeks; no skill shown"
    assert entries[0].notes == note and entries[0].dataset_revision == "a" * 40
    indexed = ModelCard(files["README.md"].decode()).data.eval_results
    assert indexed is not None and note in str(indexed[0].metric_name)
    assert indexed[0].metric_args == {"ci95": [0.4312, 0.6021], "rows": 296, "weeks": 10}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (Fault("GET", "whoami", 429, {"Retry-After": "1"}), 0),
        (Fault("POST", "repos/create", 503, {"Retry-After": "1"}), 0),
        (Fault("GET", "/api/models/user/tiny$", 429, {"ratelimit": '"api";r=0;t=1'}), 0),
        (Fault("POST", "/commit/main", 503, times=2), 0),
        (Fault("PUT", "/objects/", 503, {"Retry-After": "0"}), 1),
        (Fault("PUT", "/objects/", 0), 1),
    ],
    ids=lambda value: f"{value.path} {value.status}" if isinstance(value, Fault) else None,
)
def test_a_hub_that_is_busy_is_asked_again(hub, run, tmp_path, fault, again):
    """After the delay that it states; weights that arrived are not sent again."""
    hub.faults.append(fault)
    process = push(hub, tmp_path / "home", run, "--repo", REPO)
    assert process.returncode == 0, process.stderr
    assert fault.times == 0 and "adapter_model.safetensors" in contents(hub)
    lfs = sum(blob.lfs for blob in hub.repo(REPO).at("main").files.values())
    assert sum(seen.method == "PUT" for seen in hub.seen) == lfs + again


def test_a_refused_upload_goes_on_when_it_is_run_again(hub, run, tmp_path):
    """The weights are there already, and one commit is made; a lost answer makes no second one."""
    home = tmp_path / "home"
    hub.faults.append(Fault("POST", "/commit/main", 500))
    process = push(hub, home, run, "--repo", REPO)
    assert process.returncode == 2 and "not sent a second time" in process.stderr
    assert len(hub.repo(REPO).commits) == 1
    uploads = [seen for seen in hub.seen if seen.method == "PUT"]
    hub.faults.append(Fault("POST", "/commit/main", 0, acts=True))
    process = push(hub, home, run, "--repo", REPO)
    assert process.returncode == 2 and "run the same command again" in process.stderr.lower()
    pushed(hub, home, run, "--repo", REPO)
    assert len(hub.repo(REPO).commits) == 2
    assert [seen for seen in hub.seen if seen.method == "PUT"] == uploads


def test_a_hub_that_has_gone_silent_is_given_up(hub, run, tmp_path):
    """The client itself would wait for ever."""
    hub.faults.append(Fault("GET", "whoami", 0, seconds=20))
    code = (
        "import sys; from sft.publish import main; from weekahead.hub import client; "
        "client._SILENCE_SECONDS = 0.5; sys.exit(main(sys.argv[1:]))"
    )
    process = command(hub, tmp_path / "home", "-c", code, run, "--repo", REPO)
    assert process.returncode == 2 and "cannot be reached (ReadTimeout" in process.stderr


def test_a_delay_beyond_patience_is_told(hub, run, tmp_path):
    hub.faults.append(Fault("GET", "whoami", 429, {"Retry-After": "3600"}))
    process = push(hub, tmp_path / "home", run, "--repo", REPO)
    assert process.returncode == 2 and "again in 3600 seconds" in process.stderr
    assert hub.store.repos == {}


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


def test_new_results_go_onto_the_card_alone(hub, run, tmp_path):
    """`eval.publish --hub`: one commit, of the card and of the results' own file."""
    home, results = tmp_path / "home", tmp_path / "home/results/later"
    pushed(hub, home, run, "--repo", REPO)
    before = contents(hub)
    results.mkdir(parents=True)
    write_json(results / "metrics.json", metrics())
    (results / "generations.jsonl").write_text("{}\n")
    dataset = {"source": "FinGPT/dow30", "split": "test", "rows": 300}
    weights = sha256(run / "adapter_model.safetensors")
    write_json(results / "manifest.json", {"adapter_sha256": weights, "dataset": dataset})
    module = ("-m", "eval.publish", results, "--hub", REPO)
    process = command(hub, home, *module, WANDB_MODE="offline")
    assert process.returncode == 0, process.stderr
    after = contents(hub)
    new = ".eval_results/weekahead_FinGPT__dow30.yaml"
    assert {name for name in after if after[name] != before.get(name)} == {"README.md", new}
    head, body = (files["README.md"].decode().split("---\n", 2)[1:] for files in (before, after))
    assert body[1] == head[1] and body[0].startswith(head[0])
    assert [r.metric_value for r in ModelCard(after["README.md"].decode()).data.eval_results] == [
        0.5167,
        8.25,
    ]

    write_json(results / "metrics.json", {**metrics(), "bin_acc": 0.52})
    hub.faults.append(Fault("POST", "/commit/main", 412))
    process = command(hub, home, *module, WANDB_MODE="offline")
    assert process.returncode == 2 and "changed meanwhile; run the same" in process.stderr
    others = {"adapter": "outputs/another", "adapter_sha256": "ab" * 32}
    write_json(results / "manifest.json", others)
    process = command(hub, home, *module, WANDB_MODE="offline")
    assert process.returncode == 2 and "holds another adapter than the one" in process.stderr
    assert contents(hub) == after
