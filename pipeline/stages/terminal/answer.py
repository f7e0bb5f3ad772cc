"""What all answers to ``--json`` are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def key(what: str) -> Any:
    """A key of an answer, and what stands in it."""
    return Field(description=what)


class Answer(BaseModel):
    """One JSON document. A number that is not finite is null."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)  # of a dozen answers a command gives one
