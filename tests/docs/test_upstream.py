"""The programs of docs/upstream.md show the faults that they report: an upgrade that mends one fails here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Page
from tests.gpu.rehearse import under
from tests.gpu.stand_in.build import stand_in
from tests.support.launching import environment, free_port

BLOCKS = Page("docs/upstream.md").blocks


def said_by(program: str, folder: Path, **more: str) -> str:
    """What a program says above the stand-in for CUDA."""
    # before Python 3.14 the interpreter ends by force a thread that comes back from a backward pass to it: give it time
    (folder / "program.py").write_text(f"{program}\nimport time\ntime.sleep(1)\n")
    variables = under(stand_in(), **more)
    done = subprocess.run([sys.executable, folder / "program.py"], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_library_calls_are_as_many_as_is_said(tmp_path: Path) -> None:
    (counter,) = (text for kind, text in BLOCKS if kind == "c")
    (tmp_path / "count.c").write_text(counter)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", tmp_path / "count.so", tmp_path / "count.c", "-ldl"], check=True, timeout=60
    )
    step = next(text for kind, text in BLOCKS if kind == "python" and "step.py" in text)
    libraries = f"{tmp_path / 'count.so'} {stand_in() / 'libstandin.so'}"
    assert "17640 calls" in said_by(step, tmp_path, LD_PRELOAD=libraries)


def test_autocast_gives_what_is_said(tmp_path: Path) -> None:
    autocast = next(text for kind, text in BLOCKS if kind == "python" and "torch.autocast" in text)
    assert said_by(autocast, tmp_path).split()[-2:] == ["torch.bfloat16", "torch.float16"]


@pytest.mark.slow
def test_a_second_attempt_reads_what_the_first_one_left(tmp_path: Path) -> None:
    stale = next(text for kind, text in BLOCKS if kind == "python" and "stale.py" in text)
    (tmp_path / "stale.py").write_text(stale)
    options = ["--nproc_per_node", "2", "--max_restarts", "1", "--rdzv_backend", "c10d"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *options,
        "--rdzv_endpoint",
        f"127.0.0.1:{free_port()}",
        "stale.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.stdout.count("finds what the first one left: True") == 2, done.stdout + done.stderr
