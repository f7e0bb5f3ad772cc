"""YAML file, or dictionary, + overrides -> ``Config``, and back.

``load`` reads a file, lays ``section.key=value`` overrides on top and reports every mistake at once, each with its
file and line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config import meanings, messages, names, strict_yaml
from pipeline.config.messages import without_secret
from pipeline.config.sections import Config
from pipeline.errors import ConfigError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` with ``section.key=value`` overrides on top.

    Raises ConfigError that lists every fault as ``file:line: section.key: what was expected``.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path}: cannot be read: No such file or directory{messages.near_file(path)}")
    values, lines = strict_yaml.read(path)
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}:1: expected sections ({', '.join(Config.model_fields)}), got {without_secret(repr(values))}")
    places = {key: f"{path}:{line}" for key, line in lines.items()}
    return _resolved(values or {}, places, overrides, str(path), f"runs/{path.stem}")


def load_dumped(path: Path) -> Config:
    """``load`` of what ``dump`` wrote, as config.yaml of a run, faster for many of them; of anything else ``load`` itself."""
    try:
        return Config.model_validate(strict_yaml.read_dumped(path))
    except (OSError, ValueError):
        return load(path)


def make(sections: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration in a dictionary of sections, which is not changed, with overrides on top as in ``load``.

    A path may be an object. Raises ConfigError that lists every fault, and for sections without ``run.dir``.
    """
    values = {
        name: {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in section.items()}
        if isinstance(section, Mapping)
        else section
        for name, section in sections.items()
    }
    made = _resolved(values, {}, overrides, "the configuration", "")
    if not made.run.dir:
        raise ConfigError("the configuration: run.dir: no file gives the run its name; set it, such as runs/NAME")
    return made


def _resolved(
    values: dict[str, Any], places: dict[strict_yaml.Key, str], overrides: Sequence[str], name: str, run: str
) -> Config:
    """``name``: what messages call a place that is not in ``places``. ``run``: the run folder, where none is said."""
    values = {name: {} if section is None else section for name, section in values.items()}
    for text in overrides:
        key, value = _override(text)
        places[key] = f"command line: {without_secret(text)}"
        section = values.setdefault(key[0], {})
        places.setdefault(key[:1], places[key])
        if isinstance(section, dict):
            section[key[1]] = value
    unnamed = isinstance(section := values.setdefault("run", {}), dict) and section.get("dir") in (None, "")
    if unnamed:
        section["dir"] = run
    try:
        made = Config.model_validate(values)
        if unnamed:  # a folder that nobody named may become another one, if that holds another run
            made.run.model_fields_set.discard("dir")
        return made
    except ValidationError as error:
        raise ConfigError("\n".join(messages.faults(error, places, name))) from None


def _override(text: str) -> tuple[strict_yaml.Key, Any]:
    name, equals, value = text.partition("=")
    place = f"command line: {without_secret(text)}"
    if not equals:
        raise ConfigError(f"{place}: expected section.key=value, such as optim.lr=0.001")
    key = names.spelled(name, place)
    if value in ("True", "False") and names.is_switch(".".join(key)):  # as Python writes them, and so wandb's agent
        value = value.lower()
    return key, strict_yaml.parse(value, place)[0]


def dump(config: Config) -> str:
    """The resolved configuration as YAML; ``load`` gives the same configuration back."""
    return strict_yaml.dump(config.model_dump(mode="json"))


def changed(config: Config) -> dict[str, dict[str, Any]]:
    """The keys whose values are not what they would be if nobody had set them, by section, as plain values."""
    found: dict[str, dict[str, Any]] = {}
    values = config.model_dump(mode="json")
    for name, section in config:
        for key, field in type(section).model_fields.items():
            value, others = getattr(section, key), section.model_dump(exclude={key})
            # what a validator fills in, as it does for auto, is a default too
            if value != field.default and value != getattr(type(section).model_validate(others), key):
                found.setdefault(name, {})[key] = values[name][key]
    return found


def differences(one: Config, other: Config, ignore: Sequence[str] = ()) -> list[str]:
    """``section.key: value in one -> value in other`` for every key that differs."""
    return [
        f"{name}.{key}: {value!r} -> {getattr(getattr(other, name), key)!r}"
        for name, section in one
        for key, value in section
        if f"{name}.{key}" not in ignore and value != getattr(getattr(other, name), key)
    ]


def reference() -> str:
    """Every key as Markdown, one table per section. docs/configuration.md holds it, and a test compares."""
    tables = []
    for name, section in names.sections().items():
        rows = [f"### {name}", "", f"{meanings.purposes()[name]}.", "", "| key | default | what |", "|---|---|---|"]
        for key, field in section.model_fields.items():
            rows.append(
                f"| `{name}.{key}` | `{meanings.shown(field.default)}` | {field.description}{_choices(field.annotation)} |"
            )
        tables.append("\n".join(rows))
    return "\n\n".join(tables)


def _choices(annotation: Any) -> str:
    values = getattr(annotation, "__args__", ())
    return f" ({', '.join(values)})" if values and all(isinstance(value, str) for value in values) else ""
