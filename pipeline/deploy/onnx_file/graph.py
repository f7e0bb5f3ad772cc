"""The graph of an exported model, with one native recurrent node a layer; it follows from the model's arguments alone.

The graph is written node by node instead of traced: a traced bidirectional layer becomes gathers around two
nodes, or a loop, while ONNX's own LSTM, GRU and RNN read both directions and unequal lengths in one node. Nor does
it then depend on the tracer's version or on an example's shape. PyTorch, whose import takes seconds, is not needed.

Shapes: B batch, T time steps, F features, P projection, H hidden size, D directions, G gates, K convolution channels,
C classes. Inside, time comes first.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.data.series import Array
from pipeline.deploy.facts import Arguments
from pipeline.model.footprint import KERNELS

OPSET, IR_VERSION = 17, 8  # the oldest pair with every operator used here: read by each onnxruntime since 1.12


EPS = 1e-5  # of every normalisation
# (G) position in torch of each of ONNX's gates: LSTM i, o, f, c from i, f, g, o; GRU z, r, h from r, z, n.
GATES = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn": ("RNN", (0,))}


def graph_of(arguments: Arguments, former: bool = False) -> onnx.ModelProto:
    """The graph of a model of ``arguments``. Its parameters are initializers that have a shape, and no numbers yet.

    Inputs ``values`` (B, T, F) float32 and ``lengths`` (B) int64, output ``logits`` (B, C) float32; B and T are free.
    Logits of a length that is not from 1 to T are NaN, as the model's: what recurrent nodes make of it is each runtime's own.
    ``former``: the graph that left such lengths to the runtime, as older exports hold it.
    """
    graph = _FormerGraph() if former else _Graph()
    features, directions, width = arguments.features, 1 + arguments.bidirectional, arguments.sizes.width
    x = graph.add("Transpose", ["values"], perm=[1, 0, 2])  # (T, B, F)
    x = graph.add("Sub", [x, graph.parameter("mean", features)])
    normal = graph.add("Mul", [x, graph.parameter("scale", features)])
    x, inputs = normal, features
    if arguments.projection:
        x, inputs = graph.linear("projection", x, inputs, arguments.projection), arguments.projection  # (T, B, P)
    lengths32 = graph.add("Cast", [graph.lengths], to=TensorProto.INT32)
    outputs = final = ""
    for index in range(arguments.layers):
        x = graph.join(outputs) if index else x
        layer = _Layer(f"layer_{index}", arguments.cell, directions, inputs, arguments.hidden)
        outputs, final = graph.recurrent(layer, x, lengths32)
        if arguments.layer_norm:
            outputs, final = graph.normalise(layer, outputs, final)
        inputs = width
    if arguments.pooling == "last":
        pooled = graph.add("Transpose", [final], perm=[1, 0, 2])  # (B, D, H)
        pooled = graph.add("Reshape", [pooled, graph.constant("flat", np.array([0, -1]))])
    else:
        pooled = graph.pool(arguments.pooling, graph.join(outputs), width)
    if arguments.conv:
        branch = graph.convolve(normal, features, arguments.conv, arguments.conv_norm)
        pooled = graph.add("Concat", [pooled, branch], axis=1)  # (B, D*H + K)
    classes = arguments.classes
    graph.answer(
        [pooled, graph.parameter("head_weight", classes, width + arguments.conv), graph.parameter("head_bias", classes)]
    )
    given = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", "time", features]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])
    return helper.make_model(
        helper.make_graph(graph.nodes, "RecurrentClassifier", given, [answer], graph.constants),
        producer_name="sequence-pipeline",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


class _Layer(NamedTuple):
    """A recurrent layer that reads ``inputs`` values a step."""

    name: str
    cell: str
    directions: int
    inputs: int
    hidden: int


class _Graph:
    """Nodes in order, and the constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.atleast_1d(value), name))
        return name

    def parameter(self, name: str, *shape: int) -> str:
        """What ``writer.numbers`` has the numbers of."""
        self.constants.append(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def recurrent(self, layer: _Layer, x: str, lengths32: str) -> tuple[str, str]:
        """One layer, all directions: its outputs (T, D, B, H) and its final states (D, B, H)."""
        name, cell, directions, width, hidden = layer
        operator, order = GATES[cell]
        gates = len(order) * hidden
        inputs = [
            x,
            self.parameter(f"{name}_W", directions, gates, width),
            self.parameter(f"{name}_R", directions, gates, hidden),
            self.parameter(f"{name}_B", directions, 2 * gates),
            lengths32,
        ]
        outputs, final = f"{name}_Y", f"{name}_Y_h"
        attributes: dict[str, object] = {"direction": "bidirectional" if directions == 2 else "forward"}
        if cell == "gru":
            attributes["linear_before_reset"] = 1  # torch multiplies by the reset gate after the matrix product
        attributes["hidden_size"] = hidden
        self.nodes.append(helper.make_node(operator, inputs, [outputs, final], name, **attributes))
        return outputs, final

    def normalise(self, layer: _Layer, outputs: str, final: str) -> tuple[str, str]:
        """Outputs (T, D, B, H) and final states (D, B, H) of a layer, each direction by numbers of its own."""
        name, hidden = f"{layer.name}_norm", layer.hidden
        weight, bias = (self.parameter(f"{name}_{key}", layer.directions, 1, hidden) for key in ("weight", "bias"))
        one = self.constant(f"{name}_one", np.ones(hidden, np.float32))

        def normalised(x: str) -> str:
            x = self.add("LayerNormalization", [x, one], axis=-1, epsilon=EPS)  # its scale knows no directions
            return self.add("Add", [self.add("Mul", [x, weight]), bias])

        return normalised(outputs), normalised(final)

    def linear(self, name: str, x: str, inputs: int, outputs: int, bias: bool = True) -> str:
        """(..., inputs) -> (..., outputs)."""
        x = self.add("MatMul", [x, self.parameter(f"{name}_weight", inputs, outputs)])
        return self.add("Add", [x, self.parameter(f"{name}_bias", outputs)]) if bias else x

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

    def pool(self, pooling: str, x: str, width: int) -> str:
        """(T, B, D*H) -> (B, D*H) over the valid steps."""
        if pooling == "mean":
            return self.mean(x)
        if pooling == "max":
            return self.add("ReduceMax", [self.padded(x, -np.inf)], axes=[0], keepdims=0)
        score = self.add("Tanh", [self.linear("attention_key", x, width, width)])
        score = self.linear("attention_query", score, width, 1, bias=False)  # (T, B, 1)
        weights = self.add("Softmax", [self.padded(score, -np.inf)], axis=0)
        return self.total(self.add("Mul", [weights, self.padded(x)]))

    def convolve(self, x: str, features: int, channels: int, norm: str) -> str:
        """(T, B, F) -> (B, K), the convolutional branch; statistics of batches are a part of its weights by now."""
        widths = features, channels, 2 * channels, channels
        for index, (kernel, inputs, outputs) in enumerate(zip(KERNELS, widths, widths[1:], strict=False)):
            name = f"conv_{index}"
            x = self.add("Transpose", [self.padded(x)], perm=[1, 2, 0])  # (B, F, T)
            weights = [self.parameter(f"{name}_weight", outputs, inputs, kernel), self.parameter(f"{name}_bias", outputs)]
            x = self.add("Conv", [x, *weights], pads=[(kernel - 1) // 2, kernel // 2])
            x = self.add("Transpose", [x], perm=[2, 0, 1])  # (T, B, channels)
            if norm == "layer":
                scales = [self.parameter(f"{name}_norm_{key}", outputs) for key in ("weight", "bias")]
                x = self.add("LayerNormalization", [x, *scales], axis=-1, epsilon=EPS)
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
