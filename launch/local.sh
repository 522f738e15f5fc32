#!/usr/bin/env bash
# Several processes on this machine.
set -euo pipefail

usage() {
  cat <<'TEXT'
Starts a command as several processes on this machine that train together.

  launch/local.sh [--processes N] [--port PORT] [--dry-run] -- COMMAND [ARGUMENT ...]

  --processes N   how many (2). On a machine with N GPUs each process takes one of them.
  --port PORT     where process 0 meets the others (29400)
  --dry-run       print what would be started

Output lines begin with the process's number. Ctrl-C and SIGTERM go to all of them, which save and stop at the same step;
started again, they continue. The status is that of the first process that failed.
TEXT
}

processes=2 port=29400 dry_run=false
while (($#)); do
  case $1 in
    --processes) processes=${2:?--processes needs a number} && shift 2 ;;
    --port) port=${2:?--port needs a number} && shift 2 ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) echo "error: '$1' is no option of launch/local.sh; put -- before the command." >&2 && exit 2 ;;
  esac
done
(($#)) || { echo "error: there is no command; give it after --, or see launch/local.sh --help." >&2 && exit 2; }

gpus=0
if command -v nvidia-smi >/dev/null; then
  gpus=$(nvidia-smi --list-gpus | wc -l)
fi
pids=()
for ((index = 0; index < processes; index++)); do
  settings=("JAX_COORDINATOR_ADDRESS=127.0.0.1:$port" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$index" PYTHONUNBUFFERED=1)
  ((gpus < processes)) || settings+=("CUDA_VISIBLE_DEVICES=$index")
  if $dry_run; then
    printf '%q ' env "${settings[@]}" "$@"
    echo
    continue
  fi
  # In a session of its own, so that Ctrl-C reaches it once, through the trap below.
  setsid env "${settings[@]}" "$@" > >(sed -u "s/^/$index: /") 2> >(sed -u "s/^/$index: /" >&2) &
  pids+=($!)
done
((${#pids[@]})) || exit 0

trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM
status=0
for pid in "${pids[@]}"; do
  # A trap interrupts `wait`; the process is still to be waited for.
  while true; do
    ended=0
    wait "$pid" || ended=$?
    kill -0 "$pid" 2>/dev/null || break
  done
  ((status)) || status=$ended
done
exit "$status"
