"""What is said of keys that somebody wrote and that change nothing beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.errors import ConfigError
from pipeline.training.optim import lr_at
from tests.support.launching import ROOT, succeed

SERIES = ("data.source=ts", "data.path=x.ts")
TABLE = ("data.source=csv", "data.path=x.csv")
NO_EFFECT: dict[str, tuple[tuple[str, ...], str]] = {  # the last override is what changes nothing
    "the share of a test split that the source has": (("data.test=0.3",), "data.source = digits has a test split of its own"),
    "that of MNIST": (("data.source=mnist", "data.test=500"), "data.source = mnist has a test split of its own"),
    "the share beside a file": ((*TABLE, "data.test_path=y.csv", "data.test=0.3"), "the test split is data.test_path"),
    "a share beside folds": (("train.folds=5", "data.validation=0.2"), "of 5 folds each is the valid split once"),
    "a fold beside folds": (("train.folds=5", "data.fold=1/3"), "train.folds says which parts there are"),
    "a share beside a fold": (("data.fold=1/5", "data.validation=0.2"), "data.fold says what the valid split is"),
    "a seed in time": ((*TABLE, "data.split=time", "data.seed=3"), "data.split = time draws nothing by chance"),
    "a seed of nothing": (("data.validation=0", "data.seed=3"), "no split is cut from another"),
    "EMNIST's split": (("data.emnist_split=letters",), "it is of data.source = emnist"),
    "a folder of digits": (("data.root=/x",), "digits come with scikit-learn"),
    "a folder of MNIST's for a file": ((*TABLE, "data.root=/x"), "data.source = csv reads data.path"),
    "addresses": (("data.mirrors=[http://x/]",), "digits come with scikit-learn"),
    "the layout of no table": ((*SERIES, "data.layout=wide"), "it is of CSV and Parquet"),
    "the header of no CSV": ((*SERIES, "data.header=false"), "it is of CSV"),
    "the comma of no CSV": (("data.source=parquet", "data.path=x.parquet", "data.decimal=','"), "it is of CSV"),
    "the column of a file without": ((*SERIES, "data.label=kind"), "data.source = ts has no columns"),
    "what is kept of no length": ((*TABLE, "data.truncate=start"), "no series is too long while data.max_length = 0"),
    "files of images": (("data.shard_mb=10",), "images are prepared in a file a split"),
    "the norm of no branch": (("model.conv_norm=batch",), "there is no convolutional branch; set model.conv"),
    "momentum of Adam": (("optim.momentum=0.5",), "it is of sgd, and optim.name = adam"),
    "no warm-up": (("optim.schedule=one_cycle", "optim.warmup=0"), "optim.schedule = one_cycle takes 0 for its usual 0.3"),
    "buckets of images": (("train.bucket=true",), "all examples are of one length"),
    "buckets of one length": ((*TABLE, "data.resample=9", "train.bucket=true"), "all examples are of one length"),
    "the kernel of another cell": (("model.cell=gru", "train.gpu_lstm=torch"), "the kernel is of LSTMs, and model.cell = gru"),
    "the kernel in 16 bits": (("train.precision=bf16", "train.cpu_lstm=torch"), "on CPUs bf16 is trained by torch"),
    "sums of exact mode": (("train.gradient_shards=2", "train.data_parallel=flat"), "exact mode sums gradients"),
    "a fold that stops": (("train.folds=3", "train.early_stopping=3"), "no fold chooses by what it is measured on"),
    "what chooses nothing": (("data.validation=0", "train.monitor=valid/loss"), "data.validation = 0, so that there is no"),
    "no evaluations": (("data.validation=0", "train.evaluate_every=3"), "data.validation = 0, so that there is no"),
    "cores of several threads": (("run.threads=2", "run.pin=true"), "processes of several threads keep to no core"),
    "wandb's key": (("track.backends=[mlflow]", "track.entity=we"), "it is of wandb, which is not in track.backends"),
    "no tracker's key": (("track.backends=[tensorboard]", "track.notes=x"), "no tracker in track.backends takes it"),
}
WITH_EFFECT: tuple[tuple[str, ...], ...] = (
    (*TABLE, "data.test=0.3", "data.seed=3", "data.header=false", "data.decimal=','", "data.layout=wide"),
    (*TABLE, "data.max_length=9", "data.truncate=start", "data.shard_mb=3", "data.id=x", "train.bucket=true"),
    ("data.view=permuted_pixels", "data.validation=0", "data.seed=3"),
    ("data.validation=0", "train.folds=3", "data.seed=3"),
    ("data.source=emnist", "data.emnist_split=letters", "data.root=/x", "data.mirrors=[http://x/]"),
    ("model.conv=8", "model.conv_norm=batch", "optim.name=sgd", "optim.momentum=0.5", "optim.warmup=0"),
    ("train.cpu_lstm=torch", "train.gpu_lstm=torch", "train.data_parallel=flat", "train.monitor=valid/loss"),
    ("run.threads=2", "run.pin=false", "train.bucket=false", "track.entity=we", "track.notes=x"),
    ("track.backends=[]", "track.entity=we", "track.notes=x"),  # who tracks nothing this time wants no word of it
)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """``load(overrides)``: the configuration of an empty file."""
    (tmp_path / "some.yaml").write_text("{}")
    return lambda *overrides: config.load(tmp_path / "some.yaml", overrides)


@pytest.mark.parametrize("case", NO_EFFECT)
def test_a_key_that_changes_nothing_is_named_with_the_reason(load: Any, case: str) -> None:
    (*others, key), why = NO_EFFECT[case]
    (line,) = [line for line in config.idle(load(*others, key)) if line.startswith(key.partition("=")[0])]
    assert f"{key.partition('=')[0]} has no effect: {why}" in line


@pytest.mark.parametrize("overrides", WITH_EFFECT)
def test_a_key_that_changes_something_is_not(load: Any, overrides: tuple[str, ...]) -> None:
    assert not [*config.idle(load(*overrides))]


def test_nothing_is_said_of_what_nobody_wrote(load: Any, tmp_path: Path) -> None:
    for case in NO_EFFECT.values():
        key = case[0][-1].partition("=")[0]
        assert not [line for line in config.idle(load(*case[0][:-1])) if key in line]
        (tmp_path / "config.yaml").write_text(config.dump(load(*case[0])))  # as a run keeps it, in which each key stands
        assert not [*config.idle(config.load(tmp_path / "config.yaml"))]


@pytest.mark.parametrize("path", [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "sweep"])
def test_no_configuration_of_ours_has_such_a_key(path: Path) -> None:
    assert not [*config.idle(config.load(path))]


def test_what_is_said_to_change_nothing_changes_nothing(load: Any, tmp_path: Path) -> None:
    folder = f"data.prepared={tmp_path / 'prepared'}"
    assert prepare(load(folder, "data.test=500").data).folder == prepare(load(folder).data).folder
    one, other = (load("optim.schedule=one_cycle", f"optim.warmup={share}").optim for share in (0, 0.3))
    assert [lr_at(step, 50, one) for step in range(50)] == [lr_at(step, 50, other) for step in range(50)]


def test_a_folder_of_images_with_both_splits_needs_no_share(load: Any, tmp_path: Path) -> None:
    for name in ("train", "test"):
        assert not [*config.idle(load("data.source=images", f"data.path={tmp_path}", "data.test=0.3"))]
        (tmp_path / name).mkdir()
    (line,) = config.idle(load("data.source=images", f"data.path={tmp_path}", "data.test=0.3"))
    assert line == "data.test has no effect: the test split is the folder test/ in data.path"


def test_a_folder_that_cannot_be_looked_at_is_no_matter_of_keys(load: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / ("a" * 300), tmp_path / "file"):
        assert not [*config.idle(load("data.source=images", f"data.path={path}", "data.test=0.3", "data.seed=3"))]


def test_a_path_that_the_source_does_not_read_is_refused_by_its_own_name(load: Any) -> None:
    with pytest.raises(ConfigError, match=r"^command line: data\.test_path=y\.csv: data\.test_path: data\.source = digits"):
        load("data.test_path=y.csv")


def test_check_prepare_and_train_say_so_once(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "data: {test: 0.3}\noptim: {momentum: 0.5}\ntrain: {epochs: 1}\ntrack: {backends: []}\nmodel: {hidden: 8}\n"
    )
    of_data, of_optim = "warning: data.test has no effect: data.source", "warning: optim.momentum has no effect: it is of sgd"
    for command, more in (("check", 1), ("prepare", 0), ("train", 1)):
        said = succeed(command, "--config", "own.yaml", cwd=tmp_path)
        assert (said.count(of_data), said.count(of_optim)) == (1, more), said
    folds = succeed("train", "--config", "own.yaml", "train.folds=2", "data.validation=0.2", cwd=tmp_path)
    assert folds.count(of_data) == 1 and folds.count("warning: data.validation has no effect: of 2 folds") == 1
