#!/usr/bin/env bash
# A JobSet on GKE, with TPUs or GPUs.
set -euo pipefail
shopt -s inherit_errexit

usage() {
  cat <<'TEXT'
Trains as a JobSet on a GKE cluster: every host is a pod of one indexed job, and a lost host restarts all of them.

  launch/gke.sh tpu --name NAME --image IMAGE --claim CLAIM --hosts N --accelerator TYPE --topology AxB [--chips 4] [OPTION ...] -- COMMAND
  launch/gke.sh gpu --name NAME --image IMAGE --claim CLAIM --hosts N --accelerator TYPE [--chips 8] [OPTION ...] -- COMMAND
  launch/gke.sh logs | delete --name NAME

  --name NAME          of the JobSet
  --image IMAGE        container image with pvchat_jax installed
  --claim CLAIM        PersistentVolumeClaim that all pods can write (ReadWriteMany); it is mounted at /data
  --hosts N            pods, one on each host
  --accelerator TYPE   label of the nodes, such as tpu-v5-lite-podslice or nvidia-h100-80gb
  --topology AxB       of a TPU slice, such as 4x4
  --chips N            chips or GPUs of a host (4 for TPUs, 8 for GPUs)
  --namespace NAME     namespace (default)
  --grace SECONDS      between SIGTERM and the end of a pod (120); a Spot node may give less
  --dry-run            print the manifest, or the kubectl command

The cluster needs the JobSet controller (jobset.sigs.k8s.io). Rights are those of kubectl; the manifest holds no secret, runs as an
ordinary user and mounts no service account token.
TEXT
}

fail() {
  echo "error: $1" >&2
  exit 2
}

action=${1:-}
case $action in
  -h | --help | '') usage && exit ;;
  tpu | gpu) shift ;;
  logs | delete) shift ;;
  *) fail "'$action' is no command of launch/gke.sh; see launch/gke.sh --help." ;;
esac
declare -A value=([name]='' [image]='' [claim]='' [hosts]='' [accelerator]='' [topology]='' [namespace]=default [grace]=120)
value[chips]=$([[ $action == tpu ]] && echo 4 || echo 8)
dry_run=false
while (($#)); do
  case $1 in
    --name | --image | --claim | --hosts | --accelerator | --topology | --chips | --namespace | --grace)
      value[${1#--}]=${2:?$1 needs a value} && shift 2
      ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) fail "'$1' is no option of launch/gke.sh; put -- before the training command." ;;
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
    first="jobset.sigs.k8s.io/jobset-name=${value[name]},batch.kubernetes.io/job-completion-index=0"
    do_it kubectl logs --namespace="${value[namespace]}" --follow --selector="$first" && exit
    ;;
  delete) do_it kubectl delete jobset "${value[name]}" --namespace="${value[namespace]}" && exit ;;
esac
require image '[-a-zA-Z0-9._/:@]+'
require claim '[a-z0-9]([-a-z0-9.]*[a-z0-9])?'
require hosts '[1-9][0-9]*'
require chips '[1-9][0-9]*'
require grace '[1-9][0-9]*'
require accelerator '[-a-z0-9]+'
[[ $action == gpu ]] || require topology '[0-9]+(x[0-9]+){1,2}'
(($#)) || fail "there is no command; give what each pod runs after --."

quote() { # as a YAML string in double quotes, which are those of JSON
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//\$/\$\$} # Kubernetes puts variables in place of $(NAME)
  [[ $text != *[[:cntrl:]]* ]] || fail "an argument of the command has a control character; leave it out."
  printf '"%s"' "$text"
}

render() {
  local text argument option arguments=''
  text=$(<"$(dirname "${BASH_SOURCE[0]}")/gke_$action.yaml")
  for argument in "$@"; do arguments+="${arguments:+, }$(quote "$argument")"; done
  for option in "${!value[@]}"; do
    text=${text//"{$option}"/"${value[$option]}"}
  done
  printf '%s\n' "${text//"{command}"/"[$arguments]"}"
}

manifest=$(render "$@")
if $dry_run; then
  printf '%s\n' "$manifest"
else
  kubectl apply --filename=- <<<"$manifest"
fi
