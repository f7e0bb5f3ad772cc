"""The report in a real browser: nothing is asked for, everything answers, and readers of all kinds can use it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.report.conftest import HOSTILE, Opened

THREE = [(0.32, 0.22), (0.42, 0.14), (0.56, 0.14), (0.64, 0.24), (0.62, 0.36), (0.46, 0.46), (0.62, 0.54), (0.68, 0.68)]
THREE += [(0.6, 0.82), (0.44, 0.86), (0.32, 0.78)]
RUNS = ("digits", "series", "mnist")


@pytest.fixture(params=RUNS)
def report(request: pytest.FixtureRequest) -> Path:
    """The report of each run."""
    return Path(request.getfixturevalue(request.param)) / "report.html"


def probabilities(page: Page) -> list[str]:
    """What the bars say of each class."""
    return page.locator(".says .value").all_inner_texts()


def test_a_report_opens_without_a_word_and_its_logits_are_those_of_the_export(
    report: Path, opened: Callable[..., Opened]
) -> None:
    page = opened().open(report)
    assert "that of model.onnx" in page.inner_text("#check")
    assert float(page.get_attribute("#check", "data-difference") or "nan") <= 1e-4
    assert not page.get_by_text("could not be drawn").count()
    assert report.stat().st_size < 1_000_000


def test_a_page_that_computes_other_logits_says_so_and_shows_no_model(
    digits: Path, opened: Callable[..., Opened], tmp_path: Path
) -> None:
    text = (digits / "report.html").read_text()
    (tmp_path / "report.html").write_text(re.sub(r'"logits":\[\[[-\d.]+', '"logits":[[99', text, count=1))
    tab = opened()
    tab.page.goto((tmp_path / "report.html").as_uri())
    tab.page.get_by_text("This page computes other logits than model.onnx").wait_for()
    assert not tab.page.locator("#lab *").count()


def test_the_slider_moves_the_probabilities_and_says_so(report: Path, opened: Callable[..., Opened]) -> None:
    page = opened().open(report)
    at_the_end = probabilities(page)
    page.focus("#step")
    page.keyboard.press("Home")
    assert probabilities(page) != at_the_end
    assert page.get_attribute("#step", "aria-valuetext", timeout=1000).startswith("step 1 of ")
    page.keyboard.press("End")
    assert probabilities(page) == at_the_end


def test_a_cell_opens_its_examples_and_they_open_in_the_model(digits: Path, opened: Callable[..., Opened]) -> None:
    matrix = json.loads((digits / "eval/metrics.json").read_text())["confusion_matrix"]
    label, guess = next((a, b) for a in range(10) for b in range(10) if a != b and matrix[a][b])
    page = opened().open(digits / "report.html")
    cell = page.locator(f'[data-cell="{label}-{guess}"]')
    cell.focus()
    page.keyboard.press("Enter")
    cards = page.locator("#opened .card")
    assert cards.count() == matrix[label][guess] == int(cell.inner_text())
    cards.first.click()
    assert f"The label is {label}." in page.inner_text(".told")
    assert page.locator(".told .final").inner_text() == str(guess)
    cell.click()
    assert page.locator("#opened .card").count() == 0, "and it closes again"


@pytest.mark.parametrize("run", ["digits", "mnist"])
def test_a_drawn_three_is_a_three(run: str, request: pytest.FixtureRequest, opened: Callable[..., Opened]) -> None:
    page = opened().open(Path(request.getfixturevalue(run)) / "report.html")
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('.told').textContent.includes('It is yours')")
    page.wait_for_timeout(200)
    assert page.locator(".told .final").inner_text() == "3"


def test_a_bent_channel_is_read_at_once_by_mouse_and_by_keyboard(series: Path, opened: Callable[..., Opened]) -> None:
    page = opened().open(series / "report.html")
    former = probabilities(page)
    page.locator("#bend svg").scroll_into_view_if_needed()
    box = page.locator("#bend svg").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5, steps=5)
    page.mouse.up()
    bent = probabilities(page)
    assert bent != former and "It is yours" in page.inner_text(".told")
    page.get_by_role("button", name="reset").click()
    assert probabilities(page) == former
    for _ in range(4):
        page.get_by_role("button", name="Raise the channel").press("Enter")
    assert probabilities(page) != former


def test_charts_zoom_by_mouse_and_by_keyboard(digits: Path, opened: Callable[..., Opened]) -> None:
    page = opened().open(digits / "report.html")
    lines = "() => [...document.querySelectorAll('#charts path.line')].map((line) => line.getAttribute('d'))"
    whole = page.evaluate(lines)
    assert len(whole) == 5, "loss and accuracy of both splits, the learning rate"
    page.get_by_role("button", name="Zoom in").press("Enter")
    assert page.evaluate(lines) != whole
    page.keyboard.press("Escape")
    assert page.evaluate(lines) == whole
    chart = page.locator("#charts svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=3)
    page.mouse.up()
    assert all(now != then for now, then in zip(page.evaluate(lines), whole, strict=True)), "all of them together"


def test_hostile_names_are_texts(series: Path, opened: Callable[..., Opened]) -> None:
    page = opened().open(series / "report.html")
    page.locator("[data-cell]").first.click()
    page.locator("#opened .card").first.click()
    assert page.title() == "run – training report"
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0
    shown = page.inner_text("main")
    assert all(name[:200] in shown for name in HOSTILE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the long one does not push the page wide"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_no_serious_fault_of_access_and_nothing_is_wider_than_the_screen(
    report: Path, opened: Callable[..., Opened], scheme: str, width: int, tmp_path: Path
) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True).open(report)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.locator("[data-cell]").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page).response["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    assert not [(fault["id"], [node["html"][:200] for node in fault["nodes"][:3]]) for fault in serious]
    picture = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert len(picture) > 20_000


def test_the_page_is_printed_with_all_its_parts(digits: Path, opened: Callable[..., Opened]) -> None:
    page = opened().open(digits / "report.html")
    page.emulate_media(media="print")
    assert page.locator(".matrix").is_visible() and not page.locator("nav").is_visible()
    assert len(page.pdf(format="A4")) > 20_000


@pytest.mark.parametrize("run", ["digits", "series"])
def test_an_example_says_why_and_one_without_an_attribution_says_how_to_get_it(
    run: str, request: pytest.FixtureRequest, opened: Callable[..., Opened]
) -> None:
    page = opened().open(Path(request.getfixturevalue(run)) / "report.html")
    page.wait_for_selector(".reasons .reason")
    explained = page.evaluate("() => Object.keys(D.explain)")
    others = page.evaluate("() => Object.keys(D.examples).filter((name) => !(name in D.explain))")
    page.select_option("#example", explained[1])
    assert "What speaks for" in page.inner_text(".reasons") and "They add up to" in page.inner_text(".reasons")
    assert page.locator(".reasons path.line").count() == 3
    page.select_option("#example", others[0])
    assert "pipeline explain --run" in page.inner_text(".reasons") and not page.locator(".reasons .reason").is_visible()
