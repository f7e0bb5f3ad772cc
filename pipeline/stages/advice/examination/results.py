"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Config

Kind = Literal["fact", "promise", "speed"]
Status = Literal["pass", "fail", "not here", "told", "error"]


@dataclass(frozen=True)
class Found:
    """What a check found: a sentence, numbers by name, and whether a promise holds; what to do if it does not, or at all."""

    said: str
    values: dict[str, Any] = field(default_factory=dict)
    holds: bool = True
    do: str = ""
    warnings: tuple[str, ...] = ()


class NotHere(Exception):
    """This machine has not what a check is about: why, and what to do."""

    def __init__(self, why: str, do: str = "") -> None:
        super().__init__(why)
        self.do = do


@dataclass(frozen=True)
class Place:
    """Where checks are made."""

    folder: Path  # where run folders lie, or will
    settings: Config | None = None  # a configuration that the user named


@dataclass(frozen=True)
class Check:
    """A check by its ``name``, which programs go by; ``title``: for people; ``limit``: seconds that it may take."""

    name: str
    kind: Kind
    title: str
    run: Callable[[Place], Found]
    limit: float = 60


@dataclass(frozen=True)
class Result:
    """A check that was made."""

    name: str
    kind: Kind
    title: str
    status: Status
    said: str
    do: str = ""
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def result(check: Check, status: Status, said: str, do: str = "") -> Result:
    """What is said of a check that could not answer."""
    return Result(check.name, check.kind, check.title, status, said, do)


def broken(check: Check, said: str, do: str) -> Result:
    """A check that did not come to its end: a promise counts as broken then."""
    return result(check, "fail" if check.kind == "promise" else "error", said, do)
