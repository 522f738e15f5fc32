#!/usr/bin/env bash
# Shards of the synthesis as a Slurm job array.
set -euo pipefail

usage() {
  cat <<'TEXT'
Makes a training set on several nodes of Slurm: one job prepares it, an array does the shards, and a last job puts them together.

  launch/slurm_array.sh [--shards N] [--at-a-time N] [--time LIMIT] [--output FOLDER] [--dry-run] [-- SBATCH_OPTION ...] --run COMMAND ...

  --shards N        tasks of the array (8)
  --at-a-time N     tasks that may run at once (all)
  --time LIMIT      time limit of each job, as sbatch takes it (24:00:00)
  --output FOLDER   logs of the jobs (.)
  --dry-run         print the sbatch commands
  -- OPTION ...     more options for sbatch, such as --partition=gpu --gpus=1
  --run COMMAND     without --shard and --only, for example: --run .venv/bin/python -m pvchat_jax.synthesize --video=wilson.mp4 ...

The working directory, the video, the corpus and --out must be the same on all nodes. A task that is preempted or whose node fails is
started again and finds what it had done. The last job runs however the tasks ended, and does what a lost one left undone.
TEXT
}

shards=8 at_a_time='' limit=24:00:00 output=. dry_run=false more=()
while (($#)); do
  case $1 in
    --shards) shards=${2:?--shards needs a number} && shift 2 ;;
    --at-a-time) at_a_time=${2:?--at-a-time needs a number} && shift 2 ;;
    --time) limit=${2:?--time needs a limit} && shift 2 ;;
    --output) output=${2:?--output needs a folder} && shift 2 ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --run) shift && break ;;
    --)
      shift
      while (($#)) && [[ $1 != --run ]]; do more+=("$1") && shift; done
      ;;
    *) echo "error: '$1' is no option of launch/slurm_array.sh; give options of sbatch after --." >&2 && exit 2 ;;
  esac
done
(($#)) || { echo "error: there is no command; give it after --run, or see launch/slurm_array.sh --help." >&2 && exit 2; }
[[ $shards =~ ^[1-9][0-9]*$ ]] || { echo "error: --shards is '$shards'; give a number from 1." >&2 && exit 2; }

exec 3>&1 # what a dry run prints passes by the numbers that are captured

submit() { # NAME LOG OPTION ... -- COMMAND ...: prints the job's number
  local name=$1 log=$2 options=() command wrapped
  shift 2
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  shift
  # sbatch gives the text to a shell; only the number of the array's task is for that shell to fill in.
  printf -v wrapped '%q ' "$@"
  wrapped=${wrapped//@TASK@/\$SLURM_ARRAY_TASK_ID}
  command=(
    sbatch --parsable --job-name="pvchat-$name" --time="$limit" --output="$output/$log" --open-mode=append --requeue
    "${options[@]}" "${more[@]}" --wrap "$wrapped"
  )
  if $dry_run; then
    printf '%q ' "${command[@]}" >&3
    echo >&3
    echo "ID_OF_${name^^}"
  else
    "${command[@]}"
  fi
}

first=$(submit prepare 'prepare-%j.log' -- "$@" --only=cast)
first=${first%%;*} # some clusters add their name
tasks=$(submit shards 'shard-%A-%a.log' "--array=0-$((shards - 1))${at_a_time:+%$at_a_time}" "--dependency=afterok:$first" \
  --kill-on-invalid-dep=yes -- "$@" "--shard=@TASK@/$shards")
submit merge 'merge-%j.log' "--dependency=afterany:${tasks%%;*}" -- "$@" >/dev/null
