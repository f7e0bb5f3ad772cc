"""What docs/data.md shows of a file with a row number and a label that leaks is what is printed."""

from __future__ import annotations

import random
import re
from pathlib import Path

from tests.docs.pages import ROOT
from tests.support.launching import succeed


def test_the_page_shows_what_is_printed_of_a_row_number_and_of_a_leak(tmp_path: Path) -> None:
    chance = random.Random(0)
    rows = ["Unnamed: 0,patient,time,pulse,pressure,code,diagnosis"]
    for n in range(40):
        sick = n % 2
        for t in range(12):
            values = f"{chance.gauss(70 + 5 * sick, 9):.1f},{chance.gauss(120, 9):.1f}"
            rows.append(f"{len(rows) - 1},p{n},{t},{values},{(n + t) % 3 + 3 * sick},{('well', 'sick')[sick]}")
    (tmp_path / "wards.csv").write_text("\n".join(rows) + "\n")
    said = succeed("init", "wards.csv", cwd=tmp_path) + succeed("prepare", "--config", "wards.yaml", cwd=tmp_path)
    page = (ROOT / "docs/data.md").read_text()
    head, shown = re.findall(r"^```text\n(.*?)^```$", page.partition("label that leaks\n")[2], re.MULTILINE | re.DOTALL)[:2]
    assert head.splitlines() == rows[:2]
    assert shown.splitlines() == [
        line for line in said.splitlines() if not re.match(r"written|next|  |samples|report|prep", line)
    ]
