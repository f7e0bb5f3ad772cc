"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

ShareOrCount = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """What all sections have in common: strict types, no unknown keys, no changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    def of(self, kind: type[Section]) -> dict[str, Any]:
        """The keys that ``kind`` has too, with their values here: what another model of the same keys is made with."""
        return {name: getattr(self, name) for name in kind.model_fields}


def field(default: Any, what: str, **limits: Any) -> Any:
    """A key's default, its description in the reference, and its limits."""
    return Field(default, description=what, **limits)
