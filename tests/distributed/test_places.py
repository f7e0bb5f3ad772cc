"""Who is missing is said as a user knows them, and the interface is the one that leads to the others."""

from __future__ import annotations

import pytest

from pipeline.distributed import places


def said(host: str, local: int, alike: int) -> dict[str, str | int]:
    return {"host": host, "local": local, "alike": alike, "address": ""}


@pytest.fixture(autouse=True)
def no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROUP_RANK", "LOCAL_WORLD_SIZE", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_DISTRIBUTION"):
        monkeypatch.delenv(name, raising=False)


def test_missing_processes_are_of_the_host_that_one_beside_them_named() -> None:
    arrived = {0: said("n0", 0, 2), 1: said("n0", 1, 2), 5: said("n2", 1, 2)}
    assert places.missing(arrived, 6) == "processes 2 to 3, process 4 of host n2 did not arrive"


def test_missing_processes_are_of_the_machine_that_their_number_tells_under_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    arrived = {rank: said("n0", rank, 4) for rank in range(4)}
    assert places.missing(arrived, 8) == "processes 4 to 7 of machine 1 did not arrive"


@pytest.mark.parametrize(
    ("nodes", "tasks", "who"),
    [
        ("n[0-2]", "4(x3)", "processes 4 to 7 of host n1, processes 8 to 11 of host n2"),
        ("gpu[008,010-011]", "4(x3)", "processes 4 to 7 of host gpu010, processes 8 to 11 of host gpu011"),
        ("a,b-[1-2]", "4,7,1", "processes 4 to 10 of host b-1, process 11 of host b-2"),
    ],
)
def test_missing_processes_are_of_the_node_that_slurm_put_them_on(
    monkeypatch: pytest.MonkeyPatch, nodes: str, tasks: str, who: str
) -> None:
    monkeypatch.setenv("SLURM_STEP_NODELIST", nodes)
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    arrived = {rank: said("first", rank, 4) for rank in range(4)}
    assert places.missing(arrived, 12) == f"{who} did not arrive"


def test_no_host_is_guessed_where_slurm_was_told_to_deal_tasks_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[0-1]")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2(x2)")
    monkeypatch.setenv("SLURM_DISTRIBUTION", "cyclic")
    assert places.missing({0: said("n0", 0, 1)}, 4) == "processes 1 to 3 did not arrive"


def test_the_way_to_this_machine_is_its_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert places.interface(["127.0.0.1", "127.0.0.1"]) == "lo"


def test_a_name_that_leads_nowhere_names_no_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "no.such.host.invalid")
    assert places.interface(["", ""]) is None
