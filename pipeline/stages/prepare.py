"""Raw data -> prepared/, and the dry run."""

from __future__ import annotations

from pipeline import config, files, plots
from pipeline.config import Config
from pipeline.data import report
from pipeline.data.prepare import prepare as prepare_data
from pipeline.data.prepared import Manifest, Name, open_prepared
from pipeline.errors import UserError
from pipeline.stages.parts import draw_examples, make_model

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
    resident = sum(prepared.part(name).nbytes for name in manifest.parts)
    print(f"data: {prepared.folder}: {count:,} training examples of {_steps(manifest, 'train')} x {manifest.features} values")
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
        print(f"  {name:5}  {info.count} examples of {_steps(manifest, name)} x {manifest.features} values  ({counts})")
        absent = [word for word, count in zip(manifest.class_names, info.class_counts, strict=True) if not count]
        if absent:
            print(
                f"warning: the {name} part has no example of {', '.join(absent)}; what is measured on it says nothing of them"
            )
    if manifest.repeated:
        first = ", ".join(f"test row {twin} = train row {row}" for twin, row in manifest.repeated_rows)
        print(f"warning: {manifest.repeated} test examples are training examples too, byte for byte: {first}")
    found = report.report(prepared)
    print("\n".join(report.lines(found)), end="\n" if manifest.series else "")
    picture = prepared.folder / "samples.png"
    with files.disk_errors("the data report", picture):
        if not (prepared.folder / "report.json").exists():
            files.write_json(prepared.folder / "report.json", found)
        if not (prepared.folder / "report.png").exists():
            lengths = [prepared.part(name).lengths.numpy() for name in manifest.parts]
            plots.data_report(prepared.folder / "report.png", found, lengths)
        if not picture.exists():
            part = prepared.part("train")
            count = len(part.labels)
            apart = max(1, count // SAMPLES) if manifest.series else 1  # files of series are often sorted by class
            rows = range(0, count, apart)[:SAMPLES]
            titles = [manifest.class_names[int(part.labels[row])] for row in rows]
            draw_examples(picture, prepared, part, rows, titles)
    print(f"samples: {picture}\nreport: {prepared.folder / 'report.json'} and report.png\nnext: make train CONFIG={file}")


def _steps(manifest: Manifest, name: Name) -> str:
    """How long the examples of a part are."""
    least, most, _ = manifest.parts[name].lengths or (manifest.length, manifest.length, 0)
    return f"{least} steps" if least == most else f"{least} to {most} steps"
