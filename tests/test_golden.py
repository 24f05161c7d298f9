"""Golden outputs: what the commands write is the same as when the digests were recorded.

`golden.json` holds one SHA-256 per output, of its content without dates, commits, versions and
paths. Floats are rounded to ten significant digits. If behaviour changes on purpose, the digest
changes, and its commit says why. `python -m tests.test_golden --help` says how to record anew.
"""

import argparse
import hashlib
import json
import re
import tempfile
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from data_pipeline import build
from data_pipeline import fingpt as public
from data_pipeline.audit.run import main as audit
from data_pipeline.dataset.card import write_card
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from data_pipeline.teacher.answer_log import AnswerIndex
from eval.report.__main__ import main as report
from eval.score import main as score
from sft.hub.model_card import ModelCardFacts, model_card
from tests.support import records as made_records
from tests.support.family_tokenizers import family_tokenizer
from tests.support.report_runs import make_pair
from tests.support.tiny_adapter import BASE_ID, manifest, metrics
from weekahead.files import read_jsonl, write_jsonl
from weekahead.models.chat_format import render_row_ids
from weekahead.models.families import FAMILIES
from weekahead.schema.manifests import training_manifest
from weekahead.schema.metrics_files import filled_metrics

ROOT = Path(__file__).parent.parent
DIGESTS = Path(__file__).with_name("golden.json")
VOLATILE = {"created", "command", "git_commit", "git_dirty", "python", "packages", "source"}
MODELS = (
    "deepseek_r1_llama8b_base",
    "deepseek_r1_llama8b_lora",
    "llama3.1_8b_base",
    "llama3.1_8b_lora",
)


def canonical(value):
    """`value` without what changes from day to day, floats rounded."""
    if isinstance(value, dict):
        return {key: canonical(part) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [canonical(part) for part in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def rounded(text):
    return re.sub(r"-?\d+\.\d{6,}(?:e-?\d+)?", lambda number: f"{float(number[0]):.10g}", text)


def folder_content(folder):
    """Every file of a folder by its path: JSON canonical, other files as they are."""
    content = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        content[path.relative_to(folder).as_posix()] = (
            canonical(json.loads(text)) if path.suffix == ".json" else text
        )
    return content


def head(card):
    import yaml

    return yaml.safe_load(card.split("---\n")[1])


def join_references(shared, name):
    answers = [
        json.loads(line)["answer"]
        for line in (shared / "dow30/test.jsonl").read_text("utf-8").splitlines()
    ]
    rows = read_jsonl(shared / f"generations/{name}.jsonl")
    return [
        {**row, "answer": answer} for row, answer in zip(rows, answers[: len(rows)], strict=True)
    ]


def scored_runs(shared, out):
    for name in MODELS:
        write_jsonl(out / name / "generations.jsonl", join_references(shared, name))
        assert score([str(out / name / "generations.jsonl"), "--out", str(out / name)]) == 0
    return [out / name for name in MODELS]


def scores(shared, out):
    found = {}
    for folder in scored_runs(shared, out):
        lines = [canonical(row) for row in read_jsonl(folder / "scored.jsonl")]
        found[f"scores of {folder.name}"] = [
            canonical(json.loads((folder / "metrics.json").read_text("utf-8"))),
            lines,
        ]
    return found


def audit_of_test_rows(shared, out):
    assert audit([str(shared / "dow30/test.jsonl"), "--out", str(out)]) == 1
    findings = canonical(json.loads((out / "audit.json").read_text("utf-8")))
    del findings["weeks_before_cutoff"]  # it names the recipes: every new one would change it
    return {"audit": findings}


def public_dataset(shared, out):
    assert public.main([str(shared / "dow30/train.jsonl"), "--out", str(out / "data")]) == 0
    return {"public dataset": folder_content(out / "data")}


def rendered_prompts(shared, out):
    assert public.main([str(shared / "dow30/test.jsonl"), "--out", str(out / "data")]) == 0
    rows = read_jsonl(
        next(
            path for path in sorted((out / "data").glob("*.jsonl")) if path.name != "dropped.jsonl"
        )
    )
    found = {}
    for name in FAMILIES:
        tokenizer = family_tokenizer(name)
        render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
        texts = [render(row["prompt"]) for row in rows[:10]]
        ids = [render_row_ids(tokenizer, row["prompt"], row["completion"]) for row in rows[:10]]
        found[f"prompts of {name}"] = [texts, ids]
    return found


def table_values(folder):
    """The cells of every table, without the column titles."""
    return {
        path.name: rounded(path.read_text("utf-8")).splitlines()[1:]
        for path in sorted(folder.glob("tables/*.csv"))
    }


def report_on_public_outputs(shared, out):
    runs = scored_runs(shared, out)
    assert report([*map(str, runs), "--out", str(out / "report")]) == 0
    return {"report on public outputs": table_values(out / "report")}


def report_on_made_up_runs(out):
    runs = make_pair(out)
    assert report([*map(str, runs), "--out", str(out / "report")]) == 0
    return {"report on made-up runs": table_values(out / "report")}


def fictional_market(out):
    write_market(Market(), out, "m")
    return {"fictional market": folder_content(out)}


def dataset_card(out):
    path, log = made_records.write(out, made_records.records(), None)
    options = build.BuildOptions(gap_weeks=4)
    result = build.build(options, records=path, answers=AnswerIndex(log), out=out / "data")
    facts = dict(result.manifest)
    facts["tokens"] = {
        "recipes": [],
        "absent": [],
        "rows": 0,
        "longest": 0,
    }  # tokenizers of this machine
    write_card(out / "card.md", "made-up", facts)
    return {"dataset card": head((out / "card.md").read_text("utf-8"))}


def model_cards(out):
    facts = training_manifest(manifest(Path("outputs/tiny"), Path("models/tiny")))
    plain = {**facts, "synthetic": False}
    scored = filled_metrics(metrics(), origin="made up", remedy="none")
    llama = "meta-llama/Llama-3.1-8B"
    cards = [
        model_card(ModelCardFacts("user/tiny", BASE_ID, facts)),
        model_card(ModelCardFacts("user/tiny", llama, plain, dataset_id="a/b", metrics=scored)),
    ]
    return {"model cards": [head(card) for card in cards]}


WITH_SHARED_DATA = (
    scores,
    audit_of_test_rows,
    public_dataset,
    rendered_prompts,
    report_on_public_outputs,
)
ALONE = (report_on_made_up_runs, fictional_market, dataset_card, model_cards)


RECORD = "python -m tests.test_golden [FOLDER of the public rows] [--content FILE.json]"


def digests(content):
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in content.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def recorded(names):
    known = json.loads(DIGESTS.read_text("utf-8"))
    return {name: known.get(name) for name in names}


@pytest.mark.parametrize("make", ALONE, ids=lambda make: make.__name__)
def test_output_is_the_recorded_one(make, tmp_path):
    found = digests(make(tmp_path))
    assert found == recorded(found), f"to see the content, or to record anew: {RECORD}"


@pytest.mark.parametrize("make", WITH_SHARED_DATA, ids=lambda make: make.__name__)
def test_output_on_public_rows_is_the_recorded_one(make, shared_data, tmp_path):
    found = digests(make(shared_data, tmp_path))
    assert found == recorded(found), f"to see the content, or to record anew: {RECORD}"


def record(shared):
    """The content of every output by name; without a folder, of those that need no public row."""
    content = {}
    of_shared = [partial(make, shared) for make in WITH_SHARED_DATA] if shared else []
    for make in (*of_shared, *ALONE):
        with tempfile.TemporaryDirectory() as out, redirect_stdout(StringIO()):
            content |= make(Path(out))
    return content


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path, nargs="?", help="folder of the public rows")
    parser.add_argument("--content", type=Path, help="also write what the digests are of")
    options = parser.parse_args()
    made = record(options.shared)
    if options.content:
        options.content.write_text(json.dumps(made, indent=1, ensure_ascii=False), "utf-8")
    known_digests = json.loads(DIGESTS.read_text("utf-8"))
    DIGESTS.write_text(json.dumps(known_digests | digests(made), indent=2) + "\n", "utf-8")
