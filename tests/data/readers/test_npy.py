"""A .npy file is one array: it is refused with a command that makes a file which is read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.stages.advice.init import init
from tests.support.series_files import only


@pytest.mark.parametrize(
    ("values", "labels"), [("X.npy", "y.npy"), ("X_train.npy", "y_train.npy"), ("data.npy", "labels.npy"), ("a.npy", "")]
)
def test_an_array_alone_is_refused_with_what_makes_a_file_that_is_read(tmp_path: Path, values: str, labels: str) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / values, random.normal(size=(12, 5, 2)))
    np.save(tmp_path / (labels or "y.npy"), np.arange(12) % 2)
    with pytest.raises(DataError) as caught:
        only("npz", tmp_path / values)
    (command,) = re.findall(r'type: (python -c ".*"); then use', str(caught.value))
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True)
    got = only("npz", (tmp_path / values).with_suffix(".npz"))
    assert len(got) == 12 and got.labels == ("0", "1") * 6
    with pytest.raises(DataError, match="savez"):
        init(tmp_path / values, None, tmp_path / "own.yaml")
    with pytest.raises(DataError, match=r"X=n\.load") as caught:
        only("npz", tmp_path / values, labelled=False)
    assert "y=" not in str(caught.value)


def test_a_folder_of_arrays_is_refused_with_what_to_type(tmp_path: Path) -> None:
    for name in ("X.npy", "y.npy"):
        np.save(tmp_path / name, np.zeros(3))
    with pytest.raises(DataError, match=r"X=n.load\('.*X.npy'\), y=n.load\('.*y.npy'\)"):
        init(tmp_path, None, tmp_path / "own.yaml")
