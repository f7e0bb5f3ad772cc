"""RecurrentClassifier -> an ONNX file.

Shapes: F features, P projection, H hidden size, D directions, G gates, W width of a layer, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from pipeline.deploy.facts import Arguments
from pipeline.deploy.onnx_file.graph import EPS, GATES, graph_of
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.convolutions import BatchNorm, Convolutions


def write(model: RecurrentClassifier, arguments: Arguments, path: Path, metadata: dict[str, str]) -> None:
    """Write ``model``, on the CPU, which was made with ``arguments``; ``metadata`` is kept as the file's properties."""
    proto = graph_of(arguments)
    found = dict(numbers(model))
    for tensor in proto.graph.initializer:
        if not tensor.HasField("raw_data"):
            values = found.pop(tensor.name).detach().float().contiguous()
            assert values.shape == tuple(tensor.dims), f"{tensor.name}: {tuple(values.shape)} for {tensor.dims}"
            tensor.raw_data = values.numpy().tobytes()
    assert not found, f"no place for {', '.join(found)}"
    helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def numbers(model: RecurrentClassifier) -> Iterator[tuple[str, Tensor]]:
    """The parameters of ``graph.graph_of`` by their names there, in its layouts."""
    yield from (("mean", model.mean), ("scale", model.scale))
    if model.projection is not None:
        yield from _linear("projection", model.projection)
    for index in range(0, len(model.recurrent), model.directions):
        modules, name = slice(index, index + model.directions), f"layer_{index // model.directions}"
        yield from _layer(name, model.cell, list(model.recurrent[modules]))
        if model.norms is not None:
            yield from _norms(f"{name}_norm", list(model.norms[modules]))
    if model.attention is not None:
        yield from _linear("attention_key", model.attention.key)
        yield from _linear("attention_query", model.attention.query)
    if model.convolutions is not None:
        yield from _convolutions(model.convolutions)
    yield from (("head_weight", model.head.weight), ("head_bias", model.head.bias))


def _linear(name: str, layer: nn.Linear) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}_weight", layer.weight.T
    if layer.bias is not None:
        yield f"{name}_bias", layer.bias


def _layer(name: str, cell: str, layer: list[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """One layer, all directions, its gates in ONNX's order: (D, G*H, inputs), (D, G*H, H) and (D, 2*G*H)."""
    _, order = GATES[cell]

    def gates(parameter: str) -> Tensor:
        blocks = (module.get_parameter(parameter).detach().chunk(len(order)) for module in layer)
        return torch.stack([torch.cat([block[gate] for gate in order]) for block in blocks])

    yield f"{name}_W", gates("weight_ih_l0")
    yield f"{name}_R", gates("weight_hh_l0")
    yield f"{name}_B", torch.cat([gates("bias_ih_l0"), gates("bias_hh_l0")], 1)


def _norms(name: str, norms: list[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """(D, 1, H) each."""
    assert {norm.eps for norm in norms} == {EPS}
    for key in ("weight", "bias"):
        yield f"{name}_{key}", torch.stack([norm.get_parameter(key) for norm in norms])[:, None]


def _convolutions(branch: Convolutions) -> Iterator[tuple[str, Tensor]]:
    for index, (convolve, norm) in enumerate(zip(branch.filters, branch.norms, strict=True)):
        name = f"conv_{index}"
        weight: Tensor = convolve.get_parameter("weight")
        bias: Tensor = convolve.get_parameter("bias")
        if isinstance(norm, BatchNorm):  # fixed numbers by now: they become a part of the convolution's
            scale = (norm.var + norm.eps).rsqrt() * norm.weight
            weight, bias = weight * scale[:, None, None], (bias - norm.mean) * scale + norm.bias
        yield from ((f"{name}_weight", weight), (f"{name}_bias", bias))
        if not isinstance(norm, BatchNorm):
            assert norm.eps == EPS
            yield from ((f"{name}_norm_{key}", norm.get_parameter(key)) for key in ("weight", "bias"))
