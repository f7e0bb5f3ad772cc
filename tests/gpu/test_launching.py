"""One process a GPU, whatever the machine, the scheduler and the user say of which GPUs there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import checkpoints
from tests.gpu.rehearse import attempted, rehearsed
from tests.support.launching import ROOT


@pytest.mark.parametrize("sums", ["ddp", "flat"])
def test_each_of_several_processes_trains_where_it_sees_a_single_gpu(sums: str) -> None:
    step = rehearsed("steps", f"train.data_parallel={sums}", processes=2, STUB_GPUS="1")
    assert step["collectives"].get("ncclAllReduce") or step["graphs"] == 1  # in which it is


def test_more_processes_than_gpus_are_refused_with_how_many_there_are() -> None:
    statuses, output, _ = attempted("steps", processes=2, STUB_GPUS="1", STUB_SHARED="1")
    assert statuses == [1, 1]
    assert "2 processes were started on this machine, and they see 1 GPU" in output and "--processes 1" in output


def test_what_processes_say_to_each_other_passes_no_gpu() -> None:
    step = rehearsed("words", processes=2)
    assert (step["launches"], step["copies"], step["waits"]) == (0, {}, {})


def test_exact_mode_has_gpus_repeat_without_a_word_of_the_user() -> None:
    assert rehearsed("repeats") == [[None, False], [":4096:2", True], [":4096:2", True]]


@pytest.mark.parametrize("new", ["1", "0"])  # torch 2.15's NCCL, and that of before
@pytest.mark.parametrize("how", ["die", "hang"])
def test_a_process_whose_peer_is_gone_says_so_and_ends_with_its_last_checkpoint_whole(
    tmp_path: Path, how: str, new: str
) -> None:
    keys = ("run.timeout=20", f"run.dir={tmp_path}/run")
    statuses, output, _ = attempted("lost", *keys, processes=2, HOW=how, TORCH_DIST_USE_NCCL2=new)
    assert statuses == [1, 9], output
    assert "process 0 lost the others" in output and "the same command goes on from the last checkpoint" in output
    assert "Traceback" not in output
    found, skipped = checkpoints.newest(tmp_path / "run/checkpoints")
    assert found is not None and found.step == 20 and not skipped


def test_a_checkpoint_names_the_gpu_that_trained_it() -> None:
    assert rehearsed("train")["gpu"] == "Stub H100"


@pytest.mark.parametrize(
    ("visible", "listed", "count"),
    [
        (None, "GPU 0: A\\nGPU 1: B", 2),
        ("3,5", "GPU 0: A\\n" * 8, 2),
        ("", "GPU 0: A", 0),
        ("-1", "GPU 0: A", 0),
        ("0,-1,1", "GPU 0: A", 1),
        ("MIG-5f1a", "GPU 0: A\\n  MIG 1g.10gb Device 0: (UUID: MIG-5f1a)", 1),
        (None, "GPU 0: A\\n  MIG 1g.10gb Device 0: (UUID: MIG-5f1a)\\nGPU 1: B", 1),
        (None, "", 0),
    ],
)
def test_make_counts_the_gpus_that_are_visible(tmp_path: Path, visible: str | None, listed: str, count: int) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("CUDA_VISIBLE_DEVICES", "MAKEFLAGS")}
    environment |= {"PATH": f"{tmp_path}:{environment['PATH']}"} | (
        {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    )
    asked = ["make", "--no-print-directory", "--eval", "counted:;@echo $(GPUS) $(LAUNCH)", "counted"]
    said = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(count), f"launch/{'cpu' if count == 0 else 'one_gpu' if count == 1 else 'multi_gpu'}.yaml"]


def test_the_launch_file_of_one_gpu_leaves_the_choice_of_gpu_to_who_made_it(tmp_path: Path) -> None:
    program = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    (tmp_path / "program.py").write_text(program)
    head = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/one_gpu.yaml")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3"}
    said = subprocess.run([*head, str(tmp_path / "program.py")], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["3"]
