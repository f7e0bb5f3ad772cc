"""RecurrentClassifier -> an ONNX graph with one native recurrent node a layer.

The graph is written node by node instead of traced: a traced bidirectional layer becomes gathers around two
nodes, or a loop, while ONNX's own LSTM, GRU and RNN read both directions and unequal lengths in one node. Nor does
it then depend on the tracer's version or on an example's shape.

Shapes: B batch, T time steps, F features, P projection, H hidden size, D directions, K convolution channels, C classes.
Inside, time comes first.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.convolutions import KERNELS, BatchNorm, Convolutions
from pipeline.model.masked import Attention

OPSET, IR_VERSION = 17, 8  # the oldest pair with every operator used here: read by each onnxruntime since 1.12
# Position in torch of each of ONNX's gates: LSTM i, o, f, c from i, f, g, o; GRU z, r, h from r, z, n.
GATES = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn": ("RNN", (0,))}


def write(model: RecurrentClassifier, path: Path, metadata: dict[str, str]) -> None:
    """Write ``model``, on the CPU, as ``path``; ``metadata`` is kept as the file's metadata properties."""
    proto = graph_of(model)
    helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def graph_of(model: RecurrentClassifier, former: bool = False) -> onnx.ModelProto:
    """The graph of ``model``; of one on the meta device, without the numbers of its parameters.

    Inputs ``values`` (B, T, F) float32 and ``lengths`` (B) int64, output ``logits`` (B, C) float32; B and T are free.
    Logits of a length that is not from 1 to T are NaN, as the model's: what recurrent nodes make of it is each runtime's own.
    ``former``: the graph that left such lengths to the runtime, as older exports hold it.
    """
    graph = _FormerGraph() if former else _Graph()
    x = graph.add("Transpose", ["values"], perm=[1, 0, 2])  # (T, B, F)
    x = graph.add("Sub", [x, graph.constant("mean", model.mean)])
    features = graph.add("Mul", [x, graph.constant("scale", model.scale)])
    x = features if model.projection is None else graph.linear("projection", model.projection, features)  # (T, B, P)
    lengths32 = graph.add("Cast", [graph.lengths], to=TensorProto.INT32)
    outputs = final = ""
    for index in range(0, len(model.recurrent), model.directions):
        modules, name = slice(index, index + model.directions), f"layer_{index // model.directions}"
        x = graph.join(outputs) if index else x
        outputs, final = graph.recurrent(name, model.cell, list(model.recurrent[modules]), x, lengths32)
        if model.norms is not None:
            outputs, final = graph.normalise(f"{name}_norm", list(model.norms[modules]), outputs, final)
    if model.pooling == "last":
        pooled = graph.add("Transpose", [final], perm=[1, 0, 2])  # (B, D, H)
        pooled = graph.add("Reshape", [pooled, graph.constant("flat", np.array([0, -1]))])
    else:
        pooled = graph.pool(model.pooling, model.attention, graph.join(outputs))
    if model.convolutions is not None:
        pooled = graph.add("Concat", [pooled, graph.convolve(model.convolutions, features)], axis=1)  # (B, D*H + K)
    head = [pooled, graph.constant("head_weight", model.head.weight), graph.constant("head_bias", model.head.bias)]
    graph.answer(head)
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", "time", model.mean.shape[0]]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", model.head.out_features])
    return helper.make_model(
        helper.make_graph(graph.nodes, "RecurrentClassifier", inputs, [answer], graph.constants),
        producer_name="sequence-pipeline",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _joined(parts: list[Tensor], axis: int = 0) -> Tensor:
    """``torch.cat``. Of parts on the meta device it loads torch's compiler, which takes as long as the rest of a start."""
    if not parts[0].is_meta:
        return torch.cat(parts, axis)
    shape = parts[0].shape
    return parts[0].new_empty((*shape[:axis], sum(part.shape[axis] for part in parts), *shape[axis + 1 :]))


def _stacked(parts: list[Tensor]) -> Tensor:
    """``torch.stack``, in the same way."""
    return _joined([part[None] for part in parts])


class _Graph:
    """Nodes in order, and the constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Tensor | NDArray[np.generic]) -> str:
        if isinstance(value, Tensor) and value.is_meta:
            self.constants.append(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape))
            return name
        array = value.detach().float().numpy() if isinstance(value, Tensor) else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def recurrent(self, name: str, cell: str, layer: list[nn.Module], x: str, lengths32: str) -> tuple[str, str]:
        """One layer, all directions: its outputs (T, D, B, H) and its final states (D, B, H)."""
        operator, order = GATES[cell]

        def gates(parameter: str) -> Tensor:
            """A parameter of every direction, its gates in ONNX's order: (D, G*H, ...)."""
            blocks = (module.get_parameter(parameter).detach().chunk(len(order)) for module in layer)
            return _stacked([_joined([block[gate] for gate in order]) for block in blocks])

        inputs = [
            x,
            self.constant(f"{name}_W", gates("weight_ih_l0")),
            self.constant(f"{name}_R", gates("weight_hh_l0")),
            self.constant(f"{name}_B", _joined([gates("bias_ih_l0"), gates("bias_hh_l0")], 1)),
            lengths32,
        ]
        outputs, final = f"{name}_Y", f"{name}_Y_h"
        attributes: dict[str, object] = {"direction": "bidirectional" if len(layer) == 2 else "forward"}
        if cell == "gru":
            attributes["linear_before_reset"] = 1  # torch multiplies by the reset gate after the matrix product
        attributes["hidden_size"] = layer[0].hidden_size
        self.nodes.append(helper.make_node(operator, inputs, [outputs, final], name, **attributes))
        return outputs, final

    def normalise(self, name: str, norms: list[nn.Module], outputs: str, final: str) -> tuple[str, str]:
        """Outputs (T, D, B, H) and final states (D, B, H) of a layer, each direction normalised by its own module."""

        def constant(key: str) -> str:
            return self.constant(f"{name}_{key}", _stacked([norm.get_parameter(key) for norm in norms])[:, None])

        weight, bias = constant("weight"), constant("bias")  # (D, 1, H)
        one = self.constant(f"{name}_one", np.ones(norms[0].get_parameter("weight").shape, np.float32))

        def normalised(x: str) -> str:
            x = self.add("LayerNormalization", [x, one], axis=-1, epsilon=norms[0].eps)  # its scale knows no directions
            return self.add("Add", [self.add("Mul", [x, weight]), bias])

        return normalised(outputs), normalised(final)

    def linear(self, name: str, layer: nn.Linear, x: str) -> str:
        """(..., inputs) -> (..., outputs)."""
        x = self.add("MatMul", [x, self.constant(f"{name}_weight", layer.weight.T)])
        return x if layer.bias is None else self.add("Add", [x, self.constant(f"{name}_bias", layer.bias)])

    def join(self, outputs: str) -> str:
        """(T, D, B, H) -> (T, B, D*H)."""
        x = self.add("Transpose", [outputs], perm=[0, 2, 1, 3])  # (T, B, D, H)
        return self.add("Reshape", [x, self.constant(f"{x}_shape", np.array([0, 0, -1]))])

    @cached_property
    def one(self) -> str:
        return self.constant("one", np.array(1))

    @cached_property
    def time(self) -> str:
        """T."""
        return self.add("Gather", [self.add("Shape", ["values"]), self.one])

    @cached_property
    def lengths(self) -> str:
        """(B), each at least 1 and at most T."""
        return self.add("Max", [self.add("Min", ["lengths", self.time]), self.one])

    @cached_property
    def valid(self) -> str:
        """(T, B, 1), True at the valid steps."""
        zero, last = (self.constant(f"valid_{name}", np.array(name)) for name in (0, [-1]))
        steps = self.add("Unsqueeze", [self.add("Range", [zero, self.time, self.one]), last])  # (T, 1)
        return self.add("Unsqueeze", [self.add("Less", [steps, self.lengths]), last])

    def answer(self, head: list[str]) -> None:
        """The logits of ``head``, NaN where a length was not from 1 to T."""
        logits = self.add("Gemm", head, transB=1)
        said = self.add("Unsqueeze", [self.add("Equal", [self.lengths, "lengths"]), self.constant("classes", np.array([1]))])
        self.add("Where", [said, logits, self.constant("nan", np.array(np.nan, np.float32))], output="logits")

    def padded(self, x: str, filler: float = 0.0) -> str:
        """``x`` (T, B, W) with ``filler`` past the end of each series: what a runtime leaves there is not used."""
        return self.add("Where", [self.valid, x, self.constant(f"{x}_filler", np.array(filler, np.float32))])

    def total(self, x: str) -> str:
        """(T, B, W) -> (B, W), the sum over the steps."""
        return self.add("ReduceSum", [x, self.constant(f"{x}_axis", np.array([0]))], keepdims=0)

    def mean(self, x: str) -> str:
        """(T, B, W) -> (B, W), the mean over the valid steps."""
        column = self.constant(f"{x}_column", np.array([-1]))
        count = self.add("Unsqueeze", [self.add("Cast", [self.lengths], to=TensorProto.FLOAT), column])  # (B, 1)
        return self.add("Div", [self.total(self.padded(x)), count])

    def pool(self, pooling: str, attention: Attention | None, x: str) -> str:
        """(T, B, D*H) -> (B, D*H) over the valid steps."""
        if pooling == "mean":
            return self.mean(x)
        if attention is None:
            return self.add("ReduceMax", [self.padded(x, -np.inf)], axes=[0], keepdims=0)
        score = self.add("Tanh", [self.linear("attention_key", attention.key, x)])
        score = self.linear("attention_query", attention.query, score)  # (T, B, 1)
        weights = self.add("Softmax", [self.padded(score, -np.inf)], axis=0)
        return self.total(self.add("Mul", [weights, self.padded(x)]))

    def convolve(self, branch: Convolutions, x: str) -> str:
        """(T, B, F) -> (B, K), the convolutional branch."""
        for index, (kernel, convolve, norm) in enumerate(zip(KERNELS, branch.filters, branch.norms, strict=True)):
            x = self.add("Transpose", [self.padded(x)], perm=[1, 2, 0])  # (B, F, T)
            weight: Tensor = convolve.get_parameter("weight")
            bias: Tensor = convolve.get_parameter("bias")
            if isinstance(norm, BatchNorm):  # fixed numbers by now: they become a part of the convolution's
                scale = (norm.var + norm.eps).rsqrt() * norm.weight
                weight, bias = weight * scale[:, None, None], (bias - norm.mean) * scale + norm.bias
            weights = [self.constant(f"conv_{index}_weight", weight), self.constant(f"conv_{index}_bias", bias)]
            x = self.add("Conv", [x, *weights], pads=[(kernel - 1) // 2, kernel // 2])
            x = self.add("Transpose", [x], perm=[2, 0, 1])  # (T, B, channels)
            if not isinstance(norm, BatchNorm):
                scales = [self.constant(f"conv_{index}_norm_{key}", norm.get_parameter(key)) for key in ("weight", "bias")]
                x = self.add("LayerNormalization", [x, *scales], axis=-1, epsilon=norm.eps)
            x = self.add("Relu", [x])
        return self.mean(x)


class _FormerGraph(_Graph):
    """The graph of older exports, which reads lengths as they come."""

    lengths = "lengths"

    @cached_property
    def valid(self) -> str:
        """(T, B, 1), True at the valid steps."""
        zero, one, last = (self.constant(f"valid_{name}", np.array(name)) for name in (0, 1, [-1]))
        time = self.add("Gather", [self.add("Shape", ["values"]), one])
        steps = self.add("Unsqueeze", [self.add("Range", [zero, time, one]), last])  # (T, 1)
        return self.add("Unsqueeze", [self.add("Less", [steps, "lengths"]), last])

    def answer(self, head: list[str]) -> None:
        """The logits of ``head``."""
        self.add("Gemm", head, output="logits", transB=1)
