"""Whatever ends ``make train`` and ``make all``: one message, the last thing of the program, its status, nothing half-made."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch

from tests.faults.endings import CASES, ENDINGS, PAGE, Ending, checkout, see
from tests.support.launching import ROOT, begin, end, run, succeed, wait_until

MOUNTS = "NOT TESTED: a disk that is full needs root and the right to mount"
MADE = re.compile(
    r"""\.venv.*|Makefile|configs|launch|pipeline|requirements\.lock|disk|disk/prepared
    |prepared|prepared/[^/]*(/[^/]*\.(json|png|safetensors))?|prepared/\.[^/]*|run(/.*)?|runs|disk/run(/.*)?|[^/]*checksums[^/]*""",
    re.VERBOSE,
)


def cases(*, slow: bool) -> list[object]:
    """Those that start a launcher, or go through all, take their time."""
    return [
        pytest.param(*case, id=f"{case[0].what}, make {case[1]}, {case[2]}")
        for case in CASES
        if slow is (case[0].launches and case[1:] != ("train", 1))
    ]


def assert_ends(ending: Ending, target: str, processes: int, folder: Path) -> None:
    try:
        seen = see(ending, target, processes, checkout(folder))
    except OSError:
        pytest.skip(MOUNTS)
    output = "\n".join(seen.lines)
    assert (seen.status, seen.target) == (ending.status, target if target == "train" else seen.target), output
    assert re.fullmatch(ending.last, seen.lines[-1]), output
    assert "Traceback" not in output and "make" not in seen.lines[-1] and output.count("error:") <= 1, output
    assert (seen.of_make == 2) is not bool(ending.signal), "make has one status for all failures, and dies of a signal"
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert not [name for name in left if "tmp" in Path(name).name or not MADE.fullmatch(name)], left
    made = folder / "run"
    assert not made.exists() or (made / "config.yaml").exists(), left
    assert ending.signal or ending.status == 3 or not made.exists(), left


@pytest.mark.parametrize(("ending", "target", "processes"), cases(slow=False))
def test_the_message_is_the_last_thing_on_the_screen(ending: Ending, target: str, processes: int, tmp_path: Path) -> None:
    assert_ends(ending, target, processes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "target", "processes"), cases(slow=True))
def test_it_is_so_too_of_several_processes_and_of_all(ending: Ending, target: str, processes: int, tmp_path: Path) -> None:
    assert_ends(ending, target, processes, tmp_path)


def test_the_page_shows_the_last_line_of_each_ending() -> None:
    for ending in ENDINGS:
        shown = re.findall(rf"^\| {re.escape(ending.what)} \| `(.*)` \| {ending.status} \|$", PAGE.text, re.MULTILINE)
        assert shown, ending.what
        for line in shown:
            assert re.fullmatch(ending.last, line) or line.endswith("..."), "python -m tests.faults.endings writes it anew"


TRAIN = ("-m", "pipeline", "train", "--config", str(ROOT / "configs/smoke.yaml"), "run.dir=run", "train.epochs=1")


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_ctrl_c_while_the_program_is_loading_is_one_line(tmp_path: Path, library: str, processes: int) -> None:
    job = begin([sys.executable, *TRAIN, "--processes", str(processes)], tmp_path)

    def loading() -> bool:
        children = [] if processes == 1 else Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        asked = [str(job.pid)] if processes == 1 else children
        return len(asked) == processes and all(f"/{library}/" in Path(f"/proc/{pid}/maps").read_text() for pid in asked)

    wait_until(loading, f"{library} to be loaded")
    os.killpg(job.pid, signal.SIGINT)
    status, output = end(job)
    assert (status, output) == (143, "stopped by SIGINT before the first step; nothing is lost\n")


LEFT = ({"RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "0"}, {"WORLD_SIZE": "1"}, {"MASTER_PORT": "1"})


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("variables", LEFT, ids=str)
def test_a_variable_that_a_launcher_left_behind_is_no_wish_for_a_gpu(tmp_path: Path, variables: dict[str, str]) -> None:
    said = succeed(*TRAIN[2:], cwd=tmp_path, **variables)
    assert "1 process on cpu" in said and "finished at step 14" in said, said
    assert "accuracy" in succeed("evaluate", "--run", "run", cwd=tmp_path, **variables)


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "0", "WORLD_SIZE": "2"}], ids=str)
def test_variables_that_speak_of_others_and_not_where_they_are_are_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    status, said = run(*TRAIN[2:], cwd=tmp_path, **variables)
    assert status == 2 and said.startswith("error: the environment says ") and said.endswith(f"unset {' '.join(variables)}\n")
    assert "MASTER_ADDR and MASTER_PORT" in said and not [*tmp_path.glob("[!.]*")], said


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--nproc-per-node", "1"), ("--standalone",)], ids=" ".join)
def test_a_plain_torchrun_trains_on_the_cpu(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, output = end(begin([sys.executable, "-m", "torch.distributed.run", *words, *TRAIN], tmp_path))
    assert status == 0 and "1 process on cpu" in output, output
