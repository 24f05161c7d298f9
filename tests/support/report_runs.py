"""Made-up runs as the commands leave them, and a reader for the page about them."""

import math
from html.parser import HTMLParser

from eval.score import score_files
from weekahead.files import write_json, write_jsonl
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS

WEEKS = [f"2024-0{month}-{day:02}" for month in (1, 2) for day in (7, 14, 21, 28)]
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(2)> \u202e\x07 ``` {{ 7*7 }} "quoted" | pipe'
)


def generation_rows(right_of_five, weeks=WEEKS, *, hostile=False, synthetic=False):
    """Five made-up firms per week; `right_of_five(week)` of them are predicted right.

    Which ones changes from week to week. One answer in twenty is unreadable.
    """
    rows = []
    for week, day in enumerate(weeks):
        for firm in range(5):
            label = BINS[(5 * week + 7 * firm) % 12]
            is_right = (firm + week) % 5 < right_of_five(week)
            predicted = label if is_right else BINS[11 - BINS.index(label)]
            text = _answer(predicted, "The balance decides.")
            if hostile and firm == 0:
                text = HOSTILE + "\n" + text
            if firm == 4 and week % 4 == 0:
                text = "I cannot say."
            row = {
                "id": f"F{firm}-{day}",
                "symbol": f"F{firm}",
                "week_end": day,
                "label": label,
                "answer": _answer(label, "It was so."),
                "generation": text,
                "seconds": 0.5,
                "new_tokens": 40,
                "finish_reason": "stop",
                "last_week_return": 0.01 if week % 2 else -0.01,
                "train_majority": 1,
            }
            rows.append(row | {"synthetic": True} if synthetic else row)
    return rows


def _answer(label, analysis):
    return render_answer(["Orders grew."], ["Costs rose."], label, analysis)


def likelihood_row(row, prefix, up=0.5):
    """Up bins share `up` evenly; asked after the model's own answer (own) or at once (direct)."""
    probs = {name: (up if name.startswith("up") else 1 - up) / 6 for name in BINS}
    stated = {
        "probs": probs,
        "logprobs": {name: math.log(probability) for name, probability in probs.items()},
        "up": up,
        "mass": 0.2,
    }
    ids = {"id": row["id"], "week_end": row["week_end"], "label": row["label"]}
    return {**ids, **stated, "prefix": prefix, "direct": stated}


def make_run(folder, rows, **manifest):
    """A folder as eval.generate and eval.score leave it."""
    write_jsonl(folder / "generations.jsonl", rows)
    score_files([folder / "generations.jsonl"], folder)
    defaults = {
        "kind": "generate",
        "adapter": None,
        "base": {"name": "org/base", "revision": "abc", "dtype": "bfloat16"},
        "dataset": {"source": "made-up", "split": "test", "sha256": "0" * 64, "rows": len(rows)},
        "generation": {"max_new_tokens": 256, "do_sample": False},
        "git_commit": "c" * 40,
    }
    write_json(folder / "manifest.json", {**defaults, **manifest})
    return folder


def make_training(folder):
    """The folder of a training with a short log; returns its manifest."""
    rows = []
    for step in range(1, 6):
        moment = {"step": step, "epoch": step / 5, "time": 2.0 * step}
        train = {
            "kind": "train",
            "loss": 2.0 / step,
            "learning_rate": 5e-5,
            "grad_norm": 1.0,
            "tokens_per_second": 900.0,
            "samples_per_second": 2.0,
            "steps_per_second": 0.5,
        }
        system = {
            "kind": "system",
            "gpu": None,
            "gpu_reason": "no NVIDIA driver",
            "cpu_percent": 180.0,
            "rss_bytes": 2 << 30,
        }
        rows += [{**moment, **train}, {**moment, **system}]
    last = {"step": 5, "epoch": 1.0}
    rows.append({**last, "time": 11.0, "kind": "eval", "eval_loss": 0.5, "eval_runtime": 1.0})
    end = {
        "train_runtime": 12.0,
        "train_loss": 0.9,
        "train_samples_per_second": 2.0,
        "train_steps_per_second": 0.5,
    }
    rows.append({**last, "time": 12.0, "kind": "end", **end})
    write_jsonl(folder / "train_log.jsonl", rows)
    manifest = {
        "kind": "train",
        "run": folder.name,
        "settings": {"learning_rate": 5e-5, "num_train_epochs": 3},
        "dataset": {"sha256": "d" * 64},
        "result": {"train_loss": 0.9, "peak_memory_bytes": 2 << 30, "steps": 5},
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def make_pair(folder):
    """A base that is right in less than half and a tuned run that is right in nearly all rows."""
    train = make_training(folder / "outputs" / "tuned")
    base = make_run(folder / "results" / "demo-base", generation_rows(lambda week: 2 - week % 2))
    rows = generation_rows(lambda week: 5 - week % 2, hostile=True)
    tuned = make_run(folder / "results" / "demo-tuned", rows, adapter="outputs/tuned", train=train)
    return [base, tuned]


class Page(HTMLParser):
    """Start tags with their attributes, and the text outside of style sheets."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._in_style = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data):
        if not self._in_style:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))
