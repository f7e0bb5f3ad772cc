"""What the pages show exists: commands, options, settings, keys, files, links, the reference and the programs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import typer

from pipeline import config
from pipeline.__main__ import app
from pipeline.deploy import exporter
from pipeline.deploy.facts import Arguments, Facts
from pipeline.errors import ConfigError
from pipeline.model.classifier import RecurrentClassifier
from tests.docs.pages import CONFIGURATION, PAGES, README, ROOT, Page
from tests.docs.reference import TABLES, marked

COMMANDS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
MAKEFILE = (ROOT / "Makefile").read_text()
READY = [word for path in (".venv/installed", ".venv-bench/installed", "setup") for word in ("-o", path)]
RUN_BY = {
    "docs/guide.md": "tests/docs/test_guide.py",
    "docs/python.md": "tests/docs/test_python.py",
    "docs/deploy.md": "this file",
    "docs/upstream.md": "tests/docs/test_upstream.py",
}  # the programs of these pages


def each(found: Callable[[Page], Iterable[object]]) -> list[object]:
    """A case for each thing that ``found`` sees on each page, with the page's name."""
    cases = [(page, one) for page in PAGES for one in found(page)]
    names = [f"{page.name}: {' '.join(one) if isinstance(one, list) else one}" for page, one in cases]
    return [pytest.param(page, one, id=name) for (page, one), name in zip(cases, names, strict=True)]


def pipeline_lines(page: Page) -> list[list[str]]:
    """The words after ``python -m pipeline``, or ``-m pipeline`` under a launcher, and those of the table of commands."""
    launched = [line for line in page.words("accelerate launch") if "pipeline" in line]
    table = [shlex.split(line) for line in re.findall(rf"^\| `((?:{'|'.join(COMMANDS)}) [^`]*)`", page.text, re.MULTILINE)]
    shown = [line for line in page.words("python -m pipeline") if line != ["COMMAND"]]
    return shown + [line[line.index("pipeline") + 1 :] for line in launched] + table


def programs_of_the_tests(page: Page) -> list[list[str]]:
    """The words after ``python -m`` of the programs in tests/."""
    return [line for line in page.words("python -m") if line[0].startswith("tests.")]


def test_there_is_something_to_check() -> None:
    def count(found: Callable[[Page], Iterable[object]]) -> int:
        return sum(len(list(found(page))) for page in PAGES)

    assert len(PAGES) > 12 and count(lambda page: page.words("make")) > 40 and count(pipeline_lines) > 30
    assert count(lambda page: page.overrides) > 40 and count(lambda page: page.keys) > 100
    assert count(programs_of_the_tests) > 5 and count(lambda page: page.words("wandb")) > 2
    assert count(lambda page: page.files) > 60 and count(lambda page: page.links) > 40


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / README.name).read_bytes()) <= 9_000


@pytest.mark.parametrize(("page", "line"), each(lambda page: page.words("make")))
def test_make_knows_the_target_and_every_variable(page: Page, line: list[str]) -> None:
    targets = {word for word in line if "=" not in word}
    assert targets and not targets - set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)), "run: make help"
    variables = {word.split("=")[0] for word in line if "=" in word}
    assert not variables - set(re.findall(r"^([A-Z]+) \?=", MAKEFILE, re.MULTILINE)), "make would ignore it without a word"
    done = subprocess.run(["make", "-n", *READY, *line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "line"), each(pipeline_lines))
def test_the_command_line_takes_the_command(page: Page, line: list[str], tmp_path: Path) -> None:
    group = typer.main.get_command(app)
    name, *arguments = line
    context = group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]  # raises if an option is unknown
    if file := context.params.get("config"):
        if not (ROOT / file).exists():
            assert str(file) in page.configurations, "the page shows what is in the file"
            file = tmp_path / file
            file.write_text(page.configurations[file.name])
        config.load(ROOT / file, context.params["overrides"] or ())


@pytest.mark.parametrize(("page", "line"), each(lambda page: page.words("accelerate launch")))
def test_accelerate_knows_the_options_of_a_launch(page: Page, line: list[str]) -> None:
    from accelerate.commands.launch import launch_command_parser

    known, unknown = launch_command_parser().parse_known_args(line)
    assert known.module and known.training_script == "pipeline"
    assert not [word for word in unknown if word in line[: line.index("-m")]]
    assert (ROOT / known.config_file).is_file()


@pytest.mark.parametrize(("page", "line"), each(lambda page: page.words("wandb")))
def test_wandb_has_the_command(page: Page, line: list[str]) -> None:
    import click
    from wandb.cli.cli import cli

    command: click.Command = cli
    for word in line:
        if isinstance(command, click.Group) and (word in command.commands or command is cli):
            command = command.commands[word]
        elif word.startswith("--"):
            assert any(word in option.opts for option in command.params), word


@pytest.mark.parametrize(("page", "line"), each(programs_of_the_tests))
def test_a_program_of_the_tests_exists_and_has_the_options(page: Page, line: list[str]) -> None:
    found = find_spec(line[0])
    if found and found.submodule_search_locations:  # a package, whose program is __main__
        found = find_spec(f"{line[0]}.__main__")
    assert found and found.origin
    source = Path(found.origin).read_text()
    assert not [word for word in line[1:] if word.startswith("--") and f'"{word}"' not in source]


@pytest.mark.parametrize(("page", "override"), each(lambda page: page.overrides))
def test_a_setting_is_valid(page: Page, override: str) -> None:
    series = ["data.source=csv", "data.path=readings.csv"]
    for before in ([], series):  # some keys are for images only, some for series only
        with suppress(ConfigError):
            config.load(ROOT / "configs/digits.yaml", [*before, override])
            return
    config.load(ROOT / "configs/digits.yaml", [*series, "data.group=patient", override])


@pytest.mark.parametrize(("page", "key"), each(lambda page: page.keys))
def test_a_key_exists(page: Page, key: str) -> None:
    section, name = key.split(".")
    assert name in config.Config.model_fields[section].annotation.model_fields  # type: ignore[union-attr]


@pytest.mark.parametrize(("page", "text"), each(lambda page: [block for kind, block in page.blocks if kind == "yaml"]))
def test_a_configuration_is_valid(page: Page, text: str, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(text)
    config.load(tmp_path / "shown.yaml")


@pytest.mark.parametrize(("page", "file"), each(lambda page: page.files))
def test_a_file_exists(page: Page, file: str) -> None:
    assert (ROOT / file).exists()


@pytest.mark.parametrize(("page", "link"), each(lambda page: page.links))
def test_a_link_leads_to_a_file_and_a_heading(page: Page, link: tuple[str, str]) -> None:
    path, heading = link
    target = (ROOT / page.name).parent / path if path else ROOT / page.name
    assert target.exists()
    if heading:
        assert heading in Page(str(target.resolve().relative_to(ROOT))).headings


def test_every_page_is_linked_from_another_one() -> None:
    linked = {((ROOT / page.name).parent / path).resolve() for page in PAGES for path, _ in page.links if path}
    assert not [page.name for page in PAGES if page is not README and ROOT / page.name not in linked]


def test_the_pictures_are_shown_and_small_png_files() -> None:
    shown = {((ROOT / page.name).parent / path).resolve() for page in PAGES for path, _ in page.links if path.endswith(".png")}
    assert shown == set((ROOT / "docs").glob("*.png"))
    for page in PAGES:
        assert "![](" not in page.text, "a picture says what it shows"
    for path in shown:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n") and len(data) < 150_000, path


@pytest.mark.parametrize("page", TABLES)
def test_the_reference_is_that_of_the_code(page: str) -> None:
    name, table = TABLES[page]
    assert marked(Page(page).text, name)[1] == table(), "run: python -m tests.docs.reference"


def test_the_keys_that_one_needs_first_are_shown_with_their_defaults() -> None:
    head = CONFIGURATION.text.split("<!-- reference -->")[0]
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `(\S+)` \|", head, re.MULTILINE)
    assert len(rows) == 10
    assert not [row for row in rows if f"| `{row[0]}` | `{row[1]}` |" not in config.reference()]


def test_every_command_of_the_program_is_described_in_the_readme() -> None:
    table = README.text.partition("| command | `make` |")[2].partition("\n\n")[0]
    described = re.findall(r"^\| `(\w+) ", table, re.MULTILINE)
    assert described == COMMANDS


def test_every_target_of_make_is_described_in_the_contributors_page_or_the_readme() -> None:
    text = README.text + (ROOT / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    assert not [target for target in targets if f"make {target}" not in text]


def test_every_name_in_the_run_folder_is_written_by_the_program() -> None:
    (tree,) = (block for page in PAGES for kind, block in page.blocks if kind == "text" and block.startswith("runs/NAME/"))
    sources = "\n".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    names = re.findall(r"\b[\w]+\.(?:yaml|jsonl?|csv|png|safetensors|onnx|pt2|md)\b", tree)
    stems = re.compile(r"\.(?:png|json)$")  # the program adds some endings to a name
    written = [name for name in names if f'{name}"' in sources or f'"{stems.sub("", name)}"' in sources]
    assert len(names) > 10 and written == names


OLD_WORDS = {
    r"\b(train(ing)?|valid(ation)?|test|held-out) parts?\b": "train, valid and test are splits",
    r"\b[Aa]n? (row|column|folder|file|line|step|curve|process|thread) an? (?!few\b|time\b)\w+": "one X per Y",
    r"\ba (step|class|process|row|series|seed|second) (a|an) \w+": "per",
    r"\bthe rates?\b": "learning rate",
    r"(?<!standard )\bdeviations?\b": "standard deviation",
    r"(?<!MNIST LSTM )\b[Tt]utorial\b(?!\.py)": "the guide is ours; the other is the MNIST LSTM tutorial",
    r"\bour tutorial\b|docs/tutorial": "the guide",
    r"\bbusy (machine|cores)\b|other work\b.{0,20}beside": "a measurement needs no apology",
}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "docs/design.md"], ids=lambda page: page.name)
def test_the_words_are_those_of_the_glossary(page: Page) -> None:
    found = [(match[0], right) for old, right in OLD_WORDS.items() for match in re.finditer(old, page.prose)]
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_address_and_no_private_path_is_named(page: Page) -> None:
    """Where packages and data come from is the business of the machine's own settings."""
    text = page.text.lower()
    assert not [word for word in ("://", "index-url", "find-links", "/home/", "/root/", "/work/", "/tmp/") if word in text]


def test_every_program_in_python_is_run() -> None:
    assert {page.name for page in PAGES if any(kind == "python" for kind, _ in page.blocks)} == RUN_BY.keys()


def test_the_onnxruntime_example_runs_on_an_exported_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for kind, block in Page("docs/deploy.md").blocks if kind == "python")
    torch.manual_seed(0)
    arguments = Arguments(features=8, classes=10, hidden=4)
    model = RecurrentClassifier(**arguments.model_dump()).eval()
    names = tuple(f"class {index}" for index in range(10))
    facts = Facts(class_names=names, length=8, source="digits", value_range=(0, 16), image=(8, 8))
    values = torch.randint(0, 17, (5, 8, 8), dtype=torch.uint8)
    exporter.export(model, arguments, facts, exporter.Examples(values), ["onnx"], 1e-4, tmp_path / "runs/digits/export")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(compile(code, "docs/deploy.md", "exec"), scope)
    with torch.no_grad():
        expected = model(torch.from_numpy(scope["values"])).argmax(1).tolist()
    assert capsys.readouterr().out.strip() == str([f"class {index}" for index in expected])
