"""Where each process of a launch is: host and address, as far as it is known; and the network between them."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fcntl import ioctl
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any

ADDRESS_OF = 0x8915  # SIOCGIFADDR of Linux


def here() -> dict[str, Any]:
    """What this process says of itself to the others: its host, its address on the way to the main process, its place there."""
    address = _own_address(os.environ["MASTER_ADDR"])
    place = {"local": os.environ.get("LOCAL_RANK", "0"), "alike": os.environ.get("LOCAL_WORLD_SIZE", "1")}
    return {"host": socket.gethostname(), "address": address, **{key: int(word) for key, word in place.items()}}


def interface(addresses: Iterable[str]) -> str | None:
    """The network interface that leads to the main process, for gloo, which else takes the address of the host's own name: on
    many systems (Debian's 127.0.1.1) no other host can reach that. None where it cannot be told.

    ``addresses``: those of all processes. One of them is asked for where the main process is on this host.
    """
    own = _own_address(os.environ["MASTER_ADDR"])
    if _is_local(own):
        others = [address for address in addresses if not _is_local(address)]
        own = next((found for address in others if not _is_local(found := _own_address(address))), own)
    return next((name for name, address in _interfaces() if address == own), None)


def missing(arrived: Mapping[int, Mapping[str, Any]], number: int) -> str:
    """Which of ``number`` processes did not come, with their host where it is known."""
    hosts = _hosts(arrived, number)
    absent = [rank for rank in range(number) if rank not in arrived]
    if not absent:
        return "process 0 did not answer"
    found = []
    for host, group in groupby(absent, hosts.get):
        for first, last in _runs(list(group)):
            who = f"process {first}" if first == last else f"processes {first} to {last}"
            found.append(f"{who}{f' of {host}' if host else ''}")
    return f"{', '.join(found)} did not arrive"


def _runs(ranks: list[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each of those that follow each other."""
    for _, group in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0]):
        members = [rank for _, rank in group]
        yield members[0], members[-1]


def _hosts(arrived: Mapping[int, Mapping[str, Any]], number: int) -> dict[int, str]:
    """The host of each process: as it said itself, as one beside it said, as SLURM says, or by its number (--machine_rank)."""
    hosts = dict[int, str]()
    alike = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))
    if "GROUP_RANK" in os.environ and alike:
        hosts |= {rank: f"machine {rank // alike}" for rank in range(number)}
    hosts |= dict(enumerate(f"host {name}" for name in _tasks_of_slurm()[:number]))
    for rank, said in arrived.items():
        first = rank - said["local"]
        hosts |= dict.fromkeys(range(first, min(first + said["alike"], number)), f"host {said['host']}")
    return hosts


def _tasks_of_slurm() -> list[str]:
    """The host of each task of this step, if they are placed in blocks, as SLURM does unless told otherwise."""
    names, counts = os.environ.get("SLURM_STEP_NODELIST", ""), os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    if "SLURM_DISTRIBUTION" in os.environ and not os.environ["SLURM_DISTRIBUTION"].startswith("block"):
        return []
    hosts = list[str]()
    for head, inner, alone in re.findall(r"([^,\[\]]+)\[([^\]]+)\]|([^,\[\]]+)", names):
        for part in inner.split(",") if inner else ():
            first, _, last = part.partition("-")
            hosts += [f"{head}{at:0{len(first)}d}" for at in range(int(first), int(last or first) + 1)]
        hosts += [alone] if alone else []
    tasks = list[int]()
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        tasks += [int(count)] * int(times or 1)
    return [host for host, number in zip(hosts, tasks, strict=False) for _ in range(number)]


def _own_address(other: str) -> str:
    """The address of this host on the way to ``other``, an address or a name; empty if there is no way."""
    with suppress(OSError):
        for family, kind, _, _, where in socket.getaddrinfo(other, 9, type=socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(family, kind) as way:
                way.connect(where)  # which sends nothing
                return str(way.getsockname()[0])
    return ""


def _is_local(address: str) -> bool:
    return not address or ip_address(address.partition("%")[0]).is_loopback


def _interfaces() -> Iterator[tuple[str, str]]:
    """The name and address of each interface of this host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has none
                packed = ioctl(any_socket, ADDRESS_OF, struct.pack("256s", name.encode()))
                yield name, socket.inet_ntoa(packed[20:24])
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, name = line.split()
            yield name, str(ip_address(bytes.fromhex(digits)))
