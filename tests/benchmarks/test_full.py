"""``make bench-full``: all contenders do the same work, the watch is fair, and what is written is what was measured."""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from pipeline import config
from pipeline.data.prepare import prepare
from tests.benchmarks import contenders, data, full, measure, report
from tests.benchmarks.jobs import ROOT, Job, JobError
from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import Finished, Model, Watch, accuracy_of, predictor
from tests.benchmarks.results import Accuracy, Command, Entry, Race, Results, Speed

EXAMPLES, TESTED = 640, 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST/raw: few noisy images whose brightness says their class."""
    folder = tmp_path_factory.mktemp("mnist")
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", EXAMPLES), ("t10k", TESTED)):
        labels = random.permutation(np.arange(count, dtype=np.uint8) % 10)
        images = random.integers(0, 30, (count, 28, 28), np.uint8) + labels[:, None, None] * 20
        header = bytes((0, 0, 8, 3)) + struct.pack(">III", count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.astype(np.uint8).tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", count) + labels.tobytes())
    return folder


@pytest.fixture
def alone() -> Iterator[None]:
    """Accelerate's global state and the environment as if there had been none, before and after."""
    environment = dict(os.environ)
    for _ in range(2):
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        os.environ["ACCELERATE_USE_CPU"] = "true"
        yield from [None] * (_ == 0)
    os.environ.clear()
    os.environ.update(environment)


def need(package: str) -> None:
    """Skip where a peer is missing. It is not imported here: Keras must be told of its backend first."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; make bench-full installs it into .venv-bench")


def losses(peer: str, folder: Path, output: Path, **more: Any) -> list[float]:
    """The loss of each of the ten steps of an epoch, in the order of the file."""
    watch = Watch(Task(peer, str(folder), str(output), shuffle=False, trace=True, **more))
    import_module(f"tests.benchmarks.peers.{peer}").run(watch.task, watch)
    return watch.losses


LIKE_BARE = [  # Keras starts its weights in its own way
    (one, source)
    for one in contenders.CONTENDERS
    if one.peer not in ("bare", "keras_example", "pipeline_stage")
    for source in one.sources
]


@pytest.mark.parametrize(("contender", "source"), LIKE_BARE, ids=lambda one: getattr(one, "peer", one))
def test_a_peer_takes_the_steps_of_the_bare_loop(
    contender: contenders.Contender, source: Any, folder: Path, tmp_path: Path, alone: None
) -> None:
    need(contender.needs)
    theirs = losses(contender.peer, folder, tmp_path, source=source)
    assert len(theirs) == EXAMPLES // 64
    assert theirs == pytest.approx(losses("bare", folder, tmp_path), abs=1e-4)


def test_keras_learns_by_as_many_steps(folder: Path, tmp_path: Path) -> None:
    need("keras")
    watch = Watch(Task("keras_example", str(folder), str(tmp_path), epochs=3, evaluations=1))
    import_module("tests.benchmarks.peers.keras_example").run(watch.task, watch)
    assert [step for step, _, _ in watch.curve] == [10, 20, 30]
    assert watch.curve[-1][2] > 0.15


def test_the_pipeline_takes_the_steps_of_the_bare_loop(
    folder: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"data.prepared={tmp_path / 'prepared'}", "train.watch_test=0")
    prepare(config.load(ROOT / measure.SAME_WORK, [*overrides, f"data.root={folder}"]).data)
    monkeypatch.setattr(torch, "randperm", lambda count, generator=None: torch.arange(count))
    ours = losses("pipeline_stage", folder, tmp_path, config=str(ROOT / measure.SAME_WORK), overrides=overrides)
    assert ours == pytest.approx(losses("bare", folder, tmp_path), abs=1e-4)
    assert len(set(ours)) == EXAMPLES // 64, "it learns"


def test_two_processes_of_the_bare_loop_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    task = Task("bare", str(folder), str(tmp_path / "two"), shuffle=False, evaluations=5)
    with Job(task, processes=2, threads=1) as job:
        first, second = job.wait()
    watch = Watch(Task("bare", str(folder), str(tmp_path), shuffle=False, evaluations=5))
    import_module("tests.benchmarks.peers.bare").run(watch.task, watch)
    assert [(step, accuracy) for step, _, accuracy in first["curve"]] == [(step, accuracy) for step, _, accuracy in watch.curve]
    assert first["steps"] == second["steps"] == 10 and first["threads"] == 1
    assert first["peak_mb"] > 100 and 0 < first["import_seconds"] < first["start_seconds"]


def test_the_large_model_is_that_of_the_pipelines_settings() -> None:
    from pipeline.model import RecurrentClassifier

    settings = config.load(ROOT / measure.SAME_WORK, measure.LARGE)
    ours = RecurrentClassifier(28, 10, **settings.model.model_dump())
    weights = sum(parameter.numel() for parameter in ours.parameters())
    assert weights == sum(parameter.numel() for parameter in Model(large=True).parameters())
    assert settings.train.batch == 512


def test_evaluations_are_left_out_of_the_seconds_and_the_target_ends_the_run(folder: Path) -> None:
    def slow(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2)
        return torch.zeros(len(images), 10)

    watch = Watch(Task("bare", str(folder), "", evaluations=2, target=0.05))
    watch.begin(slow, steps_per_epoch=4)
    watch.step()
    with pytest.raises(Finished):
        watch.step()
    (point,) = watch.curve
    assert point[0] == 2 and point[1] < 0.1 and point[2] == pytest.approx(0.1)


def test_turns_are_taken_one_at_a_time(folder: Path) -> None:
    (go, start), (answers, answer) = os.pipe(), os.pipe()
    os.write(start, b"..")
    watch = Watch(Task("bare", str(folder), "", warmup=3, turn=5, turns=2, channel=(go, answer)))
    watch.begin(lambda images: images, 1)
    with suppress(Finished):
        while True:
            watch.step()
    assert watch.steps == 13
    assert len([float(line) for line in os.read(answers, 1000).split()]) == 3, "one for the warm-up, one for each turn"


def test_accuracy_is_that_of_all_images(folder: Path) -> None:
    labels = torch.arange(2500) % 10
    images = labels.to(torch.uint8)[:, None, None].expand(-1, 28, 28)
    hot = torch.nn.functional.one_hot

    def right_below_five(images: torch.Tensor) -> torch.Tensor:
        return hot(images[:, 0, 0].long().clamp(max=4), 10)

    assert accuracy_of(right_below_five, images, labels) == 0.5
    model = Model()
    predictor(model)(images[:2])
    assert model.training, "an evaluation leaves the model in training mode"


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
        entry("tutorial's loop", contenders.BARE, 10_000, 30, 31, 32),
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
    assert "30.0 s (33.0 s, 1 of 3 runs)" in rows["tutorial's loop"]
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
    file = tmp_path / "README.md"
    file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.insert(file, "new")
    assert file.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    report.insert(file, "newer")
    assert file.read_text().count("new") == 1


@pytest.mark.parametrize("content", ["", report.BEGIN, f"{report.END}\n{report.BEGIN}", f"{report.BEGIN}{report.END}" * 2])
def test_a_file_without_the_markers_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "README.md"
    file.write_text(content)
    with pytest.raises(ValueError, match="expected one line"):
        report.insert(file, "new")
    assert file.read_text() == content


def test_the_readme_has_the_markers() -> None:
    text = (ROOT / "README.md").read_text()
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
    readme, file = tmp_path / "README.md", tmp_path / "new" / "bench.json"
    readme.write_text(f"{report.BEGIN}\n{report.END}\n")
    where = ["--data", str(folder / "MNIST/raw"), "--json", str(file), "--plot", str(tmp_path / "bench.png")]
    full.main([*where, "--readme", str(readme), "--quick", "--only", "keras"])
    results = Results.model_validate_json(file.read_text())
    bare, keras = results.entries
    assert keras.problem == "not installed" and not keras.speed
    assert len(bare.speed) == len(bare.command) == len(bare.accuracy) == 1 and bare.rates[0] > 0
    assert bare.command[0].seconds > bare.command[0].start_seconds > 0
    assert report.text(results) in capsys.readouterr().out and "not installed" in readme.read_text()


def test_the_locks_agree_and_the_malicious_releases_are_not_in_them() -> None:
    pins = {name: re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE) for name in LOCKS}
    first, second = ({name for name, _ in pins[lock]} for lock in LOCKS)
    assert not first & second, "each package is pinned in one of them"
    assert dict(pins["requirements-bench.lock"])["lightning"] not in ("2.6.2", "2.6.3")
    assert {"lightning", "keras", "skorch"} <= second


LOCKS = ("requirements.lock", "requirements-bench.lock")
