"""What the tests of pictures share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.plots.drawing import Drawn


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The figures that are saved during a test, as they were drawn."""
    from matplotlib.figure import Figure

    figures: Drawn = []
    save = Figure.savefig

    def remember(figure: Figure, *arguments: Any, **options: Any) -> None:
        save(figure, *arguments, **options)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


@pytest.fixture
def no_space(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it fills the disk."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    return lambda: monkeypatch.setattr(Path, "replace", full)
