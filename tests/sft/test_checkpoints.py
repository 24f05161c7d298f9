"""Which checkpoints a resume can use: every file is there, opens, is finite and of this run."""

import json
import shutil
import zipfile
from dataclasses import replace

import pytest

from sft.training.checkpoints import (
    Resumable,
    checkpoints,
    last_checkpoint,
    problem_of,
    remove_old_checkpoints,
    write_digests,
)
from tests.support.checkpoint import STEPS, write_checkpoint

OURS = Resumable(run_id="r1", steps=STEPS)
FILES = Resumable(fp16=True).files()
TORCH_FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt")
ODD = ("checkpoint-best", "checkpoint-9 (1)", "checkpoint-09", "checkpoint-", "tmp-checkpoint-5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint with everything, also the scaler of fp16."""
    path = write_checkpoint(tmp_path_factory.mktemp("whole"), 4, fp16=True, run="r1")
    write_digests(path)
    return path


@pytest.fixture
def checkpoint(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / whole.name)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Flip a bit in the middle of the data."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_a_whole_checkpoint_counts(checkpoint):
    assert problem_of(checkpoint, replace(OURS, fp16=True)) is None
    assert problem_of(checkpoint, Resumable()) is None


def test_a_checkpoint_of_an_older_version_counts(tmp_path):
    """It has neither digests nor the id of its run."""
    assert problem_of(write_checkpoint(tmp_path, 4), OURS) is None


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(checkpoint, name, damage):
    damage(checkpoint / name)
    assert name in problem_of(checkpoint, replace(OURS, fp16=True))
    (checkpoint / name).unlink()
    assert f"{name} missing" in problem_of(checkpoint, replace(OURS, fp16=True))


@pytest.mark.parametrize("name", TORCH_FILES)
def test_a_flipped_bit_shows_without_digests_too(checkpoint, name):
    """In what torch wrote, which has check sums; the bits between its records say nothing."""
    (checkpoint / "digests.json").unlink()
    path = checkpoint / name
    with zipfile.ZipFile(path) as archive:
        content = archive.read(archive.namelist()[0])
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 4
    path.write_bytes(data)
    assert name in problem_of(checkpoint, replace(OURS, fp16=True))


def test_a_flipped_weight_shows_by_its_digest(checkpoint):
    path = checkpoint / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    assert problem_of(checkpoint, OURS) == f"{path.name} has changed since it was saved"


def test_scaler_and_random_states_are_asked_for_if_needed(tmp_path):
    path = write_checkpoint(tmp_path, 4)
    assert problem_of(path, Resumable(fp16=True)) == "scaler.pt missing or empty"
    missing = "rng_state_0.pth, rng_state_1.pth missing or empty"
    assert problem_of(path, Resumable(world_size=2)) == missing
    path = write_checkpoint(tmp_path, 6, world_size=2)
    assert problem_of(path, Resumable(world_size=2)) is None


def test_a_checkpoint_states_how_many_processes_wrote_it(tmp_path):
    """After a resume on another number of cards the manifest states the new number alone."""
    path = write_checkpoint(tmp_path, 4, world_size=3)
    write_digests(path)
    for now in (1, 2, 3, 4):
        assert problem_of(path, Resumable(world_size=now)) is None
    (path / "rng_state_2.pth").unlink()
    assert problem_of(path, Resumable(world_size=1)) == "rng_state_2.pth missing or empty"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt"])
def test_a_poisoned_checkpoint_does_not_count(tmp_path, name, value):
    import torch
    from safetensors.torch import save_file

    path = write_checkpoint(tmp_path, 4)
    if name == "optimizer.pt":
        state = torch.load(path / name, weights_only=True)
        state["state"][0]["exp_avg"][1, 2] = value
        torch.save(state, path / name)
    else:
        save_file({"a": torch.ones(3), "b": torch.tensor([1.0, value])}, path / name)
    problem = problem_of(path, OURS)
    assert name in problem and problem.endswith("is not finite")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"global_step": 5}, "is of step 5"),
        ({"global_step": "4"}, "states no global_step"),
        ({"max_steps": 12}, "of a training of 12 steps, and this one has 9"),
        ({"newer": 1}, "unknown keys: newer"),
        ({"best_model_checkpoint": "out/checkpoint-2"}, "best checkpoint so far, checkpoint-2"),
    ],
)
def test_the_state_must_be_of_this_training(tmp_path, changes, words):
    path = write_checkpoint(tmp_path, 4, run="r1") / "trainer_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert words in problem_of(path.parent, OURS)


def test_a_checkpoint_of_another_run_does_not_count(checkpoint):
    assert "of the run r1" in problem_of(checkpoint, replace(OURS, run_id="r2"))


def test_the_best_checkpoint_must_be_whole_too(tmp_path):
    """The end of the training loads it, wherever the folder was when it was saved."""
    path = write_checkpoint(tmp_path, 4, best=2)
    assert "checkpoint-2, lacks" in problem_of(path, OURS)
    weights = write_checkpoint(tmp_path, 2) / "adapter_model.safetensors"
    assert problem_of(path, OURS) is None
    truncate(weights)
    assert "cannot be read" in problem_of(path, OURS)


def test_the_newest_that_counts_is_taken_and_others_named(tmp_path, caplog):
    """Neither a name that is none of the Trainer's nor a link or a file is looked at."""
    for step in (2, 4, 10):
        write_checkpoint(tmp_path, step)
    for name in ODD:
        shutil.copytree(tmp_path / "checkpoint-2", tmp_path / name)
    (tmp_path / "checkpoint-11").write_text("a file")
    (tmp_path / "checkpoint-12.zip").write_text("a file")
    (tmp_path / "checkpoint-13").symlink_to("checkpoint-4")
    truncate(tmp_path / "checkpoint-10" / "scheduler.pt")
    assert last_checkpoint(tmp_path, OURS) == tmp_path / "checkpoint-4"
    (line,) = caplog.messages
    assert "checkpoint-10 is not used: scheduler.pt" in line
    shutil.rmtree(tmp_path / "checkpoint-4")
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert last_checkpoint(tmp_path, OURS) is None


@pytest.mark.parametrize(
    ("limit", "protected", "left"),
    [
        (None, (), [2, 4, 6, 8]),
        (0, (), [2, 4, 6, 8]),
        (2, ("checkpoint-6",), [4, 6, 8]),
        (1, ("checkpoint-6",), [6, 8]),
        (1, ("checkpoint-6", "checkpoint-2"), [2, 6, 8]),
        (9, (), [2, 4, 6, 8]),
    ],
)
def test_only_own_checkpoints_are_removed(tmp_path, limit, protected, left):
    """Not a copy somebody put aside, and not one after the step at which the training is."""
    for step in (2, 4, 6, 8):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for name in ODD:
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-1").symlink_to("checkpoint-best")
    remove_old_checkpoints(tmp_path, limit, protected=protected, up_to=6)
    assert sorted(path.name for path in checkpoints(tmp_path)) == [f"checkpoint-{n}" for n in left]
    assert all((tmp_path / name).is_dir() for name in (*ODD, "checkpoint-1"))
