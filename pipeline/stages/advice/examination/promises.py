"""What must hold on a machine, each held against a small training of one process."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import torch

from pipeline.data.store import Store
from pipeline.run import checkpoints, saving
from pipeline.run.environment import program
from pipeline.stages.advice.examination import task
from pipeline.stages.advice.examination.disk import beside
from pipeline.stages.advice.examination.results import Found, NotHere, Place
from pipeline.training.evaluation import evaluate
from pipeline.training.graphs.fitting import obstacle
from pipeline.training.graphs.graphed_step import GraphedStep
from pipeline.training.selection import Selection
from pipeline.training.state import State, recurrent_dtype

STEPS, HALF = 40, 23  # of a training; after which another one is saved, in the middle of an epoch and of its graph
EPOCHS, MARGIN = 12, 0.03  # of the trainings whose accuracies are compared; how far they may be apart
NEAR = 1e-3  # between two weights after STEPS: what other orders of sums make of them, and no more
REPORT = "send the JSON of this command to the authors (README), and until then train with"


def computes_in(precision: str, place: Place) -> Found:
    """Whether the recurrent layers compute in the number format that was asked for."""
    with task.met(precision) as accelerator:
        found = recurrent_dtype(task.made(accelerator, task.options(precision=precision)).state)
    name = str(found).removeprefix("torch.")
    holds = found == task.DTYPES[precision]
    do = f"set train.precision to another; {REPORT} fp32"
    return Found(f"the recurrent layers compute in {name}", {"dtype": name}, holds, "" if holds else do)


def graph(precision: str, more: dict[str, Any], place: Place) -> Found:
    """Whether steps that are launched as one graph give the weights of the same steps launched kernel by kernel.

    ``more``: what the model has besides that of ``task``.
    """
    if not torch.cuda.is_available():
        raise NotHere("graphs of CUDA need a GPU")
    train, model = task.options(precision=precision), task.MODEL.model_copy(update=more)
    with task.met(precision) as accelerator:
        training = task.made(accelerator, train, model)
        if why := obstacle(training.state, training.batches, train):
            raise NotHere(f"steps are launched kernel by kernel: {why}")
        said: list[str] = []
        training.state.say = said.append  # that a graph could not be captured
        graphed = training.to(STEPS)
        plain, again = (by_kernels(task.made(accelerator, train, model)) for _ in range(2))
        bits, repeats = task.sha256(graphed) == task.sha256(plain), task.sha256(plain) == task.sha256(again)
        apart = task.furthest(graphed, plain)
    values = {"equal": bits, "largest_difference": apart, "kernels_repeat": repeats, "captured": not said}
    if said:
        do = f"training goes on kernel by kernel, as said; {REPORT} train.cuda_graph=off"
        return Found(said[0], values, False, do)
    holds = bits or (not repeats and apart < NEAR)
    how = "the same bits" if bits else f"largest difference of a weight {apart:.1e}"
    other = "" if repeats else ", and kernels do not repeat"
    do = "" if holds else f"{REPORT} train.cuda_graph=off"
    return Found(f"{STEPS} steps as a graph and kernel by kernel: {how}{other}", values, holds, do)


def by_kernels(training: task.Training) -> State:
    """The state after the same steps as of a graph, each launched kernel by kernel."""
    state = training.state
    state.forward.train()
    off = training.train.model_copy(update={"cuda_graph": "off"})
    take = GraphedStep(state, training.batches, off, task.DESCENT, task.SEED, lambda step: task.DESCENT.lr)
    while state.step < STEPS:
        take(task.DESCENT.lr, False)
        state.step += 1
    state.check()
    return state


def repeats(shards: int, place: Place) -> Found:
    """Whether a training gives the same weights again."""
    train = task.options(gradient_shards=shards)
    with task.met(repeats=bool(shards)) as accelerator:
        made = [task.sha256(task.made(accelerator, train).to(STEPS)) for _ in range(2)]
    same = made[0] == made[1]
    said = f"{STEPS} steps, twice: {'the same bits' if same else 'other bits'}"
    if shards:
        return Found(said, {"sha256": made}, same, "" if same else f"{REPORT} run.deterministic=true")
    if not same and torch.cuda.is_available():  # which is promised of CPUs alone
        raise NotHere(f"{said}: GPUs may", "a run that must repeat needs run.deterministic=true or train.gradient_shards")
    return Found(said, {"sha256": made}, same, "" if same else f"{REPORT} run.deterministic=true")


def resumed(precision: str, shards: int, place: Place) -> Found:
    """Whether a training that was saved, and goes on from there as another, ends with the weights of one left alone."""
    train = task.options(gradient_shards=shards, precision=precision)
    with task.met(precision, repeats=bool(shards)) as accelerator, beside(place.folder) as folder:
        make = partial(task.made, accelerator, train)
        whole = task.sha256(make().to(STEPS))
        first = make().to(HALF)
        saving.save(folder, saving.snapshot(first, _facts(first)), 1)
        found, _ = checkpoints.newest(folder)
        assert found
        going_on = make()
        checkpoints.restore(found, going_on.state)
        ended = task.sha256(going_on.to(STEPS))
        if whole != ended and not shards and task.sha256(make().to(STEPS)) != whole:
            raise NotHere("kernels do not repeat here, with or without a stop", "see the line: a run repeats")
    holds = whole == ended
    said = f"{STEPS} steps, saved after {HALF} and gone on with: {'the same bits' if holds else 'other weights'}"
    do = "" if holds else f"{REPORT} run.deterministic=true"
    return Found(said, {"sha256": ended, "uninterrupted": whole}, holds, do)


def _facts(state: State) -> checkpoints.Facts:
    gpu = checkpoints.gpu_of(state)
    return checkpoints.Facts(selection=Selection(), data="", processes=1, cpu_lstm=state.lanes, gpu=gpu, program=program())


def precise(precision: str, place: Place) -> Found:
    """Whether a training in 16 bits gets as far as one in fp32."""
    name = task.data()[0]
    loss, accuracy = learned(precision)
    other, usual = learned("fp32")
    holds = math.isfinite(loss) and accuracy >= usual - MARGIN
    said = f"{name}, {EPOCHS} epochs: accuracy {accuracy:.4f} in {precision}, {usual:.4f} in fp32 (at most {MARGIN:.0%} less)"
    values = {"data": name, "accuracy": accuracy, "loss": loss, "accuracy_fp32": usual, "loss_fp32": other}
    return Found(said, values, holds, "" if holds else f"{REPORT} train.precision=fp32")


@cache
def learned(precision: str) -> tuple[float, float]:
    """Loss and accuracy on the examples that a training did not see."""
    train = task.options(precision=precision)
    with task.met(precision) as accelerator:
        training = task.made(accelerator, train)
        state = training.to(EPOCHS * training.batches.steps_per_epoch)
        rows = evaluate(state.best_model, Store(task.data()[2], accelerator.device, task.LIMIT))
    return float(rows.losses.mean()), float((rows.labels == rows.predictions).mean())
