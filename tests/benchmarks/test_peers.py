"""All contenders of ``make bench-full`` do the same work, and the watch is fair."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from pipeline import config
from pipeline.data.preparation.folder import prepare
from tests.benchmarks import contenders, measure
from tests.benchmarks.conftest import EXAMPLES
from tests.benchmarks.jobs import ROOT, Job
from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import Finished, Model, Watch, accuracy_of, predictor


@pytest.fixture
def alone() -> Iterator[None]:
    """Accelerate's global state and the environment as if there had been none, before and after."""
    environment = dict(os.environ)
    for _ in range(2):
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        os.environ["ACCELERATE_USE_CPU"] = "true"
        yield from [None] * (_ == 0)
    os.environ.clear()
    os.environ.update(environment)


def need(package: str) -> None:
    """Skip where a peer is missing. It is not imported here: Keras must be told of its backend first."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; make bench-full installs it into .venv-bench")


def losses(peer: str, folder: Path, output: Path, **more: Any) -> list[float]:
    """The loss of each of the ten steps of an epoch, in the order of the file."""
    watch = Watch(Task(peer, str(folder), str(output), shuffle=False, trace=True, **more))
    import_module(f"tests.benchmarks.peers.{peer}").run(watch.task, watch)
    return watch.losses


LIKE_BARE = [  # Keras starts its weights in its own way
    (one, source)
    for one in contenders.CONTENDERS
    if one.peer not in ("bare", "keras_example", "pipeline_stage")
    for source in one.sources
]


@pytest.mark.parametrize(("contender", "source"), LIKE_BARE, ids=lambda one: getattr(one, "peer", one))
def test_a_peer_takes_the_steps_of_the_bare_loop(
    contender: contenders.Contender, source: Any, folder: Path, tmp_path: Path, alone: None
) -> None:
    need(contender.needs)
    theirs = losses(contender.peer, folder, tmp_path, source=source)
    assert len(theirs) == EXAMPLES // 64
    assert theirs == pytest.approx(losses("bare", folder, tmp_path), abs=1e-4)


def test_keras_learns_by_as_many_steps(folder: Path, tmp_path: Path) -> None:
    need("keras")
    watch = Watch(Task("keras_example", str(folder), str(tmp_path), epochs=3, evaluations=1))
    import_module("tests.benchmarks.peers.keras_example").run(watch.task, watch)
    assert [step for step, _, _ in watch.curve] == [10, 20, 30]
    assert watch.curve[-1][2] > 0.15


def test_the_pipeline_takes_the_steps_of_the_bare_loop(
    folder: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"data.prepared={tmp_path / 'prepared'}", "train.watch_test=0")
    prepare(config.load(ROOT / measure.SAME_WORK, [*overrides, f"data.root={folder}"]).data)
    monkeypatch.setattr(torch, "randperm", lambda count, generator=None: torch.arange(count))
    ours = losses("pipeline_stage", folder, tmp_path, config=str(ROOT / measure.SAME_WORK), overrides=overrides)
    assert ours == pytest.approx(losses("bare", folder, tmp_path), abs=1e-4)
    assert len(set(ours)) == EXAMPLES // 64, "it learns"


def test_two_processes_of_the_bare_loop_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    task = Task("bare", str(folder), str(tmp_path / "two"), shuffle=False, evaluations=5)
    with Job(task, processes=2, threads=1) as job:
        first, second = job.wait()
    watch = Watch(Task("bare", str(folder), str(tmp_path), shuffle=False, evaluations=5))
    import_module("tests.benchmarks.peers.bare").run(watch.task, watch)
    assert [(step, accuracy) for step, _, accuracy in first["curve"]] == [(step, accuracy) for step, _, accuracy in watch.curve]
    assert first["steps"] == second["steps"] == 10 and first["threads"] == 1
    assert first["peak_mb"] > 100 and 0 < first["import_seconds"] < first["start_seconds"]


def test_the_large_model_is_that_of_the_pipelines_settings() -> None:
    from pipeline.model.classifier import RecurrentClassifier

    settings = config.load(ROOT / measure.SAME_WORK, measure.LARGE)
    ours = RecurrentClassifier(28, 10, **settings.model.model_dump())
    weights = sum(parameter.numel() for parameter in ours.parameters())
    assert weights == sum(parameter.numel() for parameter in Model(large=True).parameters())
    assert settings.train.batch == 512


def test_evaluations_are_left_out_of_the_seconds_and_the_target_ends_the_run(folder: Path) -> None:
    def slow(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2)
        return torch.zeros(len(images), 10)

    watch = Watch(Task("bare", str(folder), "", evaluations=2, target=0.05))
    watch.begin(slow, steps_per_epoch=4)
    watch.step()
    with pytest.raises(Finished):
        watch.step()
    (point,) = watch.curve
    assert point[0] == 2 and point[1] < 0.1 and point[2] == pytest.approx(0.1)


def test_turns_are_taken_one_at_a_time(folder: Path) -> None:
    (go, start), (answers, answer) = os.pipe(), os.pipe()
    os.write(start, b"..")
    watch = Watch(Task("bare", str(folder), "", warmup=3, turn=5, turns=2, channel=(go, answer)))
    watch.begin(lambda images: images, 1)
    with suppress(Finished):
        while True:
            watch.step()
    assert watch.steps == 13
    assert len([float(line) for line in os.read(answers, 1000).split()]) == 3, "one for the warm-up, one for each turn"


def test_accuracy_is_that_of_all_images(folder: Path) -> None:
    labels = torch.arange(2500) % 10
    images = labels.to(torch.uint8)[:, None, None].expand(-1, 28, 28)
    hot = torch.nn.functional.one_hot

    def right_below_five(images: torch.Tensor) -> torch.Tensor:
        return hot(images[:, 0, 0].long().clamp(max=4), 10)

    assert accuracy_of(right_below_five, images, labels) == 0.5
    model = Model()
    predictor(model)(images[:2])
    assert model.training, "an evaluation leaves the model in training mode"
