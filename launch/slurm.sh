#!/usr/bin/env bash
# A Slurm job. The same file is what the user calls and the batch script that Slurm runs.
set -euo pipefail

usage() {
  cat <<'TEXT'
Submits a training command to Slurm: one task on each node, with all of the node's GPUs.

  launch/slurm.sh [--nodes N] [--time LIMIT] [--output FILE] [--dry-run] [-- SBATCH_OPTION ...] --run COMMAND [ARGUMENT ...]

  --nodes N       nodes (1)
  --time LIMIT    time limit of the job, as sbatch takes it (24:00:00)
  --output FILE   output of all tasks, each line with its task's number (slurm-%j.log)
  --dry-run       print the sbatch command
  -- OPTION ...   more options for sbatch, such as --partition=gpu --gpus-per-node=8 --account=NAME
  --run COMMAND   what every task runs, for example: --run .venv/bin/python -m pvchat_jax.train --config=configs/stage1.py:8b

The working directory, the data and the output directory must be the same on all nodes. Two minutes before the time limit, and when
a job of higher priority takes the nodes, the run saves and the job goes back into the queue, where it continues.
TEXT
}

if [[ ${SLURM_JOB_ID:-} && ${1:-} == --as-job ]]; then
  shift
  status=0
  srun --label --kill-on-bad-exit=1 "$@" || status=$?
  # 143 is 128 and SIGTERM: the run has saved because it had to stop.
  ((status != 143)) || scontrol requeue "$SLURM_JOB_ID"
  exit "$status"
fi

nodes=1 limit=24:00:00 output=slurm-%j.log dry_run=false more=()
while (($#)); do
  case $1 in
    --nodes) nodes=${2:?--nodes needs a number} && shift 2 ;;
    --time) limit=${2:?--time needs a limit} && shift 2 ;;
    --output) output=${2:?--output needs a file} && shift 2 ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --run) shift && break ;;
    --)
      shift
      while (($#)) && [[ $1 != --run ]]; do more+=("$1") && shift; done
      ;;
    *) echo "error: '$1' is no option of launch/slurm.sh; give options of sbatch after --." >&2 && exit 2 ;;
  esac
done
(($#)) || { echo "error: there is no command; give it after --run, or see launch/slurm.sh --help." >&2 && exit 2; }

command=(
  sbatch --job-name=pvchat --nodes="$nodes" --ntasks-per-node=1 --time="$limit" --output="$output" --open-mode=append
  --requeue --signal=TERM@120 "${more[@]}" "$(realpath "${BASH_SOURCE[0]}")" --as-job "$@"
)
if $dry_run; then
  printf '%q ' "${command[@]}"
  echo
else
  exec "${command[@]}"
fi
