"""Write one answer for every row of a dataset split.

    python -m eval.generate --config recipes/llama.yaml --adapter outputs/llama --dataset data/datasets/mine \\
        --out results/llama

The adapter is a folder, a Hub id with an optional @revision, or `none` for the base alone. A run that was
interrupted goes on where it stopped; a finished one is left as it is.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.dataset import EvalData, eval_rows
from data_pipeline.files import Row, append_jsonl, load_env, manifest, read_log, sha256, write_json, write_jsonl
from eval.decode import Decoding, Generation, decode, plan_batches
from eval.loading import (
    Adapter,
    Base,
    base_from_recipe,
    base_of,
    find_adapter,
    load_for_generation,
    load_tokenizer,
    pinned,
    stops,
)
from eval.precision import Precision, choose_precision
from eval.turns import render_prompt_ids
from tracking.gpu import check_torch_sees_gpu

log = logging.getLogger(__name__)

GENERATIONS, MANIFEST = "generations.jsonl", "manifest.json"


def generate(recipe: Row, adapter_name: str, data: EvalData, how: Decoding, out: Path, precision: Precision) -> Row:
    """Generate every row of `data` into `out`; return the manifest that lies beside the answers.

    Raises ValueError or OSError, before the model is loaded, for an adapter that does not fit, rows that
    do not render, or a folder begun with other settings.
    """
    base = base_from_recipe(recipe, precision)
    adapter = None if adapter_name == "none" else find_adapter(adapter_name)
    if adapter:
        base = base_of(adapter, base)
    base = pinned(base)
    facts = describe(adapter, base, precision, data, how)
    done = begun(out, facts)
    if done is None or {row["id"] for row in data.rows} - set(done):
        log.info("precision: %s on %s (%s)", precision.mode, precision.device, precision.reason)
        tokenizer = load_tokenizer(base)
        prompts = [_prompt(tokenizer, row) for row in data.rows]
        write_json(out / MANIFEST, {**facts, "complete": False})
        model, form = load_for_generation(base, adapter, precision)
        facts["form"] = form
        log.info("model: %s (%s)", base.name, form)
        done = _generate_missing(model, tokenizer, base, data, prompts, how, out / GENERATIONS, facts)
    else:
        log.info("%s is finished: nothing to generate", out)
        return json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    rows = [done[row["id"]] for row in data.rows]
    write_jsonl(out / GENERATIONS, rows)
    seconds, tokens = sum(row["seconds"] for row in rows), sum(row["new_tokens"] for row in rows)
    totals = {"n": len(rows), "seconds_total": seconds, "tokens_per_second": tokens / seconds if seconds else None}
    write_json(out / MANIFEST, {**facts, **totals, "complete": True})
    return {**facts, **totals}


def begun(out: Path, facts: Row) -> dict[str, Row] | None:
    """The answers that an earlier start left in `out`, by id; None where there was none.

    Raises ValueError naming what differs where that start had other settings, so that answers of two
    experiments never mix; nothing is touched then.
    """
    path = out / MANIFEST
    if not path.exists():
        return None
    before = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(facts))
    differences = [
        f"{key}: {before.get(key)!r} is now {now[key]!r}"
        for key in ("adapter", "adapter_sha256", "base", "dataset", "generation")
        if before.get(key) != now[key]
    ]
    if differences:
        raise ValueError(
            f"{out} holds answers made with other settings: {'; '.join(differences)}. "
            "Choose another RUN, or remove the folder to start over."
        )
    return {row["id"]: row for row in read_log(out / GENERATIONS)}


def _generate_missing(
    model: Any,
    tokenizer: Any,
    base: Base,
    data: EvalData,
    prompts: list[list[int]],
    how: Decoding,
    path: Path,
    facts: Row,
) -> dict[str, Row]:
    """Generate batch by batch, appending each to the log; batches that stand there whole are passed over."""
    from tqdm import tqdm
    from transformers import set_seed

    done = {row["id"]: row for row in read_log(path)}
    ends = stops(tokenizer, base)
    batches = plan_batches([len(prompt) for prompt in prompts], how.batch_size)
    with tqdm(total=len(prompts), initial=len(done), unit="row", desc=path.parent.name) as bar:
        for number, batch in enumerate(batches):
            missing = [i for i in batch if data.rows[i]["id"] not in done]
            if not missing:
                continue
            set_seed(how.seed + number)  # a batch samples the same whether or not the run was interrupted
            answers = dict(zip(batch, decode(model, tokenizer, [prompts[i] for i in batch], ends, how), strict=True))
            fresh = [_row(data.rows[i], answers[i], data, facts) for i in missing]
            append_jsonl(path, fresh)
            done |= {row["id"]: row for row in fresh}
            bar.update(len(fresh))
    return done


def _prompt(tokenizer: Any, row: Row) -> list[int]:
    try:
        return render_prompt_ids(tokenizer, row["prompt"])
    except ValueError as error:
        raise ValueError(f"row {row['id']}: {error}") from None


def _row(row: Row, answer: Generation, data: EvalData, facts: Row) -> Row:
    return {
        "id": row["id"],
        "symbol": row["symbol"],
        "period": f"{row['week_start']} to {row['week_end']}",
        "week_end": row["week_end"],
        "split": data.split,
        "label": row["label"],
        "answer": row["completion"][0]["content"],
        "generation": answer.text,
        "seconds": round(answer.seconds, 4),
        "new_tokens": answer.new_tokens,
        "finish_reason": answer.finish_reason,
        "latency_measured": facts["latency_measured"],
        "last_week_return": row.get("last_week_return"),
        "train_majority": facts["train_majority"],
        **({"synthetic": True} if row.get("synthetic") else {}),
    }


def describe(adapter: Adapter | None, base: Base, precision: Precision, data: EvalData, how: Decoding) -> Row:
    """What is about to be generated: the manifest without its results."""
    trained = adapter.manifest if adapter else None
    return manifest(
        kind="generate",
        adapter=adapter.reference if adapter else None,
        adapter_revision=adapter.revision if adapter else None,
        adapter_sha256=sha256(adapter.folder / "adapter_model.safetensors") if adapter else None,
        base=base.facts(),
        precision={"mode": precision.mode, "device": precision.device, "reason": precision.reason},
        dataset={
            "source": data.source,
            "revision": data.revision,
            "split": data.split,
            "sha256": data.sha256,
            "rows": len(data.rows),
            "synthetic": any(row.get("synthetic", False) for row in data.rows),
            "ceiling": _ceiling(data),
        },
        generation={**how.__dict__, "do_sample": how.temperature > 0},
        latency_measured=how.batch_size == 1,
        train=trained,
        train_majority=trained["train_majority"] if trained else data.train_majority,
    )


def _ceiling(data: EvalData) -> Row | None:
    """The best reachable direction accuracy, where the dataset's manifest states one."""
    path = Path(data.source) / MANIFEST
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8")).get("ceiling")


def read_recipe(path: Path) -> Row:
    """A recipe's fields. Raises ValueError naming the file where it is no YAML mapping."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} holds no fields; expected a recipe such as recipes/smollm2.yaml")
    return recipe


def arguments() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="recipe that names the base")
    parser.add_argument("--adapter", required=True, help="folder, user/name[@revision], or none for the base")
    parser.add_argument("--dataset", required=True, help="folder, .jsonl file or Hub id")
    parser.add_argument("--out", type=Path, required=True, help="folder for the answers, results/<run>")
    parser.add_argument("--split", help="split to answer (default: test, or every row of a single file)")
    parser.add_argument("--limit", type=int, help="only the first N rows")
    parser.add_argument("--max_new_tokens", type=int, default=Decoding.max_new_tokens)
    parser.add_argument("--batch_size", type=int, default=Decoding.batch_size)
    parser.add_argument("--temperature", type=float, default=Decoding.temperature, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=Decoding.seed, help="for a temperature above 0")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 generated, 2 for something the message says how to mend, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arguments().parse_args(argv)
    try:
        load_env()
        check_torch_sees_gpu()
        how = Decoding(args.max_new_tokens, args.batch_size, args.temperature, args.seed)
        recipe = read_recipe(args.config)
        data = eval_rows(args.dataset, args.split)
        if args.limit is not None:
            if args.limit < 1:
                raise ValueError(f"--limit is {args.limit}; expected at least 1")
            del data.rows[args.limit :]
        facts = generate(recipe, args.adapter, data, how, args.out, choose_precision())
    except (ValueError, OSError, RuntimeError) as error:
        print(f"eval.generate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("eval.generate: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    speed = f"{facts['tokens_per_second']:.1f} tokens/s" if facts.get("tokens_per_second") else ""
    print(f"answers: {args.out / GENERATIONS} ({facts['n']} rows, {speed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
