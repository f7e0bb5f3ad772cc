"""An LSTM layer for training on CPUs: cpu_lstm.cpp, compiled for this processor when it is first wanted.

Shapes: B batch, T time steps, F features, H hidden size, D directions.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
MULTIPLE = 16  # of which the hidden size must be one: the lanes of the widest vectors
LARGEST = 256  # hidden size; from 512 on torch's kernel is as fast, as few weights stay in the nearest cache
COMPILE_SECONDS, KEPT_SECONDS = 60, 30 * 24 * 3600  # a compilation takes three seconds; others wait for it meanwhile
TOLERANCE = 1e-5  # of the largest value, between this kernel's and torch's results when it is loaded


class Unavailable(Exception):
    """There is no such kernel here: why not."""


@functools.cache
def library(flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """The kernel, compiled and compared with torch's LSTM. Raises Unavailable, at every call anew."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable("it was tried on x86-64 under Linux only")
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise Unavailable("there is no C++ compiler (Debian: apt-get install g++)")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line for line in lines if line.startswith("flags")), "")
        if not {"avx2", "fma"} <= set(processor.split()):
            raise Unavailable("this processor has no AVX2")
        kernel = _open(compiler, flags, processor)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: a user without a home
        raise Unavailable(f"it cannot be compiled: {_reason(error)}") from None
    _check(kernel)
    return kernel


def _open(compiler: str, flags: tuple[str, ...], processor: str) -> ctypes.CDLL:
    """Out of the user's cache, whose names tell source, compiler, flags and processor; compiled if it is not there."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=20, check=True).stdout
    parts = (SOURCE.read_bytes(), version, " ".join(flags).encode(), processor.encode())
    name = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:24]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "sequence-pipeline"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _refuse_shared(folder)
    made = folder / f"cpu_lstm-{name}.so"
    if not _is_whole(made):
        for old in folder.glob("cpu_lstm-*"):  # of other sources, or of a compilation that was killed
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        # several processes may be at it: the last one's stays
        with tempfile.TemporaryDirectory(dir=folder, prefix="cpu_lstm-") as room:
            product = Path(room, made.name)
            command = [compiler, *flags, "-o", str(product), str(SOURCE)]
            subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=True)
            code = product.read_bytes()
            product.write_bytes(code + hashlib.sha256(code).digest())
            product.replace(made)
    return ctypes.CDLL(str(made))


def _refuse_shared(folder: Path) -> None:
    """Raise OSError if another user could put into ``folder``, a path without links, code that would run here."""
    if folder.is_symlink():
        raise OSError(f"{folder} is a link; remove it, or set XDG_CACHE_HOME to a folder of your own")
    for place in (folder, *folder.parents):
        found = place.stat()
        kept = place != folder and found.st_mode & stat.S_ISVTX  # as /tmp: what is in it is its owner's
        if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and not kept):
            mend = f"chmod {'700' if place == folder else 'go-w'} {place}"
            raise OSError(f"{place} can be written by others; {mend}, or set XDG_CACHE_HOME to a folder of your own")


def _is_whole(path: Path) -> bool:
    """Whether a library is there and ends with the SHA-256 of the rest: to load one that was cut short kills the process."""
    try:
        code = path.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(code[:-32]).digest() == code[-32:]


def _reason(error: Exception) -> str:
    """One line of what went wrong."""
    said = error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else ""
    lines = (said or str(error) or repr(error)).splitlines()
    return next((line for line in lines if "error" in line), lines[-1])[:200]


def _check(kernel: ctypes.CDLL) -> None:
    """Raise Unavailable if outputs or gradients are not torch's, as those of a bad compiler would be."""
    random = torch.Generator().manual_seed(0)
    weights = [torch.randn(size, generator=random) * 0.3 for _ in "fb" for size in ((64, 3), (64, 16), (64,), (64,))]
    x = torch.randn(7, 5, 3, generator=random)
    seed = torch.randn(7, 5, 32, generator=random)
    results = []
    for own in (True, False):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, *weights)]
        with torch.enable_grad():
            if own:
                outputs: Tensor = _Layer.apply(kernel, 2, *leaves)
            else:
                start = x.new_zeros(2, 7, 16)
                outputs = torch.lstm(leaves[0], (start, start), leaves[1:], True, 1, 0.0, True, True, True)[0]
            torch.autograd.backward(outputs, seed)
        results.append([outputs.detach(), *(leaf.grad for leaf in leaves)])
    for mine, theirs in zip(*results, strict=True):
        assert mine is not None and theirs is not None
        if not bool((mine - theirs).abs().max() <= TOLERANCE * theirs.abs().max()):
            raise Unavailable("what it computes is not what torch computes; the compiler may be at fault")


def lstm(x: Tensor, weights: Sequence[Tensor], directions: int = 1) -> Tensor:
    """The outputs (B, T, D * H) of a layer that starts at zero, the last half, if D = 2, of the direction that reads from
    the end; gates and weights are torch.nn.LSTM's.

    ``x`` (B, T, F) float32 on the CPU. ``weights``: for each direction those of the input (4 * H, F) and of the recurrence
    (4 * H, H), and the two biases (4 * H), float32 and contiguous; H a multiple of 16. Sums have one order, whatever
    ``torch.get_num_threads()``, on one kind of processor. The gradient may be taken once: no ``retain_graph``, no second
    derivative. Raises Unavailable if there is no kernel here.
    """
    outputs: Tensor = _Layer.apply(library(), directions, x, *weights)
    return outputs


def takes(x: Tensor) -> bool:
    """Whether ``lstm`` computes what torch would now: training in single precision on the CPU."""
    single = x.dtype == torch.float32 and x.device.type == "cpu"
    return single and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


class _Layer(torch.autograd.Function):
    """The two functions of the library as one differentiable one."""

    @staticmethod
    def forward(ctx: Any, kernel: ctypes.CDLL, directions: int, x: Tensor, *weights: Tensor) -> Tensor:
        x = x.contiguous()
        (batch, steps, features), hidden = x.shape, weights[1].shape[1]
        if x.dtype != torch.float32 or not x.numel():
            raise ValueError(f"expected single precision and at least one value, got {x.dtype} {tuple(x.shape)}")
        shapes = [(4 * hidden, features), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * directions
        if hidden % kernel.lanes() or [tuple(weight.shape) for weight in weights] != shapes:
            raise ValueError(f"expected weights of {shapes}, got {[tuple(weight.shape) for weight in weights]}")
        assert all(weight.is_contiguous() and weight.dtype == x.dtype for weight in weights)
        sizes = (batch, steps, features, hidden, directions, torch.get_num_threads())
        packed = x.new_empty(directions * 4 * hidden * (features + hidden + 1))
        outputs = x.new_empty(batch, steps, directions * hidden)
        gates = x.new_empty(directions * 4 * hidden * batch * steps)
        cells = x.new_empty(directions * hidden * batch * steps)
        kernel.lstm_forward(*_numbers(sizes), _at(x), _all_at(weights), *map(_at, (packed, outputs, gates, cells)))
        ctx.kernel, ctx.sizes, ctx.packed, ctx.gates, ctx.cells = kernel, sizes, packed, gates, cells
        ctx.save_for_backward(x, outputs, *weights)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, outputs, *weights = ctx.saved_tensors
        if ctx.gates is None:
            raise RuntimeError("the gradient of this layer may be taken once: the first time has used up what was kept for it")
        batch, _, features, hidden, directions, _ = ctx.sizes
        grad = grad if grad.stride(2) == 1 else grad.contiguous()  # a mean's gradient is one step's, seen T times
        padded = -(-features // MULTIPLE) * MULTIPLE
        further = ctx.needs_input_grad[2]
        recurrent = x.new_empty(directions * 4 * hidden * hidden)
        inputs = x.new_empty(directions * 4 * hidden * padded) if further else None
        carried = x.new_empty(directions * batch * 2 * hidden)
        dx = torch.empty_like(x) if further else None
        grads = [torch.empty_like(weight) for weight in weights]
        ctx.kernel.lstm_backward(
            *_numbers(ctx.sizes),
            _at(x),
            _all_at(weights),
            *map(_at, (outputs, ctx.gates, ctx.cells, grad)),
            *_numbers((grad.stride(0), grad.stride(1))),
            *map(_at, (recurrent, inputs)),
            *_numbers((padded,)),
            *map(_at, (carried, ctx.packed, dx)),
            _all_at(grads),
        )
        ctx.packed = ctx.gates = ctx.cells = None
        return None, None, dx, *grads


def _numbers(values: Sequence[int]) -> list[ctypes.c_long]:
    return [ctypes.c_long(value) for value in values]


def _at(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _all_at(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
