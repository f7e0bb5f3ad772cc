"""``lstm``: the layer as one differentiable function of four launches.

Shapes: B batch, T time steps, F features, H hidden size, D directions.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.model.gpu_lstm import choices
from pipeline.model.gpu_lstm.choices import Choice, Scan, Sums, padded

NEAR = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # of the largest value, rounding with room
TRIED = 4096  # series that the kernels are tried on, at most
ADDRESSABLE = 2**31  # elements that an index of 32 bits reaches
# A product and a sum in one rounding. Triton has another default from 3.10 on, by which the bits would be others.
COMPILED = {"enable_fp_fusion": True}

chosen: Callable[..., Choice] = choices.choice  # what a measurement puts its own in place of


def problem(hidden: int, dtype: torch.dtype, device: torch.device) -> str:
    """Why layers of this hidden size cannot be trained by these kernels in ``dtype`` on ``device``; empty if they can."""
    name = str(dtype).removeprefix("torch.")
    if dtype not in choices.LARGEST:
        return f"there is none for {name}"
    if hidden > choices.LARGEST[dtype]:
        return f"a hidden size of {hidden} is larger than {choices.LARGEST[dtype]}, the largest in {name}"
    missing = _missing(device)
    if not missing and not choices.fits(0, hidden, dtype, _shared(device)):
        return f"a hidden size of {hidden} in {name} takes more shared memory than this GPU has"
    return missing


@functools.cache
def unfit(sizes: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> str:
    """Why the kernels do not work here for a layer of ``sizes`` (B, F, H, D); empty if they do.

    They are compiled, which takes seconds once on a machine, and held against torch's layer on a CPU: a compiler or a GPU
    that computes something else is found before it trains.
    """
    batch, features, hidden, directions = sizes
    random = torch.Generator().manual_seed(0)
    shapes = [(4 * hidden, features), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * directions
    weights = [(torch.rand(shape, generator=random) - 0.5).div_(hidden**0.5).requires_grad_() for shape in shapes]
    x = torch.rand(min(batch, TRIED), 3, features, generator=random).requires_grad_()
    leaves, zero = [x, *weights], x.new_zeros(directions, len(x), hidden)
    expected = torch.lstm(x, (zero, zero), weights, True, 1, 0.0, True, directions == 2, True)[0]
    grad = torch.rand(expected.shape, generator=random)
    try:
        own = [leaf.detach().to(device).requires_grad_() for leaf in leaves]
        found = lstm(own[0], own[1:], dtype)
        results = [found, *torch.autograd.grad(found, own, grad.to(device, dtype))]
        results = [result.detach().cpu().float() for result in results]
    except Exception as error:  # of Triton, of its compilers, of the driver: whatever it is, cuDNN trains
        return f"Triton cannot run it here ({' '.join(str(error).split())[:200] or type(error).__name__})"
    wanted = [expected.detach(), *torch.autograd.grad(expected, leaves, grad)]
    off = [float((one - other).abs().max() / other.abs().max()) for one, other in zip(results, wanted, strict=True)]
    wrong = [share for share in off if not share <= NEAR[dtype]]  # NaN is no less than anything, and max would lose it
    return f"what it computes here is {wrong[0]:.1g} off" if wrong else ""


@functools.cache
def _missing(device: torch.device) -> str:
    """What this machine lacks."""
    if device.type != "cuda":
        return "there is no GPU"
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        return "it needs an NVIDIA GPU of compute capability 8.0 (A100) or newer"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "triton needs a C compiler (Debian: apt-get install gcc)"
    return ""


@functools.cache
def _shared(device: torch.device) -> int:
    """Bytes of shared memory that a program may have; without a GPU, an H100's."""
    if device.type != "cuda":
        return 227 * 1024
    return int(torch.cuda.get_device_properties(device).shared_memory_per_block_optin)


def lstm(x: Tensor, weights: Sequence[Tensor], dtype: torch.dtype, lengths: Tensor | None = None) -> Tensor:
    """The outputs (B, T, D * H) in ``dtype`` of a layer that starts at zero, time-major in memory; the last half, if D = 2,
    of the direction that reads from the end. Gates and weights are torch.nn.LSTM's.

    ``x`` (B, T, F), of any floating type. ``weights``: for each direction those of the input (4 * H, F) and of the recurrence
    (4 * H, H), and the two biases (4 * H), float32 and contiguous. Products are of values in ``dtype``; sums, the state of
    the cells and the gradients of the weights are float32. ``lengths`` (B) int64, from 0 to T: after the end of a series,
    where ``x`` must be finite, outputs are zero and no gradient comes from. The gradient may be taken once.
    The same inputs give the same bits, whatever else is computed.
    """
    outputs: Tensor = _Layer.apply(dtype, lengths, x, *weights)
    return outputs.transpose(0, 1)


class _Layer(torch.autograd.Function):
    """The kernels as one differentiable function, whose outputs (T, B, D * H) are time-major."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, lengths: Tensor | None, x: Tensor, *weights: Tensor) -> Tensor:
        from pipeline.model.gpu_lstm.scan import scan

        (batch, steps, features), hidden, directions = x.shape, weights[1].shape[1], len(weights) // 4
        shapes = [(4 * hidden, features), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * directions
        if [tuple(weight.shape) for weight in weights] != shapes or not x.numel():
            raise ValueError(f"expected values and weights of {shapes}, got {[tuple(weight.shape) for weight in weights]}")
        assert all(weight.is_contiguous() and weight.dtype == torch.float32 for weight in weights)
        x = x if x.stride(2) == 1 else x.contiguous()
        choice = chosen((batch, features, hidden, directions), dtype, _shared(x.device))
        read = x if choice.fused else _input(x, weights, dtype)
        outputs = x.new_empty(steps, batch, directions * hidden, dtype=dtype)
        slopes = x.new_empty(steps, batch, directions, hidden, 4, dtype=dtype)
        carried = x.new_empty(steps, batch, directions, hidden, 2, dtype=dtype)
        with _on(x):
            scan[(-(-batch // choice.forward.rows), directions)](
                read, read.stride(0), read.stride(1), *weights[:4], *weights[-4:],
                outputs, slopes, carried, slopes if lengths is None else lengths, batch, steps,
                F=features, H=hidden, D=directions, FP=padded(features), HP=padded(hidden), FUSED=choice.fused,
                UNEQUAL=lengths is not None, ROUGH=choice.forward.rough and dtype != torch.float32,
                **_how(choice.forward, dtype),
            )  # fmt: skip
        ctx.choice, ctx.kept = choice, (slopes, carried)
        ctx.save_for_backward(x, outputs, *weights)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from pipeline.model.gpu_lstm.unscan import unscan

        x, outputs, *weights = ctx.saved_tensors
        if ctx.kept is None:
            raise RuntimeError("the gradient of this layer may be taken once: the first time has used up what was kept for it")
        (slopes, carried), ctx.kept = ctx.kept, None
        steps, batch, directions, hidden, _ = slopes.shape
        grad = grad if grad.stride(2) == 1 else grad.contiguous()
        found = torch.empty_like(slopes)
        how = ctx.choice.backward
        with _on(x):
            unscan[(-(-batch // how.rows), directions)](
                grad, grad.stride(1), grad.stride(0), weights[1], weights[-3], slopes, carried, found, batch, steps,
                H=hidden, D=directions, HP=padded(hidden), **_how(how, slopes.dtype),
            )  # fmt: skip
            dx = None
            if ctx.needs_input_grad[2]:
                matrix = torch.stack([one.view(4, hidden, -1) for one in weights[0::4]]).transpose(1, 2)  # (D, H, 4, F)
                matrix = matrix.to(slopes.dtype).reshape(-1, x.shape[2])
                dx = (found.view(steps * batch, -1) @ matrix).view(steps, batch, -1).transpose(0, 1).to(x.dtype)
            grads = _weights(x, outputs, found, ctx.choice.sums)
        return None, None, dx, *grads


def _on(x: Tensor) -> AbstractContextManager[Any]:
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _how(scan: Scan, dtype: torch.dtype) -> dict[str, Any]:
    """What two kernels are compiled for."""
    blocks = {"ROWS": scan.rows, "TURNED": scan.turned, "EXACT": _products(dtype)}
    return blocks | COMPILED | {"num_warps": scan.warps, "num_stages": 1}


def _products(dtype: torch.dtype) -> str:
    """How tensor cores multiply: single precision as three products of shorter numbers, with its accuracy."""
    return "tf32x3" if dtype == torch.float32 else "tf32"


def _side_by_side(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """The rows of all directions."""
    return (weights[0] if len(weights) == 1 else torch.cat(list(weights))).to(dtype)


def _input(x: Tensor, weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """(B, T, D * 4 * H): the input's products and the biases, in the order of memory that ``x`` has."""
    matrix = _side_by_side(weights[0::4], dtype)
    bias = _side_by_side([one + other for one, other in zip(weights[2::4], weights[3::4], strict=True)], dtype)
    turned = x.stride(0) < x.stride(1)
    flat = (x.transpose(0, 1) if turned else x).to(dtype)
    product = torch.addmm(bias, flat.reshape(-1, flat.shape[2]), matrix.t()).view(*flat.shape[:2], -1)
    return product.transpose(0, 1) if turned else product


def _weights(x: Tensor, outputs: Tensor, found: Tensor, how: Sums) -> list[Tensor]:
    """The gradients of all weights, each with memory of its own."""
    from pipeline.model.gpu_lstm.sums import pieces, together

    steps, batch, directions, hidden, _ = found.shape
    features, rows = x.shape[2], 4 * hidden
    columns = -(-hidden // how.columns) + -(-(features + 1) // how.columns)
    tiles = directions * -(-rows // how.rows)
    wanted = max(1, min(how.programs // (columns * tiles), steps * batch // (2 * how.places)))
    count = 1 << (wanted.bit_length() - 1)
    each = -(-(steps * batch) // count)
    partial = x.new_empty(count, directions, rows, hidden + features + 1, dtype=torch.float32)
    grads = x.new_empty(directions, rows * (features + hidden + 2), dtype=torch.float32)
    pieces[(columns, tiles, count)](
        found, outputs, x, x.stride(0), x.stride(1), partial, batch, steps, each,
        F=features, H=hidden, D=directions, M=how.rows, N=how.columns, K=how.places, EXACT=_products(found.dtype),
        num_warps=how.warps, num_stages=how.stages, **COMPILED,
    )  # fmt: skip
    block = 128
    together[(-(-partial[0].numel() // block),)](
        partial, grads, F=features, H=hidden, D=directions, S=count, N=block, num_warps=4, **COMPILED
    )  # fmt: skip
    sizes = [rows * features, rows * hidden, rows, rows]
    shapes = [(rows, features), (rows, hidden), (rows,), (rows,)]
    return [part.view(shape) for one in grads for part, shape in zip(one.split(sizes), shapes, strict=True)]
