"""What the tests of two hosts share: the hosts, and a folder with prepared data and runs of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Host, two_hosts
from tests.support.launching import ROOT, succeed

SMOKE = ("train", "--config", str(ROOT / "configs/smoke.yaml"), "train.gradient_shards=4", "track.backends=[]")
LONG = ("train.epochs=40", "train.checkpoint_every=20", "run.timeout=10")


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data and two runs of a single process."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE[1:3], cwd=folder)
    succeed(*SMOKE, "run.dir=alone", cwd=folder)
    succeed(*SMOKE, *LONG, "run.dir=long", cwd=folder)
    return folder


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, each of whose names leads to 127.0.1.1 there and nowhere elsewhere."""
    with two_hosts(tmp_path) as pair:
        yield pair
