"""Reading ONNX files that claim to be exported models, and running them.

A file from elsewhere may make a runtime read other files, load code, take all memory or crash. So no graph of a file is ever
run: the shapes of its numbers tell which model it is, ``graph`` makes the graph of that model again, and a file whose
graph is another is refused. Shapes: B batch, T time steps, F features, C classes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from pipeline.data.series import Array
from pipeline.deploy.facts import AGAIN, Arguments
from pipeline.deploy.onnx_file.graph import GATES, graph_of
from pipeline.errors import ExportError, printable

LARGEST = 2**31  # bytes that protobuf takes
Run = Callable[[Array, Array], Array]  # values (B, T, F) float32, lengths (B) int64 -> logits (B, C) float32


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """What is in a file: ``proto`` is made anew, with the numbers of the file. ``arguments``: without what acts in training."""

    path: Path
    proto: onnx.ModelProto
    arguments: Arguments
    metadata: dict[str, str]
    sha256: str

    def runner(self) -> Run:
        """The model as onnxruntime runs it on one thread.

        Raises ExportError, now or when it is run, for what onnxruntime refuses.
        """
        import onnxruntime  # only where it is used: its import is slow, and ``load`` of an exported model needs none

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is said once, by the message below
        content = self.proto.SerializeToString()
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no common base
            raise ExportError(f"{self.path}: onnxruntime refuses it ({error}); {AGAIN}") from None

        def run(values: Array, lengths: Array) -> Array:
            logits: Array
            try:
                (logits,) = session.run(["logits"], {"values": values, "lengths": lengths})
            except Exception as error:
                raise ExportError(f"{self.path}: onnxruntime cannot run it ({error}); {AGAIN}") from None
            return logits

        return run


def load(path: Path) -> OnnxModel:
    """The model in a file that ``writer`` wrote. Raises ExportError if it is missing, damaged or another graph."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
        found = onnx.load_model_from_string(content)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from None
    except DecodeError:
        raise ExportError(f"{path}: is not an ONNX file, or damaged; {AGAIN}") from None
    arguments = _arguments(path, found)
    former = not any(node.op_type == "Equal" for node in found.graph.node)
    made = graph_of(arguments, former)
    numbers = {tensor.name: tensor.raw_data for tensor in found.graph.initializer}
    metadata = {entry.key: entry.value for entry in found.metadata_props if isinstance(entry.value, str)}
    if difference := _difference(found, made):
        raise _foreign(path, difference)
    for tensor in made.graph.initializer:
        tensor.raw_data = numbers[tensor.name]
    return OnnxModel(path, made, arguments, metadata, hashlib.sha256(content).hexdigest())


def _foreign(path: Path, what: str) -> ExportError:
    return ExportError(f"{path}: not a model that this program exported: {what}; {AGAIN}")


def _arguments(path: Path, found: onnx.ModelProto) -> Arguments:
    """Which model a file holds, by the shapes of its numbers, of which it holds as many as they say."""
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in found.graph.initializer:
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            raise _foreign(path, f"the data of {_shown(tensor.name)} is in another file ({_shown(place)})")
        width = {TensorProto.FLOAT: 4, TensorProto.INT64: 8}.get(tensor.data_type, 0)
        if len(tensor.raw_data) != prod(tensor.dims) * width or min(tensor.dims, default=1) < 1:
            raise _foreign(path, f"the data of {_shown(tensor.name)} is not of its shape")
        shapes[str(tensor.name)] = tuple(tensor.dims)
    operators = {node.op_type for node in found.graph.node}
    try:
        directions, _, hidden = shapes["layer_0_R"]
        classes, width = shapes["head_weight"]
        conv = width - directions * hidden
        pooling = "attention" if "attention_key_weight" in shapes else "last" if "flat" in shapes else ""
        said = {
            "features": shapes["mean"][0],
            "classes": classes,
            "cell": next(cell for cell, (operator, _) in GATES.items() if operator in operators),
            "hidden": hidden,
            "layers": sum(bool(re.fullmatch(r"layer_\d+_R", name)) for name in shapes),
            "bidirectional": directions == 2,
            "pooling": pooling or ("max" if "ReduceMax" in operators else "mean"),
            "projection": shapes["projection_weight"][1] if "projection_weight" in shapes else 0,
            "layer_norm": "layer_0_norm_weight" in shapes,
            "conv": conv,
            "conv_norm": "batch" if conv and "conv_0_norm_weight" not in shapes else "layer",
        }
        return Arguments.model_validate(said)
    except (LookupError, ValueError, StopIteration):  # of pydantic too
        raise _foreign(path, "it does not hold the numbers of one") from None


def _difference(found: onnx.ModelProto, made: onnx.ModelProto) -> str:
    """What is not in ``found``, which is used up, as it is in ``made``, but for parameters and metadata; "" if nothing."""
    known = {tensor.name: tensor for tensor in made.graph.initializer}
    for tensor, wanted in zip_longest(found.graph.initializer, made.graph.initializer):
        if tensor is None or wanted is None or _described(tensor, known) != wanted:
            return f"it has the numbers {_name(tensor)}, where an exported one has {_name(wanted)}"
    for node, meant in zip_longest(found.graph.node, made.graph.node):
        if node != meant:
            return f"it has the node {_name(node)}, where an exported one has {_name(meant)}"
    for what in ("input", "output"):
        if list(getattr(found.graph, what)) != list(getattr(made.graph, what)):
            return f"its {what}s are not those of an exported one"
    del found.metadata_props[:], found.graph.initializer[:]
    found.graph.initializer.extend(made.graph.initializer)
    return "" if found == made else "it has more than a graph of nodes and numbers, or is of another version"


def _described(tensor: TensorProto, known: dict[str, TensorProto]) -> TensorProto:
    """``tensor`` as the graph of a model without numbers has it."""
    described = TensorProto()
    described.CopyFrom(tensor)
    if tensor.name in known and not known[tensor.name].HasField("raw_data"):
        described.ClearField("raw_data")
    return described


def _name(part: Any) -> str:
    """How a node, or the numbers of an initializer, are called in a message."""
    if part is None:
        return "nothing"
    kind = f" ({_shown(part.op_type)})" if isinstance(part, onnx.NodeProto) else f" {_shape(part.dims)}"
    return _shown(part.name) + kind


def _shape(dims: Sequence[int]) -> str:
    return f"of shape {tuple(dims)}"


def _shown(text: str | bytes) -> str:
    """A name of the file; protobuf gives one that is not UTF-8 as bytes."""
    return repr(printable(text[:100]) if isinstance(text, str) else text[:100])
