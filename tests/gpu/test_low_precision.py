"""Training in 16 bits on GPUs, rehearsed: cuDNN is asked for what train.precision says, forward and backward."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gpu import cases
from tests.gpu.rehearse import rehearsed

NUMBERS = {"fp32": "dtype=0", "fp16": "dtype=2", "bf16": "dtype=9"}  # of cudnnDataType_t
CASES = [("1", name, said) for name, said in cases.LONE.items()] + [("2", name, said) for name, said in cases.TWO.items()]


def pins() -> dict[str, Any]:
    """What test_rehearsal.py compares with what is."""
    found: dict[str, Any] = json.loads(cases.PINS.read_text())
    return found


@pytest.mark.parametrize(("processes", "name", "overrides"), CASES)
def test_recurrent_layers_are_trained_in_what_was_asked_for(processes: str, name: str, overrides: str) -> None:
    step = pins()[processes][name]
    precision = next((one for one in NUMBERS if f"train.precision={one}" in overrides), "fp32")
    assert all(NUMBERS[precision] in said for said in step["descriptors"])
    assert step["descriptors"] or step["graphs"]


@pytest.mark.parametrize(("processes", "name", "overrides"), CASES)
def test_a_step_does_not_wait_for_what_it_found(processes: str, name: str, overrides: str) -> None:
    assert not [place for place in pins()[processes][name]["waits"] if "training/" in place]


def test_weights_in_16_bits_are_taken_where_they_lie() -> None:
    """Else cuDNN's layout is searched in the forward pass of each module too, and the weights are copied together."""
    assert {pins()[one][name]["weight_calls"] for one in "12" for name in ("fp32", "bf16", "fp16")} == {2 * 1604}


def test_a_whole_run_in_bf16_passes_its_own_check_of_the_format() -> None:
    """Of steps kernel by kernel: of those that are graphs the device counts, which takes values."""
    assert rehearsed("train", "train.precision=bf16", "data.resident_limit_mb=0")["illegal"] == {}
