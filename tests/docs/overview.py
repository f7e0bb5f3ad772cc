"""The picture of the README: examples of trained runs, and what the model says after each of their steps.

    python -m tests.docs.overview docs/overview.png runs/japanese_vowels:175 runs/italy_power:3 runs/mnist:7

Each RUN:ROW names a run folder and a row of its test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from pipeline.data.store import Store
from pipeline.report.plots import canvas
from pipeline.run.folder import settings_of
from pipeline.stages.assembly import best_of

TITLES = {
    "japanese_vowels": "JapaneseVowels: speech, 12 channels",
    "italy_power": "ItalyPowerDemand: a day, 1 channel",
    "mnist": "MNIST: an image, one row per step",
}


def draw(figure: Any, column: int, columns: int, folder: Path, row: int) -> None:
    """One example above, the probability of each class below, over the same steps."""
    model, _, prepared = best_of(folder, settings_of(folder))
    part, manifest = prepared.part("test"), prepared.manifest
    values, _, lengths = Store(part, torch.device("cpu"), 0).take(torch.tensor([row]))
    steps = values.shape[1] if lengths is None else int(lengths[0])
    with torch.no_grad():  # a series that ends after each step
        said = torch.cat([model(values[:, :end], torch.tensor([end])).softmax(1) for end in range(1, steps + 1)])
    top, below = (figure.add_subplot(2, columns, place * columns + column + 1) for place in (0, 1))
    if manifest.image is None:
        mean, scale = prepared.normalization("feature")
        top.plot(range(1, steps + 1), (values[0, :steps].numpy() - mean) * scale, linewidth=1.1)
        top.set_ylabel("value, standardised" if column == 0 else "")
    else:
        top.imshow(values[0].reshape(-1)[manifest.places].reshape(manifest.image), cmap="gray_r")
        top.set_xticks([])
        top.set_yticks([0, 27], ["step 1", "step 28"])
    top.set_title(TITLES.get(folder.name, folder.name), fontsize=9.5)
    label = int(part.labels[row])
    for number in sorted(range(len(manifest.class_names)), key=lambda number: number == label):
        own = number == label
        below.plot(
            range(1, steps + 1),
            said[:, number].numpy(),
            color=canvas.BLUE if own else canvas.GREY,
            linewidth=2.2 if own else 0.8,
        )
    below.set_ylim(-0.02, 1.02)
    below.set_xlabel("step")
    below.set_ylabel("probability" if column == 0 else "")
    below.set_title(f"blue: class {manifest.class_names[label]}, the right one", fontsize=9, color=canvas.BLUE)
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw all examples side by side."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.overview")
    parser.add_argument("picture", type=Path)
    parser.add_argument("examples", nargs="+", metavar="RUN:ROW")
    options = parser.parse_args()
    figure = canvas.new_figure(2.9 * len(options.examples), 4.0)
    for column, example in enumerate(options.examples):
        folder, _, row = example.rpartition(":")
        draw(figure, column, len(options.examples), Path(folder), int(row))
    canvas.save(figure, options.picture)


if __name__ == "__main__":
    main()
