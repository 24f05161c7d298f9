"""No byte that a whole run writes, prints or uploads holds a key."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.servers.completions import Completions
from tests.support.servers.hub import Hub
from tests.support.servers.hub_store import Account
from tests.support.tiny import ROOT
from weekahead.models.loading import load_base

pytestmark = pytest.mark.slow
REPO = "user/tuned"
IN_ENVIRONMENT = {
    "HF_TOKEN": "hf_" + "Marked1" * 5,
    "WANDB_API_KEY": "0badc0de" * 5,
    "ANTHROPIC_API_KEY": "sk-ant-api03-" + "Marked2-" * 5,
    "GITHUB_TOKEN": "ghp_" + "Marked3" * 5,
    "AWS_ACCESS_KEY_ID": "AKIA" + "MARKED4X" * 2,
    "AWS_SECRET_ACCESS_KEY": "Marked5/" * 5,
}
IN_DOT_ENV = {
    "OPENAI_API_KEY": "sk-proj-" + "Marked6_" * 5,
    "FINNHUB_API_KEY": "c1marked7" * 3,
    "APCA_API_SECRET_KEY": "Marked8x" * 5,
}
PASSWORDS = {"OPENAI_BASE_URL": "Marked9pw", "HTTPS_PROXY": "Marked10pw"}
IN_NETRC = "0ddba115" * 5
SECRETS = {
    **IN_ENVIRONMENT,
    **IN_DOT_ENV,
    **{f"the password in {name}": value for name, value in PASSWORDS.items()},
    "the password of .netrc": IN_NETRC,
}
TRAIN = (
    f"-m weekahead.launch --config_file {ROOT}/accelerate_configs/cpu.yaml -m sft.train "
    "--config hub.yaml --dataset data/datasets/m --output_dir outputs/tuned --max_steps=2 "
    f"--save_steps=1 --save_strategy=steps --push_to_hub=true --hub_model_id={REPO}"
)
COMMANDS = (
    TRAIN,
    "-m eval.generate --config hub.yaml --dataset data/datasets/m --split test --limit 4 "
    "--max_new_tokens 8 --adapter outputs/tuned --out results/tuned",
    "-m eval.generate --config hub.yaml --dataset data/datasets/m --split test --limit 4 "
    "--max_new_tokens 8 --adapter none --backend endpoint --model served --out results/served",
    "-m eval.score results/tuned/generations.jsonl --out results/tuned",
    "-m eval.report results/tuned --out reports/all",
    f"-m sft.publish outputs/tuned --repo {REPO}",
    f"-m eval.publish results/tuned --hub {REPO}",
    "-m sft.doctor",
)


@pytest.fixture
def machine(tiny, tmp_path):
    """A folder with keys in `.env`, and in the `.netrc` of its home."""
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump(recipe | {"model_name_or_path": "org/base"}))
    (tmp_path / "data").symlink_to(tiny / "data")
    lines = [f"{name}={value}\n" for name, value in IN_DOT_ENV.items()]
    (tmp_path / ".env").write_text("".join(lines))
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine api.wandb.ai login user password " + IN_NETRC)
    (home / ".netrc").chmod(0o600)
    return tmp_path


def environment(hub, server, folder):
    return {
        **hub.environment(folder / "home"),
        **IN_ENVIRONMENT,
        "OPENAI_BASE_URL": server.url.replace("://", f"://bob:{PASSWORDS['OPENAI_BASE_URL']}@"),
        "HTTPS_PROXY": f"http://bob:{PASSWORDS['HTTPS_PROXY']}@127.0.0.1:9",
        "WANDB_MODE": "offline",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def files_with(folder: Path, secret: bytes) -> list[str]:
    """The files below `folder` that hold `secret`, without those that the user wrote it into."""
    theirs = {folder / ".env", folder / "home" / ".netrc"}
    paths = [path for path in folder.rglob("*") if path.is_file() and path not in theirs]
    return [str(path) for path in paths if secret in path.read_bytes()]


def test_no_key_is_in_anything_that_a_run_writes(tiny, small, machine):
    """Training, checkpoints and adapter on the Hub, answers, scores, report, card, W&B's files."""
    model = load_base(small.base).eval()
    with (
        Hub() as hub,
        Completions(model, small.tokenizer, small.ends) as server,
    ):
        hub.store.accounts = {IN_ENVIRONMENT["HF_TOKEN"]: Account("user", "write")}
        hub.add_folder("org/base", tiny / "base")
        env = environment(hub, server, machine)
        printed = ""
        for words in COMMANDS:
            done = subprocess.run(
                [sys.executable, *words.split()],
                cwd=machine,
                env=env,
                capture_output=True,
                text=True,
                timeout=300,
            )
            printed += done.stdout + done.stderr
            assert done.returncode == 0, (words, done.stderr[-2000:])
        repos = {repo.id: repo.at("main").files for repo in hub.store.repos.values()}
    assert {"README.md", "report.html", "recipe.yaml", "metrics.json"} <= set(repos[REPO])
    objects = [*hub.store.objects.values(), *(b.data for f in repos.values() for b in f.values())]
    # What is looked at can be read: the name of the run is in W&B's own file.
    assert any(name.endswith(".wandb") for name in files_with(machine, b"outputs/tuned"))
    for name, secret in SECRETS.items():
        assert files_with(machine, secret.encode()) == [], name
        assert secret not in printed, name
        assert not any(secret.encode() in content for content in objects), name
