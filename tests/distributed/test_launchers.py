"""Each launcher's variables, as they were seen in its processes or as its documentation gives them, to where a process stands."""

import pytest

from pvchat_jax.distributed.launchers import Launch, find_launch
from pvchat_jax.errors import UserError

SETTINGS = {"JAX_COORDINATOR_ADDRESS": "node1:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}
SLURM = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node07",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}
GKE = {"TPU_WORKER_HOSTNAMES": "job-0.svc,job-1.svc", "TPU_WORKER_ID": "1", "JOB_COMPLETION_INDEX": "1"}
POD = {"worker-network-endpoints": "n0:0:10.0.0.4,n1:1:10.0.0.5", "agent-worker-number": "1"}


def find(environment: dict[str, str], metadata: dict[str, str] | None = None) -> Launch | None:
    return find_launch(environment, (metadata or {}).get)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"},  # within a batch script, not started by srun
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "0"},
        {"JAX_NUM_PROCESSES": "1"},
        {"JAX_NUM_PROCESSES": "1", "JOB_COMPLETION_INDEX": "3"},  # a sweep: every pod is a run of its own
        {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"},
        {"JAX_COORDINATOR_ADDRESS": "node1:1234"},
    ],
)
def test_one_process_is_alone(environment):
    assert find(environment) is None


def test_a_tpu_machine_of_one_host_is_alone():
    assert find({}, {"worker-network-endpoints": "n0", "agent-worker-number": "0"}) is None


@pytest.mark.parametrize(
    ("environment", "metadata", "expected"),
    [
        (SETTINGS, {}, Launch("settings in the environment", "node1:1234", 4, 2)),
        ({**SLURM, **SETTINGS}, {}, Launch("settings in the environment", "node1:1234", 4, 2)),
        (
            {"JAX_COORDINATOR_ADDRESS": "run-0.run:55527", "JAX_NUM_PROCESSES": "3", "JOB_COMPLETION_INDEX": "2"},
            {},
            Launch("an indexed Kubernetes job", "run-0.run:55527", 3, 2),
        ),
        (SLURM, {}, Launch("Slurm job 17", "node07:61457", 2, 1)),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu[003-005,9],x", "SLURM_STEP_ID": "2"}, {}, Launch("Slurm job 17", "gpu003:61459", 2, 1)),
        ({**SLURM, "SLURM_STEP_NODELIST": "a1,a[2-3]"}, {}, Launch("Slurm job 17", "a1:61457", 2, 1)),
        ({**SLURM, "JAX_COORDINATOR_ADDRESS": "ib0:9"}, {}, Launch("Slurm job 17", "ib0:9", 2, 1)),
        (OPEN_MPI, {}, Launch("Open MPI", f"10.96.0.1:{61440 + 1531576320 // 4096 % 4096}", 8, 5, local_device=1)),
        (GKE, {}, Launch("GKE for TPUs", "job-0.svc:8482", 2, 1)),
        ({}, POD, Launch("TPU metadata", "10.0.0.4:8482", 2, 1)),
        (
            {},
            {**POD, "tpu-env": "X: '1'\nMEGASCALE_NUM_SLICES: '3'\nMEGASCALE_SLICE_ID: '2'\nMEGASCALE_COORDINATOR_ADDRESS: '10.9.9.9'\n"},
            Launch("TPU metadata", "10.9.9.9:8482", 6, 5),
        ),
        (
            {**GKE, "MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1", "MEGASCALE_COORDINATOR_ADDRESS": "run-0-0.run:8080"},
            {},
            Launch("GKE for TPUs", "run-0-0.run:8482", 4, 3),
        ),
    ],
)
def test_each_launcher_is_found(environment, metadata, expected):
    assert find(environment, metadata) == expected


def test_open_mpi_5_gives_the_ranks_of_one_host_the_same_address():
    ranks = [
        find(
            {
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_RANK": rank,
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": rank,
                "PMIX_NAMESPACE": "prterun-host-9041@1",
            }
        )
        for rank in "01"
    ]
    assert ranks[0].coordinator == ranks[1].coordinator
    assert ranks[0].coordinator.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("visible", "device"),
    [(None, 1), ("0,1", 1), ("3", None), ("", None)],  # an own GPU to see, or none, is the launcher's doing
)
def test_tasks_of_one_node_take_a_gpu_each_unless_they_have_one(visible, device):
    shared = {**SLURM, "SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "1"}
    assert find(shared if visible is None else {**shared, "CUDA_VISIBLE_DEVICES": visible}).local_device == device


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"JAX_PROCESS_ID": "1"}, "lacks JAX_NUM_PROCESSES"),
        ({"JAX_NUM_PROCESSES": "2"}, "lacks JAX_PROCESS_ID"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "the address of process 0 is not known; set JAX_COORDINATOR_ADDRESS"),
        ({**SETTINGS, "JAX_COORDINATOR_ADDRESS": "node1"}, "the address of process 0 is 'node1'"),
        ({**SETTINGS, "JAX_PROCESS_ID": "4"}, "process 4 of 4"),
        ({**SETTINGS, "JAX_PROCESS_ID": "first"}, "JAX_PROCESS_ID is 'first' and not a number"),
        ({"JOB_COMPLETION_INDEX": "2"}, "pod 2 of an indexed Kubernetes job and JAX_NUM_PROCESSES is not set"),
        ({**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": ""}, "Open MPI started 8 processes and the address of process 0 is not known"),
        ({key: value for key, value in SLURM.items() if key != "SLURM_STEP_NUM_TASKS"}, "lacks SLURM_STEP_NUM_TASKS"),
    ],
)
def test_what_is_incomplete_is_named_with_the_remedy(environment, message):
    with pytest.raises(UserError, match=message):
        find(environment)
