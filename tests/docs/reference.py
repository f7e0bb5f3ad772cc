"""``python -m tests.docs.reference``: write the tables of all keys into the pages that hold them, between their markers."""

from __future__ import annotations

from collections.abc import Callable

from pipeline import config
from pipeline.stages.terminal import answers
from tests.docs.pages import ROOT

TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "docs/configuration.md": ("reference", config.reference),
    "docs/commands.md": ("answers", answers.reference),
}


def marked(text: str, name: str) -> tuple[str, str, str]:
    """What stands before, between and after the markers ``name``."""
    before, rest = text.split(f"<!-- {name} -->\n")
    between, after = rest.split(f"\n<!-- /{name} -->")
    return before, between, after


if __name__ == "__main__":
    for page, (name, table) in TABLES.items():
        before, _, after = marked((ROOT / page).read_text(), name)
        (ROOT / page).write_text(f"{before}<!-- {name} -->\n{table()}\n<!-- /{name} -->{after}")
