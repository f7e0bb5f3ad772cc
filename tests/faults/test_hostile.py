"""Files with a payload run nothing, secrets are written nowhere, and wandb in trouble costs a run nothing."""

from __future__ import annotations

import ast
import json
import os
import pickle
import signal
import time
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import pipeline
from pipeline.config import load
from pipeline.errors import ConfigError
from tests.support.launching import ROOT, Job, losses, numbers, reached, records, run, succeed, wait_until, weights

SMOKE = ("--config", str(ROOT / "configs/smoke.yaml"))
SOURCES = sorted(Path(pipeline.__file__).parent.rglob("*.py"))
SECRET = "canary-8c1f6e20d9"  # one that must never be seen again
OFFLINE = {"WANDB_MODE": "offline"}
WANDB = ("track.backends=[wandb]", "train.epochs=10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared data."""
    folder = tmp_path_factory.mktemp("work")
    succeed("prepare", *SMOKE, cwd=folder)
    return folder


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A run with two checkpoints, of which a test may spoil any; run.dir for the program."""
    run_folder = tmp_path / "run"
    job = Job("train", *SMOKE, "train.epochs=4", f"run.dir={run_folder}", cwd=folder, processes=0)
    wait_until(lambda: len(list((run_folder / "checkpoints").glob("step_*"))) >= 2, "two checkpoints")
    job.signal(signal.SIGTERM)
    statuses, output = job.wait()
    assert statuses in ([143], [0]), output
    (run_folder / "checkpoints/finished.json").unlink(missing_ok=True)
    return run_folder


class Payload:
    """Whoever unpickles it runs it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_the_payload_of_these_tests_works(tmp_path: Path) -> None:
    torch.save(Payload(tmp_path / "canary"), tmp_path / "file")
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "canary").exists()


def spoil(checkpoint: Path, name: str, content: bytes) -> None:
    """Replace a file, and the manifest with it, as one who is hostile and not merely unlucky."""
    (checkpoint / name).write_bytes(content)
    manifest = {
        file.name: sha256(file.read_bytes()).hexdigest() for file in checkpoint.iterdir() if file.name != "manifest.json"
    }
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("form", ["pickle", "torch.save"])
def test_a_pickle_in_a_checkpoint_runs_nothing_and_is_refused(
    folder: Path, damaged: Path, tmp_path: Path, name: str, form: str
) -> None:
    canary = tmp_path / "canary"
    if form == "pickle":
        content = pickle.dumps(Payload(canary))
    else:
        torch.save(Payload(canary), tmp_path / "file")
        content = (tmp_path / "file").read_bytes()
    for checkpoint in (damaged / "checkpoints").glob("step_*"):
        spoil(checkpoint, name, content)
    for command in (
        ("train", *SMOKE, "train.epochs=4", f"run.dir={damaged}"),
        ("evaluate", "--run", str(damaged)),
        ("export", "--run", str(damaged)),
    ):
        status, output = run(*command, cwd=folder)
        assert not canary.exists(), f"{command[0]} ran the payload"
        assert (status, output.count("error:"), "Traceback" in output) == (2, 1, False), f"{command[0]}: {output}"
        assert str(damaged / "checkpoints") in output and name in output, output


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.jsonl"])
def test_a_payload_in_another_file_of_a_run_runs_nothing_and_is_refused(
    folder: Path, damaged: Path, tmp_path: Path, name: str
) -> None:
    canary = tmp_path / "canary"
    if name == "config.yaml":
        content = f"run: !!python/object/apply:os.system ['touch {canary}']\n".encode()
    else:
        content = pickle.dumps(Payload(canary)) + b"\n"
    (damaged / name).write_bytes(content)
    status, output = run("train", *SMOKE, "train.epochs=4", f"run.dir={damaged}", cwd=folder)
    assert not canary.exists()
    assert (status, output.count("error:"), "Traceback" in output) == (2, 1, False), output
    assert name in output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("environment.json", text) for text in ("[]", "5", '{"earlier": 5}')),
        *(("metrics.jsonl", text) for text in ("[]", "5", '{"step": "x"}', '{"a": 1}')),
        *(("state.json", text) for text in ("[]", "5", "{}", '{"format": 1}', '{"format": 1, "step": 1, "facts": {}}')),
    ],
)
def test_json_of_another_shape_is_refused_with_its_place(folder: Path, damaged: Path, name: str, content: str) -> None:
    if name == "state.json":
        for checkpoint in (damaged / "checkpoints").glob("step_*"):
            spoil(checkpoint, name, content.encode())
    else:
        (damaged / name).write_text(content + "\n")
    status, output = run("train", *SMOKE, "train.epochs=4", f"run.dir={damaged}", cwd=folder)
    assert (status, output.count("error:"), "Traceback" in output) == (2, 1, False), output
    assert name in output


@pytest.mark.parametrize(
    "text",
    [
        "run: !!python/object/apply:os.system ['touch {canary}']",
        "!!python/object/new:os.system ['touch {canary}']",
        "run: {{dir: !!python/object/apply:subprocess.check_output [[touch, {canary}]]}}",
    ],
)
def test_a_yaml_file_or_override_with_a_tag_runs_nothing_and_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    canary = tmp_path / "canary"
    text = text.format(canary=canary)
    (tmp_path / "bad.yaml").write_text(text + "\n")
    status, output = run("train", "--config", str(tmp_path / "bad.yaml"), cwd=folder)
    assert not canary.exists()
    assert (status, "bad.yaml:1" in output, "is not allowed" in output, "Traceback" in output) == (2, True, True, False), output
    status, output = run("train", *SMOKE, f"track.name=!!python/object/apply:os.system ['touch {canary}']", cwd=folder)
    assert not canary.exists()
    assert (status, "command line" in output, "Traceback" in output) == (2, True, False), output


def test_a_pickle_in_the_prepared_data_runs_nothing_and_is_refused(tmp_path: Path) -> None:
    succeed("prepare", *SMOKE, cwd=tmp_path)
    canary = tmp_path / "canary"
    for name in ("train.safetensors", "manifest.json"):
        file = next(tmp_path.glob(f"prepared/*/{name}"))
        before = file.read_bytes()
        file.write_bytes(pickle.dumps(Payload(canary)))
        status, output = run("train", *SMOKE, cwd=tmp_path)
        assert not canary.exists()
        assert (status, output.count("error:"), name in output, "Traceback" in output) == (2, 1, True, False), output
        file.write_bytes(before)


UNSAFE_MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle")
UNSAFE_CALLS = (
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.save",
    "os.system",
    "yaml.load",
    "yaml.unsafe_load",
)
UNSAFE_CALLS = (*UNSAFE_CALLS, "yaml.full_load", "yaml.load_all", "torch.jit.load", "torch.hub.load", "tempfile.mktemp")
PICKLING = ("all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list")  # between processes
PICKLING = (*PICKLING, "send_object_list", "recv_object_list")


def unsafe(source: str) -> list[str]:
    """What in a module can run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [name for name in names if name.split(".")[0] in UNSAFE_MODULES]
            if isinstance(node, ast.ImportFrom):
                found += [
                    called
                    for alias in node.names
                    if (called := f"{node.module}.{alias.name}") in UNSAFE_CALLS or alias.name in PICKLING
                ]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] * (called in UNSAFE_CALLS)
            limited = any(keyword.arg == "formats" for keyword in node.keywords)
            found += [called] * (called.endswith("Image.open") and not limited)  # which may run Ghostscript
            for keyword in node.keywords:
                told = isinstance(keyword.value, ast.Constant) and keyword.value.value
                if (keyword.arg, told) in (("allow_pickle", True), ("weights_only", False), ("shell", True)):
                    found.append(f"{called}({keyword.arg}={told})")
        if isinstance(node, ast.Attribute) and node.attr in PICKLING:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Attribute) and node.attr in ("UnsafeLoader", "FullLoader", "Loader", "CLoader"):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_no_module_can_run_what_a_file_says(file: Path) -> None:
    assert unsafe(file.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import torch\ntorch.load('x')", "from torch import load", "eval('1')"),
        *("np.load('x', allow_pickle=True)", "yaml.load('x', Loader=yaml.Loader)", "subprocess.run('x', shell=True)"),
        *("Image.open('x.png')", "PIL.Image.open('x.png')"),
        *(
            "dist.all_gather_object(a, b)",
            "from accelerate.utils import gather_object",
            "torch.distributed.broadcast_object_list(a)",
        ),
    ],
)
def test_the_search_for_unsafe_calls_finds_them(source: str) -> None:
    assert unsafe(source)


def holding(folder: Path, secret: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_secrets_of_the_environment_are_written_nowhere(folder: Path, tmp_path: Path) -> None:
    names = ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "SSH_PASSWORD", "MY_API_KEY", "DATABASE_URL")
    secrets = OFFLINE | dict.fromkeys(names, SECRET) | {"HOME": str(tmp_path)}
    (tmp_path / "work").mkdir()
    commands = (
        ("prepare", *SMOKE),
        ("train", *SMOKE, "run.dir=run", "track.backends=[wandb]"),
        *((command, "--run", "run") for command in ("evaluate", "export", "summary")),
    )
    said = [succeed(*command, cwd=tmp_path / "work", **secrets) for command in commands]
    assert list(tmp_path.glob("work/run/wandb/offline-run-*/*.wandb")) and list(tmp_path.glob("work/run/export/*.onnx"))
    assert holding(tmp_path, SECRET) == []
    assert SECRET not in "".join(said)


@pytest.mark.parametrize(
    "key",
    [
        *("track.api_key", "track.wandb_api_key", "run.token", "data.password", "track.secret", "wandb.key", "api_key.x"),
        *("track.Token", "track.access-key"),
    ],
)
def test_a_key_for_a_secret_is_refused_and_its_value_is_not_repeated(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    path = tmp_path / "some.yaml"
    for text, overrides in ((f"{section}: {{{name}: {SECRET}}}\n", []), ("", [f"{key}={SECRET}"])):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path, overrides)
        assert key in str(caught.value) or section in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["api_key={}", "track.x.token={}", "track.api_key:{}", "--track.api_key={}", "WANDB_API_KEY={}"]
)
def test_an_override_of_another_form_that_names_a_secret_is_not_repeated(tmp_path: Path, override: str) -> None:
    (tmp_path / "some.yaml").write_text("")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "some.yaml", [override.format(SECRET)])
    assert SECRET not in str(caught.value) and "command line: " in str(caught.value)


def test_a_secret_on_the_command_line_is_in_no_file_and_no_message(folder: Path) -> None:
    status, output = run("train", *SMOKE, "run.dir=secret", f"track.api_key={SECRET}", cwd=folder)
    assert (status, "track.api_key: unknown key" in output, SECRET in output) == (2, True, False), output
    assert not (folder / "secret").exists()


@pytest.fixture(scope="module")
def untracked(folder: Path) -> Path:
    """The run of the tests below without wandb."""
    succeed("train", *SMOKE, WANDB[1], "run.dir=untracked", cwd=folder)
    return folder / "untracked"


def assert_complete(folder: Path, untracked: Path) -> None:
    assert numbers(folder) == numbers(untracked) and len(losses(folder)) == 140
    assert len(records(folder)) == len(records(untracked))
    assert weights(folder) == weights(untracked)


@pytest.mark.slow
def test_a_wandb_server_that_cannot_be_reached_costs_the_run_nothing(folder: Path, untracked: Path) -> None:
    key = "x" * 40
    unreachable = {"WANDB_API_KEY": key, "WANDB_BASE_URL": "http://127.0.0.1:1"}
    began = time.monotonic()
    output = succeed("train", *SMOKE, *WANDB, "run.dir=unreachable", cwd=folder, **unreachable)
    assert time.monotonic() - began < 60
    assert output.count("; the job goes on without it") == 1 and "Traceback" not in output, output
    assert_complete(folder / "unreachable", untracked)
    assert holding(folder / "unreachable", key) == [] and key not in output


def services(of: int) -> list[int]:
    """The wandb-core processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "wandb-core" and int(rest.split()[1]) == of:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("processes", [0, 2])
def test_a_wandb_service_that_is_killed_in_the_middle_costs_the_run_nothing(
    folder: Path, untracked: Path, processes: int
) -> None:
    name = f"service{processes}"
    job = Job("train", *SMOKE, *WANDB, f"run.dir={name}", cwd=folder, processes=processes, **OFFLINE)
    main = job.processes[0].pid or 0
    wait_until(lambda: services(main) and reached(folder / name, 1), "wandb's service and the first step")
    for pid in services(main):
        os.kill(pid, signal.SIGKILL)
    assert not reached(folder / name, 139), "it was killed before the end"
    statuses, output = job.wait()
    assert not any(statuses), output
    assert output.count("; the job goes on without it") == 1 and "Traceback" not in output, output
    assert len(losses(folder / name)) == 140
    if not processes:
        assert_complete(folder / name, untracked)
