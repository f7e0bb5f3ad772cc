"""``doctor`` on GPUs, as far as a stand-in can tell: each check comes to its end, and one that finds nothing sound says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.gpu.rehearse import rehearsed, under
from tests.gpu.stand_in.build import stand_in


def test_each_check_of_a_gpu_comes_to_its_end() -> None:
    said = rehearsed("doctor")
    statuses = {name: one["status"] for name, one in said["checks"].items()}
    assert said["illegal"] == {}
    assert {name for name, status in statuses.items() if status in ("fail", "error")} == set()
    assert {name for name, status in statuses.items() if status == "not here"} == {"links"}
    graph = said["checks"]["graph_fp32"]["values"]
    assert graph["captured"] and said["checks"]["gpus"]["values"]["gpus"][0]["name"] == "Stub H100"
    step = said["checks"]["step_64"]["values"]
    assert {"graph_us", "eager_us", "cudnn_us", "layers", "hand_us", "hand_graph_us", "floor_us"} <= step.keys()


def test_two_processes_with_a_gpu_each_compare_themselves_over_nccl() -> None:
    said = rehearsed("doctor", processes=2)
    assert said["illegal"] == {}
    assert {one["status"] for one in said["checks"].values()} == {"told", "pass"}
    assert said["checks"]["all_reduce"]["values"]["25 MB"]["bus_gb_per_s"] > 0


def test_a_gpu_that_computes_nothing_keeps_no_promise_and_each_is_said(tmp_path: Path) -> None:
    names = ["dtype_fp16", "graph_fp32", "resumed", "exact_1", "locks"]
    command = [sys.executable, "-m", "pipeline", "doctor", "--json", *(word for name in names for word in ("--only", name))]
    done = subprocess.run(command, env=under(stand_in()), cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["failed"] == names[:-1]
