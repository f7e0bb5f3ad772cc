"""What is answered of machines: the keys of ``doctor`` and ``plan``."""

from __future__ import annotations

from typing import Any

from pipeline.stages.terminal.answer import Answer, key


class Planning(Answer):
    """A training on a number of processes, in the answer of ``plan``."""

    processes: int = key("of them")
    step_seconds: float = key("of an optimiser step, predicted")
    exchange_share: float = key("of a step that the processes exchange gradients, 0 to 1")
    samples_per_second: float = key("examples, of all processes together")
    efficiency: float = key("speed per process, beside that of one process alone")
    hours: float = key("of the whole training, without evaluations and checkpoints")
    memory: int = key("bytes that a process takes, at least")
    measured_seconds: float | None = key("of a step, measured here with this number; null: not measured")


class Planned(Answer):
    """The answer of ``plan``."""

    device: str = key("`cuda` or `cpu`")
    link: str = key("what connects the processes: `here`, `25Gb`, `400Gb` or `nvlink`")
    link_source: str = key("where its numbers come from")
    gradient_bytes: int = key("what each process adds to a sum")
    batch: int = key("examples per optimiser step")
    steps: int = key("optimiser steps in all")
    largest_error: float | None = key("of the predictions that were compared with measured steps here, 0.1 for 10 %")
    stops_paying: int = key("processes, from which on twice as many bring less than 5 %")
    processes: list[Planning] = key("each number that was asked for, with `processes`, `step_seconds`, `hours` and so on")


class Examination(Answer):
    """One check of ``doctor``."""

    name: str = key("what programs know it by")
    kind: str = key("`fact`, `promise` or `speed`")
    title: str = key("its name in the table")
    status: str = key("`pass`, `fail` or `not here` of a promise; `told`, `not here` or `error` of others")
    said: str = key("what was found, as a sentence")
    do: str = key("what to do about it; empty: nothing")
    seconds: float = key("what it took")
    values: dict[str, Any] = key("what was found, as numbers and words")
    warnings: list[str] = key("what is strange, with the name of the host")


class Examined(Answer):
    """The answer of ``doctor``."""

    version: str = key("the version of this program")
    time: str = key("when it was made, UTC")
    seconds: float = key("what all of it took")
    failed: list[str] = key("the names of the promises that do not hold")
    checks: list[Examination] = key("each check, with `name`, `status`, `said`, `do`, `values` and so on")
