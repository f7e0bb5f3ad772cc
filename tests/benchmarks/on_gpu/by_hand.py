"""The steps that the pipeline's own is held against: what a careful user writes, and what cuDNN takes alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from tests.benchmarks.on_gpu.cases import Case

Step = Callable[[], object]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Bare(nn.Module):
    """The model of a case without anything around it."""

    def __init__(self, case: Case, features: int) -> None:
        super().__init__()
        more = {"batch_first": True, "bidirectional": case.bidirectional}
        self.lstm = nn.LSTM(features, case.hidden, case.layers, **more)
        self.head, self.mean = nn.Linear(case.hidden * (1 + case.bidirectional), 10), case.bidirectional

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, C)."""
        outputs = self.lstm(x)[0]
        logits: Tensor = self.head(outputs.mean(1) if self.mean else outputs[:, -1])
        return logits


def graph_of(step: Step) -> Step:
    """``step`` as one CUDA graph, warmed up on a stream of its own."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = step, step()  # what it reads, and what it gives: the graph has their addresses alone

    def replay() -> object:
        graph.replay()
        return kept[1]

    return replay


def by_hand(case: Case, store: Store) -> Step:
    """A step of Adam on data and order that lie on the GPU, in fp32 or by autocast."""
    device = store.device
    values, labels = store.take(torch.arange(store.count, device=store.home))[:2]
    model, count = Bare(case, values.shape[2]).to(device), len(labels)
    graphed = case.way == "by hand, graph"
    descent = torch.optim.Adam(model.parameters(), lr=0.01, fused=True, capturable=graphed)
    order, place = torch.randperm(count, device=device), torch.arange(case.batch, device=device)

    def step() -> Tensor:
        rows = order.index_select(0, place)
        place.add_(case.batch).remainder_(count)
        x, y = values.index_select(0, rows), labels.index_select(0, rows)
        with torch.autocast("cuda", DTYPES[case.precision]) if case.precision != "fp32" else nullcontext():
            logits = model(x.float() / 255)
        loss = functional.cross_entropy(logits.float(), y)
        descent.zero_grad()
        loss.backward()
        descent.step()
        return loss

    return graph_of(step) if graphed else step


def cudnn_alone(case: Case, store: Store) -> Step:
    """The recurrent layers forward and backward on one batch that stays, as a graph: no optimiser, no loss, no data."""
    features, dtype = store.values.shape[-1], DTYPES[case.precision]
    lstm = Bare(case, features).lstm.to(store.device, dtype)
    lstm.flatten_parameters()
    x = torch.randn(case.batch, case.steps, features, device=store.device, dtype=dtype)
    back = torch.randn(case.batch, case.steps, case.hidden * (1 + case.bidirectional), device=store.device, dtype=dtype)
    weights = list(lstm.parameters())
    return graph_of(lambda: torch.autograd.grad(lstm(x)[0], weights, back))
