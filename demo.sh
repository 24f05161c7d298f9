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
stages=9 number=0 done_share=0

# Two CPUs, one with bf16 products and one without, took 195 to 200 divided by their TFLOP/s of a matrix product.
expected=$($py -m weekahead.hardware.cpu --teraflop 200)
[ -z "$expected" ] || echo "demo: about $(((expected + 59) / 60)) minutes on this CPU if it is free"

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

answers() { # answers RUN FLAG...
    run=$1 && shift
    $py -m eval.generate --config recipes/smollm2.yaml --dataset $data --batch_size 32 --max_new_tokens 160 \
        --out "results/$run" "$@"
}

score_all() {
    for run in demo-base demo-tuned demo-tuned-unseen; do
        $py -m eval.score results/$run/generations.jsonl --out results/$run
    done
}

publish_all() { # after the report, whose corrected verdict stands in W&B's tables
    for run in demo-base demo-tuned demo-tuned-unseen; do
        $py -m eval.publish results/$run
    done
}

rm -rf data/raw/demo data/records/demo.jsonl data/teacher/demo.jsonl $data \
    outputs/demo results/demo-base results/demo-tuned results/demo-tuned-unseen $report
stage 1 "market" $py -m data_pipeline.synthetic --name demo --signal "$signal" --seed "$seed"
stage 65 "train" $py -m weekahead.launch --config_file "accelerate_configs/${ACCEL:-cpu}.yaml" \
    -m sft.train --config recipes/smollm2.yaml --dataset $data --output_dir outputs/demo --seed $((42 + seed)) \
    --max_length 400 --per_device_train_batch_size 4 --gradient_accumulation_steps 1 --logging_steps 2 --save_steps 0.5
stage 8 "answers of the tuned model" answers demo-tuned --adapter outputs/demo
stage 9 "likelihoods of the tuned model" $py -m eval.likelihood --config recipes/smollm2.yaml --dataset $data \
    --adapter outputs/demo --out results/demo-tuned
stage 5 "answers of the tuned model, unseen wordings" answers demo-tuned-unseen --adapter outputs/demo --split test_unseen
stage 10 "answers of the base" answers demo-base --adapter none
stage 1 "scores" score_all
stage 1 "report" $py -m eval.report results/demo-base results/demo-tuned results/demo-tuned-unseen --out $report
stage 0 "W&B" publish_all
echo "== all stages: $(($(date +%s) - began)) s"
# The report's third line is its answer.
echo "demo: $(sed -n '3s/\*\*//gp' $report/report.md)"
echo "demo: next: make plan MODEL=llama, then make train MODEL=llama RUN=llama-1 on a machine with a GPU; with other firms: make data"
echo "$report/report.html"
