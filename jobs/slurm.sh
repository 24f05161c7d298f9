#!/bin/sh
# One training on one node of a SLURM cluster, with all its GPUs; it goes on after a time limit or a lost node.
#   sbatch --gpus-per-node=4 jobs/slurm.sh MODEL=llama RUN=llama-1 [DATASET=..] [ARGS="--field value"]
# Compute nodes often have no network: on the login node run `make setup`, download the base into $HF_HOME
# (.venv/bin/hf download meta-llama/Llama-3.1-8B) and give DATASET as a folder.
#SBATCH --job-name=weekahead
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@300
set -eu
cd "${SLURM_SUBMIT_DIR:-.}"
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}" WANDB_MODE="${WANDB_MODE:-offline}"
gpus=${SLURM_GPUS_ON_NODE:-1}

# Five minutes before its limit the batch shell gets TERM, and so does a node that is lost: the training saves a checkpoint
# and ends with 143, and the job is queued again. The same command goes on where it stopped.
training=
trap '[ -z "$training" ] || kill -TERM "$training"' TERM
if [ "$gpus" -gt 1 ]; then
    make train ACCEL=ddp GPUS="$gpus" "$@" &
else
    make train ACCEL=single_gpu "$@" &
fi
training=$!
status=0
wait "$training" || status=$?
# A trapped signal ends the first wait; the second is for the checkpoint.
if [ "$status" -gt 128 ]; then
    wait "$training" || status=$?
    [ -z "${SLURM_JOB_ID:-}" ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
