"""The small training that promises are held against.

Shapes: N examples, T time steps, F features.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.data.sources import catalog
from pipeline.data.store import Part, Store
from pipeline.distributed import collectives, world
from pipeline.model.classifier import RecurrentClassifier
from pipeline.run import checkpoints
from pipeline.stages.advice.examination.results import NotHere
from pipeline.stages.assembly import slices_of
from pipeline.training import loop, optim
from pipeline.training.state import State, make_state

if TYPE_CHECKING:
    from accelerate import Accelerator

SEED, LIMIT = 0, 1024  # of weights and order; megabytes that may lie on the device
MODEL = config.Model(hidden=64, bidirectional=True, pooling="mean")  # as configs/digits.yaml has it
DESCENT = config.Optim(name="adamw", lr=0.01, weight_decay=0.01, clip=1.0)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_shared: list[Accelerator] = []  # of the world that this process is in, if it is one of several


@contextmanager
def together(run: config.Run) -> Iterator[None]:
    """The processes of this launch, for all trainings in this block."""
    with world.world(run, repeats=True) as accelerator:
        _shared.append(accelerator)
        try:
            yield
        finally:
            _shared.clear()


def met(precision: str = "fp32", repeats: bool = False) -> AbstractContextManager[Accelerator]:
    """The world of one training. Raises NotHere if this machine has no such number format."""
    if _shared:
        return nullcontext(_shared[0])
    on_gpu = torch.cuda.is_available()
    if precision == "fp16" and not on_gpu:
        raise NotHere("fp16 needs a GPU")
    if precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise NotHere("this GPU has no bf16, which came with compute capability 8.0", "train.precision=fp16")
    format_: Any = precision
    return world.world(config.Run(), format_, repeats=repeats)


@cache
def data() -> tuple[str, Part, Part]:
    """A name, 1,437 examples to train on and 360 to measure: scikit-learn's digits, or noisy waves where it is missing."""
    try:
        found = catalog.read(config.Data())
        columns = [torch.from_numpy(array) for array in (found.train_values, found.train_labels)]
        others = [torch.from_numpy(array) for array in (found.test_values, found.test_labels)]
    except ModuleNotFoundError:
        columns, others = _waves(1437, 1), _waves(360, 2)
        return "noisy waves", _part(*columns), _part(*others)
    return "digits", _part(*columns), _part(*others)


def noise(examples: int, steps: int, features: int) -> Part:
    """Examples of any shape, of ten classes, from a seed: for speeds."""
    random = torch.Generator().manual_seed(SEED)
    values = torch.randint(0, 256, (examples, steps, features), dtype=torch.uint8, generator=random)
    return _part(values, torch.randint(0, 10, (examples,), generator=random))


def _part(values: torch.Tensor, labels: torch.Tensor) -> Part:
    return Part(values, labels, torch.arange(len(labels)))


def _waves(count: int, seed: int) -> list[torch.Tensor]:
    """Values (count, 8, 8) and labels (count): ten classes, each a wave of its own with noise on it."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=random)
    steps, features = torch.arange(8.0)[None, :, None], torch.arange(8.0)[None, None, :]
    waves = 8 + 4 * torch.sin((labels[:, None, None] + 1) * (steps + features / 3) / 4)
    values = waves + 3 * torch.randn(count, 8, 8, generator=random)
    return [values.clamp(0, 16).to(torch.uint8), labels]


@dataclass(frozen=True)
class Training:
    """A training of its own."""

    state: State
    batches: Batches
    train: config.Train

    def to(self, step: int) -> State:
        """Train until ``step``; the state, once the device has done all of it."""
        reports = self.reports()
        while self.state.step < step:
            next(reports)
        self.state.check()
        reports.close()
        return self.state

    def reports(self) -> Generator[loop.Report]:
        """A report of each step."""
        yield from loop.train(self.state, self.batches, self.train, DESCENT, SEED)


def made(accelerator: Accelerator, train: config.Train, model: config.Model = MODEL, part: Part | None = None) -> Training:
    """A new training of ``part``, or of ``data``, from the seed."""
    part = part or data()[1]
    net = _network(model, part).to(accelerator.device)
    state = make_state(net, optim.make_optimizer(net, DESCENT), train, accelerator)
    slices, mine = slices_of(train, collectives.rank(), collectives.world_size())
    return Training(state, Batches(Store(part, accelerator.device, LIMIT), train.batch, slices, mine, SEED), train)


def _network(model: config.Model, part: Part) -> RecurrentClassifier:
    torch.manual_seed(SEED)
    net = RecurrentClassifier(part.values.shape[2], 10, **model.model_dump())
    scale = torch.full((part.values.shape[2],), 1 / float(part.values.max()))
    net.set_normalization(torch.zeros_like(scale), scale)
    return net


@cache
def untouched() -> str:
    """The SHA-256 of the weights that each training starts from."""
    return checkpoints.digest(_network(MODEL, data()[1]))


def options(**changes: Any) -> config.Train:
    """What is usual of a training here, with ``changes``."""
    return config.Train.model_validate({"batch": 64, "epochs": 1000, "log_every": 10**6} | changes)


def sha256(state: State) -> str:
    """Of all weights. Raises RuntimeError if they never moved: equal ones would then prove nothing."""
    digest = checkpoints.digest(state.model)
    if digest == untouched():
        raise RuntimeError(f"the weights did not move in {state.step} steps")
    return digest


def furthest(one: State, other: State) -> float:
    """The largest difference between two weights."""
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)
