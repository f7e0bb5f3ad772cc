"""What is said of a wrong configuration: a line a fault, with its place, what was expected and the nearest valid key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config import names, strict_yaml


def without_secret(text: str) -> str:
    """``text`` up to what looks like the name of a secret: messages end in logs, and its value must not."""
    name = re.search(r"(?:key|token|secret|passw|credential)[^=:\s]*", text, re.IGNORECASE)
    return text if name is None or name.end() == len(text) else f"{text[: name.end()]}=***"


def faults(error: ValidationError, places: Mapping[strict_yaml.Key, str], path: str) -> Iterator[str]:
    """One line a key: its place (``path`` if it is not in ``places``), its name, what was expected, the nearest valid key."""
    expected: dict[strict_yaml.Key, list[str]] = {}
    for fault in error.errors():
        if fault["type"] == "disagreement":
            for name, problem in fault["ctx"]["faults"]:
                expected.setdefault(tuple(name.split(".")), []).append(problem)
            continue
        key = tuple(str(part) for part in fault["loc"][:2])
        problem = "unknown key" + _nearest(key) if fault["type"] == "extra_forbidden" else expected_of(fault)
        expected.setdefault(key, []).append(problem)
    order = {key: number for number, key in enumerate(places)}
    for key in sorted(expected, key=lambda key: order.get(key, len(order))):
        place = places.get(key) or places.get(key[:1]) or path
        yield f"{place}: {'.'.join(key)}: {' or '.join(dict.fromkeys(expected[key]))}"


def expected_of(fault: ErrorDetails) -> str:
    """What pydantic expected, and what it got, in the words of a message."""
    kind = _KINDS.get(fault["type"]) or fault["msg"].replace("Input should be", "").replace("String should", "text that should")
    given = "nothing" if fault["input"] is None else _short(without_secret(repr(fault["input"])))
    return f"expected {kind.strip()}, got {given}"


def near_file(path: Path) -> str:
    """What is said after the name of a configuration file that is not there: one that may have been meant."""
    there = [file for folder in (path.parent, Path("configs"), Path()) for file in folder.glob("[!.]*.y*ml")]
    near = difflib.get_close_matches(path.stem, [file.stem for file in there], 1, names.LIKENESS)
    return "".join(f"; did you mean {next(file for file in there if file.stem == name)}?" for name in near)


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (in quotes, if it looks like a number)",
    "bool_type": "true or false",
    "model_type": "a section of key: value lines",
    "tuple_type": "a list, such as [a, b]",
    "string_pattern_mismatch": "a number of epochs of at most nine digits, such as '2 epochs'",
}


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:50]}...{text[-10:]}"


def _nearest(key: strict_yaml.Key) -> str:
    if near := names.nearest(key):
        return f"; did you mean {near}?"
    return f"; valid: {', '.join(names.fields(key[0]) if len(key) == 2 and key[0] in names.sections() else names.sections())}"
