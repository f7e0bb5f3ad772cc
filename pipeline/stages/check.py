"""The dry run: what a configuration asks for. Nothing is written."""

from __future__ import annotations

import torch

from pipeline import config
from pipeline.config import Config
from pipeline.data.prepared import open_prepared
from pipeline.errors import UserError
from pipeline.stages.assembly import fitted, make_model, slices_of, steps_text
from pipeline.tuning import memory

# Numbers per unit and step that are kept from the forward to the backward pass; torch keeps more for LSTMs on CPUs.
KEPT = {"lstm": 6, "gru": 7, "rnn": 2}
KEPT_BY_CONV = 10  # numbers per channel of the convolutional branch and step


def check(settings: Config) -> None:
    """Print the resolved configuration and what it amounts to; nothing is written."""
    print(config.dump(settings))
    try:
        prepared = open_prepared(settings.data, verify=())
    except UserError as error:
        print(f"parameters, steps and memory are known once the data is prepared: {error}")
        return
    settings = fitted(settings, prepared, 1)
    model = make_model(settings, prepared)
    count, manifest = prepared.manifest.parts["train"].count, prepared.manifest
    steps = -(-count // settings.train.batch)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    copies = 2 + {"adam": 2, "adamw": 2, "sgd": 1}[settings.optim.name] + bool(settings.train.ema)
    resident = sum(prepared.part(name).nbytes for name in manifest.parts)
    print(
        f"data: {prepared.folder}: {count:,} training examples of {steps_text(manifest, 'train')} x {manifest.features} values"
    )
    print(f"parameters: {parameters:,}")
    print(f"steps: {steps:,} an epoch, {steps * settings.train.epochs:,} in all, {settings.train.batch} examples each")
    weights = copies * parameters * 4
    _, longest, _ = manifest.parts["train"].lengths or (manifest.length, manifest.length, 0)
    at_a_time = settings.train.batch // slices_of(settings.train, 0, 1)[0]
    kept = activations(settings.model, manifest.features, at_a_time * longest)
    print(
        f"memory: {weights / 1e6:.1f} MB of weights, gradients and moments; {resident / 1e6:.1f} MB of data; "
        f"at least {kept / 1e6:.1f} MB of activations, of {at_a_time} examples of {longest} steps"
    )
    if not torch.accelerator.is_available() and weights + kept > (there := memory.available()):
        print(
            f"warning: that is more than the {there / 1e6:,.0f} MB that this machine can give; "
            "set a lower train.batch, or train.accumulate=2 or more"
        )


def activations(model: config.Model, features: int, steps: int) -> int:
    """The bytes, at least, that a training step keeps from its forward pass for its backward pass, with so many ``steps`` of
    ``features`` values in all the examples that it computes at a time."""
    units = model.hidden * (2 if model.bidirectional else 1) * model.layers
    return 4 * steps * (KEPT[model.cell] * units + model.projection + KEPT_BY_CONV * model.conv + features)
