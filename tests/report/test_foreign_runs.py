"""A run that somebody sent is shown, or what is wrong with it is said: whatever its files hold, and whatever they are."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import UserError, short
from pipeline.report.compare import groups, page, verdicts
from pipeline.stages.views.report import report
from pipeline.stages.views.runs import runs
from tests.report.compare.runs import evaluated, hits
from tests.report.conftest import HOSTILE
from tests.report.page.test_writing import Elements

HANGS = 60  # seconds of the clock after which a test that waits for a pipe ends
MEASURED = {"split": "test", "step": 20, "count": 10, "loss": 0.5, "accuracy": 0.5}
MEASURED |= {"per_class": {"a": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 5}}}
ROWS = "index,label,prediction,probability\n"
CONTENTS = [
    *(("environment.json", text) for text in ('{"packages": ["a"]}', '{"gpus": {"a": 1}}', '{"gpus": [{}]}', "[" * 10**5)),
    *(("environment.json", text) for text in ('{"earlier": [{"started": [5]}]}', '{"packages": {"a": {"b": 1}}}')),
    *(
        ("eval/metrics.json", json.dumps(MEASURED | changed))
        for changed in (
            {"count": 0},
            {"count": -5},
            {"accuracy": float("nan")},
            {"accuracy": 1e300},
            {"loss": float("inf")},
            {"accuracy_low": float("nan"), "accuracy_high": 1.0},
            {"step": 10**400},
            {"count": 10**400},
            {"per_class": {}},
        )
    ),
    *(
        ("eval/predictions.csv", ROWS + row)
        for row in (f"{10**30},a,a,0.5\n", "0,a,a,nan\n", "0,a,a,1e999\n", "0,a,a,-3\n", "0,a,a,7\n", "-1,a,a,0.5\n", "")
    ),
    ("eval/predictions.csv", "index," + "a" * 2**21),
    *(
        ("metrics.jsonl", json.dumps({"step": 1, "epoch": 1.0, "train/loss": 1.0, "valid/accuracy": 0.5} | changed) + "\n")
        for changed in ({"step": 10**400}, {"epoch": 5e-324}, {"epoch": 10**400}, {"train/loss": 10**400})
    ),
    ("metrics.jsonl", '{"step": 1, "epoch": 1.0, "train/loss": 1e308}\n{"step": 2, "epoch": 2.0, "train/loss": -1e308}\n'),
    ("export/README.md", f"| model.onnx | 1e-6 | {'9' * 5000} |\n"),
    ("export/README.md", f"| model.onnx | {'x' * 10**6} | 3 |\n"),
]


@pytest.fixture
def ends() -> Iterator[None]:
    """A test that waits without end fails."""

    def late(*_: object) -> None:
        pytest.fail("it waits for a pipe")  # no error that a reader might take for one of the disk

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANGS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run_folder(path: Path) -> Path:
    folder = evaluated(path, hits(10, range(5)))
    (folder / "eval/metrics.json").write_text(json.dumps(MEASURED))
    (folder / "export").mkdir()
    (folder / "export/model.onnx").touch()
    return folder


def shown(folder: Path) -> None:
    """By each command that shows runs; what one of them says of it is an error of the user's, or nothing."""
    report(folder)
    assert (folder / "report.html").stat().st_size < 10**6
    runs(folder.parent, "changed", True)
    try:
        compared = groups.of(groups.named([folder, evaluated(folder.parent / "other", hits(10, range(5)), "run.seed=1")]))
        page.render(compared, verdicts.verdicts(compared), verdicts.notes(compared), "compare")
    except UserError as error:
        assert str(folder) in str(error)


@pytest.mark.parametrize(("name", "content"), CONTENTS, ids=range(len(CONTENTS)))
def test_whatever_a_file_of_a_run_holds_the_run_is_shown(tmp_path: Path, name: str, content: str) -> None:
    folder = run_folder(tmp_path / "runs/one")
    if name == "eval/predictions.csv":
        (folder / "eval/metrics.json").write_text(json.dumps(MEASURED | {"count": 1}))
    (folder / name).write_text(content)
    shown(folder)


def endless(path: Path) -> None:
    """Twenty gigabytes without an end of a line, which take no room on the disk."""
    path.touch()
    os.truncate(path, 20 * 2**30)


@pytest.mark.parametrize("made", [os.mkfifo, endless], ids=["pipe", "endless"])
@pytest.mark.parametrize(
    "name", ["environment.json", "eval/metrics.json", "eval/predictions.csv", "metrics.jsonl", "export/README.md"]
)
def test_a_file_of_a_run_without_an_end_is_not_read_to_its_end(
    tmp_path: Path, ends: None, name: str, made: Callable[[Path], None]
) -> None:
    folder = run_folder(tmp_path / "runs/one")
    (folder / name).unlink(missing_ok=True)
    made(folder / name)
    shown(folder)


def test_names_in_the_files_of_a_run_are_no_markup_of_its_report(tmp_path: Path) -> None:
    seen = []
    for number, names in enumerate([("plain", "other"), HOSTILE]):
        folder = run_folder(tmp_path / f"runs/{number}")
        one = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 5}
        measured = MEASURED | {"per_class": dict.fromkeys(names, one), "largest_class": names[0], "largest_class_accuracy": 0.5}
        (folder / "eval/metrics.json").write_text(json.dumps(measured))
        attempt = {
            "host": names[-1],
            "cpu": names[0],
            "started": names[1],
            "gpus": list(names),
            "packages": {names[0]: names[1]},
        }
        (folder / "environment.json").write_text(json.dumps(attempt))
        report(folder)
        seen.append(Elements((folder / "report.html").read_text()))
    plain, hostile = ({*page.tags} for page in seen)
    assert hostile <= plain and seen[1].tags.count("script") == 2
    assert not [name for name, _ in seen[1].attributes if name.startswith("on")]
    said = " ".join(seen[1].texts)
    assert all(short(name, 600)[:200] in said for name in HOSTILE)
