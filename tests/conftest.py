"""What several test files share: one thread, one Accelerator on the CPU, tiny data and a tiny model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from pipeline import config
from pipeline.data.augment import Shift
from pipeline.data.batches import Batches
from pipeline.data.store import Part, Store
from pipeline.model.classifier import RecurrentClassifier
from pipeline.training import optim
from pipeline.training.state import State, make_state
from tests import tiers

for _name in (
    "MAKELEVEL",
    "MAKEFLAGS",
    "MFLAGS",
    "ARGS",
):  # of "make test": programs say what to type next as they were started
    os.environ.pop(_name, None)

T, F, C = 5, 3, 4  # steps, features and classes of the tiny data


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ``make test`` leaves out."""
    names = tiers.listed()
    for item in items:
        if tiers.is_long(item.nodeid, names):
            item.add_marker("long")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def accelerator() -> Iterator[Accelerator]:
    """This process alone, on its CPU; Accelerate's global state is left as if there had been none."""
    environment = dict(os.environ)
    _forget()
    yield Accelerator(cpu=True)
    _forget()
    os.environ.clear()
    os.environ.update(environment)


def _forget() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def part() -> Callable[..., Part]:
    """``part(count)``: uint8 examples (count, T, F) that follow from their seed."""

    def make(count: int, seed: int = 0, steps: int = T, features: int = F) -> Part:
        random = torch.Generator().manual_seed(seed)
        values = torch.randint(0, 256, (count, steps, features), dtype=torch.uint8, generator=random)
        return Part(values, torch.randint(0, C, (count,), generator=random), torch.arange(count))

    return make


@pytest.fixture
def model() -> Callable[..., RecurrentClassifier]:
    """``model(**arguments)``: a RecurrentClassifier of the tiny data, the same at every call."""

    def make(**arguments: Any) -> RecurrentClassifier:
        torch.manual_seed(0)
        made = RecurrentClassifier(**({"features": F, "classes": C, "hidden": 6} | arguments))
        made.set_normalization(torch.full((F,), 120.0), torch.full((F,), 0.02))
        return made

    return make


@pytest.fixture
def state(model: Callable[..., RecurrentClassifier], accelerator: Accelerator) -> Callable[..., State]:
    """``state(optim, train, **model arguments)``: ready for training from step 0."""

    def make(settings: config.Optim, train: config.Train, **arguments: Any) -> State:
        made = model(**arguments)
        return make_state(made, optim.make_optimizer(made, settings), train, accelerator)

    return make


@pytest.fixture
def batches(part: Callable[..., Part]) -> Callable[..., Batches]:
    """``batches(count, batch, slices)``: all slices of the tiny data in this process."""

    def make(count: int, batch: int, slices: int = 1, seed: int = 0, shift: Shift | None = None) -> Batches:
        store = Store(part(count), torch.device("cpu"), 1)
        return Batches(store, batch, slices, range(slices), seed, shift)

    return make


@pytest.fixture(params=[0o077, 0o022, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each of the usual ones."""
    former = os.umask(request.param)
    yield request.param
    os.umask(former)
