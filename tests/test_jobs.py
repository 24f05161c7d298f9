"""jobs/: the notebook runs from its first cell to its last; the others are read by their tools."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.support.tiny import ROOT

NOTEBOOK = ROOT / "jobs/colab_t4.ipynb"
PARAMETERS = """
MODEL, RUN, GPUS, KEEP_IN = "smollm2", "nb", 1, {keep!r}
DATASET = "data/datasets/m"
TRAIN_ARGS = "--max_steps 2 --max_length 400 --gradient_accumulation_steps 1 --report_to wandb"
EVAL_ARGS = "--max_new_tokens 4 --batch_size 8"
"""


def clone(folder):
    """The project in `folder` as git has it, with the virtual environment of this one."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    for path in subprocess.run(
        ["git", "ls-files", "-m", "-o", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines():
        if (ROOT / path).is_file() and not (ROOT / path).is_symlink():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())


@pytest.mark.slow
def test_the_notebook_runs_on_a_cpu(tmp_path, tiny, monkeypatch):
    """With W&B out of reach, and without Colab's own modules."""
    import nbformat
    from nbclient import NotebookClient

    clone(tmp_path / "weekahead")
    shutil.copytree(tiny / "data", tmp_path / "weekahead/data", dirs_exist_ok=True)
    # The notebook is tried, not the base: a tiny one answers in seconds.
    recipe = tmp_path / "weekahead/recipes/smollm2.yaml"
    fields = yaml.safe_load(recipe.read_text()) | {"model_name_or_path": str(tiny / "base")}
    recipe.write_text(yaml.safe_dump(fields))
    for name, value in {
        "WANDB_API_KEY": "0" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
        "MAKEFLAGS": "-o .venv/ready -o setup",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source += PARAMETERS.format(keep=str(tmp_path / "kept"))
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 4, "live curves, loss, GPU, and the four comparisons in one"
    page = next(o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {}))
    assert "iframe srcdoc" in page and "Weekly forecasts, measured" in page
    text = "".join(str(o.get("text", "")) for o in outputs)
    assert "smollm2 on T4: fits" in text
    for file in ("outputs/nb/adapter_model.safetensors", "reports/nb/report.html"):
        assert (tmp_path / "kept" / file).is_file(), file


def test_the_notebook_is_stored_without_outputs_and_secrets():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    assert not re.search(r"hf_[A-Za-z0-9]{20}", NOTEBOOK.read_text(encoding="utf-8"))
    for cell in cells:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")


def test_skypilots_file_says_what_its_commands_need():
    job = yaml.safe_load((ROOT / "jobs/sky.yaml").read_text(encoding="utf-8"))
    assert {"resources", "setup", "run", "envs", "file_mounts", "workdir"} <= job.keys()
    used = set(re.findall(r"\$([A-Z_]+)", job["run"]))
    assert used <= job["envs"].keys()
    targets = re.findall(r"^make (\w+)", job["setup"] + job["run"], re.MULTILINE)
    assert targets == ["setup", "train", "eval"]


def test_the_journals_action_runs_targets_that_there_are():
    """Each Sunday at 12:00 UTC; keys come from secrets, and what it makes is committed last."""
    action = yaml.safe_load((ROOT / "jobs/journal.yml").read_text(encoding="utf-8"))
    assert action[True]["schedule"] == [{"cron": "0 12 * * 0"}], "YAML 1.1 reads on as true"
    (job,) = action["jobs"].values()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    targets = [t for line in re.findall(r"make (.+)", commands) for t in line.split()]
    assert targets == [
        "setup",
        *(f"journal-{name}" for name in ("settle", "enter", "score", "page", "stamp", "commit")),
    ]
    assert all(re.search(rf"^{target}: setup", makefile, re.MULTILINE) for target in targets[1:])
    for name, value in job["env"].items():
        is_secret = name.endswith(("KEY", "TOKEN", "URL", "WEBHOOK"))
        assert is_secret == str(value).startswith("${{ secrets."), name
    assert action["permissions"] == {"contents": "write"}


def test_the_hub_job_is_a_script_of_its_own(tmp_path):
    """Its header is TOML as PEP 723 asks, and its steps run in order, the first failure last."""
    script = ROOT / "jobs/hf_job.py"
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", script.read_text(), re.MULTILINE)
    header = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    assert header["dependencies"] == [] and "3.11" in header["requires-python"]
    command = [sys.executable, str(script), "--git", str(tmp_path / "nowhere")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode and "make" not in result.stdout


def test_the_slurm_job_goes_on_after_its_time(tmp_path):
    """The shell gets TERM before the limit: it passes it on, waits, and is queued again."""
    (tmp_path / "make").write_text(
        "#!/bin/sh\necho \"$@\" > told\ntrap 'echo saved > saved; exit 143' TERM\n"
        "touch ready\nwhile :; do sleep 0.05; done\n"
    )
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" > requeued\n')
    for name in ("make", "scontrol"):
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    process = subprocess.Popen(
        ["sh", str(ROOT / "jobs/slurm.sh"), "MODEL=llama", "RUN=a"],
        cwd=tmp_path,
        env=environment | {"SLURM_GPUS_ON_NODE": "4"},
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=120) == 143
    told = (tmp_path / "told").read_text().strip()
    assert told == "train ACCEL=ddp GPUS=4 MODEL=llama RUN=a"
    assert (tmp_path / "saved").exists(), "the checkpoint came before the end"
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"


@pytest.mark.parametrize("script", ["setup.sh", "demo.sh", "lock.sh", "jobs/slurm.sh"])
def test_shell_scripts_have_no_known_fault(script):
    shellcheck = shutil.which("shellcheck", path=f"{ROOT}/.venv/bin") or shutil.which("shellcheck")
    assert shellcheck, "make test installs it"
    result = subprocess.run([shellcheck, script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
