"""metrics.jsonl is complete whatever happens; wandb shows what it was told, or fails without a trace on the run.

wandb is the real one, offline or against a closed port, in a process of its own with none of the user's settings.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.config import Track
from pipeline.run import trackers
from pipeline.run.record import read

ATTEMPT = """
import os, pathlib, signal, sys, time
import numpy as np
from accelerate import Accelerator
from pipeline.run import trackers
from pipeline.config import Track
from pipeline.run.record import Record

assert "wandb" not in sys.modules
folder, trouble, timeout = pathlib.Path("digits"), sys.argv[1], float(sys.argv[2])
folder.mkdir()
record = Record(folder / "metrics.jsonl")
tracker = Accelerator(cpu=True)  # whose state Accelerate's trackers ask for
tracker = trackers.start(Track(), folder, {"optim": {"lr": 0.01}}, "train")

def service():
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        name, ppid = stat.read_text().split()[1:4:2]
        if name == "(wandb-core)" and int(ppid) == os.getpid():
            return int(stat.parent.name)

slowest = 0.0
for step in range(1, 41):
    if step == 20 and trouble in ("SIGKILL", "SIGSTOP"):
        time.sleep(1)
        os.kill(service(), getattr(signal, trouble))
        time.sleep(0.5)
    begun = time.perf_counter()
    record.append({"step": step, "train/loss": 1 / step})
    tracker.log({"train/loss": 1 / step}, step)
    slowest = max(slowest, time.perf_counter() - begun)
if trouble == "evaluate":
    tracker.log_evaluation(
        {"test/accuracy": 0.97, "test/loss": 0.125}, np.eye(3, dtype=int), ["a", "b", "c"],
        {"confusion": pathlib.Path("confusion.png")},
    )
begun = time.perf_counter()
tracker.finish(0, timeout=timeout)
print(slowest, time.perf_counter() - begun)
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    return clean | {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])} | more


def attempt(folder: Path, trouble: str = "", timeout: float = 30, argv: tuple[str, ...] = (), **more: str) -> Any:
    """One attempt in ``folder``: what it printed, and that it ended well with metrics.jsonl complete."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPT, trouble, str(timeout), *argv],
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [record["step"] for record in read(folder / "digits/metrics.jsonl")] == list(range(1, 41))
    slowest, finish = map(float, done.stdout.split())
    assert slowest < 1
    assert "Traceback" not in done.stderr
    return SimpleNamespace(stderr=done.stderr.strip().splitlines(), finish=finish)


def inspect(folder: Path) -> Any:
    """What ``wandb leet inspect`` shows of the latest run under ``folder``."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", "digits/wandb"]
    shown = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


def test_offline_run_shows_the_final_metrics_and_no_secret(tmp_path: Path) -> None:
    secret = "canary-5f0c2d"
    Image.new("RGB", (8, 8)).save(tmp_path / "confusion.png")
    done = attempt(tmp_path, "evaluate", argv=(f"--token={secret}",), MY_TOKEN=secret)
    shown = inspect(tmp_path)
    assert (shown["state"], shown["exit_code"], shown["name"]) == ("finished", 0, "digits")
    assert shown["config"] == {"optim": {"lr": 0.01}}
    summary = shown["summary"]
    assert (summary["test/accuracy"], summary["test/loss"]) == (0.97, 0.125)
    assert (summary["step"], summary["train/loss"]) == (40, 1 / 40)
    assert summary["confusion"]["_type"] == "image-file"
    assert summary["confusion_matrix_table"]["nrows"] == 9
    [line] = done.stderr
    assert "wandb sync digits/wandb/offline-run-" in line
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in paths)
    assert [path for path in paths if secret.encode() in path.read_bytes()] == []
    assert [path for path in paths if not path.is_relative_to(tmp_path / "digits")] == [tmp_path / "confusion.png"]


def test_no_key_means_offline_without_a_question_even_on_a_terminal(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-c", ATTEMPT, "", "30"], environment(tmp_path, WANDB_MODE="online"))
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # how Linux reports that the other end was closed
        pass
    assert os.waitpid(pid, 0)[1] == 0, shown
    assert b"wandb: an offline run" in shown
    assert b"API key" not in shown and b"?" not in shown


def test_unreachable_server_costs_a_bounded_time_and_one_line(tmp_path: Path) -> None:
    key = "0123456789" * 4
    done = attempt(tmp_path, timeout=3, WANDB_API_KEY=key, WANDB_BASE_URL="http://127.0.0.1:9")
    assert done.finish < 7
    [line] = done.stderr
    assert line == "wandb: not finished after 3 s; the job goes on without it"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]


@pytest.mark.parametrize(("signal", "reason"), [("SIGKILL", "Connection"), ("SIGSTOP", "not finished after 3 s")])
def test_service_process_that_dies_or_hangs_does_not_stop_the_run(signal: str, reason: str, tmp_path: Path) -> None:
    done = attempt(tmp_path, signal, timeout=3)
    assert done.finish < 7
    [line] = done.stderr
    assert line.startswith("wandb: ") and reason in line and line.endswith("; the job goes on without it")


def test_wandb_mode_disabled_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = trackers.start(Track(), tmp_path, {}, "train")
    tracker.log({"train/loss": 1.0}, 1)
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def test_backend_that_is_not_installed_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tracker = trackers.start(Track(backends=("tensorboard",)), tmp_path, {}, "train")
    tracker.log({"train/loss": 1.0}, 1)
    tracker.finish()
    assert capsys.readouterr().err.splitlines() == [
        "tensorboard: it is not installed; type: pip install tensorboard; the job goes on without it"
    ]


def test_other_processes_track_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "rank", lambda: 1)
    tracker = trackers.start(Track(), tmp_path, {}, "train")
    tracker.log({"train/loss": 1.0}, 1)
    tracker.log_evaluation({}, np.eye(2), ["a", "b"], {})
    begun = time.perf_counter()
    tracker.finish()
    assert time.perf_counter() - begun < 0.1
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_shows_the_numbers_and_pictures_that_it_was_given(tmp_path: Path, accelerator: Accelerator) -> None:
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "red.png")
    tracker = trackers.start(Track(backends=("tensorboard",)), tmp_path, {"train": {"epochs": 2}}, "train")
    tracker.log({"train/loss": 1.5}, 1)
    tracker.log({"train/loss": 0.5}, 2)
    tracker.log_evaluation({"step": 2, "test/accuracy": 0.75}, np.eye(2), ["a", "b"], {"confusion": tmp_path / "red.png"})
    tracker.finish()
    (folder,) = {path.parent for path in (tmp_path / "tensorboard").rglob("events.*")}
    shown = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in shown.Scalars("train/loss")] == [(1, 1.5), (2, 0.5)]
    assert [(event.step, event.value) for event in shown.Scalars("test/accuracy")] == [(2, 0.75)]
    (picture,) = shown.Images("confusion")
    assert (picture.step, picture.width, picture.height) == (2, 4, 3)
    assert b'"epochs": 2' in shown.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
