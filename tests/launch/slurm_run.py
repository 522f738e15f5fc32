"""`make test-slurm`: a Slurm of one node on this machine, on which two tasks must train the tiny model to the losses of one process.

Needs root and Debian's packages slurm-wlm and munge. All of it lives in a temporary folder, and its daemons end with this program.
"""

import contextlib
import math
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.distributed.processes import free_port, losses

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4
TIMEOUT = 1800.0
CONF = """\
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/socket/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
NodeName=localhost CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Runs the daemons; gives the environment in which sbatch finds them."""
    for name in ("socket", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    ports = {"controller": free_port(), "node": free_port()}
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, cpus=os.cpu_count(), **ports))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    munge_files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    commands = (
        ["munged", "--foreground", "--force", f"--socket={folder}/socket/munge", *munge_files],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", "localhost"],
    )
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f"{command[0]}.log").open("w"))
            daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
            time.sleep(1)
        try:
            wait_until(lambda: "idle" in ask(environment, "sinfo", "--noheader", "--format=%T"), 120)
            yield environment
        except BaseException:
            for command in commands:
                print((folder / f"{command[0]}.log").read_text()[-2000:], file=sys.stderr)
            raise


def ask(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait_until(is_so: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came within {timeout:.0f} s")
        time.sleep(1)


def train_command(records: Path, output: Path) -> list[str]:
    settings = {
        "data.train": records,
        "output_dir": output,
        "data.batch_size": 4,
        "data.questions_per_video": 1,
        "data.cache_features": False,
        "optimizer.warmup_steps": 1,
        "num_steps": STEPS,
        "log_every": 1,
    }
    given = [f"--config.{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "pvchat_jax.train", "--config=configs/stage1.py:tiny", *given]


def main() -> None:
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        sys.exit(f"error: this needs root and {', '.join(missing) or 'nothing else'}; apt-get install slurm-wlm munge, and run it as root.")
    from tests.training.stand_in_run import write_records  # imports jax

    os.environ |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        records = write_records(folder)
        one = subprocess.run(train_command(records, folder / "one"), env={**os.environ, "JAX_NUM_CPU_DEVICES": "2"}, cwd=ROOT, check=False)
        if one.returncode:
            sys.exit("error: the run of one process failed, see above; mend it first.")
        with slurm(folder) as environment:
            log = folder / "job.log"
            submit = [
                str(ROOT / "launch/slurm.sh"),
                "--output",
                str(log),
                "--",
                "--ntasks-per-node=2",
                "--overcommit",
                "--parsable",
                "--run",
            ]
            environment["JAX_NUM_CPU_DEVICES"] = "1"
            job = subprocess.run(
                [*submit, *train_command(records, folder / "two")], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.strip()
            wait_until(lambda: not ask(environment, "squeue", "--noheader", f"--jobs={job}"), TIMEOUT)
            print(log.read_text())
        expected, found = losses(folder / "one"), losses(folder / "two")
    print(f"one process {expected}\ntwo tasks   {found}")
    if list(found) != list(range(1, STEPS + 1)) or not all(math.isclose(found[step], expected[step], rel_tol=1e-5) for step in found):
        sys.exit("error: two Slurm tasks did not train to the losses of one process; compare the numbers above.")
    print("two Slurm tasks train to the losses of one process")


if __name__ == "__main__":
    main()
