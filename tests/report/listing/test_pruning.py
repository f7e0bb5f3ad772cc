"""A run is deleted if it was named, is a run, is not running, and is not reached through a link; else nothing is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.report.listing import facts, found, pruning
from pipeline.run.folder import writer
from tests.report.listing.folders import make


def test_the_best_run_of_each_task_is_kept_and_so_is_what_is_used(tmp_path: Path) -> None:
    make(tmp_path / "best", values=(0.9,))
    make(tmp_path / "worse", values=(0.8,))
    make(tmp_path / "exported", values=(0.7,))
    (tmp_path / "exported/export").mkdir()
    make(tmp_path / "stopped", values=(0.6,), finished=False)
    make(tmp_path / "new", values=(), finished=False, test=None)
    make(tmp_path / "held", values=(0.5,))
    make(tmp_path / "seeds", values=(), finished=False)
    make(tmp_path / "seeds/seed-1", values=(0.1,))
    make(tmp_path / "other", "data.source=mnist", values=(0.1,))
    make(tmp_path / "damaged", values=(0.1,))
    (tmp_path / "damaged/config.yaml").write_text("model: [")
    with writer(tmp_path / "held"):
        verdicts = pruning.verdicts(facts.all_of(list(found.within(tmp_path))))
    why = {one.run.folder.name: one.why for one in verdicts if not one.keep}
    assert set(why) == {"worse", "stopped", "new"}, "and the damaged one is in neither"
    assert "0.8000" in why["worse"] and "0.9000" in why["worse"] and "after step 10 of 30" in why["stopped"]
    assert {one.run.folder.name for one in verdicts if one.keep} == {"best", "exported", "held", "seeds", "other"}


def test_a_run_as_good_as_the_best_is_kept(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make(tmp_path / name, values=(1.0,))
    found_ = pruning.verdicts(facts.all_of(list(found.within(tmp_path))))
    assert all(verdict.keep for verdict in found_) and sum("as good as" in verdict.why for verdict in found_) == 1


def test_a_run_is_deleted_whole_and_what_its_links_lead_to_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "runs/a")
    make(tmp_path / "runs/a/seed-1")
    kept = make(tmp_path / "kept")
    (folder / "link").symlink_to(kept)
    (folder / "seed-2").symlink_to(kept)
    before = sorted(kept.rglob("*"))
    assert pruning.delete(folder) > 0
    assert list((tmp_path / "runs").iterdir()) == [] and sorted(kept.rglob("*")) == before


def test_nothing_is_deleted_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "disk/a")
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    (tmp_path / "b").symlink_to(tmp_path / "disk/a")
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a", "b", "runs/../b"):
        with pytest.raises(UserError, match=f"link.*{tmp_path / 'disk/a'}"):
            pruning.delete(Path(folder))
    assert (tmp_path / "disk/a/config.yaml").is_file()


def test_what_is_no_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/config.yaml").write_text("name: x\n")
    (tmp_path / "tricky").mkdir()
    make(tmp_path / "a")
    (tmp_path / "tricky/config.yaml").symlink_to(tmp_path / "a/config.yaml")
    for name in ("photos", "foreign", "tricky", "none", "a/config.yaml"):
        with pytest.raises(UserError):
            pruning.delete(tmp_path / name)
    (tmp_path / "a/here").mkdir()
    monkeypatch.chdir(tmp_path / "a/here")
    with pytest.raises(UserError, match="started in it"):
        pruning.delete(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "foreign", "photos", "tricky"]


@pytest.mark.parametrize("held", ["a", "a/seed-1"])
def test_a_run_that_another_process_writes_to_is_not_deleted_nor_the_run_around_it(tmp_path: Path, held: str) -> None:
    make(tmp_path / "a")
    make(tmp_path / "a/seed-1")
    with writer(tmp_path / held), pytest.raises(UserError, match="another process is writing"):
        pruning.delete(tmp_path / "a")
    assert (tmp_path / "a/seed-1/config.yaml").is_file()
