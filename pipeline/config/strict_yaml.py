"""YAML text -> plain values and the line of every key; the traps of YAML 1.1 are closed.

Scalars follow the core schema of YAML 1.2 (section 10.3.2): ``1e-3`` is a number, ``no`` and ``on`` are
strings, ``010`` is not eight. Duplicate keys, anchors and tags are refused: a configuration needs none of
them, and they are what a hostile file is made of.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError

Key = tuple[str, ...]
_RESOLVERS = [
    ("bool", re.compile(r"^(?:true|false)$"), "tf"),
    ("null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789"),
    ("float", re.compile(r"^[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"), "-+.0123456789"),
    ("float", re.compile(r"^[-+]?\.inf$|^\.nan$"), "-+."),
]


_PIECES = re.compile(r"(?m)^(?=  \w+:|\w+:$)")  # where a section begins, or a key in it
LARGEST = 2**24  # characters of a file: hundreds of times what all keys need


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it untyped
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        if tag := getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(
                problem=f"the tag {tag} is not allowed; write a plain value", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """In double quotes if need be: PyYAML writes U+0085 and its like plainly in others, and reads them as spaces."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}


for _tag, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def parse(text: str, name: str, start: Key = ()) -> tuple[Any, dict[Key, int]]:
    """The value of a YAML document and the line (from 1) of every key in it.

    ``name`` stands before the line in messages; ``start`` is the key under which the document hangs.
    Raises ConfigError for a document that is not YAML or uses what the module's docstring refuses.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[Key, int] = {}
        return (None if node is None else _value(node, start, lines)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"{where}: {error.problem or error.context or 'not valid YAML'}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None


def _value(node: yaml.Node, key: Key, lines: dict[Key, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else "?"
            inner = (*key, name)
            if name in result:
                _refuse(name_node, f"{'.'.join(inner)} is given twice; it stands in line {lines[inner]} already")
            lines[inner] = name_node.start_mark.line + 1
            result[name] = _value(value_node, inner, lines)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, key, lines) for item in node.value]
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "int":
        return int(node.value) if len(node.value) < 1000 else _refuse(node, "a number of this many digits is not allowed")
    if kind == "float":
        return float(node.value.replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "bool":
        return node.value == "true"
    return None if kind == "null" else node.value


def _refuse(node: yaml.Node, problem: str) -> Any:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _text(path: Path) -> str:
    """The characters of a file. Raises OSError, UnicodeDecodeError, and ConfigError if they are far too many."""
    with path.open(encoding="utf-8") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ConfigError(f"{path}: is larger than {LARGEST:,} characters, which no configuration is; name another file")
    return text


def read(path: Path) -> tuple[Any, dict[Key, int]]:
    """``parse`` for a file. Raises ConfigError if it cannot be read as UTF-8 text."""
    try:
        text = _text(path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(text, str(path))


def read_dumped(path: Path) -> dict[str, dict[str, Any]]:
    """Sections of keys in a file that ``dump`` wrote. What another file had too is not parsed again: most of a thousand
    configurations is the same.

    Raises OSError, and ValueError for any other file; ``read`` says what is wrong with it.
    """
    found: dict[str, dict[str, Any]] = {}
    section: dict[str, Any] = {}
    first, *pieces = _PIECES.split(_text(path))
    if first or not pieces:
        raise ValueError("not written by dump")
    for piece in pieces:
        values = _dumped(piece)
        inner = piece.startswith(" ")
        into: dict[str, Any] = section if inner else found
        if (inner and not found) or not isinstance(values, dict) or len(values) != 1 or into.keys() & values:
            raise ValueError("not written by dump")
        ((key, value),) = values.items()
        if not inner:
            value = section = {} if value is None else {"": value}  # which no section is
        into[key] = value
    return found


@lru_cache(10_000)
def _dumped(text: str) -> Any:
    return parse(text, "")[0]


def dump(value: Any) -> str:
    """YAML text that ``parse`` turns back into ``value``."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
