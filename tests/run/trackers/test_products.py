"""What wandb is sent of a run: artifacts byte for byte, hostile words as they are, and nothing of the environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Track
from pipeline.run.trackers import names
from tests.support.wandb_server import KEY, Request, WandbServer

ROOT = Path(__file__).parents[3]
TRAIN = ("-m", "pipeline", "train", "--config", str(ROOT / "configs/smoke.yaml"))
SECRETS = {"AWS_SECRET_ACCESS_KEY": "canary-aws-5f0c2d", "HF_TOKEN": "canary-hf-77aa31", "DATABASE_URL": "canary-db-90e1b4"}
HOSTILE = ("<script>alert(1)</script>", 'a "quoted" \\ name', "\u202eright to left\u202c", "🙂 é", "$x_{", "n" * 1000)


def environment(server: WandbServer, home: Path, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NETRC"))}
    return clean | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | server.environment() | more


def run(server: WandbServer, folder: Path, *command: str, status: int = 0, **more: str) -> str:
    whole = [sys.executable, *command]
    whole_environment = environment(server, folder, **more)
    done = subprocess.run(whole, cwd=folder, env=whole_environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def holds(request: Request, word: str) -> bool:
    return word.encode() in request.body or word in request.path


def test_a_run_is_one_run_with_its_artifacts_and_holds_nothing_of_the_environment(tmp_path: Path) -> None:
    keys = ("run.dir=runs/a", "train.epochs=1", "track.backends=[wandb]", "track.notes=tried <b>", "data.root=data")
    with WandbServer() as server:
        run(server, tmp_path, *TRAIN, *keys, **SECRETS)
        for stage in ("evaluate", "export"):
            run(server, tmp_path, "-m", "pipeline", stage, "--run", "runs/a", **SECRETS)
        ((name, found),) = server.runs.items()
        assert found.exit_code == 0 and server.unknown == []
        assert (found.said["displayName"], found.said["jobType"], found.said["notes"]) == ("a", "train", "tried <b>")

        exported = server.artifact("a-export")
        content = {file: hashlib.sha256(body).hexdigest() for file, body in server.content(exported).items()}
        assert content == sums(tmp_path / "runs/a/export") == json.loads(exported.said["metadata"])["sha256"]
        checkpoint = server.artifact("a-checkpoint")
        held = {file: hashlib.sha256(body).hexdigest() for file, body in server.content(checkpoint).items()}
        (best,) = [path for path in (tmp_path / "runs/a/checkpoints").iterdir() if path.name == f"step_{14:08}"]
        assert held.items() <= sums(best).items() and {"latest", "best", "step-14"} <= set(checkpoint.aliases)

        kinds = {artifact.id: artifact.name for artifact in server.artifacts.values()}
        (data,) = [id for id, kind in kinds.items() if kind.startswith("digits-")]
        assert found.used == [data, checkpoint.id, checkpoint.id], "training takes the data, the others the checkpoint"
        assert {kinds[id] for id in found.logged} >= {"a-checkpoint", "a-evaluation", "a-export"}

        assert found.config["facts"]["data"]["train"] == 1293 and found.config["facts"]["parameters"] == 1834
        (predictions,) = [id for id, kind in kinds.items() if kind == f"run-{name}-predictions"]
        table = json.loads(server.content(server.artifacts[predictions])["predictions.table.json"])
        assert table["columns"] == ["index", "label", "prediction", "probability", "right", "picture"]
        assert len(table["data"]) == 360 and table["data"][0][4] is False and table["data"][0][5]["_type"] == "image-file"

        secrets = [*SECRETS.values(), KEY]
        assert not [word for word in secrets for request in server.requests if holds(request, word)]
        assert "wandb-events.jsonl" not in found.files and "output.log" not in found.files
        assert found.said["program"] == "pipeline" and not found.said.get("host") and not found.said.get("commit")
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_fault_ends_the_run_with_an_alert(tmp_path: Path) -> None:
    keys = ("run.dir=runs/a", "train.epochs=1", "track.backends=[wandb]", "data.root=data", "optim.lr=1e38", "optim.clip=0")
    with WandbServer() as server:
        said = run(server, tmp_path, *TRAIN, *keys, status=3)
        (found,) = server.runs.values()
        (alert,) = found.alerts
        assert alert["title"] == "a: stopped by NonFiniteError" and alert["text"] in said
        assert found.exit_code == 1 and len(found.history) > 0


STAGE = """
import sys
from pathlib import Path
from pipeline.config import make
from pipeline.run.trackers import tracker
from pipeline.run.trackers.products import Product
folder = Path("a")
folder.mkdir(exist_ok=True)
(folder / "weights").write_bytes(b"abc" * 1000)
checkpoint = Product("model", "checkpoint", {"weights": folder / "weights"}, {"step": 3}, ("latest", "best"))
views = tracker.start(make({"run": {"dir": "a"}}), folder)
if sys.argv[1] == "train":
    views.use(Product("dataset", "data-1", {"manifest.json": "{}"}, shared=True))
    views.produce(checkpoint)
else:
    views.use(checkpoint)
    views.produce(Product("model", "export", {"weights": folder / "weights"}))
views.finish()
"""


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_offline_and_online_give_the_same_artifacts_and_lineage(mode: str, tmp_path: Path) -> None:
    with WandbServer() as server:
        for stage in ("train", "export"):
            run(server, tmp_path, "-c", STAGE, stage, WANDB_MODE=mode)
        (tmp_path / "a/weights").unlink()
        if mode == "offline":
            run(server, tmp_path, "-m", "wandb", "sync", "a/wandb")
        (found,) = server.runs.values()
        named = {artifact.id: artifact.name for artifact in server.artifacts.values()}
        assert [named[id] for id in found.used] == ["data-1", "a-checkpoint"]
        assert [named[id] for id in found.logged] == ["a-checkpoint", "a-export"]
        content = {artifact.name: server.content(artifact) for artifact in server.artifacts.values()}
        weights = {"weights": b"abc" * 1000}
        assert content == {"data-1": {"manifest.json": b"{}"}, "a-checkpoint": weights, "a-export": weights}
        assert server.unknown == []


SHOWN = """
import sys, time
from pathlib import Path
import numpy as np
from pipeline.config import make
from pipeline.run.trackers import tracker
from pipeline.run.trackers.view import Evaluation, Example
from pipeline.errors import NonFiniteError
names = list(sys.argv[1:])
folder = Path("a run <b>")
folder.mkdir()
track = {"name": names[0], "notes": names[1] * 20, "tags": ["t<i>"], "system": True, "git": True, "group": names[0]}
(folder / "environment.json").write_text('{"git_commit": "0123abc"}')
data = {"source": "csv", "path": "x.csv", "channels": names}
views = tracker.start(make({"run": {"dir": str(folder)}, "track": track, "data": data}), folder)
examples = [Example(1, names[0], names[1], 0.5)]
cells = np.array([[0, 1, 1], [2, 2, 4]])
views.log_evaluation(Evaluation({"step": 3, "test/accuracy": 0.8}, cells, names, {}, examples))
views.alert(NonFiniteError("the loss is not finite"))
views.alert(RuntimeError("canary-runtime"))
time.sleep(1)
views.finish(3)
"""


def test_hostile_words_arrive_as_they_are_and_faults_as_alerts(tmp_path: Path) -> None:
    with WandbServer() as server:
        run(server, tmp_path, "-c", SHOWN, *HOSTILE, WANDB_X_STATS_SAMPLING_INTERVAL="0.2")
        (found,) = server.runs.values()
        assert found.said["displayName"] == found.said["groupName"] == HOSTILE[0]
        assert found.said["notes"] == HOSTILE[1] * 20 and found.said["tags"] == ["t<i>"]
        assert found.config["data"]["channels"] == list(HOSTILE)
        tables: dict[str, Any] = {
            name.split(".")[0]: json.loads(body)["data"]
            for artifact in server.artifacts.values()
            for name, body in server.content(artifact).items()
            if name.endswith(".table.json")
        }
        assert tables["predictions"] == [[1, HOSTILE[0], HOSTILE[1], 0.5, False, None]]
        assert {row[0] for row in tables["confusion_matrix_table"]} == set(HOSTILE)
        assert any("system.cpu" in line for line in found.files["wandb-events.jsonl"])
        assert found.exit_code == 3 and found.said["commit"] == "0123abc" and found.said["host"]
        assert [alert["text"] for alert in found.alerts] == ["the loss is not finite", "see the screen of the run"]
        assert [alert["severity"] for alert in found.alerts] == ["ERROR"] * 2
        assert not any(holds(request, "canary-runtime") for request in server.requests)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of wandb in the environment."""
    for variable in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(variable)
    return monkeypatch


def test_seeds_and_folds_are_runs_of_one_group_each_with_a_name_and_an_id(quiet: pytest.MonkeyPatch) -> None:
    seed, fold = Path("runs/digits/seed-3"), Path("runs/digits/folds/2")
    said = names.of(Track(), seed, {})
    assert (said["name"], said["group"], said["job_type"], "id" in said) == ("digits-seed-3", "digits", "seed", False)
    said = names.of(Track(), fold, {"id": "kept"})
    assert (said["name"], said["group"], said["job_type"], said["id"]) == ("digits-fold-2", "digits", "fold", "kept")
    said = names.of(Track(name="n", group="g", id="i"), fold, {})
    assert (said["name"], said["group"], said["id"]) == ("n-fold-2", "g", "i-fold-2")
    quiet.setenv("WANDB_RUN_ID", "env")
    assert names.of(Track(), seed, {"id": "env-seed-3"})["id"] == "env-seed-3"
    assert "id" not in names.of(Track(), Path("runs/digits"), {}), "wandb reads it itself"


def test_a_later_stage_goes_by_what_the_first_attempt_kept(quiet: pytest.MonkeyPatch) -> None:
    kept = {"id": "i", "project": "p", "entity": "e"}
    said = names.of(Track(), Path("runs/digits"), kept)
    assert kept.items() <= said.items()
    assert names.of(Track(project="mine", entity="us"), Path("runs/digits"), kept)["project"] == "mine"
    assert names.of(Track(project="mine", entity="us"), Path("runs/digits"), kept)["entity"] == "us"
