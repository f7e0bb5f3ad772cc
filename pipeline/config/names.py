"""The names of all keys: what a name that was typed stands for, and which one is like it."""

from __future__ import annotations

import difflib
from functools import cache

from pydantic.fields import FieldInfo

from pipeline.config.base import Section
from pipeline.config.sections import Config
from pipeline.errors import ConfigError

Key = tuple[str, ...]
LIKENESS = 0.6  # of two names, from which one may be meant by the other


@cache
def sections() -> dict[str, type[Section]]:
    """Each section by its name."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        found[name] = field.annotation
    return found


def fields(section: str) -> dict[str, FieldInfo]:
    """The keys of a section; none where there is no such section."""
    found = sections().get(section)
    return dict(found.model_fields) if found else {}


def homes(name: str) -> list[str]:
    """The whole names, ``section.key``, of the keys that are called ``name``."""
    return [f"{section}.{name}" for section in sections() if name in fields(section)]


def is_switch(name: str) -> bool:
    """Whether ``name``, whole or not, is a key that is true or false."""
    found = [name] if "." in name else homes(name)
    return all(fields(key.split(".")[0]).get(key.split(".")[1], FieldInfo()).annotation is bool for key in found)


def spelled(name: str, place: str) -> Key:
    """The key that ``name`` stands for: ``optim.lr``, or ``lr`` if no other section has one.

    A name with a dot may be unknown: the faults of all keys are told together. Raises ConfigError, which begins with
    ``place``, for any other that is none, or is one of several sections.
    """
    parts = tuple(name.lstrip("-").replace("-", "_").split("."))
    if len(parts) == 2 and all(parts):
        return parts
    found = homes(parts[0]) if len(parts) == 1 else []
    if len(found) == 1:
        return tuple(found[0].split("."))
    if found:
        choices = " or ".join(f"{key}=..." for key in found)
        raise ConfigError(f"{place}: several sections have a {parts[0]}; type {choices}")
    near = nearest(parts) if len(parts) == 1 and all(parts) and parts[0] not in sections() else ""
    raise ConfigError(f"{place}: expected section.key=value, such as optim.lr=0.001" + f"; did you mean {near}?" * bool(near))


def nearest(key: Key) -> str:
    """The whole name of the key, or of the section, that may have been meant by ``key``; empty if none is like it."""
    section, last = key[0], key[-1]
    if same := homes(last):
        return same[0]
    known = {name: f"{section}.{name}" for name in fields(section)} if len(key) == 2 else {}
    known = known or ({name: name for name in sections()} if len(key) == 1 else {})
    found = _like(last, list(known))
    if found:
        return known[found]
    everywhere = {name: f"{where}.{name}" for where in reversed(sections()) for name in fields(where)}
    found = _like(last, list(everywhere)) or _described(last)
    return everywhere.get(found, found)


def _like(word: str, known: list[str]) -> str:
    """The one of ``known`` that is most like ``word``: letters in another order, in the beginning, or most of them."""
    swapped = [name for name in known if sorted(name) == sorted(word)]
    begun = [name for name in known if len(word) > 2 and (name.startswith(word) or word.startswith(f"{name}_"))]
    return next(iter(swapped or difflib.get_close_matches(word, known, 1, LIKENESS) or begun), "")


def _described(word: str) -> str:
    """The first key whose meaning begins with the words of ``word``, as ``learning_rate`` does that of ``optim.lr``."""
    words = word.replace("_", " ")
    for section in sections():
        for name, field in fields(section).items():
            if (field.description or "").startswith(words):
                return f"{section}.{name}"
    return ""
