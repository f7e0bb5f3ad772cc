"""What ``pipeline.fit`` promises: the run that the command gives, in whatever thread, again and again; a process as before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline import fit
from pipeline.errors import ConfigError, RunError, Stopped, UserError
from pipeline.stages.fit import Run
from pipeline.training.loop import Report
from tests.support.launching import losses, numbers, succeed, weights

SECTIONS = {
    "run": {"dir": "runs/own", "seed": 3},
    "model": {"hidden": 8, "head_dropout": 0.2},
    "optim": {"name": "adamw"},
    "train": {"epochs": 2, "batch": 96, "log_every": 1, "checkpoint_every": 7},
    "track": {"backends": []},
}
YAML = """\
run: {seed: 3}
model: {hidden: 8, head_dropout: 0.2}
optim: {name: adamw}
train: {epochs: 2, batch: 96, log_every: 1, checkpoint_every: 7}
track: {backends: []}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run that the command made, runs/command, and its configuration."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "own.yaml").write_text(YAML)
    succeed("train", "--config", "own.yaml", "run.dir=runs/command", cwd=folder)
    return folder


@pytest.fixture(autouse=True)
def here(work: Path) -> Iterator[None]:
    with contextlib.chdir(work):
        yield


def as_the_command(run: Run) -> None:
    assert weights(run.folder) == weights(Path("runs/command"))
    assert numbers(run.folder) == numbers(Path("runs/command"))


def in_thread(action: Callable[[], Any]) -> Any:
    """What ``action`` gives in another thread; what it raises is raised here."""
    ends: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            ends.append((action(), None))
        except BaseException as error:
            ends.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ((result, error),) = ends
    if error:
        raise error
    return result


def test_a_dictionary_a_file_and_a_thread_give_the_run_of_the_command() -> None:
    before = json.dumps(SECTIONS)
    runs = [
        fit(SECTIONS, "run.dir=runs/dictionary"),
        fit("own.yaml", "run.dir=runs/file"),
        fit(Path("own.yaml"), "run.dir=runs/path"),
        in_thread(lambda: fit("own.yaml", "run.dir=runs/thread")),
    ]
    assert json.dumps(SECTIONS) == before, "a dictionary is not changed"
    for run in runs:
        as_the_command(run)
    assert [run.folder.name for run in runs] == ["dictionary", "file", "path", "thread"]


def test_a_path_of_a_dictionary_may_be_an_object(work: Path) -> None:
    run = fit(SECTIONS | {"run": {"dir": work / "runs/object"}}, wait=False)
    assert run.folder == work / "runs/object" and not run.folder.exists()


def test_reports_come_step_by_step_and_a_loop_that_is_left_goes_on_without_a_trace() -> None:
    run = fit(SECTIONS, "run.dir=runs/steps", wait=False)
    seen: list[Report] = []
    for report in run:
        seen.append(report)
        if report.step == 10:
            break
    assert [path.name for path in (run.folder / "checkpoints").glob("step_*10")], "left between two checkpoints, and saved"
    seen += run
    steps = len(losses(Path("runs/command")))
    assert [report.step for report in seen] == list(range(1, steps + 1))
    as_the_command(run)
    assert list(run) == [], "it is finished"
    numbers = seen[-1].numbers()
    assert numbers["loss"] == run.metrics[-2]["train/loss"] and 0 <= numbers["accuracy"] <= 1
    assert run.metrics[-1]["valid/accuracy"] > 0.3


def test_an_error_in_the_loop_leaves_a_run_that_goes_on() -> None:
    run = fit(SECTIONS, "run.dir=runs/error", wait=False)
    with pytest.raises(ZeroDivisionError) as kept:
        for report in run:
            1 / (report.step - 9)
    assert kept.traceback  # which holds the frame, and so the loop, open: as a notebook does
    assert fit(SECTIONS, "run.dir=runs/error").folder == run.folder
    as_the_command(run)


def test_a_loop_whose_thread_begins_something_else_is_saved_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(SECTIONS, "run.dir=runs/left", wait=False)
    with pytest.raises(RunError, match=r"runs/left: was left and saved when its thread began something else"):
        for report in run:
            if report.step == 3:
                run.evaluate()
    assert "runs/left: left and saved" in capsys.readouterr().out
    list(run)
    as_the_command(run)


def test_two_runs_at_once_in_a_process_are_refused() -> None:
    run = fit(SECTIONS, "run.dir=runs/one", wait=False)
    steps = iter(run)
    next(steps)
    with pytest.raises(UserError, match="trains or evaluates another run"):
        in_thread(lambda: fit(SECTIONS, "run.dir=runs/two"))
    assert not Path("runs/two").exists()
    assert len(list(steps)) + 1 == len(losses(Path("runs/command")))
    as_the_command(run)


def state() -> dict[str, Any]:
    """What of a process a run might change."""
    cudnn = torch.backends.cudnn
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (cudnn.deterministic, cudnn.allow_tf32),
        "random": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "environment": dict(os.environ),
        "cores": os.sched_getaffinity(0),
        "default type": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "folder": Path.cwd(),
        "threads of Python": {thread.name for thread in threading.enumerate()} - {"tqdm_monitor"},
    }


@pytest.mark.parametrize("backends", ["[]", "[wandb]"])
def test_a_process_is_as_it_was_before(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, backends: str) -> None:
    for variable in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("WANDB_MODE", "offline")
    torch.set_num_threads(2)
    try:
        before, mine = state(), dict(AcceleratorState._shared_state)
        for number in range(2):
            run = fit(
                SECTIONS, f"run.dir=runs/state{number}_{backends[1:-1]}", "run.deterministic=true", f"track.backends={backends}"
            )
            run.evaluate()
            after = state()
            assert {key: value for key, value in after.items() if value != before[key]} == {}
            assert AcceleratorState._shared_state == mine, "an Accelerator of the user's stays"
            assert bool(list(run.folder.glob("wandb/offline-run-*/*.wandb"))) == (backends != "[]"), "each in its own folder"
            assert losses(run.folder) == losses(Path("runs/command"))
    finally:
        torch.set_num_threads(1)


def test_in_a_thread_signals_are_left_to_the_main_one() -> None:
    run = fit(SECTIONS, "run.dir=runs/signals", wait=False)
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        for report in run:
            if report.step == 2:
                assert signal.getsignal(signal.SIGTERM) is before

    in_thread(work)
    as_the_command(run)


def test_a_signal_in_the_main_thread_saves_and_raises() -> None:
    run = fit(SECTIONS, "run.dir=runs/interrupted", wait=False)
    with pytest.raises(Stopped, match="saved after step 6"):
        for report in run:
            if report.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
    assert fit(SECTIONS, "run.dir=runs/interrupted")
    as_the_command(run)


def test_a_run_is_evaluated_and_exported() -> None:
    run = fit("own.yaml", "run.dir=runs/whole")
    measured = run.evaluate()
    assert measured == json.loads(Path("runs/whole/eval/metrics.json").read_text()) and measured["split"] == "test"
    assert run.evaluate("valid")["split"] == "valid"
    model = run.export()
    images = np.zeros((2, 8, 8))
    names, probabilities, _ = model.predict(images)
    assert names.shape == (2,) and probabilities.shape == (2, 10)
    assert repr(run) == "Run('runs/whole')"


@pytest.mark.parametrize(
    ("sections", "overrides", "message"),
    [
        ({"optim": {"lr": "fast"}, "trian": {}}, (), r"the configuration: optim\.lr: expected a number, got 'fast'\n.*trian"),
        ({"optim": {"lr": 1.0}}, (), r"run\.dir: no file gives the run its name"),
        ({"run": {"dir": "x"}, "model": 3}, (), "the configuration: model: expected a section"),
        ({"run": {"dir": "x"}}, ("optim.lr",), "expected section.key=value"),
        ({"run": {"dir": "x"}}, ("optim.rate=1",), r"optim\.rate: unknown key"),
    ],
)
def test_a_wrong_configuration_is_named(sections: dict[str, Any], overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(sections, *overrides)
    assert not Path("x").exists()
