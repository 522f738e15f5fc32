"""The launch scripts without their clusters: what they would do, what they refuse, and the manifests they write."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))
SUBJECT = """--config.data.subject=<Wil"son> {name} & $HOME 'x\\y'"""
GKE = ["--name", "run", "--image", "example.org/pvchat:1", "--claim", "data", "--hosts", "4", "--accelerator", "tpu-v5-lite-podslice"]
K8S = ["--name", "run", "--image", "example.org/pvchat:1", "--claim", "data"]
POD = ["--name", "pod", "--zone", "us-west4-a"]


def call(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(LAUNCH / script), *arguments], capture_output=True, text=True, check=False)


def planned(script: str, *arguments: str) -> list[list[str]]:
    """The commands of a dry run."""
    result = call(script, *arguments)
    assert result.returncode == 0, result.stderr
    return [shlex.split(line) for line in result.stdout.splitlines()]


def test_shellcheck_finds_nothing():
    checker = Path(sys.executable).with_name("shellcheck")
    result = subprocess.run([checker, *(LAUNCH / name for name in SCRIPTS)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_how_to_call_it(script):
    result = call(script, "--help")
    assert result.returncode == 0
    assert f"launch/{script}" in result.stdout and "--dry-run" in result.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("local.sh", ["--procs", "2"], "'--procs' is no option"),
        ("local.sh", [], "there is no command"),
        ("slurm.sh", ["--nodes", "2"], "there is no command"),
        ("tpu_pod.sh", ["start"], "'start' is no command"),
        ("tpu_pod.sh", ["logs", "--name", "pod"], "give --name and --zone"),
        ("tpu_pod.sh", ["create", *POD], "give --type"),
        ("tpu_pod.sh", ["run", *POD, "--dry-run"], "there is no training command"),
        ("tpu_pod.sh", ["resume", *POD, "--type", "v5litepod-16", "--dry-run"], "give the one of the run"),
        ("gke.sh", ["gpu", *GKE, "--claim", "a: b", "--", "x"], "--claim is 'a: b'"),
        ("gke.sh", ["tpu", *GKE, "--", "x"], "--topology is ''"),
        ("gke.sh", ["gpu", *GKE, "--", "x\ny"], "control character"),
        ("slurm_array.sh", ["--shards", "2"], "there is no command"),
        ("slurm_array.sh", ["--shards", "0", "--run", "x"], "--shards is '0'"),
        ("slurm_array.sh", ["--array", "2"], "'--array' is no option"),
        ("k8s_shards.sh", ["start"], "'start' is no command"),
        ("k8s_shards.sh", ["run", *K8S, "--shards", "a: b", "--", "x"], "--shards is 'a: b'"),
        ("k8s_shards.sh", ["run", *K8S], "there is no command"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_started(script, arguments, message):
    result = call(script, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(("kind", "more"), [("tpu", ["--topology", "4x4"]), ("gpu", [])])
def test_manifests_fit_the_schema_and_keep_arguments_whole(kind, more):
    result = call("gke.sh", kind, *GKE, *more, "--dry-run", "--", "python", "-m", "pvchat_jax.train", SUBJECT)
    assert result.returncode == 0, result.stderr
    manifest = yaml.safe_load(result.stdout)
    jsonschema.validate(manifest, json.loads((Path(__file__).parent / "jobset_schema.json").read_text()))
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 4
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "pvchat_jax.train", SUBJECT.replace("$", "$$")]  # Kubernetes makes $$ a $
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables.get("JAX_NUM_PROCESSES") == ("4" if kind == "gpu" else None)
    assert variables.get("JAX_COORDINATOR_ADDRESS") == ("run-train-0-0.run:55527" if kind == "gpu" else None)
    assert list(container["resources"]["limits"].values()) == [8 if kind == "gpu" else 4]


def test_a_misspelt_field_does_not_fit_the_schema():
    manifest = yaml.safe_load(call("gke.sh", "gpu", *GKE, "--dry-run", "--", "x").stdout)
    manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, json.loads((Path(__file__).parent / "jobset_schema.json").read_text()))


def test_slurm_gets_one_task_per_node_and_the_command_unchanged():
    (command,) = planned("slurm.sh", "--nodes", "2", "--dry-run", "--", "--partition=gpu", "--run", "python", SUBJECT)
    assert command[0] == "sbatch" and {"--nodes=2", "--ntasks-per-node=1", "--signal=TERM@120", "--requeue", "--partition=gpu"} <= set(
        command
    )
    assert command[-4:] == [str(LAUNCH / "slurm.sh"), "--as-job", "python", SUBJECT]


def test_shards_of_slurm_wait_for_the_preparation_and_the_last_job_for_all_of_them():
    prepare, shards, merge = planned(
        "slurm_array.sh", "--shards", "4", "--at-a-time", "2", "--dry-run", "--", "--gpus=1", "--run", "python", SUBJECT
    )
    assert {"--array=0-3%2", "--dependency=afterok:ID_OF_PREPARE", "--requeue", "--gpus=1"} <= set(shards)
    assert "--dependency=afterany:ID_OF_SHARDS" in merge and not any("--dependency" in part for part in prepare)
    found = []
    for command in (prepare, shards, merge):
        shell = ["bash", "-c", f"python() {{ printf '%s\\0' \"$@\"; }}; {command[-1]}"]  # as Slurm runs it
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "3"}
        found.append(subprocess.run(shell, env=environment, capture_output=True, text=True, check=True).stdout.split("\0")[:-1])
    assert found == [[SUBJECT, "--only=cast"], [SUBJECT, "--shard=3/4"], [SUBJECT]]


def test_shards_on_kubernetes_fit_the_schema_and_come_one_job_after_the_other():
    result = call("k8s_shards.sh", "run", *K8S, "--shards", "4", "--gpus", "1", "--dry-run", "--", "python", SUBJECT)
    assert result.returncode == 0, result.stderr
    manifest = yaml.safe_load(result.stdout)
    jsonschema.validate(manifest, json.loads((Path(__file__).parent / "jobset_schema.json").read_text()))
    jobs = manifest["spec"]["replicatedJobs"]
    specs = [job["template"]["spec"] for job in jobs]
    assert [(job["name"], [one["name"] for one in job["dependsOn"]]) for job in jobs] == [
        ("prepare", []),
        ("shards", ["prepare"]),
        ("merge", ["shards"]),
    ]
    assert [spec["completions"] for spec in specs] == [spec["parallelism"] for spec in specs] == [1, 4, 1]
    commands = [spec["template"]["spec"]["containers"][0]["command"] for spec in specs]
    subject = SUBJECT.replace("$", "$$")
    assert commands == [["python", subject, "--only=cast"], ["python", subject, "--shard=$(JOB_COMPLETION_INDEX)/4"], ["python", subject]]


def test_a_pod_is_resumed_by_making_it_anew():
    commands = planned("tpu_pod.sh", "resume", *POD, "--type", "v5litepod-16", "--spot", "--dry-run", "--", "python", SUBJECT)
    gcloud = [command[4:] for command in commands if command[0] == "gcloud"]
    assert [command[0] for command in gcloud] == ["delete", "create", "scp", "ssh", "ssh"]
    assert {"--accelerator-type=v5litepod-16", "--spot"} <= set(gcloud[1])
    remote = gcloud[-1][-1].removeprefix("--command=")
    assert shlex.split(remote.split(" run ", 1)[1].split(" >> ")[0]) == ["python", SUBJECT]


def test_local_processes_know_their_place_and_stop_together():
    code = "import os, sys, time; print(os.environ['JAX_PROCESS_ID'], os.environ['JAX_NUM_PROCESSES'], flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [str(LAUNCH / "local.sh"), "--processes", "3", "--", sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    lines = sorted(process.stdout.readline() for _ in range(3))
    assert lines == ["0: 0 3\n", "1: 1 3\n", "2: 2 3\n"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM


def test_local_reports_the_status_of_the_process_that_failed():
    code = "import os, sys; sys.exit(3 if os.environ['JAX_PROCESS_ID'] == '1' else 0)"
    result = subprocess.run([str(LAUNCH / "local.sh"), "--", sys.executable, "-c", code], env=dict(os.environ), check=False)
    assert result.returncode == 3
