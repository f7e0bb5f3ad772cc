"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

MOST = 2**31 - 1  # of whatever is counted: what torch, NumPy and file formats can count too
ShareOrCount = Annotated[int, Field(ge=0, le=MOST)] | Annotated[float, Field(ge=0, lt=1)]

CountOrAuto = Annotated[int, Field(ge=0, le=MOST)] | Literal["auto"]


class Section(BaseModel):
    """What all sections have in common: strict types, no unknown keys, no changes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _of_characters(cls, value: Any) -> Any:
        """Refuse halves of characters, as the names of files can hold them: no file of a run could."""
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise PydanticCustomError("encoding", "text that UTF-8 can hold")
        return value

    def is_chosen(self, key: str) -> bool:
        """Whether the user gave ``key`` a value. A resolved section, in which each key stands, does not say so of any."""
        return key in self.model_fields_set and not self.model_fields_set >= type(self).model_fields.keys()

    def of(self, kind: type[Section]) -> dict[str, Any]:
        """The keys that ``kind`` has too, with their values here: what another model of the same keys is made with."""
        return {name: getattr(self, name) for name in kind.model_fields}


def field(default: Any, what: str, **limits: Any) -> Any:
    """A key's default, its description in the reference, and its limits; a whole number has one whether it is given or not."""
    if type(default) is int and not {"le", "lt"} & limits.keys():
        limits["le"] = MOST
    return Field(default, description=what, **limits)
