"""A part of a prepared folder in memory, on the device or mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from pipeline.data.manifest import Name
from pipeline.data.series import offsets_of
from pipeline.distributed.collectives import gather

ON_CPU = 4096  # MB of a split that ``auto`` holds in memory there
SHARE = 2  # on a GPU it leaves the rest of what is free to the model


@dataclass(frozen=True, eq=False)
class Part:
    """One part, rows in ascending ``index``; memory-mapped, private to the process and read when touched.

    ``values`` (N, T, F), uint8 or float32; where lengths differ, (S, F), a series after the other, and ``offsets`` (N + 1):
    series n is the steps from offsets[n] to offsets[n + 1]. A part of several files has only the first ones' rows in ``values``
    and the others' in ``rest``; everything else is of all of them.
    """

    values: Tensor
    labels: Tensor  # (N) int64
    index: Tensor  # (N) int64, the row in the source's own train or test split; of series, their number in the file
    offsets: Tensor | None = None
    rest: tuple[Tensor, ...] = ()

    @property
    def lengths(self) -> Tensor:
        """(N) int64, the steps of each example."""
        return torch.full_like(self.labels, self.values.shape[1]) if self.offsets is None else self.offsets.diff()

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(values.nbytes for values in (self.values, *self.rest))


def mapped(path: Path) -> dict[str, Tensor]:
    """The columns of a file of a part. Raises OSError or SafetensorError if it cannot be read."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no dictionary


def joined(files: Sequence[dict[str, Tensor]]) -> Part:
    """The part of one or several files."""
    found = {key: [columns[key] for columns in files] for key in files[0]}
    if "offsets" in found:
        lengths = torch.cat([offsets.diff() for offsets in found["offsets"]])
        found["offsets"] = [torch.from_numpy(offsets_of(lengths.numpy()))]
    first, *rest = found.pop("values")
    whole = {key: torch.cat(tensors) if tensors[1:] else tensors[0] for key, tensors in found.items()}
    return Part(first, rest=tuple(rest), **whole)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``: from the host to a GPU through pinned memory, so that the host need not wait."""
    on_gpu = device.type == "cuda" and not tensor.is_cuda
    return tensor.pin_memory().to(device, non_blocking=True) if on_gpu else tensor.to(device)


def fetched(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` on the host, without gradients: those that are there as they are, those of a GPU as ``together`` has them."""
    found = {name: tensor.detach() for name, tensor in tensors.items()}
    return found | together({name: tensor for name, tensor in found.items() if tensor.device.type != "cpu"})


def together(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of ``tensors`` on the host, which waits for a GPU once for each dtype: models have many tensors."""
    found: dict[str, Tensor] = {}
    for dtype in {tensor.dtype for tensor in tensors.values()}:
        alike = {name: tensor for name, tensor in tensors.items() if tensor.dtype == dtype}
        gpus = {tensor.device for tensor in alike.values() if tensor.is_cuda}
        sizes = [tensor.numel() for tensor in alike.values()]
        pieces = torch.split(torch.empty(sum(sizes), dtype=dtype, pin_memory=bool(gpus)), sizes)
        for (name, tensor), piece in zip(alike.items(), pieces, strict=True):
            found[name] = piece.view(tensor.shape).copy_(tensor, non_blocking=tensor.is_cuda)
        for gpu in gpus:
            torch.cuda.current_stream(gpu).synchronize()
    return {name: found[name] for name in tensors}


def resident_limit(setting: int | Literal["auto"], device: torch.device) -> int:
    """``data.resident_limit_mb`` as a number of MB, the same in all processes. Collective."""
    if setting != "auto":
        return setting
    if device.type != "cuda":
        return ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(gather(free))) // SHARE // 2**20


def stores(
    parts: Mapping[Name, Part], device: torch.device, setting: int | Literal["auto"], limit_mb: int
) -> dict[Name, Store]:
    """A store of each part. Those of ``auto`` on a GPU share ``limit_mb``, the first ones first; else each may be as large."""
    found: dict[Name, Store] = {}
    for name, part in parts.items():
        found[name] = Store(part, device, limit_mb)
        if setting == "auto" and device.type == "cuda" and found[name].resident:
            limit_mb -= -(-part.nbytes // 2**20)
    return found


class Store:
    """The values and labels of a part: on the device if they fit ``limit_mb``, else read through memory maps.

    Series of unequal lengths are padded with zeros when they are taken, to the longest that is taken with them.
    """

    def __init__(self, part: Part, device: torch.device, limit_mb: int) -> None:
        self.device, self.count, self.nbytes, self.limit_mb = device, len(part.labels), part.nbytes, limit_mb
        self.resident = part.nbytes <= limit_mb * 2**20
        there = device if self.resident else torch.device("cpu")
        shards = [part.values, *part.rest]
        if part.rest and there.type != "cpu":
            shards = [torch.cat(shards)]
        # rows of unequal lengths lie on the host, which must know the longest of a batch
        self.home = there if part.offsets is None and len(shards) == 1 else torch.device("cpu")
        self.shards = [values.to(there) for values in shards]
        self.values = self.shards[0]  # (N, T, F), or (S, F), of the first shard
        self.labels = part.labels.to(self.home)  # (N)
        self.lengths = None if part.offsets is None else part.lengths  # (N) on the host
        self.longest = self.values.shape[1] if self.lengths is None else int(self.lengths.max())
        starts = torch.arange(self.count) if part.offsets is None else part.offsets[:-1]  # (N) of a series, in S or N
        sizes = torch.tensor([len(values) for values in self.shards])
        self._ends = sizes.cumsum(0)
        self._starts, self._firsts = starts, (self._ends - sizes).tolist()
        self._near: tuple[Tensor, ...] | None = None

    @property
    def excess(self) -> str:
        """Why the values are not held on the device, as a clause; of a store that is not resident."""
        return f"it has {-(-self.nbytes // 2**20):,} MB, and data.resident_limit_mb is {self.limit_mb:,} here"

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (b, T, F), labels (b) and lengths (b) of ``rows`` (b), which lie at ``home``, on the device.

        Where all series of the part have T steps, the lengths are None; else T is the most that one of ``rows`` has.
        """
        values, labels, lengths = self.gathered(rows)
        return sent(values, self.device), sent(labels, self.device), None if lengths is None else sent(lengths, self.device)

    def gathered(self, rows: Tensor, steps: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
        """``take``, where the store lies; ``steps``: T where lengths differ, 0 for the most that one of ``rows`` has."""
        labels = self.labels.index_select(0, rows)
        lengths = None if self.lengths is None else self.lengths.index_select(0, rows)
        if len(self.shards) == 1 and lengths is None:
            return self.values.index_select(0, sent(rows, self.values.device)), labels, None
        most = self.longest if lengths is None else steps or int(lengths.max())
        starts = self._starts.index_select(0, rows)
        if len(self.shards) == 1:
            values = _gather(self.values, starts, lengths, most)
        else:
            shape = (len(rows), most, self.values.shape[-1])
            values = torch.empty(shape, dtype=self.values.dtype)
            shards = torch.bucketize(starts, self._ends, right=True)  # (b)
            for number in set(shards.tolist()):
                mine = (shards == number).nonzero()[:, 0]
                own = None if lengths is None else lengths.index_select(0, mine)
                values[mine] = _gather(self.shards[number], starts[mine] - self._firsts[number], own, most)
        return values, labels, lengths

    def take_near(self, rows: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """``take`` of ``rows`` on the device, to ``steps`` time steps where lengths differ, without a word to the host.

        The store must be resident and in one shard; ``steps`` is at least the most that one of ``rows`` has.
        """
        assert self.resident and len(self.shards) == 1
        if self.lengths is None:
            return self.values.index_select(0, rows), self.labels.index_select(0, rows), None
        if self._near is None:
            self._near = tuple(column.to(self.device) for column in (self._starts, self.labels, self.lengths))
        starts, labels, lengths = (column.index_select(0, rows) for column in self._near)
        return _gather(self.values, starts, lengths, steps), labels, lengths


def _gather(values: Tensor, starts: Tensor, lengths: Tensor | None, most: int) -> Tensor:
    """Series (b, ``most``, F) that begin at ``starts`` (b) of ``values``, (S, F) with ``lengths`` (b), else (N, T, F)."""
    if lengths is None:
        return values.index_select(0, sent(starts, values.device))
    steps = torch.arange(most, device=lengths.device)
    padding = steps >= lengths[:, None]  # (b, T)
    index = (starts[:, None] + steps).masked_fill_(padding, 0).reshape(-1)
    taken = values.index_select(0, sent(index, values.device)).reshape(len(starts), most, -1)
    return taken.masked_fill_(sent(padding, values.device)[:, :, None], 0)
