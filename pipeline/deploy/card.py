"""The README.md beside an exported model: what it is, what it takes and gives, how good it is, how to use it."""

from __future__ import annotations

from typing import Any

from pipeline.model.classifier import RecurrentClassifier

_STEPS = {"rows": "row, from the top", "columns": "column, from the left", "pixels": "pixel, row by row"}


def render(
    model: RecurrentClassifier, config: dict[str, Any], checks: dict[str, dict[str, Any]], count: int, tolerance: float
) -> str:
    """The model card, for a reader who has nothing but the folder."""
    facts: dict[str, Any] = config["facts"]
    features, classes, steps = model.mean.shape[0], model.head.out_features, facts["length"]
    kind = ("bidirectional " if model.directions == 2 else "") + ("RNN" if model.cell == "rnn" else model.cell.upper())
    kind += "-FCN" if model.convolutions is not None else ""  # as Karim et al., 2018, call an LSTM beside convolutions
    source, test = facts.get("source", "its data set"), facts.get("test")
    low, high = [f"{bound:.5g}" for bound in facts.get("value_range") or ()] or ("?", "?")
    reading = ""
    if image := facts.get("image"):
        order = "[order]" if facts.get("order") else ""
        reading = f"An image of {image[0]} × {image[1]} pixels is one sequence: "
        reading += f"`image.reshape(-1){order}.reshape({steps}, {features})`"
        reading += ", with `order` from `config.json`.\n" if order else ".\n"
    reading += f"A step is one {_STEPS[facts['view']]}.\n" if facts.get("view") in _STEPS else ""
    reading += _series(facts["series"]) if facts.get("series") else ""
    shown = {**config["arguments"], **{key: value for key, value in facts.items() if isinstance(value, str | int | float)}}
    for section in ("optim", "train"):
        shown |= {f"{section}.{key}": value for key, value in facts.get("configuration", {}).get(section, {}).items()}
    return f"""# {kind} classifier of {source}

It reads a sequence and gives a logit for each of {classes} classes: {_parts(model)},
{sum(p.numel() for p in model.parameters()):,} parameters. Normalisation of the input is part of the model.

Classes, by index: {", ".join(f"{i} = `{name}`" for i, name in enumerate(facts["class_names"]))}.

## Input and output

| name | type | shape | what |
|---|---|---|---|
| `values` | float32 | (batch, time, {features}) | in the raw units of the data set, {low} to {high}, not normalised |
| `lengths` | int64 | (batch) | valid steps, from 1 to time (else the logits are NaN); what follows is padding, without effect |
| `logits` | float32 | (batch, {classes}) | the largest is the prediction; their softmax, the probabilities |

{reading}Batch and time may be of any size; the model was trained on sequences of up to {steps} steps.

## Training

| what | value |
|---|---|
{chr(10).join(f"| {key} | {value} |" for key, value in shown.items())}

{_accuracy(test)}

## Comparison with the trained model

Each file was read back and compared with the trained model on the CPU: on {count:,} test examples, and on batches
of 1, 3 and 64 of them cut or repeated to other lengths. The largest difference of a logit allowed was {tolerance:g}.

| file | largest difference of a logit | predictions that differ |
|---|---|---|
{chr(10).join(f"| {c['file']} | {c['largest_difference']:.2g} | {c['prediction_differences']} |" for c in checks.values())}

## Use

Run these beside the files, with sequences of your own in place of the zeros.

{chr(10).join(_SAMPLES[name].format(features=features, steps=steps, short=(steps + 1) // 2) for name in checks)}
## Limits

- It knows {source} only: any other input is given one of the {classes} classes as well, and often with a high probability.
- Sequences longer than {steps} steps are computed exactly, but it was not trained on them.
- `model.pt2` runs on the CPU and calls PyTorch's own recurrent operator; decomposing that operator fixes the number of steps.
"""


def _parts(model: RecurrentClassifier) -> str:
    """What the model is made of, in the order of the data's way through it."""
    layers = len(model.recurrent) // model.directions
    parts = [f"a projection to {model.projection.out_features} features"] if model.projection is not None else []
    size = f"{layers} layer{'s' * (layers > 1)} of {model.hidden} units" + (" a direction" if model.directions == 2 else "")
    parts.append(size + (" with layer normalisation" if model.norms is not None else ""))
    parts.append(f"`{model.pooling}` pooling")
    if model.convolutions is not None:
        channels = model.head.in_features - model.hidden * model.directions
        parts.append(f"beside it a convolutional branch of {channels} channels")
    return ", ".join(parts)


def _series(series: dict[str, Any]) -> str:
    """What the features of a series are, and what was done to each series before the model saw it."""
    reading = f"The features are {', '.join(f'`{name}`' for name in series['features'])}.\n"
    if offset := series.get("offset"):
        apart = (f"{number!r} from `{name}`" for name, number in zip(series["channels"], offset, strict=True) if number)
        reading += (
            f"Subtract {', '.join(apart)} first, in float64 (`series.offset` of `config.json`): float32 is too coarse there.\n"
        )
    if series["max_length"]:
        reading += f"A series of more than {series['max_length']} steps: {_KEPT[series['truncate']]}.\n"
    reading += f"A missing value: {_MISSING[series['missing']]}.\n"
    if series["resample"]:
        reading += f"Then each series was brought to {series['resample']} steps by linear interpolation.\n"
    return reading


_KEPT = {"error": "there was none", "start": "its first steps were kept", "end": "its last steps were kept"}
_MISSING = {
    "error": "there was none",
    "mean": "replaced by its channel's number in `series.fill` of `config.json`",
    "forward": "replaced by the one before it in its series, or by its channel's number in `series.fill` of `config.json`",
    "mask": "replaced by its channel's number in `series.fill` of `config.json`, and marked by 1 in `CHANNEL missing`",
}


def _accuracy(test: dict[str, Any] | None) -> str:
    if not test:
        return "It was not evaluated on a test part."
    return f"On {test['count']:,} test examples: accuracy {test['accuracy']:.2%}, loss {test['loss']:.4f}."


_SAMPLES = {
    "safetensors": """With this package (`model.safetensors` and `config.json`):

```python
from pathlib import Path
import torch
from pipeline.deploy.exporter import load

model, facts = load(Path("."))
values, lengths = torch.zeros(2, {steps}, {features}), torch.tensor([{steps}, {short}])
with torch.no_grad():
    print(model(values, lengths).argmax(1))
```
""",
    "onnx": """With onnxruntime and NumPy alone (class names and facts are in its metadata too):

```python
import json
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
values = np.zeros((2, {steps}, {features}), np.float32)
lengths = np.array([{steps}, {short}], np.int64)
(logits,) = session.run(["logits"], {{"values": values, "lengths": lengths}})
print([names[index] for index in logits.argmax(1)])
```
""",
    "pt2": """With PyTorch alone:

```python
import torch

program = torch.export.load("model.pt2").module()
values, lengths = torch.zeros(2, {steps}, {features}), torch.tensor([{steps}, {short}])
with torch.no_grad():
    print(program(values, lengths).argmax(1))
```
""",
}
