#!/bin/bash
# Trains every config of a folder, each as a task of its own:
#   sbatch --array=1-NUMBER docs/queue/slurm.sh FOLDER
#SBATCH --job-name=dreambooth
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=24G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@300
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append

# --signal: five minutes before the time is over, the training is asked to stop and saves.
set -u
configs=("$1"/*.json)
config="${configs[SLURM_ARRAY_TASK_ID - 1]}"
name="$(basename "$config" .json)"
srun python dreambooth.py train --config "$config" --run "runs/$name" --resume-or-start
code=$?
if [ "$code" -eq 3 ]; then # stopped and saved: go on in the next place in the queue
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
