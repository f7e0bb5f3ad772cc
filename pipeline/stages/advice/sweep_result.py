"""What a sweep gave: a table, pictures, the best trial as a configuration, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import config, files
from pipeline.config import strict_yaml
from pipeline.errors import UserError, printable
from pipeline.report.plots import canvas
from pipeline.report.plots.sweeps import history, parameters
from pipeline.run import advice
from pipeline.stages.advice.sweep_trial import Plan
from pipeline.stages.terminal import streams
from pipeline.tuning.sweeps import space, table
from pipeline.tuning.sweeps.search import Search
from pipeline.tuning.sweeps.table import Row

OF_A_TRIAL = ("name", "group", "id")  # what tells trials apart in trackers


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    config: str
    overrides: Sequence[str]
    sweep: Path
    folder: Path | None
    trials: int | None
    seeds: int
    workers: int


def tell(plan: Plan, search: Search, asked: Asked) -> None:
    """Write and print what the trials gave, and what to type next."""
    rows, sweep, folder = search.rows(), plan.sweep, plan.folder
    metric, best = sweep.metric.name, table.best(rows, sweep.is_maximized)
    with files.disk_errors("the results", folder):
        files.write_text(folder / "trials.csv", table.as_csv(rows, metric))
        if best:
            files.write_text(folder / "best.yaml", as_yaml(plan, best, len(rows), asked))
    draw(search, rows)
    print(table.as_text(rows, metric, sweep.is_maximized))
    again = goes_on(asked)
    left = search.total - len([row for row in rows if row.became != "unfinished"])
    if best:
        values = " ".join(space.override(key, value) for key, value in best.values.items())
        streams.say(f"best: trial {best.number}, {metric} {best.metric:.4f}: {values}")
        print("the validation split chose it; the test split was not touched")
        print(f"written: {folder}/best.yaml, trials.csv, history.png, parameters.png, study.db")
    if left > 0:
        print(f"{left} of {search.total} trials are not finished, and other workers may be at them; next: {again}")
    elif best:
        print(f"next: {advice.of_run('evaluate', plan.folder_of(best.number, 0))}")
        print(f"or train it anew: {advice.configured('train', str(folder / 'best.yaml'))}")
    else:
        raise UserError(f"{folder}: no trial was finished; the reasons stand above and in {folder}/logs; change {asked.sweep}")


def goes_on(asked: Asked) -> str:
    """The command that goes on with the sweep."""
    if advice.by_make():
        more = {"SWEEP": str(asked.sweep), "RUN": str(asked.folder or ""), "TRIALS": str(asked.trials or "")}
        more |= {
            "SEEDS": str(asked.seeds) if asked.seeds > 1 else "",
            "WORKERS": str(asked.workers) if asked.workers > 1 else "",
        }
        words = [f"{name}={value}" for name, value in more.items() if value]
    else:
        words = ["--sweep", str(asked.sweep), *(["--run", str(asked.folder)] if asked.folder else [])]
        words += ["--trials", str(asked.trials)] if asked.trials else []
        words += ["--seeds", str(asked.seeds)] if asked.seeds > 1 else []
        words += ["--workers", str(asked.workers)] if asked.workers > 1 else []
    return f"{advice.configured('sweep', asked.config, asked.overrides)} {shlex.join(words)}"


def as_yaml(plan: Plan, best: Row, number: int, asked: Asked) -> str:
    """The best as a configuration: all that is not the default, with a word on what the sweep chose."""
    settings = plan.settings(best.number, [space.override(key, value) for key, value in best.values.items()])
    swept = {".".join(config.spelled(name, "")) for name in best.values}
    each = f", the mean of {len(best.each)} seeds" if len(best.each) > 1 else ""
    lines = [
        f"# The best of {number} trials of {printable(str(asked.sweep))} on {printable(asked.config)}: trial {best.number},",
        f"# {plan.sweep.metric.name} {best.metric:.4f}{each}. The validation split chose it; the test split was not touched.",
    ]
    found = config.changed(settings)
    found["run"] = found.get("run", {}) | {"dir": str(plan.folder / "best")}
    for name in config.Config.model_fields:
        section = {key: value for key, value in found.get(name, {}).items() if name != "track" or key not in OF_A_TRIAL}
        section |= {key: getattr(getattr(settings, name), key) for key in _keys(swept, name) if key not in section}
        lines += [f"{name}:"] if section else []
        for key, value in section.items():
            text = strict_yaml.dump({key: value}).rstrip("\n").replace("\n", "\n  ")
            lines.append(f"  {text}{'   # chosen by the sweep' if f'{name}.{key}' in swept else ''}")
    return "\n".join(lines) + "\n"


def _keys(swept: set[str], section: str) -> list[str]:
    return [key.partition(".")[2] for key in sorted(swept) if key.partition(".")[0] == section]


def draw(search: Search, rows: Sequence[Row]) -> None:
    """The pictures of the trials that were measured, if there are any."""
    shown = [row for row in rows if row.metric is not None and row.became != "unfinished"]
    if not shown:
        return
    name, maximized = search.sweep.metric.name, search.sweep.is_maximized
    with canvas.attempt(search.folder / "history.png"):
        points = [(row.number, float(row.metric or 0.0), row.became == "finished") for row in shown]
        history(search.folder / "history.png", points, name, maximized)
    with canvas.attempt(search.folder / "parameters.png"):
        varied = [key for key, parameter in search.sweep.parameters.items() if parameter.kind != "constant"]
        values = {key: [row.values[key] for row in shown] for key in varied}
        measured = [(float(row.metric or 0.0), row.became == "finished") for row in shown]
        parameters(search.folder / "parameters.png", values, measured, search.importances(), name)
