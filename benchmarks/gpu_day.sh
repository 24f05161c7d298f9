#!/bin/bash
# shellcheck disable=SC2317,SC2329 # the lines are called by their names
# Every GPU figure of docs/performance.md, with 8B shapes and random weights, so that no gated model is needed:
#     OUT=benchmarks/results/gpu_day benchmarks/gpu_day.sh [LINE...]
# Lines go by value, each independent of the others; a line that is in $OUT/done.txt is left out, so the same command
# goes on after an interrupt. SECONDS_LEFT (default 540) ends the call before a limit: no line begins that would not fit.
# SHAPE=tiny tries the script itself. BASE is where 16 GB of weights are written once (default: memory); TOKENIZER a folder with the embedded tokenizer,
# PYTHON the interpreter. The results are at most eight small files; benchmarks.gpu_table prints them as a table.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${OUT:-benchmarks/results/gpu_day}
python=${PYTHON:-.venv/bin/python}
base=${BASE:-/dev/shm/weekahead-llama8b}
limit=${SECONDS_LEFT:-540}
data=${DATASET:-data/datasets/demo}
work=${WORK:-${TMPDIR:-/tmp}/weekahead-gpu-day}
export HF_HUB_OFFLINE=1 WANDB_MODE=offline WANDB_SILENT=true TOKENIZERS_PARALLELISM=false HF_DATASETS_DISABLE_PROGRESS_BARS=1
mkdir -p "$out" "$work"
touch "$out/done.txt"

recipe() { # recipe NAME: the recipe over the random base
    sed -e "s|^model_name_or_path:.*|model_name_or_path: $base|" -e "s|^turn_format:.*|turn_format: smollm2|" \
        "recipes/$1.yaml" >"$work/$1.yaml"
    echo "$work/$1.yaml"
}

bench() { # bench RECIPE FLAG...: settings of one training, the base loaded once
    config=$(recipe "$1") && shift
    $python -m benchmarks.train --config "$config" --results "$out/train.jsonl" "$@"
}

faster="per_device_train_batch_size=4,gradient_accumulation_steps=4"
eight="per_device_train_batch_size=8,gradient_accumulation_steps=2"
plain="activation_checkpointing=false"
sorted="train_sampling_strategy=batch_rebalance"

speed() { # the recipe's 16 rows per step, in public lengths
    bench llama --lengths public --steps 2 --vary "$faster" "$faster,$sorted" "$faster,$plain" "$faster,$plain,$sorted" "$eight" \
        "$eight,$sorted" "per_device_train_batch_size=2,gradient_accumulation_steps=8,$plain" "$faster,lora_dropout=0.05"
}

t4() { # as on a T4: heads expanded, which is chosen there, and as transformers leaves them
    bench llama_t4 --like t4 --length 3130 --steps 1 --vary attn_implementation=sdpa,gradient_accumulation_steps=4
}

end_to_end() { # train, answer, likelihoods, score, with GPU samples and W&B offline
    config=$(recipe llama)
    rm -rf "$work/run" "$work/results"
    $python -m sft.train --config "$config" --dataset "$data" --output_dir "$work/run" --per_device_train_batch_size 16 \
        --gradient_accumulation_steps 1 --max_steps 50 --num_train_epochs 3 --logging_steps 1 --eval_steps 25 \
        --save_steps 50 --gen_rows 8 || return
    cp "$work/run/train_log.jsonl" "$out/train_log.jsonl"
    cp "$work/run/manifest.json" "$out/manifest.json"
    $python -m eval.generate --config "$config" --dataset "$data" --adapter "$work/run" --batch_size 64 \
        --max_new_tokens 160 --out "$work/results" || return
    $python -m eval.likelihood --config "$config" --dataset "$data" --adapter "$work/run" --out "$work/results" || return
    cp "$work/results/likelihoods.jsonl" "$out/likelihoods.jsonl"
}

answers() { # with the adapter of end_to_end; prompts of the public rows' length; then as on a card of 24 GB
    config=$(recipe llama)
    asked="--config $config --adapter $work/run --length 1511 --max_new_tokens 128 --full --results $out/generate.jsonl --no_upstream"
    # shellcheck disable=SC2086 # flags, and a folder without spaces
    $python -m benchmarks.generate $asked --rows 64 --batch_sizes 16 64 &&
        $python -m benchmarks.generate $asked --rows 16 --batch_sizes 16 --memory_gib 22.0 &&
        $python -m benchmarks.generate $asked --rows 64 --batch_sizes 64 --memory_gib 22.0
}

checkpointing() { # one row per micro-batch: what waits for Python
    bench llama --length 1895 --steps 2 --vary "$plain" "gradient_accumulation_steps=4,max_length=512"
}

began=$SECONDS
status=0
# name:seconds; those of the first four on an H200, the last one estimated
for line in speed:205 t4:60 end_to_end:200 answers:150 checkpointing:90; do
    name=${line%%:*} needed=${line##*:}
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    if grep -qx "$name" "$out/done.txt"; then continue; fi
    if [ ! -d "$base" ]; then needed=$((needed + 40)); fi
    if [ $((SECONDS - began + needed)) -gt "$limit" ]; then
        echo "gpu_day: no time for $name ($needed s); the same command goes on with it"
        continue
    fi
    if [ ! -d "$base" ]; then
        $python -m benchmarks.shapes --shape "${SHAPE:-llama8b}" --out "$base" ${TOKENIZER:+--tokenizer "$TOKENIZER"} || exit 2
    fi
    echo "gpu_day: $name"
    start=$SECONDS
    if "$name" >>"$out/log.txt" 2>&1; then
        echo "$name" >>"$out/done.txt"
    else
        echo "gpu_day: $name failed; its last lines:" && tail -5 "$out/log.txt" && status=1
    fi
    echo "gpu_day: $name took $((SECONDS - start)) s"
done
exit $status
