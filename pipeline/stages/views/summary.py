"""runs/NAME/ -> what it gave, where it lies, what to type next."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import RunError, printable
from pipeline.run import advice, checkpoints, marks
from pipeline.run.folder import settings_of
from pipeline.stages.assembly import test_metrics
from pipeline.stages.terminal import streams
from pipeline.stages.terminal.answers import Summary


def summary(folder: Path) -> None:
    """Print what a run gave, where it lies and what to type next."""
    settings = settings_of(folder)
    measured = test_metrics(folder)
    if measured is None:
        checkpoints.best(folder / "checkpoints")  # which raises, with what to do first, where there is nothing to evaluate
        raise RunError(f"{folder}: not evaluated yet; type: {advice.of_run('evaluate', folder)}")
    streams.say(f"{measured['split']} accuracy  {measured['accuracy']:.4f} on {measured['count']} examples")
    beside = {
        "the largest class": measured["largest_class_accuracy"],
        "the nearest example": measured["nearest_neighbour_accuracy"],
    }
    if known := [f"{name} {value:.4f}" for name, value in beside.items() if value is not None]:
        print(f"beside         {', '.join(known)}")
    print(f"run folder     {folder}")
    exported = (folder / "export").is_dir()
    print(f"pictures       {folder / 'eval'}")
    print(f"model          {folder / 'export' if exported else 'not exported yet'}")
    if (folder / "report.html").exists():
        print(f"report         {folder / 'report.html'}")
    larger = Path("configs/mnist.yaml")
    more = settings.data.source == "digits" and larger.exists() and Path("Makefile").exists()  # as in a checkout
    other = f"make all CONFIG={larger}, or " if more else ""
    use = f"read {folder / 'export' / 'README.md'} to use the model" if exported else advice.of_run("export", folder)
    stale = marks.outdated(folder, measured["step"])
    warnings = [*measured["warnings"], *([f"{folder}: {stale}"] if stale else [])]
    for line in warnings:
        print(f"warning: {printable(line)}")
    print(f"next           {other}{use}")
    where = {"warnings": warnings, "run": str(folder), "pictures": str(folder / "eval"), "model": str(folder / "export")}
    streams.answer(Summary.model_validate(measured | where))
