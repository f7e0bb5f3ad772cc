"""The program that measures prepare and predict beside the libraries under them: its rows say what they say."""

from __future__ import annotations

import re

import pytest

from tests.benchmarks import beside


def test_a_row_has_the_ratio_of_all_and_of_what_comes_on_top_of_the_start() -> None:
    said = beside.row("a", {"ours": 5.0, "theirs": 0.25}, {"ours": 8.0, "theirs": 1.25})
    assert said == "| a | 5.00, 8.00 | 0.25, 1.25 | 6.4 | 3.0 |"


@pytest.mark.slow  # it trains and exports
@pytest.mark.parametrize("only", ["(.parquet, wide", "predict"])
def test_both_sides_of_a_row_run(only: str, capsys: pytest.CaptureFixture[str]) -> None:
    beside.main(["--turns", "1", "--share", "0.01", "--only", only])
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"\| pre.*( \| \d+\.\d\d, \d+\.\d\d){2} \| \d+\.\d \| (-|-?\d+\.\d) \|", last)
