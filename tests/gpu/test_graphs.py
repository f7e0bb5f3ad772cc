"""A training step on GPUs is one launch: the host copies nothing and waits for nothing between two steps that are logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.cases import series
from tests.gpu.rehearse import rehearsed

GRAPHED: dict[str, tuple[str, ...]] = {
    "fp32": (),
    "bf16": ("train.precision=bf16",),
    "fp16": ("train.precision=fp16",),
    "exact mode and averages": ("train.gradient_shards=8", "train.ema=0.9"),
    "batch normalisation": ("model.conv=16", "model.conv_norm=batch"),
    "accumulated and augmented": ("train.accumulate=4", "data.shift=1", "data.rotate=10", "data.elastic=1"),
}
TWO = ("fp32", "batch normalisation", "exact mode and averages")  # of two processes too


@pytest.mark.parametrize(("processes", "case"), [*((1, case) for case in GRAPHED), *((2, case) for case in TWO)])
def test_a_step_is_one_launch(processes: int, case: str) -> None:
    step = rehearsed("steps", *GRAPHED[case], processes=processes)
    assert (step["graphs"], step["launches"], step["fills"], step["copies"], step["waits"]) == (1, 1, 0, {}, {})
    assert (step["weight_calls"], step["illegal"], len(step["captured"])) == (0, {}, 1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_dropout_fills_in_its_seed_besides(precision: str) -> None:
    step = rehearsed("steps", "model.layers=2", "model.dropout=0.2", "train.ema=0.9", f"train.precision={precision}")
    assert (step["graphs"], step["launches"], step["copies"], step["illegal"]) == (1, 3, {}, {})


def test_two_directions_are_computed_side_by_side() -> None:
    ways = rehearsed("directions")
    assert ways["in turn"]["crossings"] == 0 < ways["side by side"]["crossings"]
    assert ways["in turn"]["launches"] == ways["side by side"]["launches"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_data_beyond_the_limit_is_copied_from_pinned_memory(precision: str) -> None:
    step = rehearsed("steps", "data.resident_limit_mb=0", f"train.precision={precision}")
    assert (step["graphs"], step["launches"], step["waits"], step["illegal"]) == (1, 1, {}, {})
    assert set(step["copies"]) == {"memcpy H2D pinned async"}


def test_by_default_half_of_what_the_fullest_gpu_has_free_holds_data() -> None:
    said = rehearsed("limits", processes=2, STUB_FREE_MB="1000")
    assert said["limits"] == [500, 500]
    assert {name: resident for name, (resident, _) in said["held"].items()} == {"train": True, "valid": True, "test": True}
    assert rehearsed("limits", "data.resident_limit_mb=7", STUB_FREE_MB="1000")["limits"] == [7]


def test_by_default_the_splits_share_that_half_the_training_split_first() -> None:
    said = rehearsed("limits", STUB_FREE_MB="2")  # 1 MB, into which each of the splits fits
    assert said["limits"] == [1] and max(size for _, size in said["held"].values()) < 2**20
    assert {name: resident for name, (resident, _) in said["held"].items()} == {"train": True, "valid": False, "test": False}


def test_series_of_unequal_lengths_take_a_graph_a_length(tmp_path: Path) -> None:
    path = series(tmp_path / "series.csv")
    data = ("data.source=csv", f"data.path={path}", f"data.prepared={tmp_path}/prepared", "train.batch=16")
    step = rehearsed("steps", *data, "train.bucket=true", "data.jitter=0.1", "data.time_warp=0.1")
    assert (step["graphs"], step["launches"], step["copies"], step["waits"], step["illegal"]) == (1, 1, {}, {}, {})


def test_if_one_process_cannot_capture_all_go_on_kernel_by_kernel_and_it_is_said_why() -> None:
    step = rehearsed("refused", processes=2)
    assert step["graphs"] == 0 < step["collectives"]["ncclAllReduce"]
    (said,) = step["said"]
    assert "process 1 could not capture a CUDA graph (" in said
