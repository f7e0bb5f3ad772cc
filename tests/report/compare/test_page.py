"""The page holds what was compared, asks for nothing else, and no name in it becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.report.compare import chart, groups, page, verdicts
from tests.report.compare.runs import evaluated, hits

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}\u202e\U0001f469"


class Seen(HTMLParser):
    """The tags of a page, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open += [] if tag in ("meta", "link", "br", "line", "polyline") else [tag]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("polyline", "line"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def written(*folders: Path, command: str = "compare") -> Seen:
    compared = groups.of(groups.named(folders))
    return Seen(page.render(compared, verdicts.verdicts(compared), verdicts.notes(compared), command))


def test_the_page_says_what_differs_which_is_better_and_draws_each_run(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "small", hits(200, range(100)), "model.hidden=8")
    other = evaluated(tmp_path / "large", hits(200, range(10)), "model.hidden=32")
    seen = written(one, other, command="compare small large")
    assert not seen.open and "large is better" in seen.words and "p < 0.0001" in seen.words
    assert "model.hidden" in seen.words and "model.cell" not in seen.words, "differences only"
    assert seen.words.count("best") >= 3 and "compare small large" in seen.words
    curves = [value for name, value in seen.attributes if name == "points"]
    assert len(curves) == 2 + 3 * 2, "a key and three drawings for each"
    assert "Accuracy on the valid split over epochs; small ends at 0.6250; large ends at 0.6250" in dict.fromkeys(
        value for name, value in seen.attributes if name == "aria-label"
    )


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    seen = written(evaluated(tmp_path / "a", hits(9, ())), evaluated(tmp_path / "b", hits(9, ()), "run.seed=5"))
    assert not {"script", "img", "iframe", "object", "form", "base", "use"} & set(seen.tags)
    loaded = [value for name, value in seen.attributes if name in ("src", "href", "srcset", "action", "xlink:href")]
    assert loaded == ["data:,"]
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert any(value and value.startswith("default-src 'none'") for _, value in seen.attributes)


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "a", hits(9, (1,)))
    hostile = folder.rename(tmp_path / HOSTILE.replace("/", "|"))
    tags = f"data.prepared={tmp_path}"
    other = evaluated(tmp_path / ("b" * 200), hits(9, ()), tags, "model.cell=gru")
    seen = written(hostile, other, command=HOSTILE * 500)
    assert "script" not in seen.tags and "<script>alert(1)" in seen.words and "{{ 7*7 }}" in seen.words
    assert "\u202e" not in seen.words and "\\u202e" in seen.words and "\U0001f469" in seen.words
    assert "..." in seen.words, "what is long is cut"


def test_runs_without_a_record_have_no_drawing(tmp_path: Path) -> None:
    for name in "ab":
        (evaluated(tmp_path / name, hits(9, ()), f"model.hidden={ord(name)}") / "metrics.jsonl").unlink()
    assert "Nothing was recorded" in written(tmp_path / "a", tmp_path / "b").words


NUMBERS = st.floats(-1e12, 1e12)


@example([[(0.0, 0.0), (5e-324, 5e-324)]])
@example([[(1.0, 0.5)], [(1.0, 0.5000000000000001)]])
@given(st.lists(st.lists(st.tuples(st.floats(0, 1e6), NUMBERS), min_size=1, max_size=20), min_size=1, max_size=3))
def test_each_curve_lies_within_the_axes(curves: list[list[tuple[float, float]]]) -> None:
    drawn = chart.chart("x", [(number, "n", points) for number, points in enumerate(curves)])
    for line in drawn.lines:
        for pair in line.points.split():
            x, y = map(float, pair.split(","))
            assert chart.LEFT <= x <= chart.WIDTH - chart.RIGHT and chart.TOP <= y <= chart.HEIGHT - chart.BOTTOM
    for place in [tick.place for tick in drawn.x]:
        assert chart.LEFT <= place <= chart.WIDTH - chart.RIGHT


def test_long_curves_are_thinned_and_keep_their_last_point() -> None:
    points = [(float(step), float(step % 7)) for step in range(100_001)]
    (line,) = chart.chart("x", [(0, "n", points)]).lines
    assert len(line.points.split()) <= chart.MOST + 1
    assert line.points.split()[-1].startswith(f"{chart.WIDTH - chart.RIGHT:.1f},")


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.13, 0.61, [0.2, 0.3, 0.4, 0.5, 0.6]), (-3, 3, [-3, -2, -1, 0, 1, 2, 3])],
)
def test_ticks_are_round_numbers(low: float, high: float, found: list[float]) -> None:
    assert chart.ticks(low, high) == pytest.approx(found)
