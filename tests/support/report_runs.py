"""Runs as the suite leaves them, made up and scored on the spot, and a reader for the page about them."""

from html.parser import HTMLParser

from eval.score import score_files
from weekahead.files import write_json, write_jsonl
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS

WEEKS = [f"2024-0{month}-{day:02}" for month in (1, 2) for day in (7, 14, 21, 28)]
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(2)> \u202e\x07 ``` {{ 7*7 }} "quoted" | pipe'
)


def generation_rows(right_of_five, weeks=WEEKS, hostile=False, synthetic=False):
    """Five made-up firms a week; the first `right_of_five` of them (turned on by the week) are called right."""
    rows = []
    for week, day in enumerate(weeks):
        for firm in range(5):
            label = BINS[(5 * week + 7 * firm) % 12]
            called = (
                label if (firm + week) % 5 < right_of_five(week) else BINS[11 - BINS.index(label)]
            )
            text = render_answer(["Orders grew."], ["Costs rose."], called, "The balance decides.")
            if hostile and firm == 0:
                text = HOSTILE + "\n" + text
            if firm == 4 and week % 4 == 0:
                text = "I cannot say."
            rows.append({
                "id": f"F{firm}-{day}", "symbol": f"F{firm}", "week_end": day, "label": label,
                "answer": render_answer(["Orders grew."], ["Costs rose."], label, "It was so."),
                "generation": text, "seconds": 0.5, "new_tokens": 40, "finish_reason": "stop",
                "last_week_return": 0.01 if week % 2 else -0.01, "train_majority": 1,
                **({"synthetic": True} if synthetic else {}),
            })  # fmt: skip
    return rows


def make_run(folder, rows, **manifest):
    """A folder as eval.generate and eval.score leave it."""
    write_jsonl(folder / "generations.jsonl", rows)
    score_files([folder / "generations.jsonl"], folder)
    facts = {
        "kind": "generate", "adapter": None, "base": {"name": "org/base", "revision": "abc", "dtype": "bfloat16"},
        "dataset": {"source": "made-up", "split": "test", "sha256": "0" * 64, "rows": len(rows)},
        "generation": {"max_new_tokens": 256, "do_sample": False}, "git_commit": "c" * 40,
    }  # fmt: skip
    write_json(folder / "manifest.json", {**facts, **manifest})
    return folder


def make_training(folder, gpu=None, reason="no NVIDIA driver"):
    """A training's folder with a short log."""
    rows = []
    for step in range(1, 6):
        rows.append({"step": step, "epoch": step / 5, "time": 2.0 * step, "kind": "train", "loss": 2.0 / step,
                     "learning_rate": 5e-5, "grad_norm": 1.0, "tokens_per_second": 900.0, "samples_per_second": 2.0,
                     "steps_per_second": 0.5})  # fmt: skip
        rows.append({"step": step, "epoch": step / 5, "time": 2.0 * step, "kind": "system", "gpu": gpu,
                     "gpu_reason": None if gpu else reason, "cpu_percent": 180.0, "rss_bytes": 2 << 30})  # fmt: skip
    rows.append(
        {
            "step": 5,
            "epoch": 1.0,
            "time": 11.0,
            "kind": "eval",
            "eval_loss": 0.5,
            "eval_runtime": 1.0,
        }
    )
    rows.append({"step": 5, "epoch": 1.0, "time": 12.0, "kind": "end", "train_runtime": 12.0, "train_loss": 0.9,
                 "train_samples_per_second": 2.0, "train_steps_per_second": 0.5})  # fmt: skip
    write_jsonl(folder / "train_log.jsonl", rows)
    manifest = {
        "kind": "train", "run": folder.name, "settings": {"learning_rate": 5e-5, "num_train_epochs": 3},
        "dataset": {"sha256": "d" * 64}, "result": {"train_loss": 0.9, "peak_memory_bytes": 2 << 30, "steps": 5},
    }  # fmt: skip
    write_json(folder / "manifest.json", manifest)
    return manifest


def make_pair(folder):
    """A base that is right in two of five and a tuned run that is right in nearly all, with its training."""
    train = make_training(folder / "outputs" / "tuned")
    base = make_run(folder / "results" / "demo-base", generation_rows(lambda week: 2 - week % 2))
    rows = generation_rows(lambda week: 5 - week % 2, hostile=True)
    tuned = make_run(folder / "results" / "demo-tuned", rows, adapter="outputs/tuned", train=train)
    return [base, tuned]


class Page(HTMLParser):
    """Start tags with their attributes, and the text outside of style sheets."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self._skip = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._skip = tag == "style"

    def handle_endtag(self, tag):
        self._skip = self._skip and tag != "style"

    def handle_data(self, data):
        if not self._skip:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))
