"""Processes that are all on one machine meet on its loopback, where nobody on the network can take part.

torch's stores listen on all interfaces of a machine and ask nobody who they are, whatever address they are told
(pytorch#173909). A socket that is bound before, and handed to them, keeps them to one.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # in no stub
from torch.distributed.elastic.rendezvous import RendezvousInfo, RendezvousParameters, RendezvousStoreInfo
from torch.distributed.elastic.rendezvous import rendezvous_handler_registry as handlers
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

ADDRESS = "127.0.0.1"
RENDEZVOUS = "loopback"  # what a launcher calls the rendezvous of this module


def register() -> None:
    """Make the rendezvous of this module known to torch's launcher in this process."""
    handlers.register(RENDEZVOUS, _create)


def keep_to_loopback() -> None:
    """Have gloo and NCCL connect on the loopback, if this launch is on one machine and nobody has named an interface."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "") == os.environ.get("WORLD_SIZE")
    own = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if here and own:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", own[0])
        os.environ.setdefault("NCCL_SOCKET_IFNAME", own[0])


def serve(port: int, timeout: timedelta) -> TCPStore:
    """A store that listens on a port of the loopback alone; 0: any that is free."""
    listener = socket.create_server((ADDRESS, port), backlog=128)
    port = listener.getsockname()[1]
    return TCPStore(ADDRESS, port, is_master=True, timeout=timeout, wait_for_workers=False, master_listen_fd=listener.detach())


class _Loopback(StaticTCPRendezvous):
    """torch's static rendezvous of one machine, but for where it listens."""

    def get_backend(self) -> str:
        return RENDEZVOUS

    def next_rendezvous(self) -> RendezvousInfo:
        self._store = self._store or serve(0, self.timeout)
        assert isinstance(self._store, TCPStore)
        where = RendezvousStoreInfo(ADDRESS, self._store.port)
        return RendezvousInfo(PrefixStore(self.run_id, self._store), 0, 1, where)


def _create(parameters: RendezvousParameters) -> _Loopback:
    return _Loopback(ADDRESS, 0, 0, 1, parameters.run_id, 900)
