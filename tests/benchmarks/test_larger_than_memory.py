"""The measuring program measures what it says, and preparing holds a block in memory, not the data."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Data
from pipeline.data import clean, series
from pipeline.data.preparation import series_parts, series_split, spool
from pipeline.data.preparation.moments import Moments
from pipeline.data.readers import formats
from pipeline.data.series import Columns
from tests.benchmarks import larger_than_memory


def test_the_series_that_it_writes_are_of_the_size_asked_for_and_of_unequal_lengths(tmp_path: Path) -> None:
    count = larger_than_memory.write(tmp_path / "series.npz", 0.01)
    assert (tmp_path / "series.npz").stat().st_size == pytest.approx(0.01 * 2**30, rel=0.05)
    blocks = list(formats.read("npz", tmp_path / "series.npz", Columns(id="", time="")))
    assert sum(map(len, blocks)) == count
    assert len({int(length) for block in blocks for length in block.lengths}) > 100


def test_anonymous_memory_is_that_of_all_processes_below_and_leaves_out_mapped_files(tmp_path: Path) -> None:
    program = """
import mmap, subprocess, sys
held = bytearray(b"x") * (40 * 2**20)
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    sum(mapped[::4096])
    if sys.argv[2] == "outer":
        subprocess.run([sys.executable, "-c", sys.argv[3], sys.argv[1], "inner", ""], stdin=sys.stdin)
    else:
        print("ready", flush=True)
        sys.stdin.read()
"""
    (tmp_path / "large").write_bytes(bytes(60 * 2**20))
    command = [sys.executable, "-c", program, str(tmp_path / "large"), "outer", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout and job.stdout.readline() == "ready\n"
        assert 80 * 2**20 < larger_than_memory.anonymous(job.pid) < 120 * 2**20
    assert larger_than_memory.anonymous(os.getpid()) > 0


def test_preparing_holds_a_few_blocks_and_never_all_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "BLOCK", 2**18)
    lengths = np.full(64, 100)
    offsets = series.offsets_of(lengths)

    def blocks() -> Iterator[series.Series]:
        """40 MB in blocks of 205 kB."""
        for number in range(200):
            values = np.full((6400, 8), number, np.float32)
            words = ("a", "b") * 32
            rows = np.arange(64) + 64 * number
            yield series.Series(tmp_path, values, offsets, tuple("stuvwxyz"), words, words, None, None, "row", rows)

    tracemalloc.start()
    found = spool.spool(blocks(), tmp_path / "spool")
    rows = np.random.default_rng(0).permutation(len(found))[:10_000]
    rows.sort()
    cleaning, _ = series_parts._learn(found, rows, clean.cleaning(Data(source="npz", path="x"), found.channels))
    part = series_split.Part(found, rows, rows % 2, np.zeros(len(found), np.uint64))
    series_parts._write(tmp_path / "train", part, cleaning, Moments(8), 2, 16)
    assert series_parts._repeated(part, rows, part, cleaning)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.values.nbytes > 40e6 and len(list(tmp_path.glob("train-*.safetensors"))) == 2
    assert peak < 8e6
