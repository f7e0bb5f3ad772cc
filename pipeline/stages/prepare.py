"""Raw data -> prepared/, and the dry run."""

from __future__ import annotations

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.prepare import open_prepared
from pipeline.data.prepare import prepare as prepare_data
from pipeline.errors import UserError
from pipeline.stages.parts import images_of, make_model

SAMPLES = 40  # pictures in the grid


def check(settings: Config) -> None:
    """Print the resolved configuration and what it amounts to; nothing is written."""
    print(config.dump(settings))
    try:
        prepared = open_prepared(settings.data, verify=False)
    except UserError as error:
        print(f"parameters, steps and memory are known once the data is prepared: {error}")
        return
    model = make_model(settings, prepared)
    count, manifest = prepared.manifest.parts["train"].count, prepared.manifest
    steps = -(-count // settings.train.batch)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    copies = 2 + {"adam": 2, "adamw": 2, "sgd": 1}[settings.optim.name] + bool(settings.train.ema)
    resident = sum(prepared.part(name).values.nbytes for name in manifest.parts)
    print(f"data: {prepared.folder}: {count:,} training examples of {manifest.length} steps x {manifest.features} values")
    print(f"parameters: {parameters:,}")
    print(f"steps: {steps:,} an epoch, {steps * settings.train.epochs:,} in all, {settings.train.batch} examples each")
    print(f"memory: {copies * parameters * 4 / 1e6:.1f} MB of weights, gradients and moments; {resident / 1e6:.1f} MB of data")


def prepare(settings: Config, file: str) -> None:
    """Make the prepared folder if it is not there, draw samples.png beside the manifest, print shapes and counts."""
    prepared = prepare_data(settings.data)
    manifest = prepared.manifest
    print(f"{prepared.folder}: {'prepared' if prepared.made else 'prepared before, nothing to do'}")
    for name, info in manifest.parts.items():
        counts = "  ".join(f"{label}: {count}" for label, count in zip(manifest.class_names, info.class_counts, strict=True))
        print(f"  {name:5}  {info.count} examples of {manifest.length} steps x {manifest.features} values  ({counts})")
    if manifest.repeated:
        first = ", ".join(f"test row {twin} = train row {row}" for twin, row in manifest.repeated_rows)
        print(f"warning: {manifest.repeated} test examples are training examples too, byte for byte: {first}")
    picture = prepared.folder / "samples.png"
    if not picture.exists():
        from pipeline import plots

        part = prepared.part("train")
        titles = [manifest.class_names[int(label)] for label in part.labels[:SAMPLES]]
        with files.disk_errors("a picture", picture):
            plots.sample_grid(picture, images_of(prepared, part.values[:SAMPLES]), titles)
    print(f"samples: {picture}\nnext: make train CONFIG={file}")
