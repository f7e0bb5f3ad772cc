"""All of it -> one file.

The page holds its style and its scripts, may run no other (its policy names their hashes) and may ask nobody for anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline import files
from pipeline.report.page.shown import json_text, number, percent, plain, span

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = (
    "base.js",
    "chart.js",
    "network.js",
    "examples.js",
    "interaction.js",
    "reasons.js",
    "live.js",
    "main.js",
)  # in this order
FORBIDDEN = "</script", "</style", "<!--"


def write(path: Path, page: Mapping[str, Any], data: Mapping[str, Any]) -> int:
    """Write the page as a whole, and return its bytes. ``page``: what the template shows; ``data``: what the scripts read."""
    text = rendered(page, data)
    with files.disk_errors("the report", path):
        files.write_text(path, text)
    return len(text.encode("utf-8"))


def rendered(page: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The page as HTML. No text in ``page`` or ``data`` can become markup: one is escaped by the template, one is JSON."""
    style = _read("page.css")
    script = "\n".join(map(_read, SCRIPTS))
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"percent": percent, "number": number, "span": span}
    whole = environment.get_template("page.html.jinja").render(
        **plain(page),
        style=style,
        script=script,
        data=json_text(plain(data)),
        policy=f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'",
    )
    return whole + "\n"


def _read(name: str) -> str:
    text = (ASSETS / name).read_text(encoding="utf-8")
    assert not any(word in text.lower() for word in FORBIDDEN), f"{name} would end its own element"
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
