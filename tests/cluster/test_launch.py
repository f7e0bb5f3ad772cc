"""Each launch file starts what it says, as far as a machine without a GPU can show."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from tests.support.launching import ROOT, end, launch, losses, run, succeed

SMOKE = str(ROOT / "configs/smoke.yaml")
needs_no_gpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", "--config", SMOKE, cwd=folder)
    return folder


@pytest.mark.parametrize("processes", [1, 2])
def test_cpu_yaml_starts_as_many_processes_as_asked_for(folder: Path, processes: int) -> None:
    name = f"cpu{processes}"
    job = launch(
        "cpu.yaml", "train", "--config", SMOKE, f"run.dir={name}", cwd=folder, options=("--num_processes", str(processes))
    )
    status, output = end(job)
    assert status == 0, output
    assert f"{processes} process{'es' * (processes > 1)} on cpu" in output
    assert len(losses(folder / name)) == 28


def test_multi_node_yaml_joins_two_launches(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--num_processes", "2", "--main_process_port", port)
    arguments = ("train", "--config", SMOKE, "run.dir=nodes")
    jobs = [
        launch("multi_node.yaml", *arguments, cwd=folder, options=(*options, "--machine_rank", rank), ACCELERATE_USE_CPU="true")
        for rank in "01"
    ]
    ends = [end(job) for job in jobs]
    assert [status for status, _ in ends] == [0, 0], ends
    assert sum("2 processes on cpu" in output for _, output in ends) == 1
    assert len(losses(folder / "nodes")) == 28


@needs_no_gpu
@pytest.mark.parametrize("file", ["one_gpu.yaml", "multi_gpu.yaml"])
def test_gpu_launch_file_without_a_gpu_is_refused_with_what_to_type(folder: Path, file: str) -> None:
    status, output = end(launch(file, "train", "--config", SMOKE, "run.dir=gpu", cwd=folder))
    assert status != 0
    assert output.count("error: the launch asks for a GPU and this machine has none; use --config_file launch/cpu.yaml") == 1
    assert not (folder / "gpu").exists()


def test_launcher_that_leaves_the_processes_apart_is_refused(folder: Path) -> None:
    """torchrun on CPUs without ACCELERATE_USE_CPU gives worlds of one, each of which would write the same run."""
    apart = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    status, output = run("train", "--config", SMOKE, "run.dir=apart", cwd=folder, **apart)
    assert status == 2, output
    assert "ACCELERATE_USE_CPU=true with torchrun" in output
    assert not (folder / "apart").exists()
