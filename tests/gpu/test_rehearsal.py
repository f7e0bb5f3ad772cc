"""The program on GPUs as far as a stand-in for CUDA can tell: no device is mixed up, and no call is illegal."""

from __future__ import annotations

from tests.gpu.rehearse import rehearsed


def test_a_step_runs_on_a_gpu_and_its_launches_are_counted() -> None:
    step = rehearsed("steps")
    assert step["launches"] > 10
    assert step["illegal"] == {}


def test_a_run_of_two_processes_trains_over_nccl() -> None:
    run = rehearsed("train", processes=2)
    assert run["collectives"]["ncclAllReduce"] > 42
    assert run["illegal"] == {}


def test_a_step_is_captured_as_one_graph_without_an_illegal_call() -> None:
    step = rehearsed("graph")
    assert (step["graphs"], step["illegal"]) == (1, {})
    assert len(step["captured"]) == 1
