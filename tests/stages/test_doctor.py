"""What ``doctor`` says of this machine, and of machines that are broken: faults are put below what it looks at."""

from __future__ import annotations

import json
import socket
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.stages.advice.examination import checks, watched
from pipeline.stages.advice.examination.results import Place
from pipeline.stages.advice.examination.worker import made
from pipeline.stages.terminal import machine_answers
from tests.support.launching import ROOT, run

CHEAP = ("versions", "processors", "wandb", "disk", "locks", "repeats", "resumed", "exact_1", "exact")


def examined(
    cwd: Path, *names: str, processes: int = 0, fault: str = "", settings: tuple[str, ...] = (), **more: str
) -> tuple[int, dict[str, Any], str]:
    """The exit status, each answer by name, and all that was printed. ``fault``: what each Python process does first."""
    if fault:
        (cwd / "faults").mkdir()
        (cwd / "faults/sitecustomize.py").write_text(textwrap.dedent(fault))
        more["PYTHONPATH"] = f"{cwd / 'faults'}:{ROOT}"
    only = [word for name in names for word in ("--only", name)]
    status, output = run("doctor", "--json", *only, *settings, cwd=cwd, processes=processes, **more)
    document = output[output.index("{\n") :]
    found = json.loads(document[: document.rindex("\n}") + 2])
    assert list(found) == list(machine_answers.Examined.model_fields)
    return status, {one["name"]: one for one in found["checks"]}, output


def test_a_sound_machine_keeps_each_promise_and_nothing_stays(tmp_path: Path) -> None:
    status, found, _ = examined(tmp_path, *CHEAP)
    assert status == 0 and list(found) == [*CHEAP[:-1], "exact_2"]
    assert {one["status"] for one in found.values() if one["kind"] == "promise"} == {"pass"}
    assert found["exact_2"]["values"]["sha256"] == found["exact_1"]["values"]["sha256"]
    assert found["disk"]["values"]["write_mb_per_s"] > 0 and found["versions"]["values"]["packages"]["torch"]
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".output")] == []


def test_no_key_of_wandb_is_shown(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password c0ffee\n")
    status, found, output = examined(tmp_path, "wandb", NETRC=str(tmp_path / "netrc"), WANDB_API_KEY="5ecre7")
    assert status == 0 and found["wandb"]["values"]["key"] is True
    assert "5ecre7" not in output and "c0ffee" not in output


def test_all_checks_answer_on_cpus_and_what_needs_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for check in checks.ALONE:
        if check.name.startswith(("dtype", "graph", "precision", "links", "gpus", "layer", "resumed_fp16")):
            answer = made(check, Place(tmp_path))
            gpu = check.name not in ("dtype_bf16", "precision_bf16")
            assert answer.status == ("not here" if gpu else "pass"), answer


def test_a_promise_that_does_not_hold_is_named_with_what_to_do_and_the_status_2(tmp_path: Path) -> None:
    status, found, output = examined(tmp_path, "locks", "wandb", fault="import fcntl; fcntl.flock = lambda *_: None")
    assert (status, found["locks"]["status"]) == (2, "fail")
    assert "run.dir" in found["locks"]["do"] and "1 FAIL: locks" in output


def test_a_check_that_dies_or_hangs_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    fault = """
        import netrc, os, time
        os.statvfs = lambda *_: os.abort()
        netrc.netrc = lambda *_: time.sleep(3600)
    """
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(fault))
    environment = [one | {"PYTHONPATH": f"{tmp_path}:{ROOT}"} for one in watched.alone()]
    chosen = [replace(named("wandb"), limit=1), named("disk"), named("locks")]
    hung, dead, sound = watched.answered(watched.Request("alone", tmp_path), chosen, environment)
    assert (dead.status, hung.status, sound.status) == ("error", "error", "pass")
    assert "SIGABRT" in dead.said and "no answer within 1 s" in hung.said


def test_processes_are_compared_and_the_odd_one_is_named_with_its_host(tmp_path: Path) -> None:
    fault = """
        import importlib.metadata, os, time
        plain, now = importlib.metadata.version, time.time
        if os.environ.get("RANK") == "1":
            importlib.metadata.version = lambda name: "0.0.1" if name == "numpy" else plain(name)
            time.time = lambda: now() + 100
            import torch
            seeded = torch.manual_seed
            torch.manual_seed = lambda seed: seeded(seed + 1)
    """
    status, found, _ = examined(tmp_path, "hosts", "product", "exact", processes=2, fault=fault)
    host = socket.gethostname()
    assert status == 2 and [one["status"] for one in found.values()] == ["fail", "pass", "fail"]
    assert f"process 1 (host {host}) has another version of numpy: 0.0.1, most have" in found["hosts"]["said"]
    assert f"the clock of process 1 (host {host}) differs by 100" in found["hosts"]["warnings"][0]
    assert f"process 1 (host {host}) computes otherwise" in found["exact"]["do"]


def test_two_processes_of_a_launcher_give_the_weights_of_one(tmp_path: Path) -> None:
    settings = ("--config", str(ROOT / "configs/digits.yaml"))
    status, found, output = examined(tmp_path, "hosts", "exact", "all_reduce", processes=2, settings=settings)
    assert status == 0 and "as one process gives" in found["exact"]["said"]
    assert found["all_reduce"]["values"]["1 MB"]["gb_per_s"] > 0
    assert output.count("promises hold") == 1, "one process speaks"


def test_optimisers_that_forget_their_moments_are_seen_when_a_run_is_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", lambda *_: None)
    answer = made(named("resumed"), Place(tmp_path))
    assert answer.status == "fail" and "other weights" in answer.said and answer.do


def test_random_numbers_that_do_not_repeat_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn, other = torch.randperm, torch.Generator()
    monkeypatch.setattr(torch, "randperm", lambda n, generator=None: drawn(n, generator=other))
    answer = made(named("repeats"), Place(tmp_path))
    assert answer.status == "fail" and answer.do


def test_a_number_format_that_is_not_the_one_asked_for_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch, "autocast", partial(torch.autocast, enabled=False))
    answer = made(named("dtype_bf16"), Place(tmp_path))
    assert answer.status == "fail" and answer.values["dtype"] == "float32"


def test_updates_that_do_nothing_prove_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: None)
    answer = made(named("repeats"), Place(tmp_path))
    assert answer.status == "fail" and "did not move" in answer.said


def named(name: str) -> Any:
    """The check of one process of that name."""
    return next(check for check in checks.ALONE if check.name == name)
