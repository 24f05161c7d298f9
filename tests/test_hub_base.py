"""A base of the Hub, from training to likelihoods: every manifest states its commit."""

import json
import subprocess
import sys

import pytest
import yaml

from tests.support.servers.hub import Hub
from tests.support.servers.hub_store import Blob
from tests.support.tiny import ROOT, TRAIN

pytestmark = pytest.mark.slow
TWO_ROWS = "--split test --limit 2"
COMMANDS = {
    "eval.generate": f"{TWO_ROWS} --max_new_tokens 4 --batch_size 2",
    "eval.likelihood": TWO_ROWS,
    "eval.memorization": "",
}


def run(hub, folder, module, *flags, **variables):
    environment = {**variables, **hub.environment(folder / "home"), "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, *module.split(), *map(str, flags)],
        env={**environment, "WANDB_MODE": "offline"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]


def read(path):
    return json.loads(path.read_text())


def test_every_manifest_states_the_commit_of_the_base(tiny):
    """Main moves after the training; evaluations of the adapter use the commit of the training."""
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
    recipe["model_name_or_path"] = "org/base"
    (tiny / "hub.yaml").write_text(yaml.safe_dump(recipe))
    told = ("--config", "hub.yaml", "--dataset", "data/datasets/m")
    out = tiny / "outputs/hub"
    with Hub() as hub:
        first = hub.add_folder("org/base", tiny / "base")
        run(hub, tiny, TRAIN, *told, "--max_steps=2", "--eval_strategy=no", f"--output_dir={out}")
        repo = hub.repo("org/base")
        config = read(tiny / "base/config.json") | {"rope_theta": 5.0}
        files = {**repo.at("main").files, "config.json": Blob(json.dumps(config).encode(), False)}
        second = repo.add_commit("main", files, "moved", "org").oid
        run(hub, tiny, "-m sft.publish", out, "--repo", "user/tuned", HF_TOKEN="hf_owner")
        card = hub.repo("user/tuned").at("main").files["README.md"].data.decode()
        for name, adapter in (("tuned", out), ("base", "none")):
            place = ("--adapter", adapter, "--out", f"evaluations/hub-{name}")
            for module, flags in COMMANDS.items():
                run(hub, tiny, f"-m {module}", *told, *place, *flags.split())
    assert f"| revision | `{first}` |" in card and f'revision="{first}"' in card
    trained = read(out / "manifest.json")["base"]
    assert trained["revision"] == read(out / "adapter_config.json")["revision"] == first
    for name, commit in (("tuned", first), ("base", second)):
        for file in ("manifest.json", "likelihoods.manifest.json"):
            base = read(tiny / "evaluations" / f"hub-{name}" / file)["base"]
            assert base["revision"] == commit and base["hub_id"] == "org/base"
            assert (base["content_sha256"] == trained["content_sha256"]) == (commit == first)
        recall = read(tiny / "evaluations" / f"hub-{name}" / "recall.json")
        assert recall["base"]["revision"] == commit
    stated = read(tiny / "evaluations/hub-tuned/manifest.json")
    assert stated["train"]["base"] == trained
