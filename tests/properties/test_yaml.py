"""A configuration that is written and read back is the same one; and so is any value."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from hypothesis import event, given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from pipeline import config
from pipeline.config import Config, strict_yaml
from pipeline.errors import ConfigError
from tests.properties.inputs import tried

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
MARKS = [*"-#'\"[{|>%@`?:,=\x85\ufeff\t\u2028é", "&a", "*a", "!a", "<<", "---", "...", "- a", "a: b", " x", "x ", "a\nb"]
AWKWARD = st.sampled_from(["", "~", "null", "true", "No", "1e3", "0x1", "010", ".inf", *MARKS])
LEAVES = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXT | AWKWARD
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | AWKWARD, inner, max_size=4), max_leaves=12
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, NaN like NaN, and -0.0 not like 0.0."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other and (one != 0 or str(one) == str(other))


@given(value=VALUES)
def test_any_value_is_read_as_it_was_written(value: Any) -> None:
    text = strict_yaml.dump(value)
    assert same(strict_yaml.parse(text, "here")[0], value), text


def _values(field: FieldInfo) -> st.SearchStrategy[Any]:
    """What a key may be, by its annotation and its limits."""
    return _of(field.annotation, {type(limit).__name__: limit for limit in field.metadata}, field)


def _of(annotation: Any, limits: dict[str, Any], field: FieldInfo) -> st.SearchStrategy[Any]:
    kinds = get_args(annotation)
    if get_origin(annotation) is Literal:
        return st.sampled_from(kinds)
    if get_origin(annotation) is tuple:
        return st.lists(_of(kinds[0], {}, field), max_size=3)
    if annotation is bool:
        return st.booleans()
    if annotation is str:
        return TEXT | AWKWARD
    low = getattr(limits.get("Ge"), "ge", getattr(limits.get("Gt"), "gt", 0))
    high = getattr(limits.get("Le"), "le", getattr(limits.get("Lt"), "lt", None))
    if annotation is int:
        return st.integers(low, 2**31 - 1 if high is None else high - ("Lt" in limits))
    if annotation is float:
        return st.floats(low, high, exclude_min="Gt" in limits, exclude_max="Lt" in limits, allow_infinity=False)
    if field.default == "1 epoch":
        return st.integers(1, 10**6) | st.integers(1, 10**9 - 1).map("{} epochs".format)
    return st.integers(0, 10**6) | st.floats(0, 1, exclude_max=True)  # a share or a count


def sections() -> st.SearchStrategy[dict[str, Any]]:
    """Some keys of some sections, each with a value that it may have."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: st.fixed_dictionaries({}, optional={key: _values(field) for key, field in section.model_fields.items()})
            for name, section in ((name, type(getattr(Config(), name))) for name in Config.model_fields)
        },
    )


@given(given_=sections())
@tried(200)
def test_a_configuration_is_read_as_it_was_written_and_every_refusal_names_a_key(given_: dict[str, dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        path.write_text(strict_yaml.dump(given_), encoding="utf-8")
        try:
            loaded = config.load(path)
        except ConfigError as error:
            event("refused")
            for line in str(error).splitlines():
                key = line.removeprefix(f"{path}").partition(": ")[2].partition(":")[0]
                section, _, name = key.partition(".")
                assert name in type(getattr(Config(), section)).model_fields, line
            return
        event("taken")
        for name, section in given_.items():
            for key, value in section.items():
                read = getattr(getattr(loaded, name), key)
                wanted = tuple(value) if isinstance(value, list) else value
                assert read == wanted or (name, key) in {("run", "dir"), ("data", "normalize")}
        (Path(folder) / "again.yaml").write_text(config.dump(loaded), encoding="utf-8")
        assert config.load(Path(folder) / "again.yaml") == loaded
