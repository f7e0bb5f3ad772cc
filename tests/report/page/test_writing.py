"""A page is one file that asks for nothing, and no text in it is markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.report.page import shown, writing
from tests.report.conftest import HOSTILE


class Elements(HTMLParser):
    """The elements of a page, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def embedded(text: str) -> dict[str, object]:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("text", [*HOSTILE, "\u202eturned\u2066and\u2028lines\udcff\x1b]0;"])
def test_json_of_any_text_stays_within_its_element(text: str) -> None:
    said = shown.json_text(shown.plain({"name": text, text: [text]}))
    assert not re.search("[<>&\u2028\u2029]", said)
    assert json.loads(said)["name"].startswith(shown.short(text, 50)[:40])


def test_a_number_that_is_not_finite_is_null_and_bytes_are_whole() -> None:
    encoded = shown.encoded(shown.np.arange(3000, dtype=shown.np.float32))
    assert shown.plain([float("nan"), float("inf"), encoded]) == [None, None, str(encoded)]
    assert len(shown.decoded(encoded)) == 12_000


def test_a_report_of_hostile_names_has_the_elements_of_any_other_and_asks_for_nothing(series: Path, digits: Path) -> None:
    hostile, plain = (Elements((run / "report.html").read_text()) for run in (series, digits))
    for page in (hostile, plain):
        assert page.tags.count("script") == 2 and page.tags.count("style") == 1
        assert not set(page.tags) & {"img", "iframe", "link", "object", "base", "form"}
        assert not [pair for pair in page.attributes if pair[0] in ("src", "srcset", "style") or pair[0].startswith("on")]
        links = [value for name, value in page.attributes if name == "href"]
        assert links and all(value and value.startswith("#") for value in links)
    said = " ".join(hostile.texts)
    for name in HOSTILE:
        assert shown.short(name, shown.LONGEST)[:200] in said, "as text"
    assert embedded((series / "report.html").read_text())["classes"]


def test_every_script_and_style_is_named_by_its_hash_in_the_policy(digits: Path) -> None:
    text = (digits / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy and policy[1].startswith("default-src &#39;none&#39;") and "unsafe" not in policy[1]
    assert policy[1].count("sha256-") == 2
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)", re.sub(r'id="report-data">.*?</script>', "", text, flags=re.DOTALL)
    )


def test_the_assets_are_those_of_the_package(tmp_path: Path) -> None:
    assert {path.name for path in writing.ASSETS.iterdir()} == {*writing.SCRIPTS, "page.css", "page.html.jinja"}
