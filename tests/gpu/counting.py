"""What the stand-in below this process counted, and where this program waited."""

from __future__ import annotations

import collections
import ctypes
import os
import sys
from typing import Any

SIZE = 1 << 22


class Counting:
    """The counts since ``reset``; waits and illegal calls by the line of ``pipeline/`` that made them."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.waits: collections.Counter[str] = collections.Counter()
        self.illegal: collections.Counter[str] = collections.Counter()
        self.captured: list[int] = []  # nodes of each graph
        self._hook = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(self._seen)
        self.library.stub_hook(self._hook)

    def _seen(self, kind: bytes, name: bytes) -> None:
        if kind == b"CAPTURED":
            self.captured.append(int(name.split()[0]))
            return
        if kind != b"COPY":  # a copy of memory that is not pinned waits too, and stands among the copies
            (self.illegal if kind == b"ILLEGAL" else self.waits)[f"{name.decode()} @ {_place()}"] += 1

    def reset(self) -> None:
        """Begin anew."""
        self.library.stub_reset()
        self.waits.clear()

    def anew(self) -> None:
        """Begin anew, and forget graphs and illegal calls too."""
        self.reset()
        self.illegal.clear()
        self.captured.clear()

    def of(self, kind: str) -> dict[str, int]:
        """How often each thing of a kind happened: launch, copy, node, api, cudnn or SYNC."""
        text = ctypes.create_string_buffer(SIZE)
        self.library.stub_dump(text, SIZE)
        pairs = (line.split(" ", 1) for line in text.value.decode().splitlines())
        return {name.removeprefix(f"{kind} ").split("(")[0]: int(count) for count, name in pairs if name.startswith(f"{kind} ")}

    def report(self) -> dict[str, Any]:
        """All of it, as a rehearsal's answer."""
        launches, copies, calls = self.of("launch"), self.of("copy"), self.of("cudnn")
        fills = copies.pop("memset", 0)
        return {
            "launches": sum(launches.values()),
            "fills": fills,
            "copies": copies,
            "waits": dict(self.waits),
            "weight_calls": calls.pop("cudnnGetRNNWeightParams", 0),
            "descriptors": sorted(calls),
            "collectives": {name: count for name, count in launches.items() if name.startswith("nccl")},
            "graphs": launches.get("GRAPH", 0),
            "captured": [*self.captured],
            "illegal": dict(self.illegal),
            "kernels": launches,
        }


def _place() -> str:
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        file = frame.f_code.co_filename
        if "/pipeline/" in file:
            return f"{file.rsplit('/pipeline/', 1)[1]}:{frame.f_lineno} {frame.f_code.co_name}"
    return "a thread of autograd"
