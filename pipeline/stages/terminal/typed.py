"""Words of a command line, in the forms that people type -> those that a command takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import config
from pipeline.config import without_secret
from pipeline.errors import UserError, some

Options = Mapping[str, bool]  # of a command, each with whether a value follows it
YAML = (".yaml", ".yml")


def configured(command: str, words: Sequence[str], options: Options) -> list[str]:
    """The words of a command that takes a configuration: ``--config FILE``, options, and then ``section.key=value``.

    Understood are a FILE.yaml without ``--config``, ``--optim.lr=0.1``, ``--optim.lr 0.1``, ``--lr 0.1`` and
    ``optim.lr = 0.1``. Raises UserError, which says what to type, for words that are none of these.
    """
    left, ours, overrides = _joined(words), [], []
    files = []
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in options:
            given = [word] if equals or not options[name] or not left else [word, left.pop(0)]
            if name != "--config":
                ours += given
            elif equals or len(given) == 2:
                files.append(value or given[-1])
        elif word.startswith("-") and _names_a_key(name):
            value = value if equals else _value_of(name, left)
            overrides.append(f"{name.lstrip('-').replace('-', '_')}={value}")
        elif word.startswith("-"):
            ours.append(_option(command, word))
        elif not equals and word.endswith(YAML):
            files.append(word)
        else:
            overrides.append(word if equals else _no_override(word, left))
    if len(files) != 1 and not {"-h", "--help"} & set(ours):
        raise UserError(f"{command} {_files(files)}")
    return [*ours, *(word for file in files for word in ("--config", file)), *overrides]


def of_run(command: str, words: Sequence[str], options: Options) -> list[str]:
    """The words of a command that takes a run folder, whose ``--run`` may be left out, or the configuration of a run."""
    if any(word.partition("=")[0] == "--config" or ("=" not in word and word.endswith(YAML)) for word in words):
        return configured(command, words, options)
    ours, runs, left = [], [], list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in options and not word.startswith("--run"):
            ours += [word] if equals or not options[name] or not left else [word, left.pop(0)]
        elif name == "--run":
            runs += [value] if equals else left[:1]
            left = left if equals else left[1:]
        elif equals and name in ("run", "run.dir", "--run.dir"):
            runs.append(value)
        elif equals or word.startswith("-"):
            raise UserError(
                f"{command}: {_shown(word)}: no option of it, and a run keeps the configuration that it was begun with"
            )
        else:
            runs.append(word)
    if len(runs) != 1 and not {"-h", "--help"} & set(ours):
        there = some(sorted(str(path.parent) for path in Path("runs").glob("*/config.yaml")), 5)
        number = f"{len(runs)} were" if runs else "none was"
        found = f"; there are {there}" if there else ""
        raise UserError(f"{command} takes one run folder, and {number} given; type: {command} --run runs/NAME{found}")
    return [*ours, *(word for run in runs for word in ("--run", run))]


def of_export(command: str, words: Sequence[str], options: Options) -> list[str]:
    """The words of a command that takes an export and a file; without ``--model``, the first of two words is the export.

    Raises UserError if there are not two.
    """
    ours, plain, left = list[str](), list[str](), list(words)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if name in options:
            ours += [word] if equals or not options[name] or not left else [word, left.pop(0)]
        else:
            (ours if word.startswith("-") else plain).append(word)
    if {word.partition("=")[0] for word in ours} & {"--model", "-h", "--help"}:
        return list(words)
    if len(plain) == 2:
        return ["--model", plain[0], *ours, plain[1]]
    raise UserError(f"{command} needs a model; type: {command} --model runs/NAME/export INPUT")


def _joined(words: Sequence[str]) -> list[str]:
    """``key = value`` and ``key =value`` as one word each."""
    found: list[str] = []
    for word in words:
        before = found[-1] if found else ""
        if before and (word.startswith("=") or before.endswith("=\0")) and not before.startswith("--config"):
            found[-1] = before.removesuffix("\0") + word + ("\0" if word == "=" else "")
        else:
            found.append(word)
    return [word.removesuffix("\0") for word in found]


def _names_a_key(name: str) -> bool:
    """Whether an option that the command lacks is the name of a key, or has the form of one."""
    plain = name.lstrip("-").replace("-", "_")
    return "." in plain or bool(config.homes(plain))


def _value_of(name: str, left: list[str]) -> str:
    """The value that follows ``--key``, taken from the words that are ``left``; a switch is turned on without one."""
    plain = name.lstrip("-").replace("-", "_")
    switch = config.is_switch(plain)
    follows = bool(left) and not left[0].startswith("--") and "=" not in left[0]
    if switch and not (follows and left[0] in ("true", "false")):
        return "true"
    if not follows:
        raise UserError(f"{name}: no value follows; type: {plain}=VALUE")
    return left.pop(0)


def _option(command: str, word: str) -> str:
    """``word``, which the command line will refuse if it is no option; UserError if a key is like it."""
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    near = config.nearest((name,)) if len(name) > 2 and name != "help" else ""
    if "." in near:
        raise UserError(f"{_shown(word)}: no option of {command}; did you mean {near}=...?")
    return word


def _no_override(word: str, left: Sequence[str]) -> str:
    """A word that is neither an option, a file nor ``key=value``. Raises UserError if it tells what was meant."""
    name, _, value = word.partition(":")
    if _names_a_key(name):
        value = value or next(iter(left), "VALUE")
        raise UserError(f"{_shown(word)}: a value is given as {name}=VALUE; type: {_shown(f'{name}={value}')}")
    if near := next((file for file in _there() if Path(file).stem == Path(word).stem), ""):
        raise UserError(f"{word}: no configuration file; did you mean --config {near}?")
    return word  # which is refused together with all other faults


def _files(given: Sequence[str]) -> str:
    """What is wrong with the number of configuration files."""
    if given:
        return f"takes one configuration file, and {len(given)} were given: {', '.join(given)}"
    there = f"; there are {some(_there(), 6)}" if _there() else "; python -m pipeline init DATA writes one for your data"
    return f"needs a configuration file: --config FILE{there}"


def _there() -> list[str]:
    """The configuration files that one may have meant."""
    found = (path for folder in (".", "configs") for path in Path(folder).glob("[!.]*.y*ml"))
    return sorted(str(path) for path in found if path.suffix in YAML)


def _shown(word: str) -> str:
    return without_secret(word)
