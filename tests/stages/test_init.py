"""Two commands from a file that nobody has described to a model: init, then train or make all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from pipeline import config
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared
from pipeline.data.readers import folders
from pipeline.data.series import Columns
from pipeline.data.sources import image_folder
from pipeline.errors import DataError, UserError
from pipeline.stages.advice import init, splitting
from tests.data.inspection.test_roles import long_table
from tests.support.launching import run, succeed

QUICK = ("track.backends=[]", "train.epochs=2")


def test_a_table_needs_nothing_typed_by_hand(tmp_path: Path) -> None:
    long_table(count=40).write_csv(tmp_path / "wards.csv")
    said = succeed("init", "wards.csv", cwd=tmp_path)
    assert "40 series of 8 steps, 2 channels, 2 classes (a: 20, b: 20)" in said
    assert said.splitlines()[-2:] == ["written: wards.yaml", "next: python -m pipeline train --config wards.yaml"]
    text = (tmp_path / "wards.yaml").read_text()
    assert text.startswith("# ") and "# no group on both sides" in text
    settings = config.load(tmp_path / "wards.yaml")
    assert (settings.data.split, settings.data.group, settings.model.conv_norm) == ("group", "patient", "batch")
    assert "finished at step" in succeed("train", "--config", "wards.yaml", *QUICK, cwd=tmp_path)


def test_the_test_file_beside_a_training_file_is_taken(tmp_path: Path) -> None:
    for part in ("TRAIN", "TEST"):
        rows = "\n".join(f"{number},{number + 1},{number % 3}:{'ab'[number % 2]}" for number in range(12))
        head = "@problemName x\n@timeStamps false\n@missing false\n@univariate true\n@equalLength true\n@seriesLength 3\n"
        (tmp_path / f"x_{part}.ts").write_text(f"{head}@classLabel true a b\n@data\n{rows}\n")
    succeed("init", "x_TRAIN.ts", cwd=tmp_path)
    data = yaml.safe_load((tmp_path / "x.yaml").read_text())["data"]
    assert data["test_path"] == "x_TEST.ts" and data["validation"] == 0


@pytest.mark.parametrize("count", [12, 60, 500, 1000])
def test_any_size_gives_a_configuration_that_trains(tmp_path: Path, count: int) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(count, 5, 1)).astype("f4")
    np.savez(tmp_path / "some.npz", values=values, labels=np.arange(count) % 3)
    succeed("init", "some.npz", "--output", "other.yaml", cwd=tmp_path)
    settings = config.load(tmp_path / "other.yaml")
    assert settings.train.batch <= count * 0.8 and (settings.data.validation > 0) == (count == 1000)
    succeed("train", "--config", "other.yaml", *QUICK, cwd=tmp_path)


def test_a_folder_of_images_by_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(random.integers(0, 255, (6, 6), dtype=np.uint8)).save(tmp_path / "pets" / name / f"{number}.png")
    succeed("init", "pets", cwd=tmp_path)
    assert "finished at step" in succeed("train", "--config", "pets.yaml", *QUICK, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [("none.csv", "there is no such file"), ("notes.docx", "no file of a known kind"), ("empty.csv", "empty")],
)
def test_what_cannot_be_used_is_one_message_and_leaves_nothing(tmp_path: Path, name: str, says: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_text("")
    status, output = run("init", name, cwd=tmp_path)
    assert status == 2 and output.count("error:") == 1 and says in output and "Traceback" not in output, output
    assert not list(tmp_path.glob("*.yaml"))


def test_a_configuration_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    long_table().write_csv(tmp_path / "wards.csv")
    (tmp_path / "wards.yaml").write_text("mine")
    status, output = run("init", "wards.csv", cwd=tmp_path)
    assert status == 2 and "wards.yaml: is there already" in output and (tmp_path / "wards.yaml").read_text() == "mine"


def test_a_wrong_path_is_said_also_where_a_configuration_of_that_name_is_there(tmp_path: Path) -> None:
    (tmp_path / "wards.yaml").write_text("mine")
    status, output = run("init", "wards.csv", cwd=tmp_path)
    assert status == 2 and "wards.csv: there is no such file or folder" in output


@pytest.mark.parametrize(
    ("groups", "share"), [(0, 0.1), (40, 0.1), (20, 0.1), (16, 0.15), (11, 0.2), (8, 0.25), (7, 0), (1, 0)]
)
def test_a_tenth_chooses_the_checkpoint_and_of_groups_two_at_least(groups: int, share: float) -> None:
    assert splitting.held_out(groups) == share
    assert not groups or not share or share * groups >= 2


@pytest.mark.parametrize(("beside", "share"), [(True, 0.1), (False, 0.25)])
def test_groups_that_no_split_keeps_whole_do_not_enlarge_the_part_that_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool, share: float
) -> None:
    monkeypatch.setattr(init, "ENOUGH", 10)
    long_table().write_csv(tmp_path / "wards.csv")  # ten patients, of whom two are for the test
    test = tmp_path / "wards.csv" if beside else None
    init.init(tmp_path / "wards.csv", test, tmp_path / "new.yaml")
    assert config.load(tmp_path / "new.yaml").data.validation == share


def test_names_in_the_file_cannot_leave_a_comment(tmp_path: Path) -> None:
    long_table().rename({"pulse": "pulse # model: {hidden: 1}"}).write_csv(tmp_path / "odd.csv")
    succeed("init", "odd.csv", cwd=tmp_path)
    assert config.load(tmp_path / "odd.yaml").model.hidden == 32


@pytest.mark.parametrize("kind", ["table", "images", "recordings"])
def test_a_class_of_one_example_is_said_before_prepare_refuses_it(tmp_path: Path, kind: str, capsys: Any) -> None:
    made = tmp_path / "all"
    for name, count in (("a", 5), ("b", 5), ("rare one", 1)):
        for number in range(count if kind != "table" else 0):
            (made / name).mkdir(parents=True, exist_ok=True)
            if kind == "images":
                Image.fromarray(np.full((6, 6), 20 * number, np.uint8)).save(made / name / f"{number}.png")
            else:
                (made / name / f"{number}.csv").write_text("x\n1\n2\n")
    if kind == "table":
        made = tmp_path / "all.csv"
        rows = [f"s{i},{t},{'rare one' if i == 10 else 'ab'[i % 2]},{i + t}\n" for i in range(11) for t in range(4)]
        made.write_text("id,time,label,x\n" + "".join(rows))
    init.init(made, None, tmp_path / "o.yaml")
    said = "class rare one has one example, which cannot be trained on and tested: prepare refuses it"
    assert f"look at this: {said}" in capsys.readouterr().out and f"# LOOK AT THIS: {said}" in (tmp_path / "o.yaml").read_text()
    with pytest.raises(UserError, match="rare one"):
        prepare(config.load(tmp_path / "o.yaml", [f"data.prepared={tmp_path / 'prepared'}"]).data)
    init.init(made, made, tmp_path / "with_test.yaml")
    assert "rare one has" not in (tmp_path / "with_test.yaml").read_text()


def test_a_folder_of_one_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recordings/walk").mkdir(parents=True)
    (tmp_path / "recordings/walk/1.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match="recordings: holds one folder, 'walk'"):
        init.init(tmp_path / "recordings", None, tmp_path / "new.yaml")
    assert not (tmp_path / "new.yaml").exists()


def test_a_folder_of_recordings_by_class(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for number in range(count):
            place = tmp_path / "gait" / part / ("sit", "walk")[number % 2] / f"{number}.csv"
            place.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"time": range(9), "x": random.normal(size=9) + number % 2}).write_csv(place)
    succeed("init", "gait", cwd=tmp_path)
    settings = config.load(tmp_path / "gait.yaml").data
    assert (settings.source, settings.path, settings.test_path) == ("csv", "gait/train", "gait/test")
    assert "finished at step" in succeed("train", "--config", "gait.yaml", *QUICK, cwd=tmp_path)


def test_the_two_files_of_an_archives_folder_are_training_and_test(tmp_path: Path) -> None:
    (tmp_path / "Mine").mkdir()
    for part in ("TRAIN", "TEST"):
        rows = [f"{n % 2}\t" + "\t".join(f"{n * step % 7 / 3:.3f}" for step in range(1, 12)) for n in range(20)]
        (tmp_path / f"Mine/Mine_{part}.tsv").write_text("\n".join(rows) + "\n")
    said = succeed("init", "Mine", "--output", "own.yaml", cwd=tmp_path)
    written = config.load(tmp_path / "own.yaml").data
    assert (Path(written.path).name, Path(written.test_path).name) == (
        "Mine_TRAIN.tsv",
        "Mine_TEST.tsv",
    ) and "20 series" in said


@pytest.mark.parametrize(
    ("parts", "test"), [(("Training", "Testing"), "Testing"), (("train", "val", "test"), "test"), (("train", "valid"), "valid")]
)
@pytest.mark.parametrize("kind", ["series", "images"])
def test_folders_of_splits_are_no_classes(
    tmp_path: Path, parts: tuple[str, ...], test: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for part in parts:
        for number in range(8):
            place = tmp_path / "set" / part / ("sit", "walk")[number % 2] / f"{number}.{'csv' if kind == 'series' else 'png'}"
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "series":
                pl.DataFrame({"time": range(9), "x": random.normal(size=9) + number % 2}).write_csv(place)
            else:
                Image.fromarray(random.integers(0, 255, (6, 6), dtype=np.uint8)).save(place)
    init.init(tmp_path / "set", None, tmp_path / "o.yaml")
    settings = config.load(tmp_path / "o.yaml").data
    assert (Path(settings.path).name, Path(settings.test_path).name) == (parts[0], test)
    assert ("val is left out" in capsys.readouterr().out) == ("val" in parts)
    with pytest.raises(DataError, match=f"data.path=.*{parts[0]} data.test_path=.*{test}"):
        if kind == "images":
            image_folder.folders(config.Data(source="images", path=str(tmp_path / "set")))
        else:
            folders.look("csv", tmp_path / "set", Columns())


def test_a_test_file_without_labels_is_left_to_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long_table(count=40).write_csv(tmp_path / "train.csv")
    long_table(count=8).drop("outcome").write_csv(tmp_path / "test.csv")
    init.init(tmp_path / "train.csv", None, tmp_path / "o.yaml")
    assert config.load(tmp_path / "o.yaml").data.test_path == ""
    assert "test.csv has no column 'outcome'" in capsys.readouterr().out


def _wards(tmp_path: Path, apart: bool) -> None:
    """A file of twenty patients, and a test file beside it of others, or of some that are in both."""
    long_table(count=40).write_csv(tmp_path / "wards_train.csv")
    rename = pl.col("patient").str.replace("p", "q") if apart else pl.col("patient")
    long_table(count=16).with_columns(rename).write_csv(tmp_path / "wards_test.csv")


def _prepared(tmp_path: Path) -> Prepared:
    return prepare(config.load(tmp_path / "o.yaml", [f"data.prepared={tmp_path / 'prepared'}"]).data)


def test_beside_a_test_file_of_other_groups_the_part_that_chooses_is_of_other_groups_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(init, "ENOUGH", 10)
    _wards(tmp_path, apart=True)
    init.init(tmp_path / "wards_train.csv", None, tmp_path / "o.yaml")
    settings = config.load(tmp_path / "o.yaml").data
    assert (settings.group, settings.split, settings.validation) == ("patient", "group", 0.1)
    assert "split: group  # the test split has other groups, and so has the valid split" in (tmp_path / "o.yaml").read_text()
    assert "no 'patient' stands on both sides of a split (20 of them)" in capsys.readouterr().out
    made = _prepared(tmp_path)
    known, held = ({number // 2 for number in made.part(name).index.tolist()} for name in ("train", "valid"))
    assert len(held) == 2 and not known & held and not made.manifest.doubts


def test_beside_a_test_file_of_the_same_groups_splits_are_cut_by_class_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(init, "ENOUGH", 10)
    _wards(tmp_path, apart=False)
    init.init(tmp_path / "wards_train.csv", None, tmp_path / "o.yaml")
    assert config.load(tmp_path / "o.yaml").data.split == "stratified"
    text, said = (tmp_path / "o.yaml").read_text(), capsys.readouterr().out
    assert "split: stratified  # 8 of 20 groups are in the test split too, such as 'p0'" in text
    assert "on both sides" not in text + said and "so that both are of groups that are known" in said
    assert not _prepared(tmp_path).manifest.doubts


@pytest.mark.parametrize("apart", [True, False])
def test_persons_in_the_paths_of_both_parts_are_compared_too(tmp_path: Path, apart: bool) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for number in range(16):
            person = number // 4 + 10 * (apart and part == "test")
            place = tmp_path / "gait" / part / f"p{person}" / ("sit", "walk")[number % 2] / f"{number}.csv"
            place.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"time": range(9), "x": random.normal(size=9)}).write_csv(place)
    init.init(tmp_path / "gait", None, tmp_path / "o.yaml")
    settings = config.load(tmp_path / "o.yaml").data
    assert settings.recordings == "GROUP/LABEL/ANY" and settings.split == ("group" if apart else "stratified")
    assert _prepared(tmp_path).manifest.parts["test"].count == 16


def test_windows_of_groups_that_both_files_have_stay_with_their_recordings(tmp_path: Path) -> None:
    for part in ("train", "test"):
        rows = [(f"{part}{i}", t, f"p{i // 2}", "ab"[t // 20 % 2], (i + t) % 7) for i in range(12) for t in range(80)]
        frame = pl.DataFrame(rows, ["id", "time", "person", "label", "x"], orient="row")
        frame.write_csv(tmp_path / f"walks_{part}.csv")
    init.init(tmp_path / "walks_train.csv", None, tmp_path / "o.yaml")
    settings = config.load(tmp_path / "o.yaml").data
    assert settings.window and (settings.group, settings.split) == ("", "group")
    assert "person" not in settings.channels and _prepared(tmp_path).manifest.parts["test"].count == 48


def test_what_is_typed_beside_the_data_is_looked_at_checked_and_written(tmp_path: Path) -> None:
    frame = long_table(count=40).with_columns(ward=pl.col("patient").str.replace("p", "w").str.slice(0, 2), device=pl.lit(1.5))
    frame.write_csv(tmp_path / "wards.csv")
    typed = ("data.group=ward", "model.hidden=24", "channels=[pulse]", "run.deterministic=True", "run.dir=runs/mine")
    said = succeed("init", "wards.csv", *typed, cwd=tmp_path)
    settings = config.load(tmp_path / "wards.yaml")
    assert (settings.data.group, settings.data.split, settings.data.channels) == ("ward", "group", ("pulse",))
    assert (settings.model.hidden, settings.run.deterministic, settings.run.dir) == (24, True, "runs/mine")
    text = (tmp_path / "wards.yaml").read_text()
    assert text.count("hidden:") == text.count("group: ") == 1 and "hidden: 24  # as typed" in text
    assert "no 'ward' stands on both sides of a split" in said and "1 channel," in said and "'ward' holds words" not in said
    assert config.load(tmp_path / "wards.yaml").data.validation == 0
    succeed("prepare", "wards.yaml", cwd=tmp_path)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("data.grup=patient", "data.grup=patient: data.grup: unknown key"),
        ("data.window=many", "command line: data.window=many"),
        ("data.test_path=other.csv", "--test"),
        ("nothing.at=1", "nothing.at=1"),
        ("model.hidden=0", "command line: model.hidden=0"),
        ("data.group=nobody", "nobody"),
    ],
)
def test_what_is_typed_wrongly_beside_the_data_is_said_and_nothing_is_written(tmp_path: Path, typed: str, says: str) -> None:
    long_table().write_csv(tmp_path / "wards.csv")
    status, output = run("init", "wards.csv", typed, cwd=tmp_path)
    assert status == 2 and says in output and "Traceback" not in output, output
    assert not list(tmp_path.glob("*.yaml"))


def test_a_split_or_a_role_that_is_typed_takes_the_place_of_what_was_found(tmp_path: Path, capsys: Any) -> None:
    long_table(count=40).write_csv(tmp_path / "wards.csv")
    init.init(tmp_path / "wards.csv", None, tmp_path / "split.yaml", ["data.split=stratified"])
    assert config.load(tmp_path / "split.yaml").data.split == "stratified" and "both sides" not in capsys.readouterr().out
    init.init(tmp_path / "wards.csv", None, tmp_path / "label.yaml", ["data.label=patient"])
    settings = config.load(tmp_path / "label.yaml").data
    assert (settings.label, settings.group, settings.split) == ("patient", "", "stratified")
    assert "20 classes" in capsys.readouterr().out
