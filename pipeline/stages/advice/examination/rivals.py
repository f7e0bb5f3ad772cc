"""What a step is held against: hand-written loops that do nothing but what a step is, and the recurrent layer alone.

Shapes: N examples, B batch, T time steps, F features, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Part
from pipeline.model import gpu_layer

WARMUP = 4  # steps before a capture, on its stream
Launch = Callable[[], Any]  # gives the device one step's work


class Bare(nn.Module):
    """One LSTM and a linear head on its last step."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, 10)."""
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


class Loop:
    """Gather, forward, loss, backward, Adam: a step by hand; on a GPU all that it needs is there, picked by a counter."""

    def __init__(self, part: Part, hidden: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.values, self.labels = part.values.to(device), part.labels.to(device)
        self.model = Bare(part.values.shape[2], hidden).to(device)
        on_gpu = device.type == "cuda"
        self.descent = torch.optim.Adam(self.model.parameters(), lr=0.01, fused=True, capturable=on_gpu)
        rows = torch.randperm(len(part.labels))
        self.order = rows[: len(rows) // batch * batch].reshape(-1, batch).to(device)  # (steps, B)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)

    def __call__(self) -> Tensor:
        """Take a step; its loss () is on the device."""
        rows = self.order.index_select(0, self.counter)[0]
        x, y = self.values.index_select(0, rows), self.labels.index_select(0, rows)
        loss = functional.cross_entropy(self.model(x.float() / 255), y)
        self.descent.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        self.descent.step()
        self.counter.add_(1).remainder_(len(self.order))
        return loss


class Layer:
    """cuDNN's LSTM alone, forward and backward: what no step of it can fall below."""

    def __init__(self, shape: tuple[int, int, int], hidden: int, dtype: torch.dtype = torch.float32) -> None:
        self.layer, self.dtype = nn.LSTM(shape[2], hidden, batch_first=True, device="cuda"), dtype
        self.x = torch.randn(shape, device="cuda", dtype=dtype)  # (B, T, F)
        self.grad = torch.randn(*shape[:2], hidden, device="cuda", dtype=dtype)

    def __call__(self) -> Any:
        """Both passes."""
        low = self.dtype != torch.float32
        outputs = gpu_layer.read([self.layer], self.x, self.dtype) if low else self.layer(self.x)[0]
        return torch.autograd.grad(outputs, list(self.layer.parameters()), self.grad)


def captured(step: Launch) -> Launch:
    """``step`` as a CUDA graph."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # of torch
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):  # NCCL's threads may go on
        kept = step, step()  # what it reads, and what it gives: the graph has their addresses alone

    def replay() -> Any:
        graph.replay()
        return kept[1]

    return replay
