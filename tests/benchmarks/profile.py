"""Where the microseconds of a training step go: a step of the MNIST LSTM tutorial, on one thread, by what its kernels are for.

    python -m tests.benchmarks.profile

The time of a step is measured without the profiler; that of each kernel by torch's profiler, which adds a little to each.
What is left is Python and the way from it to the kernels.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from statistics import median
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks import quick

STEPS = 300
PARTS = {
    "recurrent layer, backward": ("_LayerBackward", "mkldnn_rnn_layer_backward"),
    "recurrent layer, forward": ("_Layer", "mkldnn_rnn_layer", "aten::lstm"),
    "gather of the batch": ("aten::index_select",),
    "normalisation": ("aten::sub", "aten::mul"),
    "head and loss, both ways": ("addmm", "aten::mm", "softmax", "nll_loss", "cross_entropy", "AddmmBackward", "aten::sum"),
    "optimiser": ("fused_adam", "_foreach_add", "Optimizer.step"),
    "check that all is finite": ("_amp_foreach", "aten::item", "_local_scalar"),
}


def part_of(kernel: str) -> str:
    """What a kernel is for."""
    return next((part for part, names in PARTS.items() if any(name in kernel for name in names)), "copies, fills, views, graph")


def main() -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    contender = quick.pipeline(quick.synthetic())
    with quick.alone("fp32") as accelerator:
        steps = contender.steps(accelerator)
        deque(islice(steps, 50), maxlen=0)
        times = []
        for _ in range(STEPS):
            start = perf_counter()
            next(steps)
            times.append(perf_counter() - start)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            deque(islice(steps, STEPS), maxlen=0)
    spent = dict.fromkeys([*PARTS, part_of("")], 0.0)
    for kernel in profiler.key_averages():
        spent[part_of(kernel.key)] += kernel.self_cpu_time_total / STEPS
    whole = median(times) * 1e6
    spent["Python, and the way to the kernels"] = max(0.0, whole - sum(spent.values()))
    print(f"{quick.machine()['processor']}, torch {torch.__version__}; batch {quick.BATCH}, median of {STEPS} steps\n")
    print("| part of a step | microseconds | share |\n|---|---|---|")
    for part, microseconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"| {part} | {microseconds:,.0f} | {microseconds / whole:.1%} |")
    print(f"| the step | {whole:,.0f} | |")


if __name__ == "__main__":
    main()
