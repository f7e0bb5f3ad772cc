"""The programs of docs/python.md run in their order, and its table of extras is that of pyproject.toml."""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page

PAGE = Page("docs/python.md")


def test_the_programs_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/digits.yaml").write_bytes((ROOT / "configs/digits.yaml").read_bytes())
    names: dict[str, object] = {}
    with contextlib.chdir(tmp_path):
        for kind, block in PAGE.blocks:
            if kind == "python":
                exec(compile(block, PAGE.name, "exec"), names)
        printed = capsys.readouterr().out
        assert re.search(r"^0\.\d+ runs/five \d+$", printed, re.MULTILINE)
        assert re.search(r"^20 0\.01 \{'loss': ", printed, re.MULTILINE)
        assert re.search(r"^\['\d' '\d' '\d'\] \(3, 10\) \('0', ", printed, re.MULTILINE)


def test_the_table_of_extras_is_that_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.text, re.MULTILINE))
    assert table.keys() == extras.keys() - {"all"}
    for name, packages in table.items():
        asked = {re.split(r"[<>=]", text)[0] for text in extras[name]} - {"protobuf"}  # which onnx brings
        assert set(packages.split(", ")) == asked
