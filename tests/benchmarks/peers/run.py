"""``python -m tests.benchmarks.peers.run TASK``: one process of one contender; TASK is a Task as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests.benchmarks.peers.task import Task


def main() -> None:
    """Do the task and leave what was measured in its folder, in a file for each process."""
    task = Task(**json.loads(sys.argv[1]))
    began = time.monotonic()
    peer = import_module(f"tests.benchmarks.peers.{task.peer}")
    imported = time.monotonic() - began

    import torch

    from tests.benchmarks.peers.work import Finished, Watch

    watch = Watch(task)
    with suppress(Finished):
        peer.run(task, watch)
    measured = {
        "import_seconds": imported,
        "start_seconds": watch.first - task.spawned,
        "peak_mb": peak_mb(),
        "threads": torch.get_num_threads(),
        "steps": watch.steps,
        "curve": watch.curve,
    }
    Path(task.output, f"process-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(measured))


def peak_mb() -> float:
    """The most memory that this process ever held. (``ru_maxrss`` would count its parent's from before the exec.)"""
    status = Path("/proc/self/status").read_text()
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert kilobytes
    return int(kilobytes[1]) / 1024


if __name__ == "__main__":
    main()
