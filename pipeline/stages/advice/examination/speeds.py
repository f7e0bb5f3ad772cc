"""How long a training step takes here, beside hand-written loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch

from pipeline import config
from pipeline.config import Config
from pipeline.data.prepared import Prepared, open_prepared
from pipeline.data.store import Store, resident_limit
from pipeline.distributed import collectives, world
from pipeline.stages.advice.examination import rivals, task
from pipeline.stages.advice.examination.results import Found, NotHere, Place
from pipeline.stages.advice.tune import training
from pipeline.stages.assembly import fitted, make_batches, make_state, slices_of
from pipeline.training import loop
from pipeline.training.graphs.graphed_step import WARMUP
from pipeline.tuning import scaling
from pipeline.tuning.measure import speed_of

# seconds that each is timed in a turn, about; turns, whose median is taken, if they end within so many seconds
SECONDS, TURNS, ENOUGH = 0.2, 5, 3.0
EXAMPLES = 20_000


def of_step(steps: int, features: int, hidden: int, batch: int, place: Place) -> Found:
    """Samples/s of a training step of one LSTM, and of what it is held against."""
    if batch % collectives.world_size():
        raise NotHere(f"a batch of {batch} cannot be cut for {collectives.world_size()} processes")
    part = task.noise(EXAMPLES, steps, features)
    model = config.Model(hidden=hidden)
    with task.met() as accelerator:
        device = accelerator.device
        on_gpu = device.type == "cuda"
        ways: dict[str, Callable[[], Any]] = {}
        layers = dict[str, str]()
        usual: dict[str, Any] = {"batch": batch, "epochs": 10**6}
        wanted = {"graph": {}, "eager": {"cuda_graph": "off"}, "cudnn": {"gpu_lstm": "torch"}} if on_gpu else {"step": {}}
        with ExitStack() as stack:
            for name, changes in wanted.items():
                training = task.made(accelerator, task.options(**usual | changes), model, part)
                ways[name] = stack.enter_context(taking(training))
                layers.setdefault("layers", training.state.layers)  # of the first, as one trains by default
            ways["hand"] = rivals.Loop(part, hidden, batch, device)
            if on_gpu:
                ways["hand_graph"] = rivals.captured(rivals.Loop(part, hidden, batch, device))
                ways["floor"] = rivals.captured(rivals.Layer((batch, steps, features), hidden))
            times = in_turns(ways)
    speeds = {f"{name}_samples_per_second": batch / seconds for name, seconds in times.items()}
    values = {f"{name}_us": 1e6 * seconds for name, seconds in times.items()} | speeds
    return Found(
        _said(times, batch, layers["layers"]),
        values | layers | {"batch": batch, "steps": steps, "features": features, "hidden": hidden},
    )


def _said(times: dict[str, float], batch: int, layers: str) -> str:
    own = times.get("graph", times.get("step", 0.0))
    said = f"{1e6 * own:,.0f} us a step, {batch / own:,.0f} samples/s, layers {layers}"
    words = {
        "cudnn": "layers by cuDNN",
        "eager": "kernel by kernel",
        "hand": "a hand-written loop",
        "hand_graph": "a hand-written graph",
        "floor": "cuDNN's LSTM alone",
    }
    return said + "".join(f"; {word} {1e6 * times[name]:,.0f} us" for name, word in words.items() if name in times)


def of_layer(steps: int, features: int, batch: int, place: Place) -> Found:
    """cuDNN's LSTM alone, forward and backward as a graph, by hidden size and number format."""
    if not torch.cuda.is_available():
        raise NotHere("cuDNN needs a GPU")
    values = dict[str, float]()
    for name, dtype in task.DTYPES.items():
        for hidden in (64, 128, 256, 512):
            way = rivals.captured(rivals.Layer((batch, steps, features), hidden, dtype))
            values[f"{name}_{hidden}_us"] = 1e6 * in_turns({"layer": way}, 0.05, 3)["layer"]
    said = ", ".join(f"{name.removesuffix('_us').replace('_', ' ')}: {took:,.0f}" for name, took in values.items())
    return Found(f"us for {batch} x {steps} x {features}: {said}", values)


def of_shares(place: Place) -> Found:
    """Seconds of a step of the user's configuration on one process, by the examples in it."""
    settings, prepared = _configured(place)
    with world.world(settings.run, settings.train.precision) as accelerator:
        limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
        store = Store(prepared.part("train"), accelerator.device, limit)
        steps = partial(training, settings, prepared, store, accelerator)
        sizes = [share for share in scaling.shares(settings.train.batch) if share % _pieces(settings) == 0]
        values = {str(share): share / speed_of(steps, share) for share in sizes}
        parameters = [one for one in make_state(settings, prepared, accelerator).model.parameters() if one.requires_grad]
        size = sum(one.nbytes for one in parameters)
    said = ", ".join(f"{share}: {1e6 * took:,.0f} us" for share, took in values.items())
    return Found(f"a step by examples: {said}", {"seconds": values, "gradient_bytes": size})


def of_configuration(place: Place) -> Found:
    """Seconds of a step of the user's configuration on all processes of this launch together."""
    settings, prepared = _configured(place)
    number = collectives.world_size()
    slices, mine = slices_of(settings.train, collectives.rank(), number)
    train = settings.train.model_copy(update={"epochs": 10**9, "log_every": 10**9})
    with task.met() as accelerator:
        limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
        store = Store(prepared.part("train"), accelerator.device, limit)
        state = make_state(settings, prepared, accelerator)
        batches = make_batches(settings, prepared, store, slices, mine)
        reports = loop.train(state, batches, train, settings.optim, settings.run.seed, lambda step: 0.0)
        took = in_turns({"step": lambda: next(reports)}, 0.4, 3)["step"]
        reports.close()  # type: ignore[attr-defined]  # it is a generator
    return Found(f"{number} processes: {1e6 * took:,.0f} us a step", {"seconds": took, "processes": number})


def _configured(place: Place) -> tuple[Config, Prepared]:
    """The user's configuration, fitted to its data, and that data."""
    assert place.settings
    prepared = open_prepared(place.settings.data, verify=())
    return fitted(place.settings, prepared, collectives.world_size()), prepared


def _pieces(settings: Config) -> int:
    return settings.train.gradient_shards or settings.train.accumulate


@contextmanager
def taking(training: task.Training) -> Iterator[Callable[[], Any]]:
    """A function that takes the next step of a training."""
    reports = training.reports()
    try:
        yield lambda: next(reports)
    finally:
        reports.close()


def in_turns(ways: dict[str, Callable[[], Any]], seconds: float = SECONDS, turns: int = TURNS) -> dict[str, float]:
    """Seconds a call of each, the median of ``turns``, which they take one after the other: noise hits them alike.

    Of several processes each makes as many calls as process 0.
    """
    numbers = dict[str, int]()
    for name, way in ways.items():
        timed(way, WARMUP + 3 if torch.cuda.is_initialized() else 2)  # type: ignore[no-untyped-call]  # of torch
        own = max(1, int(seconds / max(1e-9, timed(way, 3))))
        numbers[name] = collectives.gather(own)[0]
    times: dict[str, list[float]] = {name: [] for name in ways}
    end = perf_counter() + ENOUGH
    for turn in range(turns):
        if turn and collectives.gather(perf_counter() > end)[0]:
            break
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            times[name].append(timed(ways[name], numbers[name]))
    return {name: median(taken) for name, taken in times.items()}


def timed(way: Callable[[], Any], calls: int) -> float:
    """Seconds a call, until the device has done all."""
    wait()
    began = perf_counter()
    for _ in range(calls):
        way()
    wait()
    return (perf_counter() - began) / calls


def wait() -> None:
    """Until the device has done all that it was given."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # of torch
        torch.cuda.synchronize()
