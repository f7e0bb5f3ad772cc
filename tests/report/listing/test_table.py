"""A list of runs says in what they differ, puts first what was asked for, and is no wider than the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.listing import differing, facts, found, table
from pipeline.report.listing.facts import Run
from tests.report.listing.folders import make


def runs_of(root: Path) -> list[Run]:
    return facts.all_of(list(found.within(root)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs of one task, one of them with two seeds in it, and one of another task."""
    make(tmp_path / "slow", "optim.lr=0.001", values=(0.2, 0.3), test=0.4)
    make(tmp_path / "fast", "optim.lr=0.1", values=(0.8, 0.9), test=0.9)
    make(tmp_path / "many", "optim.lr=0.01", values=(), test=None)
    for number in (1, 2):
        make(tmp_path / f"many/seed-{number}", "optim.lr=0.01", f"run.seed={number}")
    make(tmp_path / "other", "data.source=mnist", "model.cell=gru", test=None)
    return tmp_path


def test_what_differs_is_told_within_one_task_and_against_the_run_that_holds_it(root: Path) -> None:
    found = {folder.name: values for folder, values in differing.of_each(runs_of(root)).items()}
    assert {name: found[name] for name in ("slow", "fast", "many")} == {
        "slow": {"optim.lr": 0.001},
        "fast": {"optim.lr": 0.1},
        "many": {"optim.lr": 0.01},
    }
    assert found["seed-1"] == {"run.seed": 1} and found["other"] == {}
    assert (
        differing.text({"optim.lr": 0.1, "run.seed": 1, "model.bidirectional": True}) == "lr=0.1 run.seed=1 bidirectional=true"
    )


def test_where_things_lie_is_no_difference(tmp_path: Path) -> None:
    make(tmp_path / "a", "track.backends=[]")
    make(tmp_path / "b", "track.backends=[wandb]", "export.formats=[onnx]", "data.prepared=elsewhere")
    assert differing.of_each(runs_of(tmp_path)) == {tmp_path / "a": {}, tmp_path / "b": {}}


@pytest.mark.parametrize(
    ("by", "first"), [("valid", "fast"), ("test", "fast"), ("name", "fast"), ("time", "other"), ("size", "many")]
)
def test_runs_are_sorted_by_what_was_asked_for_and_seeds_follow_their_run(root: Path, by: table.Sort, first: str) -> None:
    names = [run.folder.name for run in table.ordered(runs_of(root), by) if by != "time" or run.above is None]
    assert names[0] == first
    if by == "valid":
        assert names == ["fast", "slow", "many", "seed-1", "seed-2", "other"]


def test_a_smaller_loss_comes_first(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", 0.25)):
        folder = make(tmp_path / name, "train.monitor=valid/loss", values=(1.0,))
        text = (folder / "metrics.jsonl").read_text().replace('"valid/loss": 1.0', f'"valid/loss": {value}')
        (folder / "metrics.jsonl").write_text(text)
    assert [run.folder.name for run in table.ordered(runs_of(tmp_path), "valid")] == ["b", "a"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200, None])
def test_no_line_is_wider_than_the_terminal_and_the_test_metric_stays_longest(root: Path, width: int | None) -> None:
    lines = table.lines(runs_of(root), root, width)
    assert max(map(len, lines)) <= (width or 10**6)
    text = "\n".join(lines)
    if width is None or width >= 40:
        assert "fast" in text and "done" in text and "0.9000" in text
    if width is None or width >= 100:
        assert "lr=0.001" in text and "valid accuracy" in lines[0] and "changed" in lines[0]


def test_numbers_are_short() -> None:
    assert [table.size(count) for count in (0, 999, 1000, 12_345, 10**6, 3.2e9, 5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12 kB",
        "1.0 MB",
        "3.2 GB",
        "5.0 TB",
    ]
    assert [table.seconds(count) for count in (0.5, 59.4, 61, 3600, 7265, 90_000)] == [
        "0.5 s",
        "59 s",
        "1 min 1 s",
        "1 h",
        "2 h 1 min",
        "1 d 1 h",
    ]


def test_a_hostile_name_stays_on_its_line(tmp_path: Path) -> None:
    make(tmp_path / "a").rename(tmp_path / "a\n\x1b[31m<script>")
    assert len(table.lines(runs_of(tmp_path), tmp_path, None)) == 2
