"""What ``reader`` promises: only the graph of an export is run, and never what a file from elsewhere asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from pipeline.deploy.facts import Arguments
from pipeline.deploy.onnx_file import reader, writer
from pipeline.errors import UserError
from pipeline.model.classifier import RecurrentClassifier
from tests.conftest import C, F

SECRET = np.arange(4, dtype=np.float32)


@pytest.fixture
def written(tmp_path: Path, model: Callable[..., RecurrentClassifier]) -> Path:
    path = tmp_path / "export" / "model.onnx"
    path.parent.mkdir()
    options: dict[str, Any] = {"pooling": "attention", "conv": 2, "layer_norm": True, "projection": 2}
    arguments = Arguments(features=F, classes=C, hidden=6, **options)
    writer.write(model(**options), arguments, path, {"class_names": "[]"})
    return path


def spoil(path: Path, change: Callable[[Any], object]) -> None:
    proto = onnx.load(path)
    change(proto)
    path.write_bytes(proto.SerializeToString())


def test_a_file_that_was_exported_is_read_with_its_metadata(written: Path) -> None:
    assert reader.load(written).metadata == {"class_names": "[]"}
    assert reader.load(written).runner()(np.zeros((2, 3, 3), np.float32), np.array([3, 1])).shape == (2, 4)


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
        reader.load(written).runner()
    assert str(written) in str(caught.value) and f"'head_bias' is in another file ({place!r})" in str(caught.value)


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
    with pytest.raises(UserError, match="is in another file"):
        reader.load(written).runner()


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


def _insert(proto: Any, at: int, *nodes: Any) -> None:
    former = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*former[:at], *nodes, *former[at:]])


def _no_batch(proto: Any) -> None:
    """Permitted operators alone make a batch of no series of what comes in, on which onnxruntime's LSTM crashes."""
    proto.graph.initializer.extend(numpy_helper.from_array(np.array(value), f"new_{value}") for value in (0, 1))
    nodes = [
        helper.make_node("Shape", ["values"], ["new_shape"]),
        helper.make_node("Gather", ["new_shape", "new_1"], ["new_time"]),
        helper.make_node("Sub", ["new_time", "new_time"], ["new_zero"]),
        helper.make_node("Range", ["new_0", "new_zero", "new_1"], ["new_none"]),
        helper.make_node("Gather", ["values", "new_none"], ["new_values"], axis=0),
    ]
    proto.graph.node[0].input[0] = "new_values"
    _insert(proto, 0, *nodes)


def _all_memory(proto: Any) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.array(2**30), "new_end"))
    _insert(proto, 0, helper.make_node("Range", ["valid_0", "new_end", "one"], ["new_all"]))


def _large_shape(proto: Any) -> None:
    shape = next(tensor for tensor in proto.graph.initializer if tensor.name == "classes")
    shape.CopyFrom(numpy_helper.from_array(np.array([2**40]), "classes"))


def _claims(proto: Any) -> None:
    """Dimensions that are not those of the bytes."""
    for tensor in proto.graph.initializer:
        if tensor.name == "layer_0_R":
            tensor.dims[2] = 2**40


def _axis(proto: Any) -> None:
    proto.graph.node[0].attribute[0].ints[:] = [0, 1, 2]


def _no_layer(proto: Any) -> None:
    del proto.graph.initializer[:]


def _more_outputs(proto: Any) -> None:
    proto.graph.output.append(helper.make_tensor_value_info("layer_0_Y", TensorProto.FLOAT, None))


def _version(proto: Any) -> None:
    proto.opset_import[0].version += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _custom_node,
            r"it has the node 'transpose_0' \('Transpose'\), where an exported one has 'transpose_0' \('Transpose'\)",
        ),
        (_custom_domain, r"it has more than a graph of nodes and numbers"),
        (_loop, r"it has the node '' \('Loop'\), where an exported one has nothing"),
        (_subgraph, r"it has the node 'transpose_0' "),
        (_tensor, r"it has the node 'transpose_0' "),
        (_axis, r"it has the node 'transpose_0' "),
        (_function, r"it has more than a graph"),
        (_sparse, r"it has more than a graph"),
        (_training, r"it has more than a graph"),
        (_version, r"it has more than a graph of nodes and numbers, or is of another version"),
        (_inputs, r"its inputs are not those of an exported one"),
        (_more_outputs, r"its outputs are not those of an exported one"),
        (_shapes, r"the data of 'head_weight' is not of its shape"),
        (_claims, r"the data of 'layer_0_R' is not of its shape"),
        (_no_layer, r"it does not hold the numbers of one"),
        (_no_batch, r"it has the numbers 'new_0' of shape \(\), where an exported one has nothing"),
        (_all_memory, r"it has the numbers 'new_end' of shape \(\), where an exported one has nothing"),
        (_large_shape, r"it has the numbers 'classes' of shape \(1,\), where an exported one has 'classes' of shape \(1,\)"),
    ],
)
def test_what_no_export_writes_is_refused_by_name(written: Path, change: Callable[[Any], object], message: str) -> None:
    spoil(written, change)
    with pytest.raises(UserError, match=f"model.onnx: not a model that this program exported: .*{message}.*; export it again"):
        reader.load(written).runner()


def test_whatever_a_file_holds_no_other_graph_is_run(written: Path) -> None:
    """Of many damaged files each is refused, or has the graph of the undamaged one."""
    content, random = written.read_bytes(), np.random.default_rng(0)

    def graph() -> bytes:
        proto = reader.load(written).proto
        for tensor in proto.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                tensor.ClearField("raw_data")
        proto.graph.ClearField("name")
        return bytes(proto.SerializeToString(deterministic=True))

    expected, read = graph(), 0
    for _ in range(400):
        spoilt = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            spoilt[place] = random.integers(0, 256)
        written.write_bytes(spoilt)
        try:
            assert graph() == expected
            read += 1
        except UserError as error:
            assert "export it again" in str(error)
    assert 0 < read < 400


NOT_MODELS = [
    (None, "No such file"),
    (b"", "does not hold the numbers"),
    (b"\x80\x04cos\n", "not an ONNX file"),
    (b"PK\3\4", "again"),
]


@pytest.mark.parametrize(("content", "message"), NOT_MODELS)
def test_a_file_that_is_no_model_is_refused_by_name(written: Path, content: bytes | None, message: str) -> None:
    written.unlink()
    if content is not None:
        written.write_bytes(content)
    with pytest.raises(UserError, match=f"model.onnx: .*{message}"):
        reader.load(written).runner()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_off_is_refused_by_name(written: Path, share: float) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"model\.onnx: "):
        reader.load(written).runner()
