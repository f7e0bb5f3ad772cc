"""``python -m tests.docs.reference``: write the table of all keys into docs/configuration.md, between its markers."""

from __future__ import annotations

from pipeline import config
from tests.docs.pages import CONFIGURATION, ROOT

BEGIN, END = "<!-- reference -->", "<!-- /reference -->"

if __name__ == "__main__":
    before, rest = CONFIGURATION.text.split(BEGIN)
    (ROOT / CONFIGURATION.name).write_text(f"{before}{BEGIN}\n{config.reference()}\n{END}{rest.split(END)[1]}")
