"""How this process was started: alone, or as one of several by a launcher that says so in environment variables or TPU metadata.

Settings of the user's own, which come first:

    JAX_NUM_PROCESSES       how many processes there are
    JAX_PROCESS_ID          which of them this is, from 0; a pod of an indexed Kubernetes job knows it from JOB_COMPLETION_INDEX
    JAX_COORDINATOR_ADDRESS host:port of process 0, which the others must reach; with any launcher, in place of its own
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pvchat_jax.errors import UserError

_ADDRESS, _COUNT, _ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_TPU_PORT = 8482
_FIRST_PORT, _NUM_PORTS = 61440, 4096  # the end of the range that the system hands out itself

Environment = Mapping[str, str]
Metadata = Callable[[str], str | None]


class Launch(NamedTuple):
    """One process among several.

    Attributes:
      launcher: who started it, in words.
      coordinator: host:port of process 0.
      local_device: the one GPU of the host that is this process's; None leaves it all that it sees.
    """

    launcher: str
    coordinator: str
    process_count: int
    process_id: int
    local_device: int | None = None


def find_launch(environment: Environment, metadata: Metadata) -> Launch | None:
    """How this process was started, or None if it is alone.

    Args:
      environment: such as `os.environ`.
      metadata: attribute of a TPU virtual machine by name, None where there is none.

    Raises:
      UserError: the variables are incomplete or contradict each other.
    """
    finders = (_settings, _kubernetes, _slurm, _open_mpi, lambda variables: _tpu(variables, metadata))
    launch = next((found for finder in finders if (found := finder(environment))), None)
    if launch is None or launch.process_count == 1:
        return None
    launch = launch._replace(coordinator=environment.get(_ADDRESS) or launch.coordinator)
    if not 0 <= launch.process_id < launch.process_count:
        raise UserError(
            f"{launch.launcher} says that this is process {launch.process_id} of {launch.process_count}; "
            f"number the processes from 0 to {launch.process_count - 1}."
        )
    if not re.fullmatch(r".+:\d+", launch.coordinator):
        is_or_is_not = f"is {launch.coordinator!r}" if launch.coordinator else "is not known"
        raise UserError(
            f"{launch.launcher} started {launch.process_count} processes and the address of process 0 {is_or_is_not}; "
            f"set {_ADDRESS}=HOST:PORT to where all of them can reach process 0."
        )
    return launch


def _settings(environment: Environment) -> Launch | None:
    """The user's own settings; a pod of an indexed job needs no JAX_PROCESS_ID."""
    if not (environment.get(_COUNT) or environment.get(_ID)):
        return None
    index = environment.get(_ID) or environment.get("JOB_COMPLETION_INDEX")
    if not environment.get(_COUNT) or (index is None and environment[_COUNT] != "1"):
        lacking = _ID if environment.get(_COUNT) else _COUNT
        raise UserError(f"the environment lacks {lacking}; set {_COUNT}, {_ID} and {_ADDRESS}, or none of the three.")
    launcher = "settings in the environment" if environment.get(_ID) or index is None else "an indexed Kubernetes job"
    return Launch(launcher, "", _number(environment, _COUNT), _parse(index or "0", _ID))


def _kubernetes(environment: Environment) -> Launch | None:
    """A pod of an indexed job does not know how many there are, unless GKE tells it as a TPU host."""
    if "JOB_COMPLETION_INDEX" not in environment or "TPU_WORKER_HOSTNAMES" in environment:
        return None
    raise UserError(
        f"this is pod {environment['JOB_COMPLETION_INDEX']} of an indexed Kubernetes job and {_COUNT} is not set; "
        f"set it to the job's completions, and {_ADDRESS} to pod 0, or set {_COUNT}=1 where each pod is a run of its own."
    )


def _slurm(environment: Environment) -> Launch | None:
    """A task of a step, which `srun` started; the batch script itself is alone."""
    if not environment.get("SLURM_STEP_NODELIST") or "SLURM_PROCID" not in environment:
        return None
    job, step = environment["SLURM_JOB_ID"], environment.get("SLURM_STEP_ID", "0")
    port = _FIRST_PORT + (int(job) + int(step)) % _NUM_PORTS
    count, nodes = _number(environment, "SLURM_STEP_NUM_TASKS"), _number(environment, "SLURM_STEP_NUM_NODES")
    device = _own_device(environment, "SLURM_LOCALID") if count > nodes else None
    host = _first_host(environment["SLURM_STEP_NODELIST"])
    return Launch(f"Slurm job {job}", f"{host}:{port}", count, _number(environment, "SLURM_PROCID"), device)


def _first_host(nodes: str) -> str:
    """`node07` of `node[07-11,15],other3`."""
    name, first, rest = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\]([^,]*))?", nodes).groups()
    return name + (first or "") + (rest or "")


def _open_mpi(environment: Environment) -> Launch | None:
    """A rank of `mpirun`. Open MPI 4 tells where it runs; with 5 only ranks of one host find each other by themselves."""
    if "OMPI_COMM_WORLD_SIZE" not in environment:
        return None
    count, local_count = _number(environment, "OMPI_COMM_WORLD_SIZE"), _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    coordinator = "127.0.0.1" if local_count == count else ""
    job = environment.get("OMPI_MCA_ess_base_jobid") or environment.get("PMIX_NAMESPACE") or ""
    contact = re.match(r"(\d+)\..*?tcp6?://\[?([^,\]]+?)(?:[,\]]|:\d+(?:$|;))", environment.get("OMPI_MCA_orte_hnp_uri", ""))
    if contact:
        job, address = contact.groups()
        coordinator = f"[{address}]" if ":" in address else address
    port = _FIRST_PORT + sum(map(int, re.findall(r"\d+", job))) // (_NUM_PORTS if contact else 1) % _NUM_PORTS
    device = _own_device(environment, "OMPI_COMM_WORLD_LOCAL_RANK") if local_count > 1 else None
    return Launch("Open MPI", coordinator and f"{coordinator}:{port}", count, _number(environment, "OMPI_COMM_WORLD_RANK"), device)


def _own_device(environment: Environment, local_id: str) -> int | None:
    """Several processes of a host share its GPUs one by one, unless the launcher has given each of them its own to see."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return None if visible is not None and "," not in visible else _number(environment, local_id)


def _tpu(environment: Environment, metadata: Metadata) -> Launch | None:
    """A host of a TPU pod: GKE tells it in variables, a virtual machine in its metadata; slices are numbered one after the other."""
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if hosts != [""]:
        launcher, worker = "GKE for TPUs", environment.get("TPU_WORKER_ID", "0")
    else:
        endpoints = metadata("worker-network-endpoints")
        if not endpoints:
            return None
        # Each is the host's name, or name:id:address.
        hosts = [endpoint.split(":")[-1] for endpoint in endpoints.split(",")]
        launcher, worker = "TPU metadata", metadata("agent-worker-number") or "0"
    slices = {name: environment.get(name) or _tpu_variable(metadata, name) for name in _MEGASCALE}
    num_slices, slice_id = (
        _parse(slices[name] or default, name) for name, default in (("MEGASCALE_NUM_SLICES", "1"), ("MEGASCALE_SLICE_ID", "0"))
    )
    first = (slices["MEGASCALE_COORDINATOR_ADDRESS"] or hosts[0]).split(":")[0]
    process_id = slice_id * len(hosts) + _parse(worker, "TPU_WORKER_ID")
    return Launch(launcher, f"{first}:{_TPU_PORT}", num_slices * len(hosts), process_id)


_MEGASCALE = ("MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID", "MEGASCALE_COORDINATOR_ADDRESS")


def _tpu_variable(metadata: Metadata, name: str) -> str | None:
    """A variable that a TPU virtual machine has in its metadata, as a line such as `NAME: 'value'`."""
    found = re.search(rf"^{name}: *'?([^'\n]*)", metadata("tpu-env") or "", re.MULTILINE)
    return found.group(1) if found else None


def _number(environment: Environment, name: str) -> int:
    if name not in environment:
        raise UserError(
            f"the environment lacks {name}, which goes with the other variables of its launcher; set {_COUNT}, {_ID} and {_ADDRESS}."
        )
    return _parse(environment[name], name)


def _parse(text: str, name: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(f"{name} is {text!r} and not a number; correct it in the environment.")
    return int(text)
