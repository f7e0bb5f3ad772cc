"""Raw data -> prepared/."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import config, files
from pipeline.config import Config
from pipeline.data.preparation import folder, report
from pipeline.errors import short
from pipeline.report.plots import canvas
from pipeline.report.plots.data import data_report
from pipeline.report.plots.examples import draw_examples
from pipeline.run import advice

SAMPLES = 40  # images in the grid
SERIES = 12  # series in it, each with axes, which take most of the time


def prepare(settings: Config, file: str, overrides: Sequence[str] = (), verify: bool = False) -> None:
    """Make the prepared folder if it is not there, draw samples.png beside the manifest, print shapes and counts.

    ``verify``: read each raw and prepared file again, also if it seems untouched since the last time.
    """
    prepared = folder.prepare(settings.data, verify)
    manifest = prepared.manifest
    before = "prepared before, and every file is what it was" if verify else "prepared before, nothing to do"
    print(f"{prepared.folder}: {'prepared' if prepared.made else before}")
    for line in config.idle(settings, "data"):
        print(f"warning: {line}")
    if manifest.adapted:
        print(manifest.adapted)
    for name, info in manifest.parts.items():
        counts = "  ".join(f"{label}: {count}" for label, count in zip(manifest.class_names, info.class_counts, strict=True))
        print(f"  {name:5}  {info.count} examples of {manifest.steps_text(name)} x {manifest.features} values  ({counts})")
        absent = [word for word, count in zip(manifest.class_names, info.class_counts, strict=True) if not count]
        if absent:
            print(
                f"warning: the {name} split has no example of {', '.join(absent)}; what is measured on it says nothing of them"
            )
    if manifest.repeated:
        first = ", ".join(f"test row {twin} = train row {row}" for twin, row in manifest.repeated_rows)
        print(f"warning: {manifest.repeated} test examples are training examples too, byte for byte: {first}")
    if manifest.left_out:
        print(
            f"warning: {manifest.left_out} series end when the time that is held out has begun; they are in no part, so that "
            "nothing of that time is learned"
        )
    for line in manifest.doubts:
        print(f"warning: {line}")
    found = report.report(prepared)
    print("\n".join(report.lines(found)), end="\n" if manifest.series else "")
    picture = prepared.folder / "samples.png"
    with files.disk_errors("the data report", picture):
        if not (prepared.folder / "report.json").exists():
            files.write_json(prepared.folder / "report.json", found)
        if not (prepared.folder / "report.png").exists():
            lengths = [prepared.column(name, "lengths") for name in manifest.parts]
            with canvas.attempt(prepared.folder / "report.png"):
                data_report(prepared.folder / "report.png", found, lengths)
        if not picture.exists():
            labels = prepared.column("train", "labels")
            count = len(labels)
            apart = max(1, count // SERIES) if manifest.series else 1  # files of series are often sorted by class
            rows = range(0, count, apart)[: SERIES if manifest.series else SAMPLES]
            titles = [short(manifest.class_names[labels[row]]) for row in rows]
            with canvas.attempt(picture):
                draw_examples(picture, prepared, "train", rows, titles, f"{len(rows)} of {count:,} training examples")
    print(f"samples: {picture}\nreport: {prepared.folder / 'report.json'} and report.png")
    print(f"next: {advice.configured('train', file, overrides)}")
