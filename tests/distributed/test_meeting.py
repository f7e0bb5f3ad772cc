"""Processes meet under the mark of this attempt, whatever an attempt before left in a store that outlived it."""

from __future__ import annotations

import json
import multiprocessing
import os
from typing import Any

import pytest
from torch import distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # in no stub

from pipeline.config import Run
from pipeline.distributed import meeting
from pipeline.errors import LostContactError

_fork = multiprocessing.get_context("forkserver")


def _meet(rank: int, number: int, port: int, timeout: int, answers: Any) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()} | {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(rank)  # each launcher counts its own
    try:
        meeting.join("gloo", Run(join_timeout=timeout))
        ones = dist.new_group(backend="gloo")
        dist.barrier(ones)
        answers.put((rank, "met"))
        dist.destroy_process_group()
    except LostContactError as error:
        answers.put((rank, str(error)))


def met(store: TCPStore, ranks: range, number: int, timeout: int = 60) -> dict[int, str]:
    """What processes of these ranks say of their meeting at a launcher's ``store``."""
    answers = _fork.SimpleQueue()
    started = [_fork.Process(target=_meet, args=(rank, number, store.port, timeout, answers)) for rank in ranks]
    for process in started:
        process.start()
    said = dict(answers.get() for _ in started)
    for process in started:
        process.join(30)
    return said


@pytest.fixture
def store() -> TCPStore:
    """That of a launcher, which outlives the processes."""
    return TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)


def test_processes_meet_again_and_again_in_one_store_and_in_other_numbers(store: TCPStore) -> None:
    for number in (2, 1, 3):
        assert met(store, range(number), number) == dict.fromkeys(range(number), "met")


def test_the_mark_of_an_attempt_whose_processes_died_is_not_taken(store: TCPStore) -> None:
    store.set(meeting.MARK, "pipeline/old")
    for rank in (0, 1):
        store.set(f"pipeline/old/{rank}", json.dumps({"host": "gone", "local": rank, "alike": 2, "address": "", "token": "x"}))
    store.set("pipeline/old/all", "{}")
    assert "process 0 did not answer" in met(store, range(1, 2), 2, timeout=5)[1]
    assert met(store, range(2), 2) == {0: "met", 1: "met"}


def test_all_that_came_say_who_did_not(store: TCPStore) -> None:
    said = met(store, range(2), 4, timeout=5)
    assert set(said) == {0, 1}
    assert all("processes 2 to 3 did not arrive; start the same command again" in text for text in said.values()), said
