"""The program that measures growth: its exponents are right, what it measures is a process, and it ends in time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.benchmarks import scale
from tests.benchmarks.scale_cases import CASES, PARTS, Case


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_what_comes_on_top_of_the_smallest_size(power: float) -> None:
    sizes = [1_000, 100_000, 1_000_000]
    assert scale.exponent(sizes, [3 + 20 * (size / 1e6) ** power for size in sizes]) == pytest.approx(power, abs=0.03)


def test_what_hardly_grows_is_flat_and_two_sizes_say_nothing() -> None:
    assert scale.exponent([1, 10, 100], [3.0, 3.1, 3.2]) is None
    assert scale.exponent([1, 10], [3.0, 30.0]) is None


def test_a_process_is_measured_with_its_children_and_ended_at_its_limit(tmp_path: Path) -> None:
    burn = "import time\nheld = bytearray(b'x') * (80 * 2**20)\nwhile time.process_time() < {}: pass"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn.format(0.5)!r}], check=True)"
    cost = scale.measured([sys.executable, "-c", outer], tmp_path, 7, most=60)
    assert cost.size == 7 and cost.seconds >= 0.5 and cost.memory > 80 * 2**20
    with pytest.raises(CalledProcessError) as caught:
        scale.measured([sys.executable, "-c", burn.format(1e9)], tmp_path, 7, most=1)
    assert caught.value.returncode in scale.ENDED


def test_a_stage_that_fails_ends_its_row_and_those_that_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("nothing", "a thing", (1, 2), lambda folder, size: "data: {source: npz, path: none.npz}", ("prepare", "train"))
    prepare, train = scale.rows_of(case, 20)
    assert (prepare.costs, prepare.ended, train.costs, train.ended) == ([], "1: failed", [], "")
    assert "none.npz" in capsys.readouterr().err


def test_it_prints_a_table_and_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (kept,) = (case for case in CASES if case.dimension == "kept checkpoints")
    monkeypatch.setattr(scale, "CASES", [Case(kept.dimension, kept.unit, (1, 5), kept.write, kept.stages)])
    scale.main(["--only", "kept", "--json", str(tmp_path / "scale.json")])
    shown = capsys.readouterr().out
    assert "| save | kept checkpoints | 1, 5 |" in shown and "cores" in shown
    (row,) = json.loads((tmp_path / "scale.json").read_text())["rows"]
    assert [cost["size"] for cost in row["costs"]] == [1, 5] and row["exponent"] is None
    with pytest.raises(SystemExit):
        scale.main(["--only", "no such dimension"])


def test_every_stage_of_a_case_can_be_run() -> None:
    for case in CASES:
        assert set(case.stages) <= {*scale.COMMANDS, *PARTS} and list(case.sizes) == sorted(case.sizes) and len(case.sizes) > 2


@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs_on_what_its_case_writes(part: str, tmp_path: Path) -> None:
    (case,) = (case for case in CASES if part in case.stages)
    case.write(tmp_path, 9)
    assert scale.measured(scale.command_of(part, tmp_path, 9), tmp_path, 9, 60).seconds > 0
