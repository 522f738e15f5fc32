#!/usr/bin/env bash
# A TPU pod as virtual machines, through gcloud.
set -euo pipefail

usage() {
  cat <<'TEXT'
Creates a TPU pod, trains on all of its hosts, and deletes it.

  launch/tpu_pod.sh COMMAND --name NAME --zone ZONE [OPTION ...] [-- TRAINING COMMAND]

  create    asks for the pod; needs --type, such as v5litepod-16. --spot takes it cheaper, and it may be taken away
  install   copies this folder's commit to every host and installs it there with its TPU extra
  run       starts the command after -- on every host; it goes on when you log out
  logs      follows the output of the first host
  stop      sends SIGTERM to the run: it saves and stops on all hosts at the same step
  resume    after a preemption: deletes the pod if it is still listed, then create, install and run again; it continues
  delete    deletes the pod; what is not on shared storage is lost

  --type TYPE         accelerator type, for create and resume
  --version VERSION   software version of the machines (tpu-ubuntu2204-base)
  --project PROJECT   instead of gcloud's default
  --spot              for create and resume
  --dry-run           print the gcloud commands

Data and output directory must be storage that all hosts share, such as a mounted bucket or Filestore: --config.output_dir=/mnt/...
Authentication is gcloud's own; no key is read or copied.
TEXT
}

fail() {
  echo "error: $1" >&2
  exit 2
}

quoted() { printf '%q ' "$@"; }

do_it() {
  if $dry_run; then
    quoted "$@"
    echo
  else
    "$@"
  fi
}

action=${1:-}
case $action in
  -h | --help | '') usage && exit ;;
  create | install | run | logs | stop | resume | delete) shift ;;
  *) fail "'$action' is no command of launch/tpu_pod.sh; see launch/tpu_pod.sh --help." ;;
esac
name='' zone='' type='' version=tpu-ubuntu2204-base dry_run=false place=() spot=()
while (($#)); do
  case $1 in
    --name) name=${2:?--name needs a name} && shift 2 ;;
    --zone) zone=${2:?--zone needs a zone} && shift 2 ;;
    --type) type=${2:?--type needs an accelerator type} && shift 2 ;;
    --version) version=${2:?--version needs a version} && shift 2 ;;
    --project) place+=("--project=${2:?--project needs a project}") && shift 2 ;;
    --spot) spot=(--spot) && shift ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) fail "'$1' is no option of launch/tpu_pod.sh; put -- before the training command." ;;
  esac
done
[[ $name && $zone ]] || fail "the pod is not told; give --name and --zone."
place+=("--zone=$zone")
tpu=(gcloud compute tpus tpu-vm)

on_hosts() { # WORKER COMMAND
  do_it "${tpu[@]}" ssh "$name" "${place[@]}" "--worker=$1" "--command=$2"
}

create() {
  [[ $type ]] || fail "the kind of pod is not told; give --type, such as --type v5litepod-16."
  do_it "${tpu[@]}" create "$name" "${place[@]}" "--accelerator-type=$type" "--version=$version" "${spot[@]}"
}

install() {
  local archive pip=".venv/bin/pip install -q -c constraints.txt -e '.[tpu]'"
  archive=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now is meant
  trap "rm -rf '$archive'" EXIT
  do_it git archive --format=tar.gz --output="$archive/pvchat_jax.tar.gz" HEAD
  do_it "${tpu[@]}" scp "$archive/pvchat_jax.tar.gz" "$name:" "${place[@]}" --worker=all
  on_hosts all "mkdir -p pvchat_jax && tar -xzf pvchat_jax.tar.gz -C pvchat_jax && cd pvchat_jax && python3 -m venv .venv && $pip"
}

run() {
  (($#)) || fail "there is no training command; give it after --, such as -- .venv/bin/python -m pvchat_jax.train --config=..."
  on_hosts all "cd pvchat_jax && nohup setsid bash -c 'echo \$\$ > run.pid; exec \"\$@\"' run $(quoted "$@") >> run.log 2>&1 < /dev/null &"
}

case $action in
  create) create ;;
  install) install ;;
  run) run "$@" ;;
  logs) on_hosts 0 "tail -n 100 -F pvchat_jax/run.log" ;;
  stop) on_hosts all "kill -TERM \$(cat pvchat_jax/run.pid)" ;;
  delete) do_it "${tpu[@]}" delete "$name" "${place[@]}" --quiet ;;
  resume)
    [[ $type ]] || fail "the kind of pod is not told; give --type, such as --type v5litepod-16."
    (($#)) || fail "there is no training command; give the one of the run after --."
    do_it "${tpu[@]}" delete "$name" "${place[@]}" --quiet || echo "the pod is gone already" >&2
    create
    install
    run "$@"
    ;;
esac
