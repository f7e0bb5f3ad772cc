"""The help of a key."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from pipeline import config


def explain(name: str = "") -> None:
    """Print what ``name``, a section, a key or words of its meaning, stands for; without a name all sections.

    Raises ConfigError with what may have been meant.
    """
    width = min(shutil.get_terminal_size((80, 24)).columns, 100)
    if name:
        print("\n\n".join("\n".join(_lines(meaning, width)) for meaning in config.meanings(name)))
        return
    for section, what in config.purposes().items():
        listed = ", ".join(key.name.partition(".")[2] for key in config.meanings(section))
        print(textwrap.fill(f"{section}: {what}", width))
        print(textwrap.fill(listed, width, initial_indent="    ", subsequent_indent="    "))
    print("\n" + textwrap.fill("More: keys SECTION, keys KEY, or keys WORDS of what is looked for", width))


def _lines(meaning: config.Meaning, width: int) -> Iterator[str]:
    yield f"{meaning.name}={meaning.default}"
    for text in (meaning.what.replace("`", ""), f"takes: {meaning.takes}"):
        yield textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")
