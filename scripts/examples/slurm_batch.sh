#!/usr/bin/env bash
# Many graphs as an array of Slurm jobs: each compiles its part (shard) of them, so many at a time as it has processors.
#
#   sbatch --array=1-8 --cpus-per-task=4 scripts/examples/slurm_batch.sh models/ -o out --keep-going --time-limit=60
#   gcomp batch --summary out/results-*-of-8.jsonl        # when they have ended
#
# All arguments are those of `gcomp batch`. A job that is preempted and requeued, or submitted again, goes on where it
# was. Graphs and the output folder lie on a file system that all nodes share, gcomp on the PATH or named in $GCOMP.
#SBATCH --job-name=gcomp
#SBATCH --requeue
set -euo pipefail
: "${SLURM_ARRAY_TASK_ID:?submit this with --array=1-N}"
shard=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT
# As many as the job was given; exec, so that Slurm's signals reach gcomp.
exec "${GCOMP:-gcomp}" batch "$@" --shard "$shard" -j "${SLURM_CPUS_PER_TASK:-1}" --resume
