#!/usr/bin/env bash
# Shards of the synthesis as indexed jobs on Kubernetes.
set -euo pipefail
shopt -s inherit_errexit

usage() {
  cat <<'TEXT'
Makes a training set on a Kubernetes cluster: one pod prepares it, an indexed job does the shards, and a last pod puts them together.

  launch/k8s_shards.sh run --name NAME --image IMAGE --claim CLAIM [--shards N] [--gpus N] [--namespace NAME] [--dry-run] -- COMMAND ...
  launch/k8s_shards.sh logs | delete --name NAME [--namespace NAME] [--dry-run]

  --name NAME        of the JobSet
  --image IMAGE      container image with pvchat_jax installed
  --claim CLAIM      PersistentVolumeClaim that all pods can write (ReadWriteMany); it is mounted at /data, where the command runs
  --shards N         pods of the indexed job (8)
  --gpus N           GPUs of a pod (0)
  --namespace NAME   namespace (default)
  --dry-run          print the manifest, or the kubectl command
  -- COMMAND ...     without --shard and --only, such as: -- python -m pvchat_jax.synthesize --video=wilson.mp4 --name='<Wilson>' --out=set

The cluster needs the JobSet controller (jobset.sigs.k8s.io) from 0.8 on. A lost pod is replaced and finds what it had done. The consent
must be in the command or in the folder, since nobody can be asked.
TEXT
}

fail() {
  echo "error: $1" >&2
  exit 2
}

action=${1:-}
case $action in
  -h | --help | '') usage && exit ;;
  run | logs | delete) shift ;;
  *) fail "'$action' is no command of launch/k8s_shards.sh; see launch/k8s_shards.sh --help." ;;
esac
declare -A value=([name]='' [image]='' [claim]='' [shards]=8 [gpus]=0 [namespace]=default)
dry_run=false
while (($#)); do
  case $1 in
    --name | --image | --claim | --shards | --gpus | --namespace) value[${1#--}]=${2:?$1 needs a value} && shift 2 ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) fail "'$1' is no option of launch/k8s_shards.sh; put -- before the command." ;;
  esac
done

do_it() {
  if $dry_run; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

require() { # OPTION PATTERN: values go into YAML, so nothing else may come through
  [[ ${value[$1]} =~ ^($2)$ ]] || fail "--$1 is '${value[$1]}'; give a value of the form $2."
}

require name '[a-z]([-a-z0-9]{0,40}[a-z0-9])?'
require namespace '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
case $action in
  logs)
    do_it kubectl logs --namespace="${value[namespace]}" --prefix --follow --selector="jobset.sigs.k8s.io/jobset-name=${value[name]}" && exit
    ;;
  delete) do_it kubectl delete jobset "${value[name]}" --namespace="${value[namespace]}" && exit ;;
esac
require image '[-a-zA-Z0-9._/:@]+'
require claim '[a-z0-9]([-a-z0-9.]*[a-z0-9])?'
require shards '[1-9][0-9]*'
require gpus '[0-9]+'
(($#)) || fail "there is no command; give what each pod runs after --."

quote() { # as a YAML string in double quotes, which are those of JSON
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//\$/\$\$} # Kubernetes puts variables in place of $(NAME)
  [[ $text != *[[:cntrl:]]* ]] || fail "an argument of the command has a control character; leave it out."
  printf '"%s"' "$text"
}

arguments=''
for argument in "$@"; do arguments+="${arguments:+, }$(quote "$argument")"; done
template=$(<"$(dirname "${BASH_SOURCE[0]}")/k8s_shards.yaml")

job() { # NAME AFTER PODS MORE_ARGUMENTS
  local text=$template option
  declare -A own=([job]=$1 [after]=$2 [pods]=$3)
  for option in "${!own[@]}"; do text=${text//"{$option}"/"${own[$option]}"}; done
  for option in "${!value[@]}"; do text=${text//"{$option}"/"${value[$option]}"}; done
  printf '%s\n' "${text//"{command}"/"[$arguments$4]"}"
}

after() { printf '[{name: %s, status: Complete}]' "$1"; }

manifest() {
  cat <<TEXT
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: ${value[name]}
  namespace: ${value[namespace]}
spec:
  failurePolicy:
    maxRestarts: 3  # what was done is found again
  replicatedJobs:
TEXT
  job prepare '[]' 1 ', "--only=cast"'
  # shellcheck disable=SC2016  # Kubernetes puts the pod's index in place of $(JOB_COMPLETION_INDEX)
  job shards "$(after prepare)" "${value[shards]}" ', "--shard=$(JOB_COMPLETION_INDEX)/'"${value[shards]}"'"'
  job merge "$(after shards)" 1 ''
}

text=$(manifest)
if $dry_run; then
  printf '%s\n' "$text"
else
  kubectl apply --filename=- <<<"$text"
fi
