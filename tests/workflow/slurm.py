"""A SLURM of one node for the tests: munged, slurmctld and slurmd, started as root and stopped again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONFIG = Path("/etc/slurm")  # jobs look for it here: the plugin takes SLURM_CONF out of their environment
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
CPUS = 2
# Neither cgroups nor accounting; a node that is soon given up, and whose memory is what we say.
SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
MinJobAge=300
AuthInfo=cred_expire=60
KillWait=20
UnkillableStepTimeout=300
SlurmdTimeout=25
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes={host} Default=YES MaxTime=UNLIMITED
"""
GRES_CONF = "NodeName={host} Name=gpu File=/dev/null\n"  # a fake card


def missing() -> str:
    """What this machine lacks to run a SLURM; empty if nothing."""
    tools = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
    absent = [name for name in tools if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")]
    return "root" if os.geteuid() else " ".join(absent)


class Node:
    """The running daemons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str, user: str | None = None) -> None:
        """Start a daemon in the foreground, as a child of the tests."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                [name, *words], user=user, stdout=out, stderr=subprocess.STDOUT, cwd="/"
            )

    def stop(self, name: str) -> None:
        """Ask a daemon to end, and wait for it."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()

    def jobs(self, states: str = "RUNNING") -> dict[str, str]:
        """The comment (rule and wildcards) of every job that is in one of the states, by its number."""
        told = ask("squeue", "--noheader", "--array", f"--states={states}", "--format=%i|%k")
        return dict(line.split("|", 1) for line in told.splitlines())


def ask(*words: str) -> str:
    """What a command prints; a failed one prints nothing."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: with ``what``, after so many seconds.
    """
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


@contextmanager
def one_node(folder: Path) -> Iterator[Node]:
    """A SLURM while the block runs; the machine's own configuration of SLURM is put back afterwards.

    Raises:
        RuntimeError: the machine belongs to a running SLURM.
    """
    if "is UP" in ask("scontrol", "ping"):
        raise RuntimeError("this machine has a SLURM that runs already")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    node = Node(folder)
    with ExitStack() as stack:
        stack.enter_context(_configuration(folder))
        stack.callback(_stop, node)
        _start_munge(node)
        node.start("slurmctld", "-D")
        node.start("slurmd", "-D")
        wait(lambda: ask("sinfo", "-h", "-o", "%T") == "idle", 60, f"no idle node; see {folder}")
        yield node


@contextmanager
def _configuration(folder: Path) -> Iterator[None]:
    kept = folder / "kept"
    shutil.copytree(CONFIG, kept, symlinks=True)
    words = {"host": socket.gethostname().split(".")[0], "folder": folder, "cpus": CPUS}
    (CONFIG / "cgroup.conf").unlink(missing_ok=True)
    (CONFIG / "slurm.conf").write_text(SLURM_CONF.format(**words))
    (CONFIG / "gres.conf").write_text(GRES_CONF.format(**words))
    try:
        yield
    finally:
        for name in FILES:
            (CONFIG / name).unlink(missing_ok=True)
            if (kept / name).exists():
                shutil.copy2(kept / name, CONFIG / name)


def _start_munge(node: Node) -> None:
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return  # the machine's own runs
    for place in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(place).mkdir(exist_ok=True)
        shutil.chown(place, "munge", "munge")
    Path("/run/munge").chmod(0o755)
    node.start("munged", "--foreground", user="munge")
    wait(lambda: bool(ask("munge", "-n")), 10, "munged does not answer")


def _stop(node: Node) -> None:
    if jobs := list(node.jobs("RUNNING,PENDING,COMPLETING")):
        subprocess.run(["scancel", "--full", "--signal=KILL", *jobs], check=False)
        subprocess.run(["scancel", *jobs], check=False)
        wait(lambda: not node.jobs("RUNNING,PENDING,COMPLETING"), 60, "jobs that do not end")
    for name in reversed(list(node.daemons)):
        node.stop(name)
