"""Every shipped file in configs/ and launch/ is one that its reader accepts, and says no more than it must."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

from pipeline import config
from pipeline.config import strict_yaml

ROOT = Path(__file__).parents[1]
SWEEP = ROOT / "configs/sweep.yaml"  # the one file there that is no configuration; tests/tuning/sweeps/ reads it
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path != SWEEP)
LAUNCHES = sorted((ROOT / "launch").glob("*.yaml"))
SOURCES = {
    "digits": ("digits", "rows"),
    "smoke": ("digits", "rows"),
    "mnist": ("mnist", "rows"),
    "mnist_seed": ("mnist", "rows"),
    "mnist_best": ("mnist", "rows_columns"),
    "mnist_pixels": ("mnist", "pixels"),
    "mnist_permuted": ("mnist", "permuted_pixels"),
    "fashion_mnist": ("fashion_mnist", "rows"),
    "japanese_vowels": ("ts", "rows"),
    "italy_power": ("ts", "rows"),
}
TUTORIAL = {"model.hidden", "optim.name", "optim.lr", "train.batch"}  # kept in mnist_seed.yaml whatever becomes the default


def test_the_shipped_files_are_those_that_are_promised() -> None:
    assert {path.stem for path in CONFIGS} == set(SOURCES)
    assert {path.stem for path in LAUNCHES} >= {"cpu", "one_gpu", "multi_gpu", "multi_node"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_loaded_and_is_of_the_data_its_name_says(path: Path) -> None:
    loaded = config.load(path)
    assert (loaded.data.source, loaded.data.view) == SOURCES[path.stem]
    assert loaded.run.dir == f"runs/{path.stem}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_states_only_what_differs_from_the_defaults(path: Path) -> None:
    values, lines = strict_yaml.read(path)
    defaults = config.Config().model_dump(mode="json")
    idle = {
        f"{name}.{key}"
        for name, section in values.items()
        for key, value in section.items()
        if value == defaults[name][key] and type(value) is type(defaults[name][key])
    }
    idle -= TUTORIAL if path.stem == "mnist_seed" else set()
    assert sorted(f"{path.name}:{lines[tuple(key.split('.'))]}: {key} is the default" for key in idle) == []


@pytest.mark.parametrize("path", [*CONFIGS, SWEEP, *LAUNCHES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_begins_by_saying_what_it_is_for(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and len(first) > 20


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_nothing_of_where_it_runs(path: Path) -> None:
    values, _ = strict_yaml.read(path)
    assert not {"run"} & values.keys() and not {"root", "prepared", "mirrors"} & values.get("data", {}).keys()


def test_the_batch_of_the_smoke_test_divides_among_1_2_3_and_4_processes() -> None:
    assert not config.load(ROOT / "configs/smoke.yaml").train.batch % 12


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_a_launch_file_is_accepted_by_accelerates_own_loader(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_config_from_file(str(path))
    assert isinstance(loaded, ClusterConfig)
    said = yaml.safe_load(path.read_text())
    known = {field.name for field in dataclasses.fields(ClusterConfig)}
    assert said.keys() <= known
    for key in ("num_processes", "num_machines", "machine_rank", "use_cpu"):
        assert getattr(loaded, key) == said[key]
    assert loaded.distributed_type.value == said["distributed_type"]
    assert capsys.readouterr().out == "", "a loader that warns is one that does not know a key"


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_a_launch_file_holds_topology_and_not_what_is_trained(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    assert said["mixed_precision"] == "no", "train.precision says it"
    assert not {key for key in said if "config" in key or "gradient" in key or "dynamo" in key}
    assert said["distributed_type"] in ("MULTI_GPU", "NO")
    assert (said["num_processes"] > 1) == (said["distributed_type"] == "MULTI_GPU")
    assert said["num_processes"] % said["num_machines"] == 0
    assert (said["num_machines"] > 1) == ("main_process_ip" in said)


def test_accelerates_loader_would_refuse_a_key_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "launch.yaml"
    path.write_text((ROOT / "launch/cpu.yaml").read_text() + "num_procesess: 3\n")
    with pytest.raises(ValueError, match="num_procesess"):
        load_config_from_file(str(path))
