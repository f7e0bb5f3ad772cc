"""A configuration and numbers of processes -> hours, as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.stages.terminal import machine_answers
from tests.support.launching import ROOT, run, succeed

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    return folder


def test_a_plan_predicts_what_it_compares_with_and_draws_it(folder: Path) -> None:
    words = ("--processes", "1,2,16", "--link", "25Gb", "--picture", "plan.png", "--json")
    output = succeed("plan", *SMOKE, *words, cwd=folder)
    found = json.loads(output[output.index("{\n") : output.rindex("\n}") + 2])
    assert list(found) == list(machine_answers.Planned.model_fields)
    one, two, many = found["processes"]
    assert (one["exchange_share"], one["efficiency"]) == (0, 1) and 0 < two["exchange_share"] < many["exchange_share"] < 1
    assert one["memory"] >= two["memory"] >= many["memory"] > 0
    assert two["measured_seconds"] > 0 and found["largest_error"] >= 0 and "2 processes take" in output
    for each in found["processes"]:
        assert each["hours"] == pytest.approx(found["steps"] * each["step_seconds"] / 3600)
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "runs").exists()


def test_a_number_that_the_batch_cannot_be_cut_for_is_refused_before_anything_is_measured(folder: Path) -> None:
    for words, said in ((("--processes", "1,7"), "cannot be cut"), (("--processes", "two"), "expected numbers of processes")):
        status, output = run("plan", *SMOKE, *words, cwd=folder)
        assert status == 2 and said in output and "compared here" not in output
