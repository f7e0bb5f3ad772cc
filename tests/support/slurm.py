"""A SLURM of two nodes on this machine, each on a host of its own (``tests.support.hosts``), with which it ends.

Its daemons are the real ones (apt-get install slurm-wlm munge). They write to one folder, and nowhere else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import Host
from tests.support.launching import ROOT, environment

TOOLS = ("slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "sinfo", "munged")
PATH = 108  # letters that the path of a socket may have, with the zero at its end
LIMIT = 400  # seconds that a test waits for one thing, at most
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
# cred_expire: a requeued job may not start before its credential has expired, 120 s by default.
# config_overrides: more CPUs than there are. ReturnToService: a node that was lost comes back by itself.
CONF = """
ClusterName=tests
SlurmctldHost={names[0]}({addresses[0]})
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=10
KillWait=20
UnkillableStepTimeout=60
NodeName=n0 NodeHostname={names[0]} NodeAddr={addresses[0]} Port=16818 CPUs=8 Gres=gpu:4 RealMemory=4000 State=UNKNOWN
NodeName=n1 NodeHostname={names[1]} NodeAddr={addresses[1]} Port=16818 CPUs=8 Gres=gpu:4 RealMemory=4000 State=UNKNOWN
PartitionName=usual Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE OverTimeLimit=0 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def wait_for(true: Callable[[], Any], what: str) -> None:
    """Wait until ``true`` says so, without taking the cores from those that it waits for."""
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, f"waited {LIMIT} s for {what}"
        time.sleep(0.3)


class Slurm:
    """slurmctld on the first host, a slurmd on each, nodes n0 and n1."""

    def __init__(self, hosts: tuple[Host, Host], folder: Path) -> None:
        lacking = [tool for tool in TOOLS if not shutil.which(tool)]
        if lacking:
            pytest.skip(f"NOT TESTED: a SLURM needs {', '.join(lacking)} (apt-get install slurm-wlm munge)")
        self.hosts, self.folder = hosts, folder
        for name in ("state", "spool.n0", "spool.n1"):
            (folder / name).mkdir()
        folder.chmod(0o755)
        key, conf = folder / "munge.key", folder / "slurm.conf"
        assert len(f"{folder}/munge.socket") < PATH, f"a socket's path may have {PATH} letters; shorten TMPDIR: {folder}"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        where = {"names": [host.name for host in hosts], "addresses": [host.address for host in hosts]}
        conf.write_text(CONF.format(folder=folder, **where))
        for number in range(4):  # in the place of devices
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-3]\n")
        files = [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
        self._daemon(0, "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", *files)
        wait_for(lambda: (folder / "munge.socket").exists(), "munge")
        self._daemon(0, "slurmctld", "-D", "-i")
        for number in range(2):
            self.node_up(number)

    def node_up(self, number: int) -> None:
        """Start the slurmd of a node, and wait until it is used, or can be."""
        self._daemon(number, "slurmd", "-D", "-N", f"n{number}")
        asked = ("sinfo", "-h", "-n", f"n{number}", "-p", "usual", "-o", "%t")
        wait_for(lambda: self.do(*asked).strip() in ("idle", "mix", "alloc"), f"node n{number}")

    def node_lost(self) -> None:
        """Kill all that SLURM runs on the second node, and say that it is down, as its time-out would."""
        host = self.hosts[1]
        host.signal(signal.SIGKILL, [pid for word in ("slurm", "pipeline") for pid in host.processes(word)])
        self.do("scontrol", "update", "nodename=n1", "state=down", "reason=test")

    def do(self, *command: str, **more: str) -> str:
        """What a command of SLURM prints, typed on the first host."""
        done = subprocess.run(
            self.hosts[0].inside(*command),
            cwd=self.folder.parent,
            env=environment(SLURM_CONF=str(self.folder / "slurm.conf"), **more),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def submit(self, *words: str, **more: str) -> Batch:
        """``sbatch``, in the folder that holds that of this SLURM: OPTIONS SCRIPT ARGUMENTS."""
        return self.typed('sbatch "$@"', *words, **{"PYTHON": sys.executable} | more)

    def typed(self, line: str, *words: str, **more: str) -> Batch:
        """A command line that submits a job, typed in the folder that holds that of this SLURM; ``words`` are its "$@"."""
        given = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"} | more
        said = self.do("bash", "-c", f'cd "$0" && {line}', str(self.folder.parent), *words, **given)
        number = re.fullmatch(r"Submitted batch job (\d+)", said.strip())
        assert number, f"sbatch says: {said}"
        return Batch(self, number[1])

    def _daemon(self, host: int, *command: str) -> None:
        path = shutil.which(command[0])
        log = self.folder / f"{command[0]}.{host}.out"
        variables = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self.hosts[host].start(log, str(path), *command[1:], cwd=self.folder, **variables)


class Batch:
    """A job that was submitted."""

    def __init__(self, slurm: Slurm, number: str) -> None:
        self.slurm, self.number = slurm, number

    def fact(self, name: str) -> str:
        """What SLURM says of it: JobState, Restarts, ExitCode."""
        said = re.search(rf"\b{name}=(\S+)", self.slurm.do("scontrol", "--oneliner", "show", "job", self.number))
        return said[1] if said else ""

    def wait_for(self, *states: str, limit: float = LIMIT) -> str:
        """Wait for one of the states; which it is. Without ``states``: for its end."""
        found = [self.fact("JobState")]
        deadline = time.monotonic() + limit
        while found[-1] not in (states or ENDS):
            assert time.monotonic() < deadline, f"waited {limit} s for {states or 'the end'} of a job: {found}\n{self.said()}"
            time.sleep(0.3)
            found += [self.fact("JobState")]
        return found[-1]

    def said(self) -> str:
        """What it printed, rank 0 and the others."""
        folder = self.slurm.folder.parent
        found = [*folder.glob(f"slurm-*-{self.number}.txt"), *folder.glob(f"slurm-*-{self.number}.ranks/*")]
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(found))

    def signal(self, *options: str) -> None:
        """``scancel``, with a signal or without."""
        self.slurm.do("scancel", *options, self.number)

    def hears(self) -> bool:
        """Whether its script has begun: a shell that catches SIGUSR1 runs it. Before that the signal ends any process."""
        for pid in self.slurm.hosts[0].processes(f"job{int(self.number):05d}/slurm_script"):
            with suppress(OSError):
                caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
                if caught and int(caught[1], 16) >> (signal.SIGUSR1 - 1) & 1:
                    return True
        return False

    def tasks(self, host: int, run: str) -> list[int]:
        """The ranks on one of the hosts that train the run of that name."""
        found = list[int]()
        for pid in self.slurm.hosts[host].processes(f"run.dir={run}"):
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("python"):
                    found.append(pid)
        return found


def script() -> str:
    """The shipped one, unchanged."""
    return str(ROOT / "launch/slurm.sbatch")
