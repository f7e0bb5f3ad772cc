"""What ``check`` says: what a training will need, before it is tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import config
from pipeline.model.classifier import RecurrentClassifier
from pipeline.stages import prepare
from pipeline.stages.advice import check
from pipeline.tuning import memory
from tests.support.launching import ROOT, run, succeed

SETTINGS = """\
data: {source: npz, path: series.npz, validation: 0}
model: {hidden: 32, layers: 2, bidirectional: true}
train: {batch: 24, cpu_lstm: torch}
track: {backends: []}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of 60 series of 5 to 40 steps of 3 values, prepared."""
    monkeypatch.chdir(tmp_path)
    random, values = np.random.default_rng(0), np.empty(60, object)
    values[:] = [random.normal(size=(5 + number % 36, 3)).astype("f4") for number in range(60)]
    lengths = np.array([len(series) for series in values])
    np.savez("series.npz", values=np.concatenate(values), lengths=lengths, labels=np.arange(60) % 2)
    (tmp_path / "own.yaml").write_text(SETTINGS)
    prepare.prepare(config.load("own.yaml"), "own.yaml")
    return tmp_path / "own.yaml"


@pytest.mark.parametrize(("overrides", "examples"), [((), 24), (("train.accumulate=3",), 8), (("train.gradient_shards=8",), 3)])
def test_activations_are_counted_with_the_examples_computed_at_a_time(
    own: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], examples: int
) -> None:
    check.check(config.load(own, overrides))
    shown = capsys.readouterr().out
    amount = examples * 40 * (6 * 2 * 2 * 32 + 3) * 4 / 1e6
    assert f"at least {amount:.1f} MB of activations, of {examples} examples of 40 steps" in shown
    assert "warning" not in shown


@pytest.mark.skipif(torch.accelerator.is_available(), reason="NOT TESTED: a GPU has a memory of its own")
def test_what_will_not_fit_is_said_before_it_is_tried(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3_000_000)
    check.check(config.load(own, ["train.batch=48"]))
    said = capsys.readouterr().out
    assert "warning: weights and activations are more than the 3 MB that this machine can give; set a lower train.batch" in said


@pytest.mark.parametrize(
    "choices",
    [
        ("cell=lstm",),
        ("cell=gru",),
        ("cell=rnn",),
        ("cell=gru", "conv=8"),
        ("cell=gru", "conv=8", "conv_norm=batch"),
        ("cell=lstm", "layers=3", "bidirectional=true", "projection=5"),
    ],
)
def test_no_step_keeps_less_than_is_counted(choices: tuple[str, ...]) -> None:
    settings = config.load(ROOT / "configs/smoke.yaml", [f"model.{choice}" for choice in choices])
    model = RecurrentClassifier(3, 2, **settings.model.model_dump())
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(torch.randn(16, 500, 3))
        assert sum(kept.values()) >= check.activations(settings.model, 3, 16 * 500), logits.shape


def test_what_is_slow_on_a_gpu_is_said_where_one_is_asked_for(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for precision, named in (("fp16", True), ("fp32", torch.cuda.is_available())):
        check.check(config.load(own, ["model.hidden=160", "model.cell=gru", f"train.precision={precision}"]))
        assert ("warning: model.hidden = 160: " in capsys.readouterr().out) == named


def written(folder: Path) -> list[Path]:
    """All that lies in a folder but what its programs printed."""
    return sorted(path for path in folder.rglob("*") if not path.name.startswith(".output"))


@pytest.mark.parametrize("prepared", [False, True])
def test_a_column_that_is_not_there_is_said_before_anything_is_prepared(tmp_path: Path, prepared: bool) -> None:
    (tmp_path / "a.csv").write_text(
        "id,time,x,label\n" + "".join(f"{n},{t},{t},u{n % 2}\n" for n in range(20) for t in range(5))
    )
    (tmp_path / "own.yaml").write_text("data: {source: csv, path: a.csv}\n")
    if prepared:
        succeed("prepare", "--config", "own.yaml", cwd=tmp_path)
    before = written(tmp_path)
    assert ("once the data is prepared" in succeed("check", "--config", "own.yaml", cwd=tmp_path)) is not prepared
    for keys, said in (
        (["data.label=lable"], "there is no column 'lable'; did you mean 'label'?"),
        (["data.test_path=a.csv", "data.channels=[y]"], "there is no channel 'y'"),
        (["data.layout=wide"], "the id '0' was there before"),
    ):
        status, printed = run("check", "--config", "own.yaml", *keys, cwd=tmp_path)
        assert status == 2 and said in printed.splitlines()[-1], (keys, printed)
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert "differs from the defaults" in succeed("check", "--config", "own.yaml", "data.label=lable", cwd=tmp_path)
    (tmp_path / "b.csv").rename(tmp_path / "a.csv")
    assert written(tmp_path) == before
