"""What the paths of recordings say: the class, and of whom or what each is."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.data.inspection import roles
from pipeline.data.preparation.folder import prepare
from pipeline.data.prepared import Prepared
from pipeline.deploy import bundle, inputs
from pipeline.errors import DataError, UserError
from pipeline.stages.advice import init
from tests.support.predicting import export_untrained
from tests.support.series_files import npz, read, ts

PERSONS = ("alice", "bob", "carol", "dave")
LAYOUTS = {  # the path of a recording, and what says so
    "class folders": ("{label}/{person}_{take}", "LABEL/GROUP_ANY"),
    "a folder per person in each class": ("{label}/{person}/{take}", "LABEL/GROUP/ANY"),
    "a folder per person": ("{person}/{label}/{take}", "GROUP/LABEL/ANY"),
    "one folder": ("{label}-{person}-{take}", "LABEL-GROUP-ANY"),
    "the person last": ("{label}/rec{take}.{person}", "LABEL/recANY.GROUP"),
}


def values(label: str, person: str, take: int) -> np.ndarray:
    """Three channels of some steps, of no other recording."""
    return np.random.default_rng([len(label), PERSONS.index(person), take]).normal(size=(3 + take, 3)).round(6)


def recordings(folder: Path, form: str, ending: str = ".csv", persons: tuple[str, ...] = PERSONS) -> dict[str, tuple[str, str]]:
    """Two recordings of each person in each class; path -> class and person."""
    made = {}
    for label in ("walk", "run"):
        for person in persons:
            for take in (1, 2):
                name = form.format(label=label, person=person, take=take) + ending
                path, one = folder / name, values(label, person, take)
                path.parent.mkdir(parents=True, exist_ok=True)
                if ending == ".npz":
                    npz(path, s=one)
                elif ending == ".ts":
                    ts(path, [one], None)
                else:
                    path.write_text("x,y,z\n" + "".join(f"{a},{b},{c}\n" for a, b, c in one))
                made[name] = (label, person)
    return made


def made(folder: Path, path: Path, **keys: object) -> Prepared:
    """The folder of recordings as it is prepared."""
    defaults = {"source": "csv", "path": str(path), "prepared": str(folder / "prepared"), "validation": 0, "test": 4}
    return prepare(config.Data(**(defaults | keys)))


@pytest.mark.parametrize("ending", [".csv", ".npz", ".ts"])
@pytest.mark.parametrize("case", LAYOUTS)
def test_the_path_of_a_recording_says_its_class_and_its_person(tmp_path: Path, case: str, ending: str) -> None:
    form, said = LAYOUTS[case]
    expected = recordings(tmp_path / "all", form, ending)
    blocks = read(ending[1:], tmp_path / "all", recordings=said)
    found = {
        block.spot(row).split(": ")[0].removeprefix(f"{tmp_path / 'all'}/"): (block.labels[row], block.groups[row])
        for block in blocks
        for row in range(len(block))
        if block.labels and block.groups
    }
    assert found == expected and len({word for block in blocks for word in block.ids}) == 16
    for block in blocks:
        for row in range(len(block)):
            take = block.lengths[row] - 3
            np.testing.assert_allclose(block.one(row), values(block.labels[row], block.groups[row], take))  # type: ignore[index]


def test_no_person_is_in_two_splits(tmp_path: Path) -> None:
    paths = sorted(recordings(tmp_path / "all", "{label}/{person}_{take}").items())
    data = config.Data(source="csv", path=str(tmp_path / "all"), recordings="LABEL/GROUP_ANY", validation=4, test=4)
    assert data.split == "group"
    prepared = made(tmp_path, tmp_path / "all", recordings="LABEL/GROUP_ANY", validation=4)
    persons = [{paths[row][1][1] for row in prepared.part(name).index.tolist()} for name in prepared.manifest.parts]
    assert [len(some) for some in persons] == [2, 1, 1] and len(set.union(*persons)) == 4
    leaks = made(tmp_path, tmp_path / "all", validation=4)
    assert set.intersection(*({paths[row][1][1] for row in leaks.part(name).index.tolist()} for name in ("train", "test")))


def test_a_person_in_the_test_folder_too_is_refused(tmp_path: Path) -> None:
    recordings(tmp_path / "one", "{label}/{person}_{take}")
    recordings(tmp_path / "two", "{label}/{person}_{take}", persons=("dave",))
    with pytest.raises(DataError, match=r"two/.*dave_1.csv: .*group 'dave' is in .*one too"):
        made(tmp_path, tmp_path / "one", test_path=str(tmp_path / "two"), recordings="LABEL/GROUP_ANY")


def test_a_label_a_step_stays_in_the_files_of_persons(tmp_path: Path) -> None:
    for person in PERSONS:
        rows = "".join(f"{t},{t % 7},{'walk' if t < 20 else 'run'}\n" for t in range(40))
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / "all" / f"{person}.csv").write_text("time,x,label\n" + rows)
    (block,) = read("csv", tmp_path / "all", recordings="GROUP", window=10)
    assert block.groups == tuple(person for person in PERSONS for _ in range(4))
    assert block.labels == ("walk", "walk", "run", "run") * 4 and block.ids[:2] == ("alice.csv:0", "alice.csv:10")


@pytest.mark.parametrize(
    ("name", "said", "match"),
    [
        (
            "walk/alice.csv",
            "LABEL/GROUP_ANY",
            r"walk/alice\.csv: its path below .* is not as data\.recordings = LABEL/GROUP_ANY says",
        ),
        ("walk/more/alice_1.csv", "LABEL/GROUP_ANY", r"more/alice_1\.csv: its path"),
        ("alice_1.csv", "LABEL/GROUP_ANY", r"all/alice_1\.csv: its path"),
    ],
)
def test_a_file_whose_path_says_no_such_thing_is_refused_by_name(tmp_path: Path, name: str, said: str, match: str) -> None:
    recordings(tmp_path / "all", "{label}/{person}_{take}")
    (tmp_path / "all" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "all" / name).write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match=match):
        read("csv", tmp_path / "all", recordings=said)


WRONG = ("LABELGROUP", "LABEL/LABEL", "person", "/LABEL/ANY", "../LABEL", "GROUP_GROUP", "ANY_" * 2000)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_no_path_can_be_read_by_is_refused(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"data\.recordings: expected LABEL and GROUP once at most"):
        config.load(tmp_path / "a.yaml", ["data.source=csv", "data.path=x", f"data.recordings={wrong}"])


def test_one_place_names_the_groups_and_a_file_has_no_path_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"data\.group: GROUP in data\.recordings says it already"):
        config.load(tmp_path / "a.yaml", ["data.source=csv", "data.path=x", "data.recordings=LABEL/GROUP", "data.group=who"])
    with pytest.raises(UserError, match=r"data\.recordings: is for series"):
        config.load(tmp_path / "a.yaml", ["data.recordings=LABEL/GROUP"])
    (tmp_path / "a.csv").write_text("id,x,label\n0,1,a\n1,2,b\n")
    with pytest.raises(DataError, match=r"a\.csv: is a file, and data\.recordings is of a folder"):
        read("csv", tmp_path / "a.csv", recordings="LABEL/GROUP")


@pytest.mark.parametrize("name", [b"w\xe4lk/alice_1.csv", b"walk/b\xf6b_1.csv"])
@pytest.mark.parametrize("said", ["", "LABEL/GROUP_ANY"])
def test_a_path_that_is_not_utf_8_is_refused_by_name(tmp_path: Path, name: bytes, said: str) -> None:
    recordings(tmp_path / "all", "{label}/{person}_{take}")
    path = tmp_path / "all" / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: its path is not UTF-8"):
        read("csv", tmp_path / "all", recordings=said)


def test_a_channel_of_any_name_stays_beside_what_paths_say(tmp_path: Path) -> None:
    for person in ("alice", "bob"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / f"{person}_1.csv").write_text("GROUP,GROUP_,x\n1,2,3\n")
    (block,) = read("csv", tmp_path, recordings="LABEL/GROUP_ANY")
    assert block.channels == ("GROUP", "GROUP_", "x") and block.groups == ("alice", "bob")


def test_no_path_takes_long_to_be_read(tmp_path: Path) -> None:
    (tmp_path / ("a" * 250)).mkdir()
    (tmp_path / ("a" * 250) / ("a" * 250 + ".csv")).write_text("x\n1\n")
    begin = time.monotonic()
    with pytest.raises(DataError, match="its path below"):
        read("csv", tmp_path, recordings="a".join(["ANY"] * 40) + "b")
    assert time.monotonic() - begin < 5


def test_predict_reads_such_a_folder_and_recordings_of_nobody_known(tmp_path: Path) -> None:
    recordings(tmp_path / "all", "{person}/{label}/{take}")
    keys = ("data.source=csv", f"data.path={tmp_path / 'all'}", "data.validation=0", f"data.prepared={tmp_path}/p")
    export_untrained(tmp_path, *keys, "data.recordings=GROUP/LABEL/ANY")
    model = bundle.load(tmp_path / "export")
    (tmp_path / "new").mkdir()
    for number, file in enumerate(sorted((tmp_path / "all").rglob("*.csv"))):
        (tmp_path / "new" / f"{number:02}.csv").write_bytes(file.read_bytes())
    with contextlib.chdir(tmp_path):
        known, new = (list(inputs.read(tmp_path / name, "csv", model.facts, model.features, {})) for name in ("all", "new"))
    assert [label for block in known for label in block.labels or ()] == ["run", "run", "walk", "walk"] * 4
    assert [block.labels for block in new] == [None]
    np.testing.assert_array_equal(*(np.concatenate([block.values for block in blocks]) for blocks in (known, new)))
    with contextlib.chdir(tmp_path):
        for words in ({}, {"recordings": "LABEL/ANY/ANY"}):  # the last takes persons for classes, as it was told to
            (found, *_) = inputs.read(tmp_path / "all", "csv", model.facts, model.features, words)
            assert (found.labels or ())[0] == ("alice" if words else "run")
        with pytest.raises(UserError, match=r"--recordings LABELANY: expected LABEL and GROUP once at most"):
            list(inputs.read(tmp_path / "all", "csv", model.facts, model.features, {"recordings": "LABELANY"}))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            LAYOUTS["class folders"][0],
            "alice, bob, carol, dave): if these are persons or devices, type data.recordings=LABEL/GROUP_ANY",
        ),
        (LAYOUTS["the person last"][0], "data.recordings=LABEL/ANY.GROUP"),
        ("{person}/{label}/{take}", "if they are the classes, data.recordings=GROUP/LABEL/ANY"),
        ("{label}/{person} take {take}", "data.recordings='LABEL/GROUP ANY ANY'"),
        (LAYOUTS["a folder per person in each class"][0], "data.recordings=LABEL/GROUP/ANY, and no one is in two splits then"),
        ("{label}/{person}/x/{take}", "if they are the classes, data.recordings=GROUP/LABEL/ANY/ANY"),
        ("{label}/{label}_{take}", ""),  # the class once more, and a count
        ("{label}/rec{take}", ""),
        ("{label}/{take}", ""),
        ("{label}/subject{take}", "data.recordings=LABEL/GROUP"),
    ],
)
def test_init_proposes_it_where_words_come_again_in_several_classes(tmp_path: Path, names: str, said: str) -> None:
    recordings(tmp_path / "all", names)
    found = [line for line in roles.find("csv", tmp_path / "all").doubts if "data.recordings" in line]
    assert [said in line for line in found] == [True] * bool(said), found


def test_what_init_proposes_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recordings(tmp_path / "gait", "{label}/{person}_{take}")
    init.init(Path("gait"), None, None)
    assert "data.recordings=LABEL/GROUP_ANY" in (tmp_path / "gait.yaml").read_text()
    data = config.load("gait.yaml", ["data.recordings=LABEL/GROUP_ANY"]).data
    assert data.split == "group" and len(prepare(data).manifest.parts["test"].class_counts) == 2
