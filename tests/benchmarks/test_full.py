"""``make bench-full``: what is written is what was measured, and what cannot be measured is said."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

from tests.benchmarks import contenders, data, full, measure, report
from tests.benchmarks.conftest import EXAMPLES, TESTED
from tests.benchmarks.jobs import ROOT, Job, JobError
from tests.benchmarks.peers.task import Task
from tests.benchmarks.results import Accuracy, Command, Entry, Race, Results, Speed


def test_a_contender_that_fails_is_named_with_the_end_of_its_output(folder: Path, tmp_path: Path) -> None:
    with Job(Task("nobody", str(folder), str(tmp_path / "0001-nobody")), 1, 1) as job, pytest.raises(JobError) as raised:
        job.ready()
    assert "0001-nobody: exit status 1" in str(raised.value) and "No module named" in str(raised.value)


def test_a_failure_is_noted_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "variants", lambda one: contenders.variants(one)[:1])
    said: list[str] = []
    plan = measure.Plan(tmp_path, tmp_path / "none", 1, 1, 1, 1, 1, "", (), 0.0, 0.0, said.append)
    chosen = full.choose(["bare loop, fp32"])
    results = Results(machine={}, settings={}, entries=[Entry(name=one.name, limit=one.limit) for one in chosen])
    measure.speed(plan, chosen, results)
    (entry,) = results.entries
    assert "exit status 1" in entry.problem and "FileNotFoundError" in said[0]
    assert list(measure.able(chosen, results)) == []


@pytest.mark.parametrize(("minutes", "made"), [(0.0, [0]), (1.0, [0, 1, 2])])
def test_a_repeat_that_would_end_too_late_is_not_begun(tmp_path: Path, minutes: float, made: list[int]) -> None:
    plan = measure.Plan(tmp_path, tmp_path, 3, 1, 1, 1, 1, "", (), time.monotonic(), minutes)
    assert list(measure.repeats(plan, 1.0)) == made


@pytest.fixture
def results() -> Results:
    """Figures of all kinds: measured, failed, not installed."""

    def entry(name: str, limit: str, rate: float, *times: float) -> Entry:
        runs = [
            Accuracy(variant="1 thread", start_seconds=3.0, curve=[(100, time / 2, 0.9), (200, time, reached)])
            for time, reached in zip(times, (0.983, 0.975, 0.972), strict=False)
        ]
        command = [Command(variant="1 thread", seconds=9.0, import_seconds=1.5, start_seconds=3.0, peak_mb=rate / 10)]
        speed = [Speed(variant="1 thread", samples_per_second=[rate, rate * 1.1], of_limit=[rate / 20_000] * 2)]
        return Entry(name=name, limit=limit, best="1 thread", speed=speed, command=command, accuracy=runs)

    slow_path = entry("Lightning", contenders.BARE, 8000)
    slow_path.speed.append(Speed(variant="1 thread, torchvision", samples_per_second=[5000.0], of_limit=[0.25]))
    entries = [
        entry(contenders.BARE, contenders.BARE, 20_000, 5),
        entry("MNIST LSTM tutorial", contenders.BARE, 10_000, 30, 31, 32),
        Entry(name="Keras 3 on torch", limit=contenders.BARE, problem="not installed"),
        slow_path,
        entry("this pipeline, fp32", contenders.BARE, 19_000, 6),
    ]
    races = [
        Race(model="small", member=contenders.DDP, samples_per_second=[9000.0, 9100.0]),
        Race(model="small", member="this pipeline, 2 processes, fp32", samples_per_second=[8900.0, 9200.0]),
    ]
    machine = full.machine()
    settings = {"epochs": 6, "pipeline_config": "configs/mnist.yaml", "overrides": ["train.epochs=2"]}
    return Results(machine=machine, settings=settings, entries=entries, races=races, phases={"speed": 60.0})


def test_the_json_file_holds_all_figures(results: Results) -> None:
    assert Results.model_validate_json(results.model_dump_json()) == results


def test_the_tables_say_what_was_measured(results: Results) -> None:
    text = report.text(results, "docs/bench.png")
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert "19,950 | 0.95 | 9.0 s | 6.0 s (9.0 s) | 6.0 s (9.0 s) | 1,900 MB | 1.5 s" in rows["this pipeline, fp32"]
    assert "30.0 s (33.0 s, 1 of 3 runs)" in rows["MNIST LSTM tutorial"]
    assert "not installed" in rows["Keras 3 on torch"]
    assert len({line.count("|") for line in text.splitlines() if re.match(r"\| .*(bare|this|tut|Ker)", line)}) == 2, (
        "two tables"
    )
    assert "0.95 of the bare loop's samples/s, and 1.90 times" in text
    assert "Lightning 0.25" in text
    assert "97% in 0.19 of the time" in text and "![" in text
    results.entries[1].accuracy = results.entries[1].accuracy[1:]
    assert "not in 6 epochs" in report.text(results)


def test_the_picture_is_small_and_complete(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "bench.png"
    report.plot(file, results)
    assert file.read_bytes().startswith(b"\x89PNG") and 5_000 < file.stat().st_size < 150_000


def test_tables_are_written_between_the_markers_only(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.insert(file, "new")
    assert file.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    report.insert(file, "newer")
    assert file.read_text().count("new") == 1


@pytest.mark.parametrize("content", ["", report.BEGIN, f"{report.END}\n{report.BEGIN}", f"{report.BEGIN}{report.END}" * 2])
def test_a_file_without_the_markers_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text(content)
    with pytest.raises(ValueError, match="expected one line"):
        report.insert(file, "new")
    assert file.read_text() == content


def test_the_page_has_the_markers() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_mnist_is_unpacked_and_cut(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PARTS", {"train": EXAMPLES, "t10k": TESTED})
    data.unpack(folder / "MNIST/raw", tmp_path, 50)
    from torchvision.datasets import MNIST

    cut, whole = MNIST(tmp_path), MNIST(folder)
    assert len(cut) == 50 and torch.equal(cut.data, whole.data[:50]) and torch.equal(cut.targets, whole.targets[:50])


def test_missing_data_are_named_with_what_to_type(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, message in ((tmp_path, "--data FOLDER"), (folder / "MNIST/raw", "put a good copy there")):
        with pytest.raises(SystemExit) as stopped:
            full.main(["--data", str(place), "--json", str(tmp_path / "bench.json")])
        assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [["--repeats", "0"], ["--epochs", "0"], ["--examples", "-1"], ["--only", "nobody", "--data", "."]]
)
def test_nonsense_is_refused(wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "unpack", lambda *_: None)
    with pytest.raises(SystemExit) as stopped:
        full.main(wrong)
    assert stopped.value.code == 2


def test_a_run_without_the_peers_says_so_and_measures_the_rest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "PARTS", {"train": EXAMPLES, "t10k": TESTED})
    monkeypatch.setattr(contenders, "find_spec", lambda name: None if name == "keras" else name)
    monkeypatch.setattr(measure, "variants", lambda one: contenders.variants(one)[:1])
    page, file = tmp_path / "benchmarks.md", tmp_path / "new" / "bench.json"
    page.write_text(f"{report.BEGIN}\n{report.END}\n")
    where = ["--data", str(folder / "MNIST/raw"), "--json", str(file), "--plot", str(tmp_path / "bench.png")]
    full.main([*where, "--page", str(page), "--quick", "--only", "keras"])
    results = Results.model_validate_json(file.read_text())
    bare, keras = results.entries
    assert keras.problem == "not installed" and not keras.speed
    assert len(bare.speed) == len(bare.command) == len(bare.accuracy) == 1 and bare.rates[0] > 0
    assert bare.command[0].seconds > bare.command[0].start_seconds > 0
    assert report.text(results) in capsys.readouterr().out and "not installed" in page.read_text()


def test_the_locks_agree_and_the_malicious_releases_are_not_in_them() -> None:
    pins = {name: re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE) for name in LOCKS}
    first, second = ({name for name, _ in pins[lock]} for lock in LOCKS)
    assert not first & second, "each package is pinned in one of them"
    assert dict(pins["requirements-bench.lock"])["lightning"] not in ("2.6.2", "2.6.3")
    assert {"lightning", "keras", "skorch"} <= second


LOCKS = ("requirements.lock", "requirements-bench.lock")
