"""Runs that reports are made of: as a user makes them, trained for a few seconds."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.launching import ROOT, succeed
from tests.support.raw_files import MNIST, put

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "\"'><img src=x onerror=\"document.title='owned'\">",
    "עברית ثلاثة 3",
    "😀 &amp; {{ 7 * 7 }} ${8*8}",
    "long" * 2500,
)


def made(folder: Path, *arguments: str) -> Path:
    """The run folder of a configuration, trained, evaluated, exported and reported."""
    run = str(folder / "run")
    settings = (*arguments, f"run.dir={run}", f"data.prepared={folder / 'prepared'}", "track.backends=[]")
    succeed("prepare", "--config", *settings, cwd=folder)
    succeed("train", "--config", *settings, cwd=folder)
    for command in ("evaluate", "export", "report"):
        succeed(command, "--run", run, cwd=folder)
    return Path(run)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on scikit-learn's digits that knows them well."""
    return made(tmp_path_factory.mktemp("digits"), str(ROOT / "configs/digits.yaml"), "train.epochs=20")


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on series of unequal lengths with missing values, whose classes and channels have hostile names."""
    folder, random = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    rows = []
    for number in range(120):
        label, steps = number % len(HOSTILE), int(random.integers(6, 19))
        wave = np.sin(np.arange(steps) * (label + 1) / 3) + random.normal(0, 0.2, steps)
        for step in range(steps):
            gap = None if random.random() < 0.05 else float(random.normal())
            rows.append((number, step, float(wave[step]), gap, HOSTILE[label]))
    names = ["id", "time", HOSTILE[0], HOSTILE[1], "label"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "own.csv")
    text = "data: {source: csv, path: own.csv, missing: mask}\nmodel: {hidden: 12, bidirectional: true, pooling: attention}\n"
    (folder / "own.yaml").write_text(text + "train: {batch: 16, epochs: 3, log_every: 1}\n")
    return made(folder, "own.yaml")


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a part of MNIST, whose four files lie in the folder that the environment variable ``MNIST`` names."""
    raw = os.environ.get("MNIST")
    if not raw:
        pytest.skip("MNIST names no folder of its four files")
    folder = tmp_path_factory.mktemp("mnist")
    arrays = []
    for number, name in enumerate(MNIST):
        read = gzip.decompress(Path(raw, f"{name}.gz").read_bytes())
        shape = np.frombuffer(read, ">i4", read[3], 4)
        arrays.append(np.frombuffer(read, np.uint8, offset=4 + 4 * read[3]).reshape(shape)[: 20_000 if number < 2 else 2_000])
    put(folder / "raw", arrays, suffix="")
    return made(folder, str(ROOT / "configs/mnist.yaml"), "data.root=raw", "data.validation=1000")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's own Chromium. Without one the tests of pages are skipped, not where REPORT_BROWSER says ``required``."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        assert os.environ.get("REPORT_BROWSER") != "required", "there is no Chromium; .ci/run installs it"
        pytest.skip("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in a tab of its own, and what it said and asked for."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, report: Path) -> Page:
        """The page of a report, once its model runs."""
        self.page.goto(report.as_uri())
        self.page.wait_for_function("() => window.lab && window.lab.stops")
        return self.page


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """``opened(**options)``: a tab with the options of a Playwright context; none may have said a word or asked for more
    than its file."""
    tabs: list[Opened] = []

    def make(**options: Any) -> Opened:
        tabs.append(Opened(browser, **options))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.page.context.close()
        assert tab.said == [] and len(tab.asked) <= 1, (tab.said, tab.asked)
