"""What ``onnx_file`` promises: only what an export wrote is run, and never what a file from elsewhere points to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from pipeline.deploy import onnx_reader, onnx_writer
from pipeline.errors import UserError
from pipeline.model.classifier import RecurrentClassifier

SECRET = np.arange(4, dtype=np.float32)


@pytest.fixture
def written(tmp_path: Path, model: Callable[..., RecurrentClassifier]) -> Path:
    path = tmp_path / "export" / "model.onnx"
    path.parent.mkdir()
    onnx_writer.write(model(pooling="attention", conv=2, layer_norm=True, projection=2), path, {"class_names": "[]"})
    return path


def spoil(path: Path, change: Callable[[Any], object]) -> None:
    proto = onnx.load(path)
    change(proto)
    path.write_bytes(proto.SerializeToString())


def test_a_file_that_was_exported_is_read_with_its_metadata(written: Path) -> None:
    assert {entry.key: entry.value for entry in onnx_reader.load(written).metadata_props} == {"class_names": "[]"}
    assert onnx_reader.read(written)(torch.zeros(2, 3, 3), torch.tensor([3, 1])).shape == (2, 4)


@pytest.mark.parametrize("location", ["../secret", "secret", "/etc/passwd", "{folder}/secret"])
@pytest.mark.parametrize("hidden", [False, True])
def test_weights_in_another_file_are_refused_by_the_name_of_both(written: Path, location: str, hidden: bool) -> None:
    """The head's bias is to come out of a file of the reader's: the logits would tell what is in it."""
    for folder in (written.parent, written.parents[1]):
        (folder / "secret").write_bytes(SECRET.tobytes())
    place = location.format(folder=written.parents[1])

    def point(proto: Any) -> None:
        bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "head_bias")
        bias.ClearField("raw_data")
        bias.data_location = TensorProto.DEFAULT if hidden else TensorProto.EXTERNAL
        bias.external_data.add(key="location", value=place)

    spoil(written, point)
    with pytest.raises(UserError) as caught:
        onnx_reader.read(written)
    assert str(written) in str(caught.value) and f"'head_bias' in another file ({place!r})" in str(caught.value)


def test_the_attack_that_is_refused_works_on_a_reader_that_does_not_look(written: Path) -> None:
    """Otherwise the test above would prove nothing."""
    import onnxruntime

    (written.parent / "secret").write_bytes(SECRET.tobytes())

    def point(proto: Any) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name == "head_weight":
                tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
            if tensor.name == "head_bias":
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value="secret")

    spoil(written, point)
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    feed = {"values": np.zeros((1, 2, 3), np.float32), "lengths": np.array([2])}
    np.testing.assert_array_equal(session.run(["logits"], feed)[0][0], SECRET)
    with pytest.raises(UserError, match="in another file"):
        onnx_reader.read(written)


def _custom_node(proto: Any) -> None:
    proto.graph.node[0].domain = "evil.org"


def _custom_domain(proto: Any) -> None:
    proto.opset_import.append(helper.make_opsetid("evil.org", 1))


def _loop(proto: Any) -> None:
    proto.graph.node.append(helper.make_node("Loop", ["", ""], ["never"]))


def _subgraph(proto: Any) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "body", [], [])))


def _tensor(proto: Any) -> None:
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../secret")
    proto.graph.node[0].attribute.append(AttributeProto(name="value", type=AttributeProto.TENSOR, t=outside))


def _function(proto: Any) -> None:
    proto.functions.append(helper.make_function("", "Transpose", ["x"], ["x"], [], [helper.make_opsetid("", 17)]))


def _sparse(proto: Any) -> None:
    proto.graph.sparse_initializer.add(dims=[4])


def _training(proto: Any) -> None:
    proto.training_info.add()


def _inputs(proto: Any) -> None:
    proto.graph.input[0].name = "other"


def _shapes(proto: Any) -> None:
    next(tensor for tensor in proto.graph.initializer if tensor.name == "head_weight").dims[1] += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_custom_node, r"the operator 'evil.org.Transpose'"),
        (_custom_domain, r"operators of the domain 'evil.org'"),
        (_loop, r"the operator 'Loop'"),
        (_subgraph, r"more than numbers and text in the attribute 'body' of Transpose"),
        (_tensor, r"more than numbers and text in the attribute 'value' of Transpose"),
        (_function, r"functions, training steps or sparse data"),
        (_sparse, r"functions, training steps or sparse data"),
        (_training, r"functions, training steps or sparse data"),
        (_inputs, r"the inputs and outputs \[\['other', 'lengths'\], \['logits'\]\]"),
        (_shapes, r"onnxruntime refuses it"),
    ],
)
def test_what_no_export_writes_is_refused_by_name(written: Path, change: Callable[[Any], object], message: str) -> None:
    spoil(written, change)
    with pytest.raises(UserError, match=f"model.onnx: .*{message}.*; export the model again"):
        onnx_reader.read(written)


NOT_MODELS = [(None, "No such file"), (b"", "inputs and outputs"), (b"\x80\x04cos\n", "not an ONNX file"), (b"PK\3\4", "again")]


@pytest.mark.parametrize(("content", "message"), NOT_MODELS)
def test_a_file_that_is_no_model_is_refused_by_name(written: Path, content: bytes | None, message: str) -> None:
    written.unlink()
    if content is not None:
        written.write_bytes(content)
    with pytest.raises(UserError, match=f"model.onnx: .*{message}"):
        onnx_reader.read(written)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_off_is_refused_by_name(written: Path, share: float) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"model\.onnx: "):
        onnx_reader.read(written)
