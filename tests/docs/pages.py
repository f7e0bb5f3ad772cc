"""The pages of the project, in Markdown, and what they show: blocks, commands, settings, keys, files, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline import config

ROOT = Path(__file__).parents[2]
SECTIONS = "|".join(config.Config.model_fields)
OUTPUT = "error:", "warning:", "command line:"  # lines that show a mistake are no advice
SUFFIXES = (".onnx", ".safetensors", ".md", ".py")  # a file `model.onnx` is no key


@dataclass(frozen=True)
class Page:
    """One file of Markdown, ``name`` relative to the root of the project."""

    name: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.name).read_text()

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """The fenced blocks, each with its language."""
        return re.findall(r"^```(\w+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    @cached_property
    def prose(self) -> str:
        """All that is no fenced block."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)

    @cached_property
    def spans(self) -> list[str]:
        """What stands in backticks on one line."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @cached_property
    def commands(self) -> list[str]:
        """Every shell line, in a block or inline, without its comment."""
        shell = [block.replace("\\\n", " ").splitlines() for kind, block in self.blocks if kind == "bash"]
        return [re.sub(r"\s#.*", "", line).strip() for lines in shell for line in lines] + self.spans

    def words(self, pattern: str) -> list[list[str]]:
        """The words after ``pattern`` in each command that has some; a command with a placeholder (``...``) is left out."""
        found = [re.search(rf"(?:^|\s|/){pattern}\s+(.*)$", command) for command in self.commands]
        return [shlex.split(match[1]) for match in found if match and "..." not in match[0]]

    @cached_property
    def configurations(self) -> dict[str, str]:
        """The YAML blocks that the words before them name: ``machines.yaml`` -> its text."""
        return dict(re.findall(r"`([\w-]+\.yaml)`[^`]*\n+```yaml\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL))

    @cached_property
    def advice(self) -> str:
        """The lines that show no error."""
        return "\n".join(line for line in self.text.splitlines() if not line.startswith(OUTPUT) and "| `error: " not in line)

    @cached_property
    def overrides(self) -> list[str]:
        """Every ``section.key=value``."""
        return sorted(set(re.findall(rf"\b(?:{SECTIONS})\.[a-z_]+=[^\s\"'`]+", self.advice)))

    @cached_property
    def keys(self) -> list[str]:
        """Every `section.key`."""
        found = {span for span in self.spans if re.fullmatch(rf"(?:{SECTIONS})\.[a-z_]+", span)}
        return sorted(span for span in found if not span.endswith(SUFFIXES))

    @cached_property
    def files(self) -> list[str]:
        """Every file or folder of the project that is named, relative to the root."""
        named = re.findall(r"(?<![\w/.-])((?:configs|launch|pipeline|tests|docs|\.ci|\.github)/[\w./-]*\w)", self.advice)
        return sorted({*named, *(span for span in self.spans if re.fullmatch(r"LICENSE|Makefile|[\w-]+\.(?:lock|toml)", span))})

    @cached_property
    def links(self) -> list[tuple[str, str]]:
        """The target of each link, pictures too, and its heading or ``""``."""
        return [(path, heading) for path, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", self.prose)]

    @cached_property
    def headings(self) -> set[str]:
        """The anchors of the headings, as they are made of their words."""
        titles = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [Page(name) for name in (*TOP, *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))]
README, CONFIGURATION, GUIDE = (Page(name) for name in ("README.md", "docs/configuration.md", "docs/guide.md"))
