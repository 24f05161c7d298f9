#!/bin/sh
# The whole job on a fictional market, with the same public commands as for real data. Called by `make demo`.
#   SIGNAL (0 to 1): how much the news says about next week; 0 is nothing. SEED: another market, another run.
# It starts over each time: its own folders (data/*/demo, outputs/demo, results/demo-*, reports/demo) are replaced.
set -eu
py=.venv/bin/python
signal=${SIGNAL:-0.9} seed=${SEED:-0}
data=data/datasets/demo
began=$(date +%s)

stage() { # stage NAME COMMAND...: run it, and say how long it took
    name=$1; shift
    echo "== $name"
    start=$(date +%s)
    "$@"
    echo "== $name: $(($(date +%s) - start)) s"
}

rm -rf data/raw/demo data/records/demo.jsonl data/teacher/demo.jsonl $data \
    outputs/demo results/demo-base results/demo-tuned results/demo-tuned-unseen reports/demo
stage "market" $py -m data_pipeline.synthetic --name demo --signal "$signal" --seed "$seed"
stage "train" $py -m weekahead.launch --config_file "accelerate_configs/${ACCEL:-cpu}.yaml" \
    -m sft.train --config recipes/smollm2.yaml --dataset $data --output_dir outputs/demo --seed $((42 + seed)) \
    --max_length 400 --per_device_train_batch_size 4 --gradient_accumulation_steps 1 --logging_steps 2 --save_steps 0.5
answers="--config recipes/smollm2.yaml --dataset $data --batch_size 32"
stage "answers of the tuned model" $py -m eval.generate $answers --adapter outputs/demo --out results/demo-tuned \
    --max_new_tokens 160
stage "likelihoods of the tuned model" $py -m eval.likelihood --config recipes/smollm2.yaml --dataset $data \
    --adapter outputs/demo --out results/demo-tuned
stage "answers of the tuned model, unseen wordings" $py -m eval.generate $answers --adapter outputs/demo \
    --split test_unseen --out results/demo-tuned-unseen --max_new_tokens 160
stage "answers of the base" $py -m eval.generate $answers --adapter none --out results/demo-base --max_new_tokens 160
for run in demo-base demo-tuned demo-tuned-unseen; do
    stage "score $run" $py -m eval.score results/$run/generations.jsonl --out results/$run
    stage "log $run" $py -m eval.publish results/$run
done
echo "== all stages: $(($(date +%s) - began)) s"
$py -m eval.report results/demo-base results/demo-tuned results/demo-tuned-unseen --out reports/demo
