"""Reading ONNX files that claim to be exported models, and running them.

A file from elsewhere may name other files to read and operators to load. Only what ``onnx_graph.write`` writes is run.
Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto
from torch import Tensor

from pipeline.errors import UserError

OPERATORS = {"LSTM", "GRU", "RNN", "Conv", "Gemm", "MatMul", "LayerNormalization", "Relu", "Tanh", "Softmax"}


OPERATORS |= {"Add", "Sub", "Mul", "Div", "ReduceMax", "ReduceSum", "Less", "Where", "Range", "Cast", "Equal", "Max", "Min"}


OPERATORS |= {"Concat", "Gather", "Reshape", "Shape", "Transpose", "Unsqueeze"}


PLAIN = (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.STRING)  # kinds of attributes


def load(path: Path) -> onnx.ModelProto:
    """The model in a file that ``onnx_graph.write`` wrote.

    Raises UserError if the file is missing or damaged, or if it holds what could make a runtime do more than compute
    what is in it: data in other files, functions, subgraphs, operators that it does not use.
    """
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export the model again") from None
    except DecodeError:
        raise UserError(f"{path}: is not an ONNX file, or damaged; export the model again") from None
    for fault in _foreign(proto):
        raise UserError(f"{path}: not a model that this program exported: it {fault}; export the model again")
    return proto


def read(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """``runner`` of the model in an ONNX file. Raises UserError as ``load`` does."""
    return runner(load(path), path)


def runner(proto: onnx.ModelProto, path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """What ``load`` found in ``path``, as onnxruntime runs it on one thread: ``values``, ``lengths`` -> ``logits``.

    Raises UserError, now or when it is run, for what onnxruntime refuses.
    """
    import onnxruntime  # only where it is used: its import is slow, and ``load`` of an exported model needs none

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is said once, by the message below
    content = proto.SerializeToString()  # what was looked at, and not what the file holds by now
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no common base
        raise UserError(f"{path}: onnxruntime refuses it ({error}); export the model again") from None

    def run(values: Tensor, lengths: Tensor) -> Tensor:
        try:
            (logits,) = session.run(["logits"], {"values": values.numpy(), "lengths": lengths.numpy()})
        except Exception as error:
            raise UserError(f"{path}: onnxruntime cannot run it ({error}); export the model again") from None
        return torch.from_numpy(logits)

    return run


def _foreign(proto: onnx.ModelProto) -> Iterator[str]:
    """What ``onnx_graph.write`` never writes."""
    graph = proto.graph
    for tensor in graph.initializer:
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            yield f"has the data of {tensor.name!r} in another file ({place!r})"
    if proto.functions or proto.training_info or graph.sparse_initializer:
        yield "has functions, training steps or sparse data"
    for opset in proto.opset_import:
        if opset.domain:
            yield f"has operators of the domain {opset.domain!r}"
    for node in graph.node:
        if node.domain or node.op_type not in OPERATORS:
            yield f"has the operator {node.domain + '.' * bool(node.domain) + node.op_type!r}"
        for attribute in node.attribute:
            if attribute.type not in PLAIN:
                yield f"has more than numbers and text in the attribute {attribute.name!r} of {node.op_type}"
    names = [[value.name for value in values] for values in (graph.input, graph.output)]
    if names != [["values", "lengths"], ["logits"]]:
        yield f"has the inputs and outputs {names}"
