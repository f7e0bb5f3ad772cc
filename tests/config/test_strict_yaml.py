"""What yamlfile.py promises: YAML without YAML's traps, and a place for every fault."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import yaml

from pipeline import config
from pipeline.config import strict_yaml
from pipeline.errors import ConfigError


def value(text: str) -> object:
    return strict_yaml.parse(text, "here")[0]


NUMBERS = {
    "1e-3": 1e-3,
    "1E3": 1000.0,
    "1.5e+2": 150.0,
    "1.": 1.0,
    ".5": 0.5,
    "-.5": -0.5,
    "+3": 3,
    "-0": 0,
    "0": 0,
    "12345678901234567890": 12345678901234567890,
    "6.02e23": 6.02e23,
    "-.inf": float("-inf"),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_those_of_yaml_1_2(text: str) -> None:
    assert value(text) == NUMBERS[text] and type(value(text)) is type(NUMBERS[text])


PLAIN = [
    "no",
    "yes",
    "on",
    "off",
    "No",
    "y",
    "True",
    "FALSE",
    "NULL",
    "010",
    "0x10",
    "0b1",
    "0o7",
    "1_000",
    "1:30",
    "2026-11-23",
]
PLAIN += ["1e", "e3", ".", "-e", "1.2.3", "<<", "=", "NaN", "inf", "1 2", "00.5", "é", "日本"]


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_yaml_1_1_takes_for_something_else_is_text(text: str) -> None:
    assert value(text) == text


def test_words_that_are_not_text() -> None:
    assert value("[true, false, null, ~, ]") == [True, False, None, None]
    assert value("") is value("# nothing\n") is value("---\n") is None
    assert str(value(".nan")) == "nan"


def test_every_key_has_its_line() -> None:
    text = "# top\na:\n  b: 1\n\n  c:\n    - d: 2\ne: {f: 3, g: 4}\n"
    values, lines = strict_yaml.parse(text, "here")
    assert values == {"a": {"b": 1, "c": [{"d": 2}]}, "e": {"f": 3, "g": 4}}
    assert lines == {("a",): 2, ("a", "b"): 3, ("a", "c"): 5, ("a", "c", "d"): 6, ("e",): 7, ("e", "f"): 7, ("e", "g"): 7}


FAULTS = {
    "a: 1\nb: 2\na: 3\n": r"here:3: a is given twice; it stands in line 1 already",
    "a:\n  b: 1\n  c: 2\n  b: 1\n": r"here:4: a\.b is given twice; it stands in line 2 already",
    "a: {b: 1, b: 2}": r"here:1: a\.b is given twice",
    "'a': 1\na: 2": r"here:2: a is given twice",
    "x: 1\na: &anchor 1\n": r"here:2: anchors and aliases are not allowed",
    "a: &anchor {b: 1}\n": r"here:1: anchors and aliases",
    "a: &anchor [1]\n": r"here:1: anchors and aliases",
    "&anchor a: 1\n": r"here:1: anchors and aliases",
    "a: *nowhere\n": r"here:1: anchors and aliases",
    "a: !!float abc\n": r"here:1: the tag .*float is not allowed; write a plain value",
    "a: !!int x\n": r"here:1: the tag .*int is not allowed",
    "a: !!str 3\n": r"here:1: the tag .*str is not allowed",
    "a: !!set {b}\n": r"here:1: the tag .*set is not allowed",
    "\na: !!binary aGk=\n": r"here:2: the tag .*binary is not allowed",
    "a: !mine {b: 1}\n": r"here:1: the tag !mine is not allowed",
    "a: ! 3\n": r"here:1: the tag ! is not allowed",
    "!!map {a: 1}\n": r"here:1: the tag .*map is not allowed",
    "a: 1\n---\nb: 2\n": r"here:2: .*another document",
    "a:\n\tb: 1\n": r"here:2: .*'\\t'",
    "a: b: c\n": r"here:1: mapping values are not allowed here",
    "a: {b: 1\n": r"here:2: ",
    "a: 'b\n": r"here:\d: ",
    "a: \0": r"here: not valid YAML: .*#x0000",
    "%YAML 9.9\n---\na: 1": r"here:1: ",
    "a: " + "[" * 600: r"here: nested too deeply",
    "a: " + "9" * 5000: r"here:1: a number of this many digits is not allowed",
}


@pytest.mark.parametrize("text", FAULTS, ids=[repr(text[:24]) for text in FAULTS])
def test_what_a_configuration_does_not_need_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{FAULTS[text]}"):
        value(text)


@pytest.mark.parametrize(
    "tag",
    ["python/object/apply:os.mkdir", "python/object/new:os.mkdir", "python/name:os.mkdir", "python/module:os", "python/tuple"],
)
def test_python_objects_are_never_made(tag: str, tmp_path: Path) -> None:
    text = f"a: !!{tag} [{tmp_path / 'canary'}]\n"
    with pytest.raises(ConfigError, match=r"^here:1: the tag .* is not allowed"):
        value(text)
    assert not (tmp_path / "canary").exists()


def test_the_canary_would_sing() -> None:
    with pytest.raises(FileExistsError):
        yaml.load("!!python/object/apply:os.mkdir [/]", yaml.UnsafeLoader)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"a: caf\xe9\n", r"not a text file in UTF-8 \(byte 6\)"), (b"\xff\xfea\x00", r"not a text file in UTF-8 \(byte 0\)")],
)
def test_a_file_that_is_not_utf8_is_named_with_the_byte(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{path}: {problem}$"):
        strict_yaml.read(path)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}: cannot be read: Is a directory$"):
        strict_yaml.read(tmp_path)
    with pytest.raises(ConfigError, match="no: cannot be read: No such file"):
        strict_yaml.read(tmp_path / "no")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert value("\ufeffa: 1\n") == {"a": 1}


NASTY = ["1e-3", "no", "null", "~", "", "a: b", "é", "true", "010", "0x1", "1.", "-", "?", ":", "#", "a #b", " a", "a ", "\n"]
NASTY += ["a\nb\n", "\t", "'", '"', "\\", "{}", "[]", "*a", "&a", "!a", "%a", "@a", "`", "|", ">", "---", "...", ".inf", ".nan"]
NASTY += [
    "<<",
    "=",
    "2026-11-23",
    "1:30",
    "1_000",
    "x" * 300,
    "word " * 60,
    "\x85",
    "\u2028",
    "\xa0",
    "\ufeffa",
    "😀",
    "\x1b[0m",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_dumped_text_is_read_back_as_the_same_text(text: str) -> None:
    for structure in (text, [text, text], {"key": text}, {"outer": {"key": [text]}}):
        assert value(strict_yaml.dump(structure)) == structure


def test_dumped_values_are_read_back_as_the_same_values() -> None:
    rng = random.Random(0)
    alphabet = "abe01.-+ :#'\"\\\n\t~{}[]&*!|>%@`,?=éñ日😀\x85\u2028"
    for _ in range(400):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        number = rng.choice([1, -1]) * rng.random() * 10.0 ** rng.randrange(-320, 300)
        structure = {
            "text": text,
            "number": number,
            "whole": rng.randrange(-(2**63), 2**63),
            "list": [text, None, True],
            "n": 1e16,
        }
        again = value(strict_yaml.dump(structure))
        assert again == structure and repr(again) == repr(structure)


def test_a_key_that_looks_like_something_else_stays_text() -> None:
    assert value("1: a\nno: b\n~: c\n") == {"1": "a", "no": "b", "~": "c"}
    assert value(strict_yaml.dump({"1": 2, "null": 3})) == {"1": 2, "null": 3}


def test_a_value_that_stands_twice_is_written_twice() -> None:
    shared = [1, 2]
    assert value(strict_yaml.dump({"a": shared, "b": shared})) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  b: " + "[" * 100_000,
        "a:\n  b: &x 1\n  c: *x\n",
        "a:\n  b: !!python/name:os.system\n",
        "a:\n  b: 1\n  b: 2\n",
        "a:\n  b: 'x\n  c: y'\n",
        "  b: 1\n",
        "a:\n  b: 1\n   c: 2\n",
    ],
)
def test_what_was_not_dumped_is_left_to_the_reader_that_says_what_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError):
        strict_yaml.read_dumped(tmp_path / "a.yaml")


def test_what_was_dumped_is_read_back_piece_by_piece_too(tmp_path: Path) -> None:
    words = {"e": "word " * 60, "f": "a: b", "g": "line\nkey: other\n  b: 1", "h": "", "i": "\x85x", "j": ["no", "x: y", "1e3"]}
    value = {"a": {"b": 1e-3, "c": [], "d": ["x", "no"]} | words, "k": {"b": True, "l": None, "m": "010", "n": -0.5}}
    (tmp_path / "a.yaml").write_text(strict_yaml.dump(value), encoding="utf-8")
    assert strict_yaml.read_dumped(tmp_path / "a.yaml") == value


CONFIGS = sorted(path for path in (Path(__file__).parents[2] / "configs").glob("*.yaml") if path.name != "sweep.yaml")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_a_dumped_configuration_is_loaded_piece_by_piece(tmp_path: Path, file: Path) -> None:
    loaded = config.load(file, ["track.tags=[x, 'y: z', \"a'b\"]", f"run.dir={tmp_path}"])
    (tmp_path / "config.yaml").write_text(config.dump(loaded))
    assert config.load_dumped(tmp_path / "config.yaml") == loaded
    assert set(strict_yaml.read_dumped(tmp_path / "config.yaml")) == set(config.Config.model_fields)


def test_a_file_far_larger_than_any_configuration_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "endless.yaml"
    path.touch()
    os.truncate(path, 20 * 2**30)  # which takes no room on the disk
    for reader in (strict_yaml.read, strict_yaml.read_dumped):
        with pytest.raises(ConfigError, match=r"endless\.yaml: is larger than 16,777,216 characters"):
            reader(path)
