"""A trained model -> files that other software loads, each compared with the original before it is kept.

The folder holds ``config.json`` and ``README.md`` (a model card) and, as asked, ``model.safetensors`` for this
package, ``model.onnx`` for ONNX runtimes and ``model.pt2`` for PyTorch alone.
Shapes: B batch, T time steps, F features, C classes, N examples.
"""

from __future__ import annotations

import copy
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from pipeline import files
from pipeline.data.sources import progress
from pipeline.deploy import bundle, card, weights_file
from pipeline.deploy.facts import CONFIG, Arguments, Contents, Facts, contents_of
from pipeline.errors import ExportError, needs
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.footprint import Sizes, rows_at_once
from pipeline.model.torch_private import traced_by_shape

BATCH, LONG = 256, 1000  # examples compared together; steps beyond which other lengths are not tried
# how far float32 in another order of sums may move a logit, as a share of the largest one and at least of 1: a prediction may
# differ where two classes are so close (seen: 9e-8 apart, after one epoch on 500 classes)
ROUNDING = 1e-5
FILES = {"safetensors": bundle.WEIGHTS, "onnx": bundle.ONNX, "pt2": "model.pt2"}
Run = Callable[[Tensor, Tensor], Tensor]  # values (B, T, F) float32, lengths (B) int64 -> logits (B, C)


@dataclass(frozen=True)
class Examples:
    """Real examples: ``values`` (N, T, F), uint8 or float32, and ``lengths`` (N), int64, or None where all are T."""

    values: Tensor
    lengths: Tensor | None = None


def export(
    model: RecurrentClassifier,
    arguments: Arguments,
    facts: Facts,
    examples: Examples,
    formats: Sequence[str],
    tolerance: float,
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """Replace ``folder`` by ``model`` in the given ``formats``, and return what the comparison with it found.

    ``arguments`` are those that ``model`` was constructed with. ``facts`` go to ``config.json``, to the metadata of the ONNX
    file and to the model card. ``model`` may be on any device and is not changed.

    Every file is read back from the disk and compared with ``model`` on the CPU: on all N ``examples``, and on batches
    of 1, 3 and 64 of them cut or repeated to other lengths. The result has for each format ``file``, ``examples`` (N),
    ``largest_difference`` of a logit and ``prediction_differences``.

    Raises ExportError if a logit differs by more than ``tolerance`` and by more than rounding explains (``_rounding``), or a
    prediction differs of an example whose logits differ by more than ROUNDING; ``folder`` is then as before.
    """
    assert len(examples.values), "no examples to compare on"
    original = copy.deepcopy(model).to("cpu").eval()
    contents = contents_of(arguments, facts)
    assert not list(facts.disagreements(arguments.features, arguments.classes)), "what no reader would take"
    chosen = {name: file for name, file in FILES.items() if name in formats}
    with files.disk_errors("the export", folder), files.whole_folder(folder, replace=True) as partial:
        for name, file in chosen.items():
            with progress.Bar(f"writing {file}"):
                _WRITERS[name](original, contents, partial / file)
        contents = contents.model_copy(update={"sha256": {file: files.sha256(partial / file) for file in chosen.values()}})
        files.write_json(partial / CONFIG, contents.model_dump(mode="json"))
        runs = {name: _READERS[name](partial / file, contents) for name, file in chosen.items()}
        with progress.Bar("comparing", len(examples.values), " examples") as bar:
            checks = _compare(original, runs, examples, tolerance, bar)
        files.write_text(partial / "README.md", card.render(original, contents, checks, len(examples.values), tolerance))
    return checks


def _write_weights(model: RecurrentClassifier, contents: Contents, path: Path) -> None:
    # cuDNN keeps all weights of a layer in one storage, which safetensors refuses: every tensor gets its own.
    state = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}
    files.save_tensors(path, state)


def _write_onnx(model: RecurrentClassifier, contents: Contents, path: Path) -> None:
    with needs("export.formats: onnx", *bundle.ONNX_PACKAGES):
        from pipeline.deploy.onnx_file import writer

    facts = contents.facts.model_dump(mode="json")
    texts = {"class_names": facts["class_names"], "format_version": contents.format_version, "facts": facts}
    writer.write(model, contents.arguments, path, {name: json.dumps(value) for name, value in texts.items()})


def read_onnx(path: Path) -> Run:
    """The model in an ONNX file, as onnxruntime runs it. Raises ExportError if it is not what ``export`` writes."""
    with needs("export.formats: onnx", *bundle.ONNX_PACKAGES):
        from pipeline.deploy.onnx_file import reader

        run = reader.load(path).runner()
    return lambda values, lengths: torch.from_numpy(run(values.numpy(), lengths.numpy()))


def _write_program(model: RecurrentClassifier, contents: Contents, path: Path) -> None:
    values, lengths = torch.zeros(2, 3, model.mean.shape[0]), torch.tensor([3, 2])
    free = {"values": {0: Dim("batch"), 1: Dim("time")}, "lengths": {0: Dim("batch")}}
    operators: list[Any] = [torch.ops.aten.lstm.input, torch.ops.aten.gru.input, torch.ops.aten.rnn_tanh.input]
    with torch.no_grad(), traced_by_shape(operators, _shapes), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights", UserWarning)
        program = torch.export.export(model, (values, lengths), dynamic_shapes=free)
    native = sum(node.target in operators for node in program.graph.nodes)
    assert native == len(model.recurrent), f"{native} native operators of {len(model.recurrent)}"
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getvalue())


def _shapes(x: Tensor, state: Tensor | Sequence[Tensor], *_: Any) -> tuple[Tensor, ...]:
    """What a recurrent operator gives, by its shapes alone, so that the number of steps stays free.

    The file calls the operator itself. (``torch.export._patches`` replaces operators by ``while_loop``, which is slow, and
    not at all for the plain RNN.)
    """
    states = [state] if isinstance(state, Tensor) else state
    return x.new_empty(*x.shape[:-1], states[0].shape[-1]), *map(torch.empty_like, states)


def _read_program(path: Path, contents: Contents) -> Run:
    run: Run = torch.export.load(path).module()
    return run


_WRITERS: dict[str, Callable[[RecurrentClassifier, Contents, Path], None]] = {
    "safetensors": _write_weights,
    "onnx": _write_onnx,
    "pt2": _write_program,
}
_READERS: dict[str, Callable[[Path, Contents], Run]] = {
    "safetensors": lambda path, contents: weights_file.load(path, contents.arguments),
    "onnx": lambda path, contents: read_onnx(path),
    "pt2": _read_program,
}


def _rounding(model: RecurrentClassifier, values: Tensor, lengths: Tensor) -> Tensor:
    """How far rounding may move the logits of each example (B,): a recurrence may be so sensitive that float32 cannot tell.

    It is eight times what four changes of the input's last digit move them, as sums in another order change every digit since.
    """
    values, generator = values.float(), torch.Generator().manual_seed(0)
    expected, moved = model(values, lengths), torch.zeros(len(values))
    for _ in range(4):
        signs = torch.randint(0, 2, values.shape, generator=generator) * 2 - 1
        other = model(values * (1 + signs * torch.finfo(torch.float32).eps), lengths)
        moved = torch.maximum(moved, (other - expected).abs().amax(1))
    return 8 * moved


@torch.no_grad()
def _compare(
    model: RecurrentClassifier, runs: dict[str, Run], examples: Examples, tolerance: float, bar: progress.Bar
) -> dict[str, dict[str, Any]]:
    """The largest difference of a logit and the number of other predictions, for each of ``runs``; raises ExportError."""
    largest, where = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, "")
    predictions, wrong = dict.fromkeys(runs, 0), dict.fromkeys(runs, False)
    for values, lengths, real in _batches(examples, model.sizes):
        expected = model(values, lengths)  # (B, C)
        for name, run in runs.items():
            logits = run(values, lengths)
            each = (logits - expected).abs().amax(1)  # (B,)
            difference = each.max().item()
            place = f"batch {len(values)}, {values.shape[1]} steps"
            if difference > largest[name] or math.isnan(difference):
                largest[name], where[name] = difference, place
            if not difference <= tolerance:
                wrong[name] |= not bool((each <= _rounding(model, values, lengths).clamp(min=tolerance)).all())
            if real:
                others = logits.argmax(1) != expected.argmax(1)
                predictions[name] += int(others.sum())
                wrong[name] |= bool((others & ~(each <= ROUNDING * expected.abs().amax(1).clamp(min=1))).any())
        bar.add(len(values) if real else 0)
    for name in runs:
        if wrong[name]:
            raise ExportError(
                f"{FILES[name]}: a logit differs from the model's by {largest[name]:.3g} ({where[name]}; tolerance "
                f"{tolerance:g}) and {predictions[name]} of {len(examples.values)} predictions differ; nothing was exported. "
                f"Set export.tolerance or leave {name} out of export.formats"
            )
    return {
        name: {
            "file": FILES[name],
            "examples": len(examples.values),
            "largest_difference": largest[name],
            "prediction_differences": predictions[name],
        }
        for name in runs
    }


def _batches(examples: Examples, sizes: Sizes) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Every example once, as it is; then other batch sizes and lengths, equal and unequal, shorter and longer.

    Batches are of bounded memory; of long examples, the other lengths are of their first ``LONG`` steps.
    """
    count, steps = examples.values.shape[:2]
    lengths = torch.full((count,), steps) if examples.lengths is None else examples.lengths.cpu()
    size = rows_at_once(sizes, steps, BATCH)
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield examples.values[rows].cpu().float(), lengths[rows], True
    steps = min(steps, LONG)
    for most in (1, 3, 64):
        for length in sorted({1, 2, steps // 2 + 1, steps, 2 * steps + 1}):
            size = rows_at_once(sizes, length, most)
            values = examples.values[torch.arange(size) % count, :steps].cpu().float()
            cut = values.repeat(1, -(-length // steps), 1)[:, :length]
            yield cut, torch.full((size,), length), False
            yield cut, torch.linspace(length, 1, size).long(), False
