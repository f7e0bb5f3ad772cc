"""The dry run: what a configuration asks for. Nothing is written."""

from __future__ import annotations

from contextlib import closing

import torch

from pipeline import config
from pipeline.config import Config, strict_yaml
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.data.readers import formats
from pipeline.data.series import Columns
from pipeline.data.sources import catalog
from pipeline.errors import UserError
from pipeline.run.trackers import names
from pipeline.stages.assembly import fitted, make_model, slices_of
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Checked, Memory, Work
from pipeline.tuning import memory
from pipeline.tuning.gpu_kernels import slow

# Numbers per unit and step that are kept from the forward to the backward pass; torch keeps more for LSTMs on CPUs.
KEPT = {"lstm": 6, "gru": 7, "rnn": 2}
KEPT_BY_CONV = 10  # numbers per channel of the convolutional branch and step


def check(settings: Config, everything: bool = False) -> None:
    """Print what a configuration amounts to, and which keys differ from their defaults, or ``everything``."""
    work, warnings = None, [*config.idle(settings)]
    try:
        prepared = open_prepared(settings.data, verify=())
    except UserError as error:
        begin_reading(settings.data)
        streams.say(f"parameters, steps and memory are known once the data is prepared: {error}")
    else:
        settings = fitted(settings, prepared, 1)
        work = work_of(settings, prepared)
        show(work, settings, prepared)
        if torch.cuda.is_available() or settings.train.precision == "fp16":  # which only a GPU has
            warnings += filter(None, [slow(settings.model, settings.train.precision, prepared.manifest.features)])
        there = memory.available()
        if not torch.accelerator.is_available() and work.memory.weights + work.memory.activations > there:
            warnings.append(
                f"weights and activations are more than the {there / 1e6:,.0f} MB that this machine can give; "
                "set a lower train.batch, or train.accumulate=2 or more"
            )
    for line in warnings:
        print(f"warning: {line}")
    print("".join(f"{line}\n" for line in names.said(settings.track)), end="")
    whole, changed = settings.model_dump(mode="json"), config.changed(settings)
    if everything:
        print(f"\n# all keys\n{config.dump(settings)}", end="")
    else:
        print(f"\n# what differs from the defaults; --all shows all keys\n{strict_yaml.dump(changed)}", end="")
    streams.answer(Checked(work=work, warnings=warnings, changed=changed, configuration=whole))


def begin_reading(data: config.Data) -> None:
    """Raise DataError for files of series, as far as they are here, without such columns or with a wrong beginning."""
    for path in catalog.own_files(data) if data.series else ():
        if path.exists():
            columns = Columns(**data.of(config.Columns))
            hopeful = columns.model_copy(update={"hopeful": not columns.cuts_series})  # so that little is held
            with closing(formats.read(data.source, path, hopeful)) as blocks:
                next(blocks)


def work_of(settings: Config, prepared: Prepared) -> Work:
    """What a configuration, which is fitted to its data, amounts to."""
    manifest = prepared.manifest
    train = manifest.parts["train"]
    parameters = sum(parameter.numel() for parameter in make_model(settings, prepared).parameters())
    copies = 2 + {"adam": 2, "adamw": 2, "sgd": 1}[settings.optim.name] + bool(settings.train.ema)
    steps = -(-train.count // settings.train.batch)
    _, longest, _ = train.lengths or (manifest.length, manifest.length, 0)
    return Work(
        prepared=str(prepared.folder),
        examples=train.count,
        length=longest,
        features=manifest.features,
        classes=len(manifest.class_names),
        parameters=parameters,
        batch=settings.train.batch,
        steps_per_epoch=steps,
        steps=steps * settings.train.epochs,
        memory=Memory(
            weights=copies * parameters * 4,
            data=sum(prepared.part(name).nbytes for name in manifest.parts),
            activations=activations(settings.model, manifest.features, at_a_time(settings) * longest),
        ),
    )


def show(work: Work, settings: Config, prepared: Prepared) -> None:
    """The four lines that matter first."""
    steps, kept = prepared.manifest.steps_text("train"), work.memory
    streams.say(f"data: {work.prepared}: {work.examples:,} training examples of {steps} x {work.features} values")
    streams.say(f"parameters: {work.parameters:,}")
    streams.say(f"steps: {work.steps_per_epoch:,} an epoch, {work.steps:,} in all, {work.batch} examples each")
    streams.say(
        f"memory: {kept.weights / 1e6:.1f} MB of weights, gradients and moments; {kept.data / 1e6:.1f} MB of data; "
        f"at least {kept.activations / 1e6:.1f} MB of activations, of {at_a_time(settings)} examples of {work.length} steps"
    )


def at_a_time(settings: Config) -> int:
    """The examples that one process computes at a time."""
    return settings.train.batch // slices_of(settings.train, 0, 1)[0]


def activations(model: config.Model, features: int, steps: int) -> int:
    """The bytes, at least, that a training step keeps from its forward pass for its backward pass, with so many ``steps`` of
    ``features`` values in all the examples that it computes at a time."""
    units = model.hidden * (2 if model.bidirectional else 1) * model.layers
    return 4 * steps * (KEPT[model.cell] * units + model.projection + KEPT_BY_CONV * model.conv + features)
