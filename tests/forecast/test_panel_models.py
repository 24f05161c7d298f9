"""The language models of a panel, asked as a report's run is: text for the call, bins at once."""

import math

import pytest

from forecast.company.call import up_share
from forecast.journal.__main__ import main
from forecast.journal.ledger import LEDGER, read_ledger
from forecast.journal.models import ModelNames, model_members
from forecast.journal.verify import check
from tests.support.records import record
from tests.support.servers.teacher import Teacher
from weekahead.files import sha256, write_jsonl
from weekahead.task.labels import BINS, direction_of


@pytest.fixture
def rows(tmp_path):
    """A file of records of two companies."""
    path = tmp_path / "r.jsonl"
    write_jsonl(path, (record(symbol, 0).to_json() for symbol in ("AA", "BB")))
    return path


def enter(small, rows, out, *more):
    words = ["enter", "--journal", str(out), "--records", str(rows), "--date", "2026-01-04"]
    model = ["--config", str(small.adapter.parent / "fp32.yaml"), "--adapter", str(small.adapter)]
    return main([*words, *model, *more])


def test_the_panel_pins_adapter_base_and_twin(small):
    names = ModelNames(small.recipe, str(small.adapter), twin=str(small.adapter))
    pinned = {member.pinned["name"]: member.pinned for member in model_members(names)}
    assert list(pinned) == ["adapter", "base", "shuffled"]
    digest = sha256(small.adapter / "adapter_model.safetensors")
    assert pinned["adapter"]["adapter_sha256"] == digest
    assert pinned["base"]["adapter"] is None
    assert pinned["base"]["base"] and pinned["base"]["base_revision"]


def test_without_an_adapter_the_base_is_asked_alone(small):
    (member,) = model_members(ModelNames(small.recipe, "none"))
    assert member.pinned["name"] == "base"


@pytest.mark.slow
def test_models_forecast_beside_the_baselines(small, rows, tmp_path):
    assert enter(small, rows, tmp_path / "j") == 0
    ledger = read_ledger(tmp_path / "j")
    check(ledger, LEDGER)
    lines = {
        name: [f for f in ledger.forecasts if f["forecaster"] == name]
        for name in ("adapter", "base")
    }
    assert [len(found) for found in lines.values()] == [2, 2]
    for line in (*lines["adapter"], *lines["base"]):
        assert set(line["probabilities"]) == set(BINS)
        assert math.isclose(sum(line["probabilities"].values()), 1, abs_tol=1e-8)
    ours, theirs = (found[0]["probabilities"] for found in lines.values())
    assert ours != theirs


def test_bins_alone_take_one_pass_per_company(small, rows, tmp_path):
    """The call is the likelier direction, and the first line says that nothing was written."""
    assert enter(small, rows, tmp_path / "j", "--text", "none") == 0
    ledger = read_ledger(tmp_path / "j")
    assert [one["asked"] for one in ledger.start["panel"]][:3] == ["bins", "bins", None]
    for line in ledger.forecasts[:4]:
        up = up_share(line["probabilities"])
        assert line["direction"] == (1 if up > 0.5 else -1)
        of_direction = [b for b in BINS if direction_of(b) == line["direction"]]
        assert line["prediction"] == max(of_direction, key=line["probabilities"].__getitem__)


def test_an_adapter_needs_its_recipe(rows, tmp_path, capsys):
    words = ["enter", "--journal", str(tmp_path / "j"), "--records", str(rows)]
    assert main([*words, "--date", "2026-01-04", "--adapter", "outputs/x"]) == 2
    assert "--adapter needs --config" in capsys.readouterr().err


def test_an_adapter_that_is_not_there_is_named(small, rows, tmp_path, capsys):
    assert enter(small, rows, tmp_path / "j", "--adapter", str(tmp_path / "gone")) == 2
    assert "gone" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_a_served_adapter_is_asked_at_its_server(small, rows, tmp_path, monkeypatch):
    """Its answer is read as the report reads it; this server gives no probabilities."""
    with Teacher() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert enter(small, rows, tmp_path / "j", "--model", "loopback") == 0
        assert len(server.asked) == 2 and server.asked[0]["model"] == "loopback"
    ledger = read_ledger(tmp_path / "j")
    ours = [line for line in ledger.forecasts if line["forecaster"] == "adapter"]
    assert [line["direction"] in (-1, 1) for line in ours] == [True, True]
    assert all(line["prediction"] in BINS and line["probabilities"] is None for line in ours)
    assert "base" not in {line["forecaster"] for line in ledger.forecasts}
