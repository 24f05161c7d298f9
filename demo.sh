#!/bin/sh
# The whole job on a fictional market, with the same public commands as for real data. Called by `make demo`.
#   SIGNAL (0 to 1): how much the news says about next week; 0 is nothing. SEED: another market, another run.
# It starts over each time: its own folders (data/*/demo, outputs/demo, results/demo-*, reports/demo) are replaced.
set -eu
py=.venv/bin/python
signal=${SIGNAL:-0.9} seed=${SEED:-0}
data=data/datasets/demo report=reports/demo
# The progress bars of tokenizing say nothing here.
export HF_DATASETS_DISABLE_PROGRESS_BARS=1
began=$(date +%s)
stages=5 number=0 done_share=0

# What does not depend on the CPU's matrix products (loading, Python) takes about 200 s; the rest, 150 divided by their TFLOP/s.
cpu=$($py -m weekahead.hardware.cpu --teraflop 150) # such as "bf16 190"; nothing on a GPU
mode=${cpu% *} products=${cpu#* } rows_per_step=4 max_steps=-1 train_share=66 remark=
if [ "$mode" = fp32 ]; then # its products are several times slower; half of the rows still show the skill
    rows_per_step=2 max_steps=100 train_share=56 products=$((products * 6 / 10))
    remark=", with 200 of the 400 rows, since it has no bf16 products"
fi
expected=${products:+$((products + 200))}
[ -z "$expected" ] || echo "demo: about $(((expected + 59) / 60)) minutes on this CPU if it is free$remark"

left() { # seconds left: as the stages so far went, else as expected; nothing on a GPU before the first
    elapsed=$(($(date +%s) - began))
    if [ "$done_share" -ge 20 ]; then
        echo $((elapsed * (100 - done_share) / done_share))
    else
        [ -z "$expected" ] || echo $((expected - elapsed))
    fi
}

stage() { # stage SHARE NAME COMMAND...: run it; SHARE is its percent of the demo's time
    share=$1 name=$2 && shift 2
    number=$((number + 1))
    seconds=$(left)
    minutes=
    [ -z "$seconds" ] || [ "$seconds" -lt 1 ] || minutes=", about $(((seconds + 59) / 60)) min left"
    echo "== stage $number of $stages: $name$minutes"
    start=$(date +%s)
    "$@"
    done_share=$((done_share + share))
    echo "== $name: $(($(date +%s) - start)) s"
}

evaluate() { # one process, so that each of the two models is loaded once
    set -- --config recipes/smollm2.yaml --dataset $data
    $py -m eval.steps \
        generate "$@" --adapter outputs/demo --out results/demo-tuned --batch_size 64 --max_new_tokens 160 \
        --then likelihood "$@" --adapter outputs/demo --out results/demo-tuned \
        --then generate "$@" --adapter outputs/demo --split test_unseen --out results/demo-tuned-unseen \
        --batch_size 64 --max_new_tokens 160 \
        --then generate "$@" --adapter none --out results/demo-base --batch_size 64 --max_new_tokens 160
}

report() {
    $py -m eval.steps \
        score results/demo-base/generations.jsonl --out results/demo-base \
        --then score results/demo-tuned/generations.jsonl --out results/demo-tuned \
        --then score results/demo-tuned-unseen/generations.jsonl --out results/demo-tuned-unseen \
        --then report results/demo-base results/demo-tuned results/demo-tuned-unseen --out $report
}

publish() { # after the report, whose corrected verdict stands in W&B's tables
    $py -m eval.steps publish results/demo-base --then publish results/demo-tuned \
        --then publish results/demo-tuned-unseen
}

rm -rf data/raw/demo data/records/demo.jsonl data/teacher/demo.jsonl $data \
    outputs/demo results/demo-base results/demo-tuned results/demo-tuned-unseen $report
stage 1 "market" $py -m data_pipeline.synthetic --name demo --signal "$signal" --seed "$seed"
stage $train_share "train" $py -m weekahead.launch --config_file "accelerate_configs/${ACCEL:-cpu}.yaml" \
    -m sft.train --config recipes/smollm2.yaml --dataset $data --output_dir outputs/demo --seed $((42 + seed)) \
    --max_length 400 --per_device_train_batch_size $rows_per_step --gradient_accumulation_steps 1 --max_steps $max_steps \
    --logging_steps 2 --save_steps 0.5
stage $((96 - train_share)) "answers and likelihoods" evaluate
stage 2 "scores and report" report
stage 1 "W&B" publish
echo "== all stages: $(($(date +%s) - began)) s"
# The report's third line is its answer.
echo "demo: $(sed -n '3s/\*\*//gp' $report/report.md)"
echo "demo: ask it about a week: make forecast RUN=demo RECORDS=data/records/demo.jsonl DATE=2032-03-21"
echo "demo: next: make plan MODEL=llama, then make train MODEL=llama RUN=llama-1 on a machine with a GPU; with other firms: make data"
echo "$report/report.html"
