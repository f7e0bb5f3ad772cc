"""The whole model trained by the LSTM kernels for GPUs, by Triton's interpreter, and what is found out before it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from pipeline.model.gpu_lstm import choices
from tests.support.launching import ROOT, environment

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="NOT TESTED: triton is not installed")
MODELS = """
import itertools, json, torch
from pipeline.model.classifier import RecurrentClassifier
answer = []
options = [{}, {"bidirectional": True, "pooling": "mean"}, {"bidirectional": True, "layers": 2, "layer_norm": True},
           {"layers": 2, "pooling": "attention", "projection": 5}]
for more, lengths in itertools.product(options, (None, torch.tensor([7, 2, 5, 1]))):
    values, found = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(0)), []
    for by_kernel in (False, True):
        torch.manual_seed(1)
        model = RecurrentClassifier(3, 4, hidden=20, **more)
        model.by_kernel, model.trained_in = by_kernel, torch.float32 if by_kernel else None
        logits = model(values, lengths)
        results = [logits.detach(), *torch.autograd.grad(logits.square().sum(), list(model.parameters()))]
        found.append(torch.cat([one.reshape(-1) for one in results]))
    answer.append(float((found[1] - found[0]).abs().max() / found[0].abs().max()))
print(json.dumps(answer))
"""
FOUND = """
import json, torch
from pipeline.model.gpu_lstm import layer
device, answer = torch.device("cpu"), {}
before = torch.get_rng_state()
answer["right"] = layer.unfit((5, 3, 20, 2), torch.float32, device)
own = layer.lstm
layer.lstm = lambda *arguments: own(*arguments) * 1.01
answer["wrong"] = layer.unfit((5, 4, 20, 1), torch.float32, device)
def spoilt(*arguments):
    outputs = own(*arguments)
    outputs.register_hook(lambda grad: grad * float("nan"))
    return outputs
layer.lstm = spoilt
answer["not a number"] = layer.unfit((6, 4, 20, 1), torch.float32, device)
def fails(*arguments):
    raise RuntimeError("fatal error: Python.h: No such file or directory")
layer.lstm = fails
answer["fails"] = layer.unfit((5, 4, 20, 2), torch.float32, device)
answer["draws"] = not torch.equal(before, torch.get_rng_state())
print(json.dumps(answer))
"""


def interpreted(program: str) -> object:
    """What a program prints as JSON, whose kernels are run by Triton's interpreter."""
    command, variables = [sys.executable, "-W", "ignore", "-c", program], environment(TRITON_INTERPRET="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_trained_by_the_kernels_has_the_logits_and_gradients_of_torchs_layers() -> None:
    found = interpreted(MODELS)
    assert isinstance(found, list) and len(found) == 8 and max(found) < 2e-5


def test_kernels_that_fail_or_compute_something_else_do_not_train() -> None:
    found = interpreted(FOUND)
    assert found == {
        "right": "",
        "wrong": "what it computes here is 0.01 off",
        "not a number": "what it computes here is nan off",
        "fails": "Triton cannot run it here (fatal error: Python.h: No such file or directory)",
        "draws": False,
    }


def test_in_single_precision_cudnn_trains_few_series() -> None:
    assert not choices.faster(128, 64, torch.float32) and choices.faster(1024, 64, torch.float32)
    assert choices.faster(8, 64, torch.bfloat16)
