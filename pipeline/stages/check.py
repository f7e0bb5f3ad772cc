"""The dry run: what a configuration asks for. Nothing is written."""

from __future__ import annotations

from pipeline import config
from pipeline.config import Config
from pipeline.data.prepared import open_prepared
from pipeline.errors import UserError
from pipeline.stages.assembly import fitted, make_model, steps_text


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
    print(f"memory: {copies * parameters * 4 / 1e6:.1f} MB of weights, gradients and moments; {resident / 1e6:.1f} MB of data")
