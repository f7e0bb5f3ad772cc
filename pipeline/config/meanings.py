"""What each key takes, said from its declaration: the help of a key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipeline.config import names
from pipeline.errors import ConfigError

LARGE = 2**20  # a limit beyond which nobody gets


@dataclass(frozen=True)
class Meaning:
    """One key: its whole name, default, what values it takes, and what for; ``choices``: all of them, where they are few."""

    name: str
    default: str
    takes: str
    what: str
    choices: tuple[str, ...]


def meanings(name: str = "") -> list[Meaning]:
    """The keys of a section, the key ``section.key``, those called ``name`` in any section, or all without a name.

    If there are none, those that have ``name`` in their names or in what is said of them. Raises ConfigError with what may
    have been meant if there are none either.
    """
    words = name.strip().lstrip("-").replace("-", " ").replace("_", " ").rstrip(".").casefold()
    plain = words.replace(" ", "_")
    everything = [meaning for section in names.sections() for meaning in _of(section)]
    if plain in names.sections():
        return _of(plain)
    exact = [meaning for meaning in everything if meaning.name in {plain, *names.homes(plain)}]
    found = exact or [key for key in everything if plain in key.name or words in key.what.casefold()]
    found = found if plain or not name else []
    if not found:
        near = names.nearest(tuple(plain.split(".")))
        more = f"did you mean {near}?" if near else f"the sections are {', '.join(names.sections())}"
        raise ConfigError(f"{name}: no section and no key; {more}")
    return found


def purposes() -> dict[str, str]:
    """What each section is for, in one sentence without its full stop."""
    sections = names.sections().items()
    return {name: " ".join((section.__doc__ or "").partition(".")[0].split()) for name, section in sections}


def _of(section: str) -> list[Meaning]:
    schema = names.sections()[section].model_json_schema()["properties"]
    fields = names.fields(section).items()
    return [
        Meaning(
            f"{section}.{key}",
            shown(field.default),
            _takes(schema[key]),
            field.description or "",
            tuple(_choices(schema[key])),
        )
        for key, field in fields
    ]


def shown(default: Any) -> str:
    """A default value as one would type it."""
    return '""' if default == "" else json.dumps(default).replace('"', "")


def _choices(schema: dict[str, Any]) -> list[str]:
    if schema.get("type") == "boolean":
        return ["true", "false"]
    return [str(value) for value in schema.get("enum", schema.get("items", {}).get("enum", ()))]


def _takes(schema: dict[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "anyOf" in schema:
        return ", or ".join(_takes(one) for one in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type")
    if kind == "array":
        return f"list, such as [a, b], of {_takes(schema['items']).removeprefix('one of ')}"
    if kind == "string":
        return "text such as '2 epochs'" if "pattern" in schema else "text"
    if kind == "boolean":
        return "true or false"
    words = "whole number" if kind == "integer" else "number"
    limits = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}"}
    within = [text.format(schema[limit]) for limit, text in limits.items() if limit in schema and schema[limit] < LARGE]
    return f"{words}, {' and '.join(within)}" if within else words
