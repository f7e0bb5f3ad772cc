"""The results as Markdown, and as a picture of accuracy against seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pipeline.plots import canvas
from tests.benchmarks.contenders import BARE, DDP
from tests.benchmarks.results import Accuracy, Entry, Race, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
LEVELS = (0.97, 0.98)
TUTORIAL, OURS, TORCHS = "tutorial's loop", "this pipeline, fp32", "this pipeline with torch's LSTM, fp32"
HEAD = (
    "",
    "its best with",
    "samples/s",
    "of its limit",
    "one epoch, whole command",
    "to 97 %",
    "to 98 %",
    "peak memory",
    "imports",
)
# Okabe and Ito, as in plots.py; line styles tell the variants of one contender apart
COLORS = {
    "bare": "#8C8C8C",
    "tutorial": "#D55E00",
    "accelerate": "#009E73",
    "lightning": "#CC79A7",
    "keras": "#E69F00",
    "skorch": "#56B4E9",
    "this": "#0072B2",
}
DASHES = ("-", "--", "-.", ":")
LOWEST, HIGHEST = 0.80, 0.993  # accuracies in the picture
GAP = 0.05  # between two names in the picture, a share of its height
TICKS = (0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99)


def text(results: Results, picture: str = "") -> str:
    """What was measured, in Markdown, with a picture if one is named."""
    machine, settings = results.machine, results.settings
    epochs = int(str(settings["epochs"]))
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "accelerate", "lightning", "keras", "skorch"))
    where = f"{machine['processor']}, {machine['cores']} cores, {int(machine['memory_mb']) / 1024:.0f} GB"
    phases = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in results.phases.items())
    overrides = settings.get("overrides", [])
    recipe = " ".join(f"`{one}`" for one in (settings["pipeline_config"], *(overrides if isinstance(overrides, list) else [])))
    rows = [HEAD, ("---",) * len(HEAD), *(row(entry, epochs) for entry in results.entries)]
    parts = [
        f"{where}; Python {machine['python']}, {versions}. One run; the median of its repeats, in brackets the least and "
        f"the greatest. Minutes: {phases}.",
        "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        "\n".join(f"- {line}" for line in (*notes(recipe, epochs), *findings(results))),
    ]
    if results.races:
        parts.append(races(results.races))
    if picture:
        parts.append(f"![Accuracy on the test images against seconds in training, a curve a contender]({picture})")
    return "\n\n".join(parts)


def row(entry: Entry, epochs: int) -> tuple[str, ...]:
    """A contender's line of the table; ``epochs``: the most that others than the pipeline could take."""
    if not entry.speed:
        return (entry.name, entry.problem or "not measured", *("-",) * (len(HEAD) - 2))
    rates = spread(entry.rates, "{:,.0f}")
    limit = "1" if entry.limit == entry.name else spread(entry.of_limit, "{:.2f}")
    seconds = spread([one.seconds for one in entry.command], "{:.1f}", " s")
    memory = spread([one.peak_mb for one in entry.command], "{:,.0f}", " MB", brackets=False)
    imports = spread([one.import_seconds for one in entry.command], "{:.1f}", " s", brackets=False)
    best = f"{entry.best}; {entry.problem}" if entry.problem else entry.best
    never = "not by its recipe" if entry.name.startswith("this") else f"not in {epochs} epoch{'s' * (epochs > 1)}"
    times = [reached(entry.accuracy, level, never) for level in LEVELS]
    return (entry.name, best, rates, limit, seconds, *times, memory, imports)


def spread(values: Sequence[float], form: str, unit: str = "", brackets: bool = True) -> str:
    """The median, and the least and the greatest in brackets where there are several."""
    if not values:
        return "-"
    around = f" ({form.format(min(values))} to {form.format(max(values))})" if brackets and len(values) > 1 else ""
    return form.format(median(values)) + unit + around


def reached(runs: Sequence[Accuracy], level: float, never: str) -> str:
    """The seconds in training to an accuracy, and since the command was typed; in how many runs, if not in all."""
    if not runs:
        return "-"
    times = [(seconds, run.start_seconds + seconds) for run in runs if (seconds := run.seconds_to(level)) is not None]
    if not times:
        return never
    inside, since = (median(column) for column in zip(*times, strict=True))
    often = f", {len(times)} of {len(runs)} runs" if len(times) < len(runs) else ""
    return f"{inside:.1f} s ({since:.1f} s{often})"


def notes(recipe: str, epochs: int) -> list[str]:
    """How to read the table."""
    return [
        "The work is the tutorial's: rows of MNIST, an LSTM of 64 units, batches of 64, Adam 0.01, 60,000 examples an epoch. "
        "Each contender has processes of its own, and counts with its best number of threads (one, or one a core as PyTorch "
        "does by itself) and way of reading examples (an image at a time from torchvision, or tensors in memory).",
        "samples/s: of the training loop, in turns with its limit, the bare loop over tensors in memory of the same "
        "precision and number of processes. This pipeline's is its train command, with its record and its checks. In fp32 its "
        "LSTM is its own kernel (`train.cpu_lstm`); one row has torch's, which all the others use.",
        "one epoch: the command from its start to its end, by torchrun or `accelerate launch` where there are two processes. "
        "This pipeline had prepared its data before, as it does once. Memory is summed over the training processes.",
        "to 97 %, to 98 %: of all 10,000 test images, looked at eight times an epoch; seconds in training, in brackets since "
        "the start of the command, the looking left out of both. The others do the tutorial's work, at most "
        f"{epochs} epochs of it; this pipeline follows its recipe, {recipe}. The tutorial's loop, the bare loop and this "
        "pipeline do so in each repeat; the others, which take the same steps at another speed, in the first.",
    ]


def findings(results: Results) -> list[str]:
    """The ratios that matter, where what they compare was measured."""
    entries = {entry.name: entry for entry in results.entries if entry.speed}
    lines = []
    peers = [entry for name, entry in entries.items() if not name.startswith(("this", "bare"))]
    if OURS in entries and peers:
        ours, fastest = entries[OURS], max(peers, key=lambda entry: median(entry.of_limit))
        times = median(ours.of_limit) / median(fastest.of_limit)
        lines.append(
            f"This pipeline's loop reaches {median(ours.of_limit):.2f} of the bare loop's samples/s, and {times:.2f} times "
            f"those of the fastest peer ({fastest.name}, {fastest.best})."
        )
    images = {
        peer.name: max(median(speed.of_limit) for speed in peer.speed if speed.variant.endswith("torchvision"))
        for peer in peers
        if any(speed.variant.endswith("torchvision") for speed in peer.speed)
    }
    if images:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in images.items())
        lines.append(f"With an image at a time from torchvision, as their examples read them: {shares} of the bare loop's.")
    if TORCHS in entries and entries[TORCHS].speed:
        lines.append(f"With torch's LSTM its loop reaches {median(entries[TORCHS].of_limit):.2f} of the bare loop's samples/s.")
    commands = [entries[name].command for name in (OURS, BARE) if name in entries and entries[name].command]
    memory = [median(one.peak_mb for one in command) for command in commands]
    if len(memory) == 2:
        lines.append(f"Its peak memory is {memory[0] - memory[1]:+,.0f} MB beside the bare loop's.")
    for level, other in ((0.97, 0.97), (0.98, 0.975)):
        times = [seconds_to(entries[name], at) for name, at in ((OURS, level), (TUTORIAL, other)) if name in entries]
        if len(times) == 2 and times[0] and times[1]:
            share = f"{times[0] / times[1]:.2f} of the time in training that the tutorial's loop takes to {other:.1%}"
            lines.append(f"It reaches {level:.0%} in {share}.")
    return lines


def seconds_to(entry: Entry, level: float) -> float | None:
    """The median time in training to an accuracy; None if half of the runs or more did not reach it."""
    times = [inf if (seconds := run.seconds_to(level)) is None else seconds for run in entry.accuracy]
    return middle if times and (middle := median(times)) < inf else None


def races(members: Sequence[Race]) -> str:
    """The comparison of processes as a table."""
    lines = [
        "Two processes, side by side with a bare DDP loop of two and with one process of two threads. The large model has two "
        "bidirectional layers of 256 units and mean pooling, at batch 512:",
        "",
        "| model | | samples/s | of the bare DDP loop |\n|---|---|---|---|",
    ]
    limits = {race.model: race.samples_per_second for race in members if race.member == DDP}
    for race in members:
        shares = [own / its for own, its in zip(race.samples_per_second, limits[race.model], strict=True)]
        share = "1" if race.member == DDP else spread(shares, "{:.2f}")
        lines.append(f"| {race.model} | {race.member} | {spread(race.samples_per_second, '{:,.0f}')} | {share} |")
    return "\n".join(lines)


def insert(path: Path, markdown: str) -> None:
    """Put ``markdown`` between the markers of a file, and change nothing else. Raises ValueError if they are not there once."""
    content = path.read_text()
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise ValueError(f"{path}: expected one line {BEGIN} and below it one line {END}")
    before, rest = content.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{markdown}\n{END}{rest.split(END)[1]}")


def plot(path: Path, results: Results) -> None:
    """The best test accuracy so far against seconds in training: of each contender the run whose time to 97 % is the
    median one."""
    from matplotlib.ticker import NullFormatter

    figure = canvas.new_figure(8.4, 5.2)
    axes = figure.subplots()
    ends, used = [], dict.fromkeys(COLORS, 0)
    for entry in results.entries:
        if not entry.accuracy:
            continue
        kind = re.split(r"[ ']", entry.name.lower())[0]
        run = sorted(entry.accuracy, key=lambda run: run.seconds_to(LEVELS[0]) or inf)[(len(entry.accuracy) - 1) // 2]
        seconds = [point[1] for point in run.curve]
        accuracies = list(accumulate((point[2] for point in run.curve), max))
        axes.plot(seconds, accuracies, DASHES[used[kind]], color=COLORS[kind], linewidth=1.5)
        ends.append((accuracies[-1], seconds[-1], entry.name, COLORS[kind]))
        used[kind] += 1
    axes.set_xscale("log")
    axes.set_yscale("function", functions=_scale())
    axes.set_ylim(LOWEST, HIGHEST)
    axes.set_yticks(
        [0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99], ["80 %", "90 %", "95 %", "96 %", "97 %", "98 %", "98.5 %", "99 %"]
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("seconds in training, without the evaluations")
    axes.set_ylabel("best accuracy so far on the test images")
    _label(axes, ends)
    canvas.save(figure, path)


def _scale() -> tuple[Callable[..., object], Callable[..., object]]:
    """Errors on a logarithmic scale, downwards: each halving of them is as high as the next."""
    import numpy as np

    return lambda accuracy: -np.log(np.maximum(1 - accuracy, 1e-4)), lambda height: 1 - np.exp(-height)


def _label(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the right, each as near to the height of its curve's end as the others leave room, with a thin line to it."""
    height = 1.0
    for left, (accuracy, seconds, name, color) in reversed(list(enumerate(sorted(ends)))):
        _, end = axes.transAxes.inverted().transform(axes.transData.transform((seconds, accuracy)))
        height = max(min(height - GAP, end), GAP * left)
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.7, "relpos": (0, 0.5)}
        style = {"va": "center", "fontsize": 8.5, "color": color, "arrowprops": line}
        axes.annotate(name, (seconds, accuracy), (1.04, height), textcoords="axes fraction", **style)
