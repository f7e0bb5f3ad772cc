"""Start a rehearsal: one process or several below which CUDA is the stand-in; what they did comes back as numbers.

python -m tests.gpu.rehearse [--processes N] [--config FILE] [--set NAME=VALUE ...] SCENARIO [section.key=value ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.gpu.stand_in.build import stand_in
from tests.support.launching import ROOT, environment, free_port

TIMEOUT = 600  # seconds; far above what it takes


class Failed(AssertionError):
    """A rehearsed process ended otherwise than it should."""


def rehearsed(scenario: str, *overrides: str, processes: int = 1, config: str = "configs/digits.yaml", **more: str) -> Any:
    """What process 0 of a rehearsal says (see ``inside``); ``more``: environment variables, such as STUB_GPUS.

    Raises Failed, with the output, if a process raises.
    """
    statuses, output, answer = attempted(scenario, *overrides, processes=processes, config=config, **more)
    if any(statuses) or answer is None:
        raise Failed(f"{scenario} {overrides}: exit statuses {statuses}\n{output}")
    return answer


def attempted(
    scenario: str, *overrides: str, processes: int = 1, config: str = "configs/digits.yaml", **more: str
) -> tuple[list[int], str, Any]:
    """``rehearsed``, whatever comes of it: exit statuses, what was printed, and the answer of process 0, if there is one."""
    with tempfile.TemporaryDirectory(prefix="rehearsal") as folder:
        variables = under(stand_in(), **({"STUB_GPUS": str(processes)} | more))
        command = [sys.executable, "-m", "tests.gpu.inside", folder, config, scenario, *overrides]
        port = free_port()
        if processes > 1:
            variables |= {
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
        started = []
        with Path(folder, "output").open("w") as output:
            for rank in range(processes):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
                started.append(subprocess.Popen(command, env=variables | own, cwd=ROOT, stdout=output, stderr=output))
        try:
            statuses = [process.wait(TIMEOUT) for process in started]
        finally:
            for process in started:
                process.kill()
            Path(f"/dev/shm/stub_nccl_{port}").unlink(missing_ok=True)
        answer = Path(folder, "answer.json")
        said = json.loads(answer.read_text()) if answer.exists() else None
        return statuses, Path(folder, "output").read_text(), said


def under(built: Path, **more: str) -> dict[str, str]:
    """The environment of a process below which CUDA is the stand-in ``built``."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    quiet = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "PYTHONPATH": paths}
    preload = {"LD_PRELOAD": str(built / "libstandin.so"), "LD_LIBRARY_PATH": str(built)}
    return environment(**(quiet | preload | more))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="rehearse a scenario on GPUs, without one; the answer is one JSON")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--config", default="configs/digits.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an environment variable")
    parser.add_argument("scenario")
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    more = dict(one.split("=", 1) for one in asked.set)
    statuses, output, answer = attempted(
        asked.scenario, *asked.overrides, processes=asked.processes, config=asked.config, **more
    )
    print(output, end="", file=sys.stderr)
    print(json.dumps(answer, indent=2))
    sys.exit(max(map(abs, statuses)))


if __name__ == "__main__":
    main()
