"""The page of a comparison in a real browser: nothing is asked for, nothing is said, and readers of all kinds can use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from pipeline.report.compare import groups, page, verdicts
from tests.report.compare.runs import evaluated, hits
from tests.report.conftest import Opened

FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_page_opens_without_a_word_and_can_be_read_by_all(tmp_path: Path, opened: Callable[..., Opened], form: str) -> None:
    folders = [
        evaluated(tmp_path / f"recipe {number}", hits(200, range(9 * number)), f"optim.lr=0.{number + 1}")
        for number in range(9)
    ]
    folders.append(
        evaluated(tmp_path / ("</title><script>document.title='owned'</script>" * 3).replace("/", "|"), hits(200, ()))
    )
    compared = groups.of(groups.named(folders))
    text = page.render(compared, verdicts.verdicts(compared), verdicts.notes(compared), "compare " + "long " * 200)
    (tmp_path / "compare.html").write_text(text, encoding="utf-8")
    tab = opened(**FORMS[form])
    tab.page.goto((tmp_path / "compare.html").as_uri())
    assert tab.page.title() == "Comparison of 10 runs"
    assert tab.page.locator("svg polyline").count() == 10 + 3 * 10
    assert tab.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing hangs out"
    found = Axe().run(tab.page).response["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"][:3]]) for fault in serious]
