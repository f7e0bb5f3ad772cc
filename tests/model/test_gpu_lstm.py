"""The LSTM kernels for GPUs: the layer in double precision by Triton's interpreter, and what they take of an H100 or an A100.

The interpreter has no bf16 products and rounds no single precision to shorter numbers: a GPU alone tells that.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.model.gpu_lstm import choices, layer
from tests.support.launching import ROOT, environment
from tests.support.lstm_layer import CASES, DTYPES, Case, exactly, example, shares

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="NOT TESTED: triton is not installed")
TOLERANCE = {"fp32": 2e-6, "fp16": 4e-3, "bf16": 3e-2}  # of the largest value
SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes a program may have, by compute capability


@pytest.fixture(scope="module")
def interpreted() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.lstm_layer"],
        env=environment(TRITON_INTERPRET="1"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("place", "case"), list(enumerate(CASES)))
def test_outputs_and_gradients_are_those_in_double_precision(place: int, case: Case, interpreted: list[dict[str, Any]]) -> None:
    found = interpreted[place]
    assert max(found["shares"]) < TOLERANCE[case.dtype]
    assert (found["padding"], found["same"]) == (0.0, True)


def test_the_gradient_is_taken_once_and_what_does_not_fit_is_refused() -> None:
    assert "float64" in layer.problem(64, torch.float64, torch.device("cpu"))
    assert "no GPU" in layer.problem(64, torch.float32, torch.device("cpu"))
    assert "256" in layer.problem(256, torch.float16, torch.device("cpu"))
    x, weights, _, _ = example((2, 3, 4, 16, 1), False)
    with pytest.raises(ValueError, match="expected values and weights"):
        layer.lstm(x, weights[:2] + weights[:2], torch.float32)


def resources(source: Any, capability: int, warps: int) -> tuple[int, int]:
    """Bytes of shared memory, and of registers that are kept in memory, of a compiled kernel."""
    import triton
    from triton.backends.compiler import GPUTarget

    options = {"num_warps": warps, "num_stages": 1} | layer.COMPILED
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Triton warns of a default that it is about to change
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    stack = re.search(r"STACK:(\d+)", said)
    assert stack, said
    return made.metadata.shared, int(stack[1])


@pytest.mark.parametrize("capability", SHARED)
@pytest.mark.parametrize(("dtype", "hidden"), [("fp32", 64), ("fp16", 64), ("bf16", 128)])
def test_what_is_chosen_fits_on_the_chip(capability: int, dtype: str, hidden: int) -> None:
    from triton.compiler import ASTSource

    from pipeline.model.gpu_lstm.scan import scan
    from pipeline.model.gpu_lstm.unscan import unscan

    choice = choices.choice((64, 28, hidden, 1), DTYPES[dtype], SHARED[capability])
    known: dict[str, Any] = {"F": 28, "H": hidden, "D": 1, "FP": 32, "HP": hidden, "ROWS": choice.forward.rows,
                             "FUSED": choice.fused, "TURNED": choice.forward.turned, "UNEQUAL": True,
                             "EXACT": "tf32x3" if dtype == "fp32" else "tf32", "ROUGH": dtype != "fp32"}  # fmt: skip
    kinds = dict.fromkeys(("outputs", "slopes", "carried", "found", "grad"), f"*{dtype}") | {"lengths": "*i64"}
    kinds |= {} if choice.fused else {"x": f"*{dtype}"}
    kinds = dict.fromkeys(["x", *(f"{one}{d}" for one in ("w_ih", "w_hh", "b_ih", "b_hh") for d in "01")], "*fp32") | kinds
    for kernel, part in ((scan, choice.forward), (unscan, choice.backward)):
        names = kernel.arg_names
        signature = {name: "constexpr" if name in known else kinds.get(name, "i32") for name in names}
        constants = {(place,): known[name] for place, name in enumerate(names) if name in known}
        aligned = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if name in kinds}
        shared, stack = resources(ASTSource(kernel, signature, constants, aligned), capability, part.warps)
        assert shared <= SHARED[capability]
        assert stack <= (512 if dtype == "fp32" else 64)  # twice the warps spill less, and were slower on an H200


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: the LSTM kernels for GPUs need a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(64, 28, 28, 64, 1), (37, 30, 28, 64, 2), (5, 200, 1, 20, 1)])
def test_a_gpu_gives_outputs_and_gradients_in_double_precision(sizes: tuple[int, ...], dtype: str) -> None:
    unequal = sizes[4] == 2
    x, weights, lengths, grad = example(sizes, unequal)
    leaves = [leaf.cuda().requires_grad_() for leaf in (x, *weights)]
    twice = []
    for _ in range(2):
        outputs = layer.lstm(leaves[0], leaves[1:], DTYPES[dtype], None if lengths is None else lengths.cuda())
        twice.append([outputs.detach(), *torch.autograd.grad(outputs, leaves, grad.cuda().to(outputs.dtype))])
    assert all(torch.equal(one, other) for one, other in zip(*twice, strict=True))
    assert max(shares(twice[0], exactly(sizes, unequal))) < TOLERANCE[dtype] * (5 if dtype == "fp32" else 1)
