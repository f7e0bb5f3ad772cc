"""RecurrentClassifier -> an ONNX graph with one native recurrent node a layer.

The graph is written node by node instead of traced: a traced bidirectional layer becomes gathers around two
nodes, or a loop, while ONNX's own LSTM, GRU and RNN read both directions and unequal lengths in one node. Nor does
it then depend on the tracer's version or on an example's shape.

Shapes: B batch, T time steps, F features, H hidden size, D directions, C classes. Inside, time comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline.model import RecurrentClassifier

OPSET, IR_VERSION = 17, 8  # the oldest pair with every operator used here: read by each onnxruntime since 1.12

# Position in torch of each of ONNX's gates: LSTM i, o, f, c from i, f, g, o; GRU z, r, h from r, z, n.
GATES = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn": ("RNN", (0,))}


def write(model: RecurrentClassifier, path: Path, metadata: dict[str, str]) -> None:
    """Write ``model``, on the CPU, as ``path``; ``metadata`` is kept as the file's metadata properties.

    Inputs ``values`` (B, T, F) float32 and ``lengths`` (B) int64, output ``logits`` (B, C) float32; B and T are free.
    """
    graph = _Graph()
    x = graph.add("Transpose", ["values"], perm=[1, 0, 2])  # (T, B, F)
    x = graph.add("Sub", [x, graph.constant("mean", model.mean)])
    x = graph.add("Mul", [x, graph.constant("scale", model.scale)])
    lengths32 = graph.add("Cast", ["lengths"], to=TensorProto.INT32)
    outputs = final = ""
    for index in range(0, len(model.recurrent), model.directions):
        layer = list(model.recurrent[index : index + model.directions])
        x = graph.join(outputs) if index else x
        outputs, final = graph.recurrent(model.cell, layer, index // model.directions, x, lengths32)
    if model.pooling == "last":
        pooled = graph.add("Transpose", [final], perm=[1, 0, 2])  # (B, D, H)
        pooled = graph.add("Reshape", [pooled, graph.constant("flat", np.array([0, -1]))])
    else:
        pooled = graph.pool(model.pooling, graph.join(outputs))
    head = [pooled, graph.constant("head_weight", model.head.weight), graph.constant("head_bias", model.head.bias)]
    graph.add("Gemm", head, output="logits", transB=1)
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", "time", model.mean.shape[0]]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", model.head.out_features])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "RecurrentClassifier", inputs, [logits], graph.constants),
        producer_name="sequence-pipeline",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def read(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """The model in an ONNX file, as onnxruntime runs it on one thread: ``values``, ``lengths`` -> ``logits``."""
    import onnxruntime  # only where it is used: its import is slow, and ``load`` of an exported model needs none

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(values: Tensor, lengths: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"values": values.numpy(), "lengths": lengths.numpy()})[0])

    return run


class _Graph:
    """Nodes in order, and the constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Tensor | NDArray[np.generic]) -> str:
        array = value.detach().float().numpy() if isinstance(value, Tensor) else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def recurrent(self, cell: str, layer: list[nn.Module], index: int, x: str, lengths32: str) -> tuple[str, str]:
        """One layer, all directions: its outputs (T, D, B, H) and its final states (D, B, H)."""
        operator, order = GATES[cell]

        def gates(name: str) -> Tensor:
            """A parameter of every direction, its gates in ONNX's order: (D, G*H, ...)."""
            blocks = (module.get_parameter(name).detach().chunk(len(order)) for module in layer)
            return torch.stack([torch.cat([block[gate] for gate in order]) for block in blocks])

        inputs = [
            x,
            self.constant(f"layer_{index}_W", gates("weight_ih_l0")),
            self.constant(f"layer_{index}_R", gates("weight_hh_l0")),
            self.constant(f"layer_{index}_B", torch.cat([gates("bias_ih_l0"), gates("bias_hh_l0")], 1)),
            lengths32,
        ]
        outputs, final = f"layer_{index}_Y", f"layer_{index}_Y_h"
        attributes: dict[str, object] = {"direction": "bidirectional" if len(layer) == 2 else "forward"}
        if cell == "gru":
            attributes["linear_before_reset"] = 1  # torch multiplies by the reset gate after the matrix product
        attributes["hidden_size"] = layer[0].hidden_size
        self.nodes.append(helper.make_node(operator, inputs, [outputs, final], f"layer_{index}", **attributes))
        return outputs, final

    def join(self, outputs: str) -> str:
        """(T, D, B, H) -> (T, B, D*H)."""
        x = self.add("Transpose", [outputs], perm=[0, 2, 1, 3])  # (T, B, D, H)
        return self.add("Reshape", [x, self.constant(f"{outputs}_shape", np.array([0, 0, -1]))])

    def pool(self, pooling: str, x: str) -> str:
        """(T, B, D*H) -> (B, D*H) over the valid steps. What a runtime leaves in Y past a sequence's end is not used."""
        zero, one = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        last = self.constant("last_axis", np.array([-1]))
        time = self.add("Gather", [self.add("Shape", [x]), zero])
        steps = self.add("Unsqueeze", [self.add("Range", [zero, time, one]), last])  # (T, 1)
        valid = self.add("Unsqueeze", [self.add("Less", [steps, "lengths"]), last])  # (T, B, 1)
        filler = np.array(0 if pooling == "mean" else -np.inf, np.float32)
        x = self.add("Where", [valid, x, self.constant("filler", filler)])
        if pooling == "max":
            return self.add("ReduceMax", [x], axes=[0], keepdims=0)
        total = self.add("ReduceSum", [x, self.constant("time_axis", np.array([0]))], keepdims=0)
        count = self.add("Unsqueeze", [self.add("Cast", ["lengths"], to=TensorProto.FLOAT), last])  # (B, 1)
        return self.add("Div", [total, count])
