"""The commands for several machines that README and docs/ show, and a folder in which they can be typed."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import Page
from tests.support.launching import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
SEVERAL = ("10.0.0.1", "sbatch ", "--machine 0", "--num_machines")  # one of them is in each


def commands() -> list[str]:
    """Each once, with its configuration; a piece of a command, or one with a placeholder, is none."""
    found = (command for name in PAGES for command in Page(name).commands)
    whole = (" ".join(command.split()) for command in found if "--config" in command and "..." not in command)
    return list(dict.fromkeys(command for command in whole if any(word in command for word in SEVERAL)))


def checkout(folder: Path) -> Path:
    """``folder`` with all that a command needs, as a checkout with its environment has it."""
    for name in (".venv", "launch", "configs", "pipeline"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder
