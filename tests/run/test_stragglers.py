"""A process that is slower than the others for a while is named, with its host, once."""

from __future__ import annotations

from pathlib import Path

from pipeline.run.stragglers import Stragglers, spread
from tests.support.launching import ROOT, records, succeed

HOSTS = ("n0", "n0", "n1", "n1")


def said(*rows: tuple[float, ...], seconds: float = 3.0) -> list[str]:
    """What is said of records that are so many seconds apart."""
    stragglers = Stragglers(HOSTS[: len(rows[0])])
    return [line for number, row in enumerate(rows) if (line := stragglers.after(row, number * seconds))]


def test_a_process_that_is_slower_for_a_while_is_named_once_with_its_host() -> None:
    (line,) = said(*[(1.0, 1.0, 1.4, 1.1)] * 20)
    assert line.startswith("process 2 on n1 holds up the others") and "1.4 times" in line


def test_one_of_two_processes_is_named_too() -> None:
    (line,) = said(*[(0.010, 0.0136)] * 20)
    assert line.startswith("process 1 on n0 ") and "13.6 ms and 10.0 ms" in line


def test_a_moment_a_small_difference_or_another_one_each_time_is_not_named() -> None:
    assert not said(*[(1.0, 1.0, 1.29, 1.0)] * 20)
    assert not said(*[(1.0, 1.0, 2.0, 1.0), (1.0, 1.0, 1.0, 1.0)] * 20)
    assert not said(*[(2.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 2.0)] * 20)
    assert not said(*[(1.0, 1.0, 2.0, 1.0)] * 20, seconds=0.1)


def test_one_that_recovers_and_falls_behind_again_is_named_again() -> None:
    slow, well = [(1.0, 1.0, 2.0, 1.0)] * 6, [(1.0, 1.0, 1.0, 1.0)]
    assert len(said(*slow, *well, *slow)) == 2


def test_what_is_recorded_is_the_minimum_the_median_and_the_maximum() -> None:
    assert spread((3.0, 1.0, 2.0, 9.0)) == {"step_seconds_min": 1.0, "step_seconds_median": 2.0, "step_seconds_max": 9.0}


def test_several_processes_record_the_times_of_their_steps_and_one_does_not(tmp_path: Path) -> None:
    for mode, processes in (("shards", 0), ("shards", 2), ("plain", 2)):
        shards = {"shards": 4, "plain": 0}[mode]
        smoke = ("--config", str(ROOT / "configs/smoke.yaml"), f"run.dir={mode}{processes}", f"train.gradient_shards={shards}")
        succeed("train", *smoke, "train.log_every=5", cwd=tmp_path, processes=processes)
        for record in (record for record in records(tmp_path / f"{mode}{processes}") if "train/loss" in record):
            times = [record.get(f"train/step_seconds_{name}") for name in ("min", "median", "max")]
            assert 0 < times[0] <= times[1] <= times[2] < 10 if processes else times == [None] * 3  # type: ignore[operator]
