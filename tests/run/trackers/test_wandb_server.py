"""The wandb server of the tests keeps what the real client and the real agent send, as wandb's own would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.wandb_server import KEY, WandbServer

PROGRAM = """
import sys, time, wandb
quiet = dict(silent=True, console="off", x_disable_meta=True, x_disable_stats=True, disable_git=True, disable_code=True)
settings = wandb.Settings(**quiet)
run = wandb.init(project="p", id=sys.argv[1].strip("-") or None, resume="allow", config={"lr": 0.1}, settings=settings)
for row in range(run.starting_step, run.starting_step + 5):
    run.log({"row": row}, step=row, commit=True)
    time.sleep(float(sys.argv[2]))
artifact = wandb.Artifact("weights", "model")
artifact.add_file(__file__)
run.log_artifact(artifact, aliases=["latest", "best"])
run.alert("it stopped", "for a reason")
run.finish()
"""


def client(server: WandbServer, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    whole = clean | {"HOME": str(folder), "WANDB_DIR": str(folder)} | server.environment()
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=whole, capture_output=True, text=True, timeout=120, check=True
    )


def test_a_resumed_run_stands_there_once_with_its_rows_artifact_and_alert(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with WandbServer() as server:
        client(server, tmp_path, str(program), "abc", "0")
        server.fail = 3  # the next requests; the client tries again
        client(server, tmp_path, str(program), "abc", "0")
        run = server.runs["abc"]
        assert [row["row"] for row in run.history] == list(range(10))
        assert (run.config, run.exit_code, run.summary["row"]) == ({"lr": 0.1}, 0, 9)
        assert [alert["title"] for alert in run.alerts] == ["it stopped"] * 2
        artifact = server.artifact("weights")
        assert server.content(artifact) == {"program.py": program.read_bytes()}
        assert set(artifact.aliases) == {"latest", "best"} and len(server.artifacts) == 1
        assert server.unknown == []
        assert not any(KEY.encode() in request.body for request in server.requests)


def test_an_agent_runs_each_trial_of_a_grid_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command: Any = [sys.executable, "program.py", "-", "0", "${args_no_hyphens}"]
    (tmp_path / "sweep.yaml").write_text(
        f"program: program.py\nmethod: grid\ncommand: {command}\nparameters: {{lr: {{values: [1, 2]}}}}\n".replace("'", '"')
    )
    with WandbServer() as server:
        client(server, tmp_path, "-m", "wandb", "sweep", "--project", "p", "sweep.yaml")
        client(server, tmp_path, "-m", "wandb", "agent", "--entity", "me", "--project", "p", "sweep0")
        assert [run for _, run in server.sweeps["sweep0"].given] == ["sweep0-run0", "sweep0-run1"]
        assert [len(server.runs[name].history) for name in ("sweep0-run0", "sweep0-run1")] == [5, 5]
        assert server.sweeps["sweep0"].trials == [{"lr": 1}, {"lr": 2}]
        assert server.unknown == []
