"""What people call the columns of a table: words that a name may be made of, in lower case."""

from __future__ import annotations

import re

ID = (
    "id series seriesid case caseid sample sampleid record recording trial sequence seq unit run example episode session window"
)
TIME = "time timestamp t date datetime step frame tick cycle ts clock seconds sec ms hour minute day index idx order position"
LABEL = "label class target y category activity outcome diagnosis species gesture condition fault event state type"
GROUP = "group patient subject person user participant individual machine device sensor plant site speaker animal driver"
ROW = "index row rowid rownumber rownr unnamed"


def means(name: str, words: str) -> bool:
    """Whether a column's name is one of ``words``, or is made of one: ``patient_id`` of patient and id."""
    lower = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).split()
    known = words.split()
    return "".join(lower) in known or bool(lower and (lower[-1] in known or lower[0] in known))


def stem(name: str) -> str | None:
    """The name of a numbered column without its number; None if it has none."""
    bare = name.rstrip("0123456789")
    return None if bare == name else bare[:-1] if bare.endswith(("_", " ", ".", "-")) else bare
