"""Two hosts on this machine: network, host name, /etc/hosts, mounts and processes of their own; the disk is shared.

By default the names are as bad as they are on many systems: each host's own name leads to 127.0.1.1, as Debian writes it, and
nobody knows the other's. A host ends with the process of the test, however that ends, and with the host all that runs on it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.launching import ROOT, environment

PORT = "29517"  # of the first host, where the processes meet
TOOLS = ("ip", "setpriv", "unshare", "nsenter")
# The first process of a host. It waits for a word on its input once it stands, and for ever once it has it.
FIRST = "hostname $1; mount --bind $2 /etc/hosts; ip link set lo up; echo stands; read -r _; sleep infinity & wait"


@dataclass(frozen=True)
class Host:
    """A host, its first process as seen from outside, its device and its address."""

    name: str
    holder: subprocess.Popen[str]
    device: str
    address: str

    def inside(self, *command: str) -> list[str]:
        """``command``, to be run there."""
        return ["nsenter", "--target", str(self._first()), "--net", "--uts", "--mount", "--pid", *command]

    def start(self, output: Path, *command: str, cwd: Path, **more: str) -> subprocess.Popen[bytes]:
        """Start a command there, which prints to a file."""
        with output.open("ab") as file:
            return subprocess.Popen(
                self.inside("bash", "-c", 'cd "$1" && shift && exec "$@"', "_", str(cwd), *command),
                env=environment(**{"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"} | more),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self, word: str = "") -> list[int]:
        """The processes there that live and have ``word`` in their command line, as seen from outside, oldest first."""
        own, found = Path(f"/proc/{self._first()}/ns/pid").readlink(), list[int]()
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = path.joinpath("stat").read_text().rpartition(")")[2].split()[0]
                text = path.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
                if path.joinpath("ns/pid").readlink() == own and state != "Z" and word in text:
                    found.append(int(path.name))
        return sorted(found)

    def workers(self) -> list[int]:
        """The processes of a launch there that train."""
        launchers = set(self.launchers())
        return [pid for pid in self.processes("-m pipeline train") if pid not in launchers]

    def launchers(self) -> list[int]:
        """The launchers there, and not what carries them in."""
        found = self.processes("accelerate") + self.processes("torch.distributed.run") + self.processes("torchrun")
        return [pid for pid in found if "nsenter" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]]

    def link(self, state: str) -> None:
        """Cut the link to the other host (down), or mend it (up)."""
        subprocess.run(self.inside("ip", "link", "set", self.device, state), check=True, capture_output=True)

    def signal(self, number: int, processes: list[int]) -> None:
        """Send a signal to processes there, as seen from outside."""
        for process in processes:
            os.kill(process, number)

    def kill(self) -> None:
        """Lose the host with all that runs there."""
        self.holder.kill()
        self.holder.wait()

    def _first(self) -> int:
        return int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])


@contextmanager
def two_hosts(folder: Path, names: bool = False) -> Iterator[tuple[Host, Host]]:
    """Two hosts with a link between them and to nowhere else. ``names``: each knows the name and address of both.

    Skips where namespaces cannot be made: they need root, iproute2 and util-linux.
    """
    lacking = [tool for tool in TOOLS if not shutil.which(tool)]
    if lacking:
        pytest.skip(f"NOT TESTED: two hosts need {', '.join(lacking)} (apt-get install iproute2 util-linux)")
    hosts = list[Host]()
    try:
        for number in range(2):
            hosts.append(_made(folder, number, names))
        pair = hosts[0].device, hosts[1].device
        inner = Path(f"/proc/{hosts[1].holder.pid}/task/{hosts[1].holder.pid}/children").read_text().split()[0]
        _do(hosts[0], "ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1])
        outside = ["nsenter", "--target", str(hosts[0]._first()), "--net", "ip", "link", "set", pair[1], "netns", inner]
        subprocess.run(outside, check=True, capture_output=True)
        for host in hosts:
            _do(host, "ip", "address", "add", f"{host.address}/24", "dev", host.device)
            _do(host, "ip", "link", "set", host.device, "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            host.kill()


def _made(folder: Path, number: int, names: bool) -> Host:
    own, address = f"host-{number}", f"10.0.0.{number + 1}"
    known = ["10.0.0.1 host-0", "10.0.0.2 host-1"] if names else [f"127.0.1.1 {own}"]
    file = folder / f"hosts.{number}"
    file.write_text("\n".join(["127.0.0.1 localhost", *known, ""]))
    spaces = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *spaces, "bash", "-c", FIRST, "_", own, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert holder.stdout
    said = holder.stdout.readline()
    if said != "stands\n":
        holder.kill()
        pytest.skip(f"NOT TESTED: two hosts need namespaces, which this machine or its user may not make ({said.strip()})")
    return Host(own, holder, f"pl{os.getpid() % 10**6}x{number}", address)


def _do(host: Host, *command: str) -> None:
    subprocess.run(host.inside(*command), check=True, capture_output=True)


def launch_on(hosts: tuple[Host, Host], folder: Path, *arguments: str, processes: int = 2, **more: str) -> Launch:
    """``accelerate launch`` on both hosts: static, by address. ``options``: more of its options."""
    options = more.pop("options", "").split()
    head = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/multi_node.yaml")]
    head += ["--num_machines", "2", "--num_processes", str(processes), "--main_process_ip", hosts[0].address]
    head += ["--main_process_port", PORT, *options, "--machine_rank", "{number}", "-m", "pipeline", *arguments]
    return Launch(hosts, folder, head, more)


def typed_on(hosts: tuple[Host, Host], folder: Path, *arguments: str, processes: int = 2, **more: str) -> Launch:
    """The command on both hosts as docs/distributed.md has it. ``program``: another one than ``pipeline``."""
    place = ["--processes", str(processes), "--machine", "{number}/2", "--head", f"{hosts[0].address}:{PORT}"]
    return Launch(hosts, folder, [sys.executable, "-m", more.pop("program", "pipeline"), *arguments, *place], more)


class Launch:
    """A command on two hosts, and what each prints to HOST.txt: {number}, {first} and {address} in it, and in its variables,
    are those of the host."""

    def __init__(self, hosts: tuple[Host, Host], folder: Path, command: list[str], variables: dict[str, str]) -> None:
        self.hosts, self.files = hosts, [folder / f"{host.name}.txt" for host in hosts]
        self.jobs = list[subprocess.Popen[bytes]]()
        for number, (host, file) in enumerate(zip(hosts, self.files, strict=True)):
            file.unlink(missing_ok=True)
            own = {"{number}": str(number), "{first}": str(number == 0).lower(), "{address}": host.address}
            words = [_with(word, own) for word in command]
            self.jobs.append(host.start(file, *words, cwd=folder, **{key: _with(word, own) for key, word in variables.items()}))

    def wait(self, seconds: float = 150) -> list[int]:
        """The exit status of each; all are killed if one has not ended by then."""
        try:
            return [job.wait(seconds) for job in self.jobs]
        finally:
            for job in self.jobs:
                with suppress(ProcessLookupError):
                    os.killpg(job.pid, signal.SIGKILL)

    def said(self) -> str:
        """What was printed on both hosts."""
        return "\n".join(f"{file.stem}: {file.read_text()}" for file in self.files if file.exists())

    def ended(self) -> bool:
        """Whether one of them has ended."""
        return any(job.poll() is not None for job in self.jobs)


def _with(word: str, own: dict[str, str]) -> str:
    for name, value in own.items():
        word = word.replace(name, value)
    return word
