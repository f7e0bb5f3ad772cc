"""The program on GPUs as far as a stand-in for CUDA can tell: no device is mixed up, and no call is illegal."""

from __future__ import annotations

import json

import pytest

from tests.gpu import cases
from tests.gpu.rehearse import rehearsed


@pytest.mark.parametrize("processes", [1, 2])
def test_each_step_launches_copies_and_waits_as_often_as_is_pinned(processes: int) -> None:
    pins = json.loads(cases.PINS.read_text())[str(processes)]
    now = cases.measure(processes)
    other = [
        f"{name}: {key} {pins.get(name, {}).get(key)}, now {found}"
        for name, step in now.items()
        for key, found in step.items()
        if pins.get(name, {}).get(key) != found
    ]
    assert not other, "\n".join(["if it should be so: python -m tests.gpu.cases --write", *other])
    assert {name: step["illegal"] for name, step in now.items() if step["illegal"]} == {}


def test_no_step_between_two_that_are_logged_waits_and_what_comes_from_the_host_comes_from_pinned_memory() -> None:
    pins = json.loads(cases.PINS.read_text())
    steps = {f"{number} {name}": step for number, found in pins.items() for name, step in found.items()}
    assert {name: step["waits"] for name, step in steps.items() if step["waits"]} == {}
    copies = {name: [copy for copy in step["copies"] if "D2D" not in copy] for name, step in steps.items()}
    assert {copy for named in copies.values() for copy in named} == {"memcpy H2D pinned async"}


def test_the_page_on_gpus_has_the_table_of_what_is_pinned() -> None:
    assert cases.table(json.loads(cases.PINS.read_text())) in cases.PAGE.read_text(), "python -m tests.gpu.cases --write"


def test_a_run_of_two_processes_trains_over_nccl() -> None:
    run = rehearsed("train", processes=2)
    assert run["collectives"]["ncclAllReduce"] > 0 and run["graphs"] > 0  # graphs hold those of their steps
    assert run["illegal"] == {}


def test_each_command_does_on_a_gpu_what_it_says() -> None:
    said = rehearsed("commands")
    assert said["illegal"] == {}
    assert {"metrics.jsonl", "eval/metrics.json", "export/model.safetensors", "export/model.onnx"} <= set(said["files"])


@pytest.mark.parametrize("new", ["1", "0"])  # torch 2.15's NCCL, and that of before
def test_a_peer_that_nccl_has_lost_ends_in_one_message_with_what_to_type(new: str) -> None:
    said = rehearsed("peer", FAIL="1", TORCH_DIST_USE_NCCL2=new)
    assert said["raised"] == "LostContactError"
    assert "the same command goes on from the last checkpoint" in said["text"]


@pytest.mark.parametrize("new", ["1", "0"])
def test_a_peer_that_hangs_is_lost_after_the_limit_though_the_stream_never_ends(new: str) -> None:
    said = rehearsed("peer", "run.timeout=10", TORCH_DIST_USE_NCCL2=new)
    assert said["raised"] == "LostContactError" and "has waited 10 s for NCCL" in said["text"]


def test_a_checkpoint_waits_once_for_each_of_its_files_and_an_evaluation_once() -> None:
    """A copy for each tensor was 42 waits, and the digest of all weights as many as there are."""
    found = rehearsed("kept", "train.ema=0.9", "data.validation=600")
    waits = {name: sum(found[name]["waits"].values()) for name in ("snapshot", "digest", "evaluation")}
    assert waits == {"snapshot": 3, "digest": 1, "evaluation": 1}
    assert not [name for name in (*found["snapshot"]["copies"], *found["digest"]["copies"]) if "PAGEABLE" in name]
    assert not found["snapshot"]["launches"], "nothing is joined on the GPU, which may be full"
    assert found["examples"] == 600 and found["evaluation"]["launches"] <= 30, "one block, of up to 4,096 examples"
