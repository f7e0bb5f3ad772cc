"""A file that nobody has described yet -> a configuration that trains on it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import config, files
from pipeline.config import strict_yaml
from pipeline.data.inspection import arrays, profile, roles
from pipeline.data.inspection.frame import Found
from pipeline.data.inspection.profile import Profile
from pipeline.data.readers import folders, formats, text_files
from pipeline.data.series import Columns
from pipeline.data.sources import image_folder
from pipeline.errors import DataError, UserError, some
from pipeline.run import advice
from pipeline.stages.advice import splitting
from pipeline.tuning.recipe import Choice, for_images, for_series

TEST = 0.2  # the share that is cut for the test
ENOUGH = 600  # training examples from which on some are held out: of fewer than 60, an accuracy says too little
PAIRS = (("TRAIN", "TEST"), ("train", "test"), ("Train", "Test"))  # in the names of two files that belong together


def init(data: Path, test: Path | None, output: Path | None, overrides: Sequence[str] = ()) -> None:
    """Look at ``data``, say what is what in it, and write a configuration with a comment beside each choice; ``overrides``,
    ``section.key=value``, are taken as they are.

    Raises UserError if the data cannot be used, or ``output`` is there already.
    """
    output = output or Path(
        f"{re.sub(r'[^A-Za-z0-9_-]+', '_', text_files.stem(data).removesuffix('_TRAIN')).strip('_') or 'data'}.yaml"
    )
    typed = dict(map(_typed, overrides))
    if named := [key for key in ("data.source", "data.path", "data.test_path") if key in typed]:
        raise UserError(f"{named[0]}: is what DATA and --test say; type: init DATA --test FILE")
    if not data.exists():
        raise DataError(f"{data}: there is no such file or folder; name another")
    if output.exists():
        raise UserError(f"{output}: is there already; name another file: --output FILE.yaml, of make OUTPUT=FILE.yaml")
    other = test or _partner(data)
    inner = {entry.name: entry for entry in data.iterdir() if entry.is_dir()} if data.is_dir() else {}
    source = folders.format_in(data, folders.IMAGES) if data.is_dir() else folders.named(data)
    parts = folders.splits(inner)
    unread = []
    if parts and (source or {*inner} != folders.SPLITS):  # a folder of images with these two is read as it is
        data, other = inner[parts["train"]], inner[parts.get("test", parts.get("valid", ""))]
        if "test" not in parts:
            unread.append(f"{other} is the test split, as there is no other")
        elif "valid" in parts:
            unread.append(f"{inner[parts['valid']]} is left out: put its files into {data}, of which a valid split is cut")
    if source and data.is_dir() and not inner and not test:  # an archive's folder: its two files are no parts of one
        pairs = [(data / name, found) for name in folders.data_files(data) if (found := _partner(data / name))]
        if len(pairs) == 1:
            rest = [name for name in folders.data_files(data) if data / name not in pairs[0]]
            data, other = pairs[0]
            unread += [f"{some(rest)}: left out; put the series into {data}, of which a valid split is cut"] if rest else []
    if source is None:
        arrays_ = sorted(data.glob("*.npy"), key=lambda path: "train" not in path.name) if data.is_dir() else [data]
        for path in arrays_[:1]:
            folders.refuse_npy(path)
        there = [data / name for name in folders.data_files(data)] if data.is_dir() else [data]
        for path in there if not any(path.suffix.lower() in folders.IMAGES for path in there) else ():
            folders.refuse_other(path)
    chosen, reasons, doubts = _images(data, other) if data.is_dir() and not source else _series(source, data, other, typed)
    chosen = [one for one in chosen if one.key not in typed] + [
        Choice(key, value, "as typed") for key, value in typed.items() if key.split(".")[0] in config.Config.model_fields
    ]
    for line in reasons:
        print(line)
    doubts += unread
    for line in doubts:
        print(f"look at this: {line}")
    text = _yaml(data, chosen, reasons, doubts)
    with files.disk_errors("the configuration", output):
        files.write_text(output, text)
    try:
        config.load(output, overrides)  # which say where what is wrong was typed
    except UserError:
        output.unlink()
        raise
    print(f"written: {output}\nnext: {advice.configured('all', str(output)) if advice.by_make() else _all(output)}")


def _all(output: Path) -> str:
    return f"make all CONFIG={output}" if Path("Makefile").exists() else advice.configured("train", str(output))


def _partner(data: Path) -> Path | None:
    """The test file that stands beside a training file of the same name."""
    for train, test in PAIRS:
        if train in data.name and (found := data.with_name(data.name.replace(train, test))).is_file():
            return found
    return None


def _series(
    source: str | None, data: Path, test: Path | None, typed: Mapping[str, Any]
) -> tuple[list[Choice], list[str], list[str]]:
    """The choices for a file or a folder of series, what was found, and what its owner should look at."""
    if source is None:
        raise DataError(
            f"{data}: is no file of a known kind; known are {', '.join(config.SUFFIXES)} and folders of images by class"
        )
    table = config.SERIES[source].columns
    found = roles.find(source, data) if table else Found(config.Columns())
    if source == "npz" and data.is_file():
        found = Found(*arrays.find(data))
    _take(found, {key.removeprefix("data."): value for key, value in typed.items() if key.startswith("data.")})
    if test and table and (unlabelled := _without(found.columns.label, source, test, found.columns)):
        test = None
        found.doubts.append(unlabelled)
    facts = profile.of_series(source, data, found.columns)
    if left := [name for name in facts.channels if name not in facts.empty] if facts.empty else []:
        found.columns = found.columns.model_copy(update={"channels": tuple(left)})
        found.doubts.append(f"{some(map(repr, facts.empty))}: left out, as no series has a value there")
        facts = profile.of_series(source, data, found.columns)
    group = found.columns.group
    cut, said = ([], []) if "data.split" in typed else splitting.of(source, test, found, facts)
    split = typed.get("data.split", next((choice.value for choice in cut), None))
    if found.columns.group != group:
        facts = profile.of_series(source, data, found.columns)  # whose groups are recordings now
    chosen = [Choice("data.source", source, ""), Choice("data.path", str(data), "")]
    chosen += [Choice("data.test_path", str(test), "stands beside it")] if test else []
    default = config.Columns()
    for name, value in found.columns:
        if value != getattr(default, name):
            chosen.append(Choice(f"data.{name}", list(value) if isinstance(value, tuple) else value, ""))
    chosen += cut
    reasons = [_size(data, facts), *found.reasons, *said]
    count = facts.count if test else int(facts.count * (1 - TEST))
    if not test and split in (None, "stratified") and math.ceil(facts.count * TEST) < len(facts.classes) <= facts.count // 2:
        chosen.append(Choice("data.test", len(facts.classes), "one of each class, as a fifth of the series is fewer"))
        count = facts.count - len(facts.classes)
    if facts.missing:
        chosen.append(Choice("data.missing", "mask", f"{facts.missing:.1%} of the values are missing; or mean, forward"))
    groups = len(facts.groups) if split == "group" else 0
    held = splitting.held_out(groups if test or not groups else max(1, int(groups * (1 - TEST))))
    held = held if count >= ENOUGH and facts.rarest >= 10 else 0
    why = "chooses the checkpoint" if held else "too few to hold any out of training"
    chosen.append(Choice("data.validation", held, why))
    reasons.append(
        f"{held:.0%} of the training examples are held out to choose the checkpoint"
        if held
        else f"all {count:,} training examples are trained on: too few to hold some out; the last weights are taken"
    )
    doubts = found.doubts + [f"channel {name!r} has one value in all series" for name in facts.constant]
    doubts += [] if test or split not in (None, "stratified") else splitting.single(facts.classes)
    trained = int(count * (1 - held))
    if found.columns.steps:
        chosen.append(Choice("data.normalize", "global", "one grey level means the same in every column"))
        return chosen + for_images(trained), reasons, doubts
    return chosen + for_series(facts, trained), reasons, doubts


def _typed(text: str) -> tuple[str, Any]:
    """The key and the value of ``section.key=value``, which are checked as part of the configuration."""
    name, _, value = text.partition("=")
    place = f"command line: {config.without_secret(text)}"
    key = ".".join(config.spelled(name, place))
    value = value.lower() if value in ("True", "False") and config.is_switch(key) else value
    return key, strict_yaml.parse(value, place)[0]


def _take(found: Found, typed: Mapping[str, Any]) -> None:
    """Let the columns be those that were ``typed``; what cannot be is refused with all else that was typed."""
    typed = {name: value for name, value in typed.items() if name in config.Columns.model_fields}
    roles_ = [typed[name] for name in ("id", "time", "label", "group") if name in typed]
    left = {"channels": [name for name in found.columns.channels if name not in roles_]}
    known = found.columns.model_dump() | left | ({"group": ""} if found.columns.group in roles_ else {})
    with suppress(ValidationError):
        found.columns = config.Columns.model_validate(known | typed)
    found.doubts = [line for line in found.doubts if not any(line.startswith(repr(name)) for name in roles_)]
    found.reasons += [f"as typed, whatever is said above: {name} = {value}" for name, value in typed.items()]


def _without(label: str, source: str, test: Path, columns: config.Columns) -> str:
    """What is said of a test file that has no column of the class; "" for one that has, and for a folder."""
    if test.is_dir() or not columns.header or label in formats.TABLES[source](test, Columns(**columns.model_dump())).names:
        return ""
    return f"{test} has no column {label!r}, so it tests nothing: what becomes of it is for predict, and the test split is cut"


def _size(data: Path, facts: Profile) -> str:
    length = f"{facts.longest}" if facts.shortest == facts.longest else f"{facts.shortest} to {facts.longest}"
    classes = ", ".join(f"{name}: {count}" for name, count in sorted(facts.classes.items())[:10])
    more = ", ..." if len(facts.classes) > 10 else ""
    channels = "1 channel" if len(facts.channels) == 1 else f"{len(facts.channels)} channels"
    return f"{data}: {facts.count:,} series of {length} steps, {channels}, {len(facts.classes)} classes ({classes}{more})"


def _images(data: Path, test: Path | None) -> tuple[list[Choice], list[str], list[str]]:
    """The choices for a folder of images by class."""
    section = config.Data(source="images", path=str(data), test_path=str(test or ""))
    found = image_folder.folders(section)
    classes = Counter(
        path.relative_to(found[0]).parts[0] for path in found[0].rglob("*") if path.suffix.lower() in folders.IMAGES
    )
    count = classes.total()
    if not count:
        raise DataError(
            f"{data}: holds no images ({', '.join(sorted(folders.IMAGES))}) in a folder per class, and no files of "
            f"series ({', '.join(config.SUFFIXES)}); name another folder"
        )
    chosen = [Choice("data.source", "images", ""), Choice("data.path", str(data), "a folder per class")]
    chosen += [Choice("data.test_path", str(test), "")] if test else []
    held_out = 0 if test or len(found) == 2 else TEST
    chosen += for_images(int(count * (1 - held_out) * 0.9))
    doubts = splitting.single(classes) if held_out else []
    return chosen, [f"{data}: {count:,} images in a folder per class, read row by row"], doubts


def _yaml(data: Path, chosen: list[Choice], reasons: list[str], doubts: list[str]) -> str:
    """The configuration: what was found as comments at its head, then each choice with its reason beside it."""
    lines = [f"# What was found in {_plain(str(data))}, and how to train on it. Every key: docs/configuration.md."]
    lines += [f"# {_plain(line)}" for line in reasons]
    lines += [f"# LOOK AT THIS: {_plain(line)}" for line in doubts]
    section = ""
    for choice in sorted(chosen, key=lambda choice: _rank(choice.key.split(".")[0])):
        name, key = choice.key.split(".")
        if name != section:
            lines.append(f"{name}:")
            section = name
        text = strict_yaml.dump({key: choice.value}).rstrip("\n").replace("\n", "\n  ")
        lines.append(f"  {text}" + (f"  # {_plain(choice.why)}" if choice.why and "\n" not in text else ""))
    return "\n".join(lines) + "\n"


def _rank(section: str) -> int:
    return ("data", "model", "optim", "train", *config.Config.model_fields).index(section)


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else "?" for letter in text).split())
