"""Several commands in one process: the model is loaded once, the files are those of each alone."""

import json
import sys

import pytest

from eval import generate, steps
from tests.support.tiny import FP32
from weekahead.files import read_jsonl
from weekahead.models import loading
from weekahead.models.kept import Loaded, Request, kept_model
from weekahead.models.loading import Base, load_for_generation
from weekahead.models.precision import Precision

GPU = Precision("bf16", "cuda", "for the test")
QUANTIZED = Base("b", "smollm2", "bfloat16", quantization=loading.NF4)
PLAIN = Base("b", "smollm2", "bfloat16")


@pytest.fixture
def loaded_bases(monkeypatch):
    """What `load_base` is asked for, in order."""
    asked = []

    def counted(base, **options):
        asked.append(base)
        return load_base(base, **options)

    load_base = loading.load_base
    monkeypatch.setattr(loading, "load_base", counted)
    yield asked
    kept_model.open = False
    kept_model.drop()


def flags(tiny, adapter, out):
    words = f"--config {tiny}/fp32.yaml --adapter {adapter} --dataset {tiny}/data/datasets/m"
    return [*words.split(), "--limit", "4", "--batch_size", "2", "--out", str(out)]


def without_times(path):
    times = ("seconds", "latency_seconds", "new_tokens_per_second")
    return [
        {name: value for name, value in row.items() if name not in times}
        for row in read_jsonl(path)
    ]


def test_steps_write_what_the_commands_write_and_load_each_model_once(
    tiny, small, tmp_path, loaded_bases
):
    adapter, together = tiny / "adapter", tmp_path / "together"
    answers = ["generate", *flags(tiny, adapter, together / "a"), "--max_new_tokens", "12"]
    likelihoods = ["likelihood", *flags(tiny, adapter, together / "a"), "--prefix", "direct"]
    of_base = ["generate", *flags(tiny, "none", together / "b"), "--max_new_tokens", "12"]
    scores = ["score", f"{together}/a/generations.jsonl", "--out", f"{together}/a"]
    words = [*answers, "--then", *likelihoods, "--then", *of_base, "--then", *scores]
    before = list(sys.argv)
    assert steps.main(words) == 0
    assert len(loaded_bases) == 2 and sys.argv == before
    alone = tmp_path / "alone"
    assert generate.main([*flags(tiny, adapter, alone / "a"), "--max_new_tokens", "12"]) == 0
    assert steps.main(["likelihood", *flags(tiny, adapter, alone / "a"), "--prefix", "direct"]) == 0
    for name in ("generations.jsonl", "likelihoods.jsonl"):
        assert without_times(together / "a" / name) == without_times(alone / "a" / name)
    manifest = json.loads((together / "a" / "manifest.json").read_text())
    assert manifest["command"] == ["generate.py", *answers[1:]]
    assert json.loads((together / "a" / "metrics.json").read_text())["n"] == 4


def test_the_model_is_dropped_before_a_step_that_needs_none(tiny, small, tmp_path, loaded_bases):
    out = tmp_path / "a"
    words = ["generate", *flags(tiny, tiny / "adapter", out), "--max_new_tokens", "12"]
    assert steps.main(words) == 0
    assert kept_model._loaded
    assert steps.main(["score", f"{out}/generations.jsonl", "--out", str(out)]) == 0
    assert not kept_model._loaded and not kept_model.open


def test_no_model_is_kept_unless_somebody_asks(small, loaded_bases):
    load_for_generation(small.base, None, FP32)
    load_for_generation(small.base, None, FP32)
    assert len(loaded_bases) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a step"),
        (["generate", "--then"], "name a step"),
        (["parity", "--config", "x"], "'parity' is no step; expected one of generate, likelihood"),
        (
            ["score", "x.jsonl", "--out", "y", "--then", "publish", "--bad"],
            "python -m eval.publish: error",
        ),
    ],
)
def test_what_is_no_step_is_refused_before_the_first(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        steps.main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_several_processes_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        steps.main(["score", "x.jsonl", "--out", "y"])
    assert "started 2 processes, and eval.steps runs in one" in capsys.readouterr().err


def test_the_first_step_that_fails_ends_all(tmp_path, capsys):
    missing = ["score", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "out")]
    assert steps.main([*missing, "--then", "report", str(tmp_path), "--out", "r"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("room", "had", "wanted", "serves"),
    [
        (100, 100, 90, True),  # both dequantized
        (100, 90, 100, True),
        (100, 100, 101, False),
        (100, 101, 100, False),
        (100, 101, 300, True),  # both in 4 bits
        (-5, 1, 1000, True),
        (None, 1, 1000, True),  # on a CPU
    ],
)
def test_a_kept_model_serves_what_would_load_it_in_the_same_form(room, had, wanted, serves):
    kept = Loaded(object(), "", Request(QUANTIZED, None, GPU, had), room)
    assert kept.serves(Request(QUANTIZED, None, GPU, wanted)) is serves
    assert not kept.serves(Request(PLAIN, None, GPU, wanted))
    assert not kept.serves(Request(QUANTIZED, None, FP32, wanted))
