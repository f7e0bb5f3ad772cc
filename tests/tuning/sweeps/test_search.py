"""What search.py promises: the trials lie in the folder of the sweep, whatever it is called."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.tuning.sweeps.search import Search
from pipeline.tuning.sweeps.shape import Sweep

SWEEP = Sweep.model_validate(
    {
        "method": "grid",
        "metric": {"name": "valid/accuracy", "goal": "maximize"},
        "parameters": {"optim.lr": {"values": [0.1, 0.2]}},
    }
)


@pytest.mark.parametrize("name", ["plain", "a?b", "a%20b", "a#b", "a?mode=memory", "Ärger ü", "@:"])
def test_the_trials_lie_in_the_folder_of_the_sweep_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with ExitStack() as stack:
        trial = Search(folder, SWEEP, 2).take(stack)
        assert trial is not None and trial.values == {"optim.lr": 0.1}
        trial.end("finished", 0.5, 1.0)
    assert sorted(path.name for path in folder.iterdir()) == ["locks", "study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [row.metric for row in Search(folder, SWEEP, 2).rows()] == [0.5]
