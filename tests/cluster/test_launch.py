"""Each launch file starts what it says, as far as a machine without a GPU can show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.launching import ROOT, begin, end, launch, losses, succeed, wait_until

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


def test_launches_that_start_at_once_meet_at_ports_of_their_own(tmp_path: Path) -> None:
    """Accelerate's own port, 29500, is taken by the first; whether the others see that in time is chance."""
    (tmp_path / "port.py").write_text("import os; print('meet at', os.environ['MASTER_PORT'])")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/cpu.yaml"), "port.py"]
    said = [end(job) for job in [begin(command, tmp_path) for _ in range(2)]]
    ports = [{line.split()[-1] for line in output.splitlines() if line.startswith("meet at")} for _, output in said]
    assert [status for status, _ in said] == [0, 0] and [len(each) for each in ports] == [1, 1], said
    assert len(ports[0] | ports[1]) == 2 and "29500" not in ports[0] | ports[1], said


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


def test_a_launch_file_of_several_machines_is_refused_with_what_to_type_on_each(folder: Path) -> None:
    file = str(ROOT / "launch/multi_node.yaml")
    status, output = end(
        begin([sys.executable, "-m", "pipeline", *train("machines"), "--launch", file, "--processes", "2"], folder)
    )
    assert status == 2 and "--machine 0/2 --head 10.0.0.1:29500" in output.splitlines()[-1], output
    assert not (folder / "machines").exists()


@needs_no_gpu
@pytest.mark.parametrize(("file", "number"), [("one_gpu.yaml", 1), ("multi_gpu.yaml", 2), ("multi_gpu.yaml", 0)])
def test_gpu_launch_file_without_a_gpu_is_refused_with_what_to_type(folder: Path, file: str, number: int) -> None:
    arguments = ["train", "--config", SMOKE, "run.dir=gpu"]
    own = [sys.executable, "-m", "pipeline", *arguments, "--launch", str(ROOT / "launch" / file), "--processes", str(number)]
    status, output = end(begin(own, folder) if number else launch(file, *arguments, cwd=folder))
    assert status != 0
    assert output.count("error: the launch asks for a GPU and this machine has none; use --config_file launch/cpu.yaml") == 1
    assert not (folder / "gpu").exists()


def test_torchrun_on_a_machine_without_a_gpu_trains_on_its_cpus(folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipeline"]
    job = begin([*command, "train", "--config", SMOKE, "run.dir=torchrun"], folder)
    status, output = end(job)
    assert status == 0 and "2 processes on cpu" in output, output


@needs_no_gpu
def test_a_plain_launch_is_no_wish_for_a_gpu(folder: Path) -> None:
    job = begin([sys.executable, "-m", "accelerate.commands.launch", "-m", "pipeline", *train("plain")], folder)
    assert end(job)[0] == 0
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    assert "1 process on cpu" in succeed(*train("rank"), cwd=folder, **alone)


def train(name: str, *overrides: str) -> list[str]:
    return ["train", "--config", SMOKE, f"run.dir={name}", "track.backends=[]", *overrides]


def pipeline(folder: Path, processes: int, *arguments: str) -> subprocess.Popen[str]:
    """What ``make train PROCESSES=...`` starts on a machine without a GPU."""
    options = ["--launch", str(ROOT / "launch/cpu.yaml"), "--processes", str(processes)]
    return begin([sys.executable, "-m", "pipeline", *arguments, *options], folder)


@pytest.mark.parametrize("file", [(), ("--launch", str(ROOT / "launch/cpu.yaml"))], ids=["no file", "cpu.yaml"])
def test_the_launcher_says_nothing_of_its_own(folder: Path, file: tuple[str, ...]) -> None:
    name = f"quiet{len(file)}"
    status, output = end(begin([sys.executable, "-m", "pipeline", *train(name), "--processes", "2", *file], folder))
    assert status == 0 and output.startswith("2 processes on cpu: "), output
    assert output.splitlines()[-1].startswith("finished at step 28"), output


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("overrides", "status", "last"),
    [
        (["optim.rl=3"], 2, "error: command line: optim.rl=3: optim.rl: unknown key"),
        (["train.batch=100000"], 2, "error: train.batch = 100000 is more than"),
        (["data.source=csv", "data.path=none.csv"], 2, "error: "),
        (["optim.name=sgd", "optim.lr=1e38"], 3, "step "),
    ],
)
def test_an_error_is_the_last_thing_on_the_screen_and_its_status_comes_through(
    folder: Path, processes: int, overrides: list[str], status: int, last: str
) -> None:
    ended, output = end(pipeline(folder, processes, *train(f"error{processes}", *overrides)))
    assert ended == status, output
    assert "Traceback" not in output and output.splitlines()[-1].startswith(last), output


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_saves_and_ends_with_one_line(folder: Path, processes: int, number: int) -> None:
    name = f"signal{processes}{number}"
    job = pipeline(folder, processes, *train(name, "train.epochs=100000", "train.log_every=5"))
    wait_until(lambda: (folder / name / "metrics.jsonl").exists(), "the first record")
    if number == signal.SIGINT:  # a terminal sends it to all
        os.killpg(job.pid, number)
    else:
        job.send_signal(number)
    status, output = end(job)
    assert status == 143, output
    assert "Traceback" not in output and output.splitlines()[-1].startswith(
        f"stopped by {signal.Signals(number).name} and saved after step"
    )


def test_a_process_that_was_killed_is_named(folder: Path) -> None:
    job = pipeline(folder, 2, *train("killed", "train.epochs=100000", "train.log_every=5"))
    wait_until(lambda: (folder / "killed" / "metrics.jsonl").exists(), "the first record")
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    status, output = end(job)
    assert status == 1 and "Traceback" not in output, output
    assert output.splitlines()[-1].startswith("a process was killed by SIGKILL")
