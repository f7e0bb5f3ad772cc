"""The same command is typed on each of several machines: which processes start there, and as which of all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from pipeline.distributed import launcher, process
from pipeline.errors import UserError
from tests.support.launching import ROOT, begin, end, free_port

NODES = ROOT / "launch/multi_node.yaml"
HEAD = "10.0.0.1:29511"
WHICH = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a launcher, on a machine without a GPU, put back afterwards."""
    for name in (*WHICH, "GROUP_WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE", process.MACHINE, launcher.WANTED):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def number(**asked: object) -> int:
    return launcher.number(launcher.Asked(**asked), lambda: 1)  # type: ignore[arg-type]


def places(local: int, alike: int) -> list[str]:
    """As which process one that a launcher has numbered on its machine takes part."""
    os.environ |= {"RANK": str(local), "LOCAL_RANK": str(local), "WORLD_SIZE": str(alike), "LOCAL_WORLD_SIZE": str(alike)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert process.launched() and os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "False"
    return [os.environ[name] for name in WHICH]


def test_the_processes_of_a_machine_are_numbered_behind_those_of_the_machines_before() -> None:
    assert number(processes=6, machine="2/3", head=HEAD) == 2
    assert places(1, 2) == ["5", "1", "6", "2", "10.0.0.1", "29511", "2"]


def test_a_process_that_is_alone_on_its_machine_needs_no_launcher() -> None:
    assert number(processes=2, machine="1/2", head="fd00::1") == 0
    assert process.launched()
    assert [os.environ[name] for name in WHICH] == ["1", "0", "2", "1", "fd00::1", "29500", "1"]
    assert process.launched() and os.environ["RANK"] == "1", "asked again, it is the same"


@pytest.mark.parametrize(
    ("gpus", "file", "share"), [(0, None, 0), (2, None, 2), (0, NODES, 4), (3, ROOT / "launch/cpu.yaml", 3)]
)
def test_without_a_number_there_is_one_process_a_gpu_or_as_many_as_the_file_says(
    monkeypatch: pytest.MonkeyPatch, gpus: int, file: Path | None, share: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert number(file=file, machine="0/2", head=HEAD) == share


def test_one_machine_of_one_is_as_if_nothing_was_said() -> None:
    assert number(processes=2, machine="0/1", head=HEAD) == 2 and process.MACHINE not in os.environ


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"machine": "0/2"},
            "type the same on each of them, with its number from 0 and the address of the first: --machine 0/2",
        ),
        ({"head": HEAD}, "--machine 0/2 --head 10.0.0.1:29500"),
        ({"machine": "first", "head": HEAD}, "--machine 0/2 --head 10.0.0.1:29500"),
        ({"file": NODES}, "multi_node.yaml: is for 2 machines; type the same on each of them"),
        (
            {"machine": "2/2", "head": HEAD},
            "--machine 2/2: the machines are numbered from 0; type 0/2 on the first, 1/2 on the last",
        ),
        ({"machine": "0/2", "head": "10.0.0.1:port"}, "--head 10.0.0.1:port: is no address with a port"),
        ({"machine": "0/2", "head": ":29500"}, "--head :29500: is no address with a port"),
        ({"machine": "0/2", "head": HEAD, "processes": 3}, "--processes 3: those of all 2 machines are counted"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_type(asked: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as refused:
        number(**asked)
    assert message in str(refused.value) and process.MACHINE not in os.environ


@pytest.mark.parametrize(
    ("machine", "who"), [(0, "processes 2 to 3 of machine 1 did not arrive"), (1, "process 0 does not answer")]
)
def test_the_last_word_of_a_machine_whose_others_never_come_is_who_is_missing(tmp_path: Path, machine: int, who: str) -> None:
    words = ["train", "--config", str(ROOT / "configs/smoke.yaml"), "run.dir=run", "run.join_timeout=5", "--processes", "4"]
    place = ["--machine", f"{machine}/2", "--head", f"127.0.0.1:{free_port()}"]
    status, output = end(begin([sys.executable, "-m", "pipeline", *words, *place], tmp_path))
    assert status == 1 and f"did not find the others within run.join_timeout = 5 s: {who}" in output.splitlines()[-1], output
    assert "SIGTERM" not in output and not (tmp_path / "run").exists(), output


def test_an_error_speaks_for_all_before_the_signals_that_it_causes() -> None:
    assert launcher._status([1, 143]) == launcher._status([143, 1]) == 1
    assert launcher._status([143, 2]) == 2 and launcher._status([3, 1, 143]) == 3 and launcher._status([143, 143]) == 143
