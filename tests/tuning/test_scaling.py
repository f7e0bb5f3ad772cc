"""What a plan says of more processes than there are."""

from __future__ import annotations

import pytest

from pipeline.tuning import scaling
from pipeline.tuning.scaling import LINKS, Link, Predicted

LINK = Link(1e-5, 1e9, "given")


def test_a_link_is_found_again_from_the_times_that_it_gives() -> None:
    times = [(size, scaling.exchange(LINK, size, 2)) for size in (4, 25 * 2**20)]
    found = scaling.measured_link(times[0], times[1])
    assert found.latency == pytest.approx(LINK.latency, rel=1e-3) and found.rate == pytest.approx(LINK.rate, rel=1e-3)


def test_one_process_exchanges_nothing_and_more_never_less_than_fewer() -> None:
    times = [scaling.exchange(LINK, 10**6, 2**power) for power in range(11)]
    assert times[0] == 0 and times == sorted(times)
    assert times[-1] < 2 * (10**6 / LINK.rate + 10 * LINK.latency) * 1.001  # all of it twice, and up and down a tree


def test_a_share_that_was_not_measured_lies_between_its_neighbours_and_none_is_below_zero() -> None:
    measured = {16: 1.0, 32: 1.5, 64: 2.5}
    assert scaling.compute(measured, 32) == 1.5
    assert scaling.compute(measured, 48) == pytest.approx(2.0)
    assert scaling.compute(measured, 8) == pytest.approx(0.75)
    assert scaling.compute(measured, 128) == pytest.approx(4.5)
    assert scaling.compute({16: 1.0, 32: 3.0}, 1) > 0 and scaling.compute({64: 1.0}, 32) == 0.5


def test_fewer_examples_that_took_longer_were_disturbed() -> None:
    assert scaling.steady({64: 2.0, 32: 3.0, 16: 1.0}) == {64: 2.0, 32: 2.0, 16: 1.0}


def test_more_processes_stop_paying_where_twice_as_many_bring_less_than_five_percent() -> None:
    steps = [Predicted(1, 8.0, 0), Predicted(2, 4.0, 1.0), Predicted(4, 2.0, 2.9), Predicted(8, 1.0, 4.0)]
    assert scaling.stops_paying(steps) == 2
    assert scaling.stops_paying(steps[:2]) == 2 and scaling.stops_paying(steps[:1]) == 1


def test_a_faster_link_never_makes_a_step_longer() -> None:
    steps = [
        scaling.predicted({64: 1e-3, 32: 6e-4}, 64, 4 * 10**6, LINKS[name], 2).step for name in ("25Gb", "400Gb", "nvlink")
    ]
    assert steps == sorted(steps, reverse=True)


def test_the_shares_to_measure_are_those_of_processes_that_double() -> None:
    assert scaling.shares(64) == [64, 32, 16, 8, 4, 2, 1] and scaling.shares(12) == [12, 6, 3]
