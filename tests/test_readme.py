"""What the README shows exists: commands, options, settings, files, the reference table and the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer

from pipeline import config
from pipeline.__main__ import app
from pipeline.deploy import exporter
from pipeline.model.classifier import RecurrentClassifier

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL))
SECTIONS = "|".join(config.Config.model_fields)
OUTPUT = "error:", "command line:"  # lines that show a mistake are no advice


def commands() -> Iterator[str]:
    """Every shell line of the README, in a block or inline, without its comment."""
    for kind, block in BLOCKS:
        if kind == "bash":
            yield from (re.sub(r"\s#.*", "", line).strip() for line in block.replace("\\\n", " ").splitlines())
    yield from SPANS


def words(pattern: str) -> list[list[str]]:
    """The words after ``pattern`` in each command that has some; a command with a placeholder (``...``) is left out."""
    found = [re.search(rf"(?:^|\s|/){pattern}\s+(.*)$", command) for command in commands()]
    return [shlex.split(match[1]) for match in found if match and "..." not in match[0]]


MAKE = words("make")
PIPELINE = words("python -m pipeline") + [line[line.index("pipeline") + 1 :] for line in words("accelerate launch")]
OVERRIDES = sorted(
    set(
        re.findall(
            rf"\b(?:{SECTIONS})\.[a-z_]+=[^\s\"'`]+",
            "\n".join(line for line in TEXT.splitlines() if not line.startswith(OUTPUT)),
        )
    )
)
KEYS = sorted(
    {span for span in SPANS if re.fullmatch(rf"(?:{SECTIONS})\.[a-z_]+", span) and not span.endswith((".onnx", ".safetensors"))}
)
FILES = sorted(
    {
        *re.findall(r"(?<![\w/.])((?:configs|launch|pipeline|tests|docs|\.ci|\.github)/[\w./-]*\w)", TEXT),
        *re.findall(r"\]\(([^)]+)\)", TEXT),
        *(span for span in SPANS if re.fullmatch(r"LICENSE|Makefile|[\w-]+\.(?:lock|toml)", span)),
    }
)
TARGETS = dict(re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_is_something_to_check() -> None:
    assert len(MAKE) > 10 and len(PIPELINE) > 8 and len(OVERRIDES) > 8 and len(KEYS) > 3 and len(FILES) > 12


@pytest.mark.parametrize("line", MAKE, ids=" ".join)
def test_make_knows_the_target_and_every_variable(line: list[str]) -> None:
    targets = [word for word in line if "=" not in word]
    assert targets and not targets - TARGETS.keys(), "run: make help"
    variables = {word.split("=")[0] for word in line if "=" in word}
    unknown = variables - set(re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert not unknown, "make would ignore it without a word"
    ready = [
        "-o",
        ".venv/installed",
        "-o",
        ".venv-bench/installed",
        "-o",
        "setup",
    ]  # where the tests run, another environment may be in use
    done = subprocess.run(["make", "-n", *ready, *line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", PIPELINE, ids=" ".join)
def test_the_command_line_takes_the_command(line: list[str]) -> None:
    group = typer.main.get_command(app)
    name, *arguments = line
    context = group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]  # raises if an option is unknown
    if file := context.params.get("config"):
        config.load(ROOT / file, context.params["overrides"] or ())


@pytest.mark.parametrize("line", words("accelerate launch"), ids=" ".join)
def test_accelerate_knows_the_options_of_a_launch(line: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    known, unknown = launch_command_parser().parse_known_args(line)
    assert known.module and known.training_script == "pipeline"
    assert not [word for word in unknown if word in line[: line.index("-m")]]
    assert (ROOT / known.config_file).is_file()


@pytest.mark.parametrize("line", words("wandb"), ids=" ".join)
def test_wandb_has_the_command(line: list[str]) -> None:
    import click
    from wandb.cli.cli import cli

    command: click.Command = cli
    for word in line:
        if isinstance(command, click.Group) and (word in command.commands or command is cli):
            command = command.commands[word]
        elif word.startswith("--"):
            assert any(word in option.opts for option in command.params), word


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_setting_is_valid(override: str) -> None:
    config.load(ROOT / "configs/digits.yaml", [override])


@pytest.mark.parametrize("key", KEYS)
def test_a_key_exists(key: str) -> None:
    section, name = key.split(".")
    assert name in config.Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]


@pytest.mark.parametrize("file", FILES)
def test_a_file_exists(file: str) -> None:
    assert (ROOT / file).exists()


def test_the_pictures_are_small_png_files() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\((docs/[^)]+)\)", TEXT)
    assert {Path(path).name for _, path in pictures} == {path.name for path in (ROOT / "docs").glob("*.png")}
    for text, path in pictures:
        data = (ROOT / path).read_bytes()
        assert text and data.startswith(b"\x89PNG\r\n") and len(data) < 150_000, path


def test_the_reference_is_that_of_the_code() -> None:
    shown = re.search(r"<!-- reference -->\n(.*?)\n<!-- /reference -->", TEXT, re.DOTALL)
    assert shown and shown[1] == config.reference(), (
        "paste what this prints: python -c 'from pipeline import config; print(config.reference())'"
    )


def test_every_name_in_the_run_folder_is_written_by_the_program() -> None:
    (tree,) = (block for kind, block in BLOCKS if kind == "text" and block.startswith("runs/NAME/"))
    sources = "\n".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    names = re.findall(r"\b[\w]+\.(?:yaml|jsonl?|csv|png|safetensors|onnx|pt2|md)\b", tree)
    assert len(names) > 10 and not [name for name in names if f'{name}"' not in sources]


def test_every_command_of_the_program_is_described() -> None:
    described = re.findall(r"^\| `python -m pipeline (\w+)", TEXT, re.MULTILINE)
    assert described == list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "file", ["README.md", ".ci/run", ".github/workflows/ci.yml", "Makefile", "requirements.lock", "requirements-bench.lock"]
)
def test_no_address_and_no_private_path_is_named(file: str) -> None:
    """Where packages and data come from is the business of the machine's own settings."""
    text = (ROOT / file).read_text().lower()
    assert not [word for word in ("://", "index-url", "find-links", "/home/", "/root/") if word in text]


def test_the_onnxruntime_example_runs_on_an_exported_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "onnxruntime" in block)
    torch.manual_seed(0)
    arguments = {"features": 8, "classes": 10, "hidden": 4}
    model = RecurrentClassifier(**arguments).eval()
    facts = {"class_names": [f"class {index}" for index in range(10)], "length": 8}
    values = torch.randint(0, 17, (5, 8, 8), dtype=torch.uint8)
    exporter.export(model, arguments, facts, exporter.Examples(values), ["onnx"], 1e-4, tmp_path / "runs/digits/export")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    with torch.no_grad():
        expected = model(torch.from_numpy(names["values"])).argmax(1).tolist()
    assert capsys.readouterr().out.strip() == str([f"class {index}" for index in expected])


def test_ci_installs_as_the_readme_says_and_the_workflow_runs_it() -> None:
    script, workflow = (ROOT / ".ci/run").read_text(), (ROOT / ".github/workflows/ci.yml").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, timeout=10).returncode == 0
    assert re.findall(r"\bmake (\w+)", "\n".join(line for line in script.splitlines() if line.startswith("limited"))) == [
        "setup",
        "lint",
        "faults",
        "test",
    ]
    assert "bash .ci/run" in workflow
