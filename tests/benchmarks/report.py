"""The results as Markdown, and as a picture of accuracy against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline.report.plots import canvas
from tests.benchmarks.contenders import BARE, DDP
from tests.benchmarks.results import Accuracy, Entry, Race, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
LEVELS = (0.97, 0.98)
TUTORIAL, OURS, TORCHS = "MNIST LSTM tutorial", "this pipeline, fp32", "this pipeline with torch's LSTM, fp32"
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
# Okabe and Ito, as in plots/canvas.py
COLORS = {"this": "#0072B2", "bare": "#8C8C8C"}
OTHERS = "#E69F00"
LABEL: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5}


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
        f"{where}; Python {machine['python']}, {versions}. One run; the median of its repeats, in brackets the minimum and "
        f"the maximum. Minutes: {phases}.",
        "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        "\n".join(f"- {line}" for line in (*notes(recipe, epochs), *findings(results))),
    ]
    if results.races:
        parts.append(races(results.races))
    if picture:
        parts.append(
            f"![Samples per second and seconds in training to 98 % of the test images, one bar per contender]({picture})"
        )
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
    """The median, and the minimum and the maximum in brackets where there are several."""
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
        "The work is that of the MNIST LSTM tutorial: rows of MNIST, an LSTM of 64 units, batches of 64, Adam 0.01, 60,000 "
        "examples per epoch. Each contender runs in its own processes. It counts with its best number of threads (one, or "
        "one per core as PyTorch does by itself) and its best way of reading examples (one image at a time from torchvision, "
        "or tensors in memory).",
        "samples/s: of the training loop, in turns with its limit. The limit is the bare loop over tensors in memory of the "
        "same precision and number of processes. For this pipeline it is the train command, with its record and its checks. "
        "In fp32 its LSTM is its own kernel (`train.cpu_lstm`). One row has torch's LSTM, which all the others use.",
        "one epoch: the command from its start to its end, by torchrun or `accelerate launch` where there are two processes. "
        "This pipeline had prepared its data before, as it does once. Memory is summed over the training processes.",
        "to 97 %, to 98 %: of all 10,000 test images, looked at eight times per epoch. Seconds in training; in brackets "
        "seconds since the start of the command. The looking is left out of both. The others do the work above, at most "
        f"{epochs} epochs of it. This pipeline follows its recipe, {recipe}. The loop of the MNIST LSTM tutorial, the bare "
        "loop and this pipeline do so in each repeat. The others, which take the same steps at another speed, do so once.",
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
        lines.append(f"With one image at a time from torchvision, as their examples read them: {shares} of the bare loop's.")
    if TORCHS in entries and entries[TORCHS].speed:
        lines.append(f"With torch's LSTM its loop reaches {median(entries[TORCHS].of_limit):.2f} of the bare loop's samples/s.")
    commands = [entries[name].command for name in (OURS, BARE) if name in entries and entries[name].command]
    memory = [median(one.peak_mb for one in command) for command in commands]
    if len(memory) == 2:
        lines.append(f"Its peak memory is {memory[0] - memory[1]:+,.0f} MB beside the bare loop's.")
    for level, other in ((0.97, 0.97), (0.98, 0.975)):
        times = [seconds_to(entries[name], at) for name, at in ((OURS, level), (TUTORIAL, other)) if name in entries]
        if len(times) == 2 and times[0] and times[1]:
            share = (
                f"{times[0] / times[1]:.2f} of the time in training that the MNIST LSTM tutorial's loop takes to {other:.1%}"
            )
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
    """Samples/s, and seconds in training to the higher level of accuracy, one bar per contender."""
    entries = [entry for entry in results.entries if entry.speed]
    figure = canvas.new_figure(8.4, 0.8 + 0.26 * len(entries))
    left, right = figure.subplots(1, 2, sharey=True)
    colors = [COLORS.get(entry.name.split()[0], OTHERS) for entry in entries]
    times = [seconds_to(entry, LEVELS[-1]) for entry in entries]
    _bars(left, [median(entry.rates) for entry in entries], "{:,.0f}", colors)
    _bars(right, [time or 0 for time in times], "{:.1f}", colors)
    for row, (entry, time) in enumerate(zip(entries, times, strict=True)):
        if time is None:
            right.annotate("not reached" if entry.accuracy else "not measured", (0, row), (4, 0), **LABEL)
    left.set_yticks(range(len(entries)), [entry.name for entry in entries])
    left.invert_yaxis()
    left.set_title("samples/s of the training loop", fontsize=9.5)
    right.set_title(f"seconds in training to {LEVELS[-1]:.0%}", fontsize=9.5)
    canvas.save(figure, path)


def _bars(axes: Axes, values: Sequence[float], form: str, colors: Sequence[str]) -> None:
    axes.barh(range(len(values)), values, color=colors)
    for row, value in enumerate(values):
        if value:
            axes.annotate(form.format(value), (value, row), (4, 0), **LABEL)
    axes.set_xlim(0, 1.2 * max([*values, 1]))
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
