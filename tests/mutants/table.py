"""The table of mutants: one entry a mutant, in a .toml file a package.

An entry has the name of the mutant, and:

    breaks      what is wrong then
    file        where, from the root of the project
    old, new    the text there, which stands there exactly once, and what takes its place
    tests       what must fail, as pytest names it, below tests/: the narrowest, since each mutant waits for them
    hangs       why tests that do not end in time count as failed; else they do not
    equivalent  why no test can tell; such a mutant is not run, and does not count
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One entry of the table."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    hangs: str = ""
    equivalent: str = ""

    @property
    def node_ids(self) -> list[str]:
        """``tests``, from the root of the project."""
        return [f"tests/{test}" for test in self.tests]

    def applied(self, text: str) -> str:
        """The text of ``file`` with the fault in it. Raises ValueError if ``old`` does not stand there exactly once."""
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.file}: the old text stands there {count} times; bring the entry up to date")
        return text.replace(self.old, self.new)


def load(folder: Path = Path(__file__).parent) -> list[Mutant]:
    """All entries, in the order of the files' names. Raises ValueError for a name that is there twice."""
    found: dict[str, Mutant] = {}
    for path in sorted(folder.glob("*.toml")):
        for name, entry in tomllib.loads(path.read_text()).items():
            if name in found:
                raise ValueError(f"{path}: {name} is there twice")
            found[name] = Mutant(name, **(entry | {"tests": tuple(entry.get("tests", ()))}))
    return list(found.values())
