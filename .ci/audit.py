"""What an advisory says of the pins of lock files: python .ci/audit.py ADVISORIES LOCK ...

ADVISORIES is a checkout of PyPA's advisory database: OSV records in ``vulns/PACKAGE/ID.yaml``.
Exit status: 0 no pin is affected, 1 some are, each on a line of its own, 2 there is no such database.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version


def pins(lock: Path) -> list[tuple[str, str]]:
    """The name and version of each pin."""
    return re.findall(r"^([\w-]+)==(\S+)", lock.read_text(), re.MULTILINE)


def affects(record: dict[str, Any], name: str, version: str) -> bool:
    """Whether an OSV record is of this version of a package."""
    if record.get("withdrawn"):
        return False
    entries = [entry for entry in record["affected"] if entry["package"]["name"].lower().replace("_", "-") == name]
    return any(
        version in entry.get("versions", ()) or any(within(r, version) for r in entry.get("ranges", ())) for entry in entries
    )


def within(span: dict[str, Any], version: str) -> bool:
    """Whether the last event of a range up to ``version`` leaves it affected; ranges of commits say nothing of versions."""
    inside = False
    for event in span["events"] if span["type"] == "ECOSYSTEM" else ():
        ((what, bound),) = event.items()
        reached = bound == "0" or (
            Version(version) > Version(bound) if what == "last_affected" else Version(version) >= Version(bound)
        )
        inside = what == "introduced" if reached else inside
    return inside


def main(advisories: Path, *locks: Path) -> int:
    """Print what is affected; the exit status."""
    if not any(advisories.glob("vulns/*/*.yaml")):
        print(
            f"error: {advisories}: holds no vulns/PACKAGE/ID.yaml; name a checkout of PyPA's advisory database", file=sys.stderr
        )
        return 2
    found = [
        f"{lock}: {name}=={version}: {file.stem}: {' '.join(str(record.get('summary') or record['details']).split())[:100]}"
        for lock in locks
        for name, version in pins(lock)
        for file in sorted(advisories.glob(f"vulns/{name}/*.yaml"))
        if affects(record := yaml.safe_load(file.read_text(encoding="utf-8")), name, version)
    ]
    print("\n".join(found) or "no pin is affected")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
