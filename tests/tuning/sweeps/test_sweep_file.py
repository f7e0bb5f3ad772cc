"""A sweep file is wandb's: what is wrong with one is said in one message a fault, with file and line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from pipeline import config
from pipeline.errors import ConfigError
from pipeline.tuning.sweeps import space, sweep_file
from pipeline.tuning.sweeps.shape import Parameter, Sweep

ROOT = Path(__file__).parents[3]
HEAD = "method: random\nmetric: {name: valid/accuracy, goal: maximize}\nparameters:\n"


def read(tmp_path: Path, text: str) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return sweep_file.read(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as told:
        read(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/") for line in str(told.value).splitlines()]


def test_the_shipped_file_is_read_and_each_of_its_values_is_one_that_training_takes() -> None:
    sweep = sweep_file.read(ROOT / "configs/sweep.yaml")
    assert (sweep.method, sweep.run_cap, sweep.is_maximized) == ("bayes", 20, True)
    assert sweep.command and sweep.command[:2] == ("accelerate", "launch") and sweep.command[-1] == "${args_no_hyphens}"
    for name, parameter in sweep.parameters.items():
        for value in space.examples(parameter):
            config.load(ROOT / "configs/digits.yaml", [space.override(name, value)])


def test_every_fault_of_the_shape_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        "metod: grid\n"
        "metric:\n  name: test/accuracy\n  gaol: maximize\n"
        "run_cap: 0\n"
        "parameters:\n"
        "  optim:\n    parameters: {lr: {min: 0.1, max: 1.0}}\n"
        "  model.hidden:\n    values: [[1], 2]\n    minn: 3\n"
        "  train.batch: 64\n"
        "early_terminate:\n  type: bandit\n"
    )
    metrics = "'valid/accuracy', 'valid/loss', 'valid/macro_f1' or 'valid/balanced_accuracy'"
    assert faults(tmp_path, text) == [
        "sweep.yaml:1: method: is missing",
        "sweep.yaml:1: metod: unknown key; did you mean method?",
        f"sweep.yaml:3: metric.name: expected {metrics}, got 'test/accuracy'",
        "sweep.yaml:4: metric.gaol: unknown key; did you mean goal?",
        "sweep.yaml:5: run_cap: expected greater than or equal to 1, got 0",
        "sweep.yaml:8: parameters.optim.parameters: is not read within another; write the whole key, optim.KEY, in its place",
        "sweep.yaml:10: parameters.model.hidden.values: expected a number, a word, true or false, got [1]",
        "sweep.yaml:11: parameters.model.hidden.minn: unknown key; did you mean min?",
        "sweep.yaml:12: parameters.train.batch: expected key: value lines, got 64",
        "sweep.yaml:14: early_terminate.type: expected 'hyperband' or 'median', got 'bandit'",
    ]


@pytest.mark.parametrize(
    ("parameter", "fault"),
    [
        ("optim.lr: {}", ": expected one of: value; values; min and max"),
        ("optim.lr: {min: 0.1}", ": expected one of: value; values; min and max"),
        ("optim.lr: {value: 0.1, values: [0.2]}", ": expected one of: value; values; min and max"),
        ("optim.lr: {min: 0.1, max: 0.1}", ".max: expected more than min = 0.1, got 0.1"),
        ("optim.lr: {values: []}", ".values: expected different values, one at least"),
        ("optim.lr: {values: [0.1, 0.10]}", ".values: expected different values, one at least"),
        ("optim.lr: {min: 0, max: 1.0, distribution: log_uniform_values}", ".min: expected a number above 0"),
        ("optim.lr: {min: 0.001, max: 1000.0, distribution: log_uniform}", ".max: log_uniform takes the exponents of e"),
        ("optim.lr: {min: 0.1, max: 0.5, q: 0.1}", ".q: is of the distributions q_uniform and q_log_uniform_values"),
        ("optim.lr: {min: 0.1, max: 0.5, q: 0, distribution: q_uniform}", ".q: expected a distance above 0"),
        ("optim.lr: {values: [0.1], distribution: uniform}", ".distribution: uniform needs min and max"),
        ("optim.lr: {min: 0.1, max: 0.5, distribution: normal}", ".distribution: expected 'constant',"),
        ("optim.lr: {values: [0.1, -1]}", ": expected greater than 0, got -1"),
        ("optim.rl: {values: [0.1]}", ": no key of the configuration; did you mean optim.lr?"),
        ("model.cell: {values: [lstm, mamba]}", ": expected 'lstm', 'gru' or 'rnn', got 'mamba'"),
        ("model.hidden: {min: 16, max: 64.0}", ": expected a whole number, got "),
        (
            "model.hidden: {min: 16, max: 64, distribution: log_uniform_values}",
            "for whole numbers write distribution: q_log_uniform_values and q: 1",
        ),
        ("run.dir: {values: [a, b]}", ": each trial has a folder of its own"),
        ("train.watch_test: {values: [1, 2]}", ": a sweep never looks at the test split"),
        ("lr: {value: 1.0}\n  optim.lr: {value: 1.0}", "optim.lr: is lr under another name"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, parameter: str, fault: str) -> None:
    (line,) = faults(tmp_path, f"{HEAD}  {parameter}\n")
    name = parameter.partition(":")[0]
    number = 4 + parameter.count("\n")
    assert line.startswith(f"sweep.yaml:{number}: parameters.{name}" if number == 4 else "sweep.yaml:5: ") and fault in line


def test_a_goal_that_is_not_that_of_the_metric_is_refused(tmp_path: Path) -> None:
    text = HEAD.replace("maximize", "minimize") + "  optim.lr: {value: 0.1}\n"
    assert faults(tmp_path, text) == [
        "sweep.yaml:2: metric.goal: expected maximize for valid/accuracy, got 'minimize'",
    ]


def test_a_grid_of_a_range_without_steps_is_refused(tmp_path: Path) -> None:
    text = HEAD.replace("random", "grid") + "  optim.lr: {min: 0.1, max: 0.2}\n"
    assert faults(tmp_path, text) == [
        "sweep.yaml:4: parameters.optim.lr: a grid needs values, or q_uniform with q, in place of uniform",
    ]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("{type: hyperband}", "early_terminate: hyperband needs min_iter, or max_iter and s"),
        ("{type: hyperband, max_iter: 27}", "early_terminate: hyperband needs min_iter, or max_iter and s"),
        ("{type: median, eta: 3}", "early_terminate.eta: is of hyperband"),
    ],
)
def test_a_rule_to_stop_by_that_is_incomplete_is_refused(tmp_path: Path, rule: str, fault: str) -> None:
    assert faults(tmp_path, f"{HEAD}  optim.lr: {{value: 0.1}}\nearly_terminate: {rule}\n") == [f"sweep.yaml:5: {fault}"]


def test_the_first_iteration_of_hyperband_is_that_of_wandb(tmp_path: Path) -> None:
    def first(rule: str) -> int:
        read_ = read(tmp_path, f"{HEAD}  optim.lr: {{value: 0.1}}\nearly_terminate: {rule}\n").early_terminate
        assert read_
        return read_.first

    assert first("{type: hyperband, min_iter: 3}") == 3
    assert first("{type: hyperband, max_iter: 27, s: 2, eta: 3}") == 3


def parameter(text: str) -> Parameter:
    return Parameter.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "all_of_them"),
    [
        ("{value: 3}", [3]),
        ("{values: [a, true, 2]}", ["a", True, 2]),
        ("{min: 2, max: 4}", [2, 3, 4]),
        ("{min: 0.0, max: 0.31, q: 0.1, distribution: q_uniform}", [0.0, 0.1, 0.2, 0.3]),
        ("{min: 16, max: 64, q: 16, distribution: q_uniform}", [16, 32, 48, 64]),
    ],
)
def test_a_grid_has_each_value_once_and_no_crooked_one(text: str, all_of_them: list[object]) -> None:
    sweep = Sweep.model_validate(
        {"method": "grid", "metric": {"name": "valid/loss"}, "parameters": {"a": yaml.safe_load(text), "b": {"values": [1, 2]}}}
    )
    assert space.points(sweep) == 2 * len(all_of_them)
    drawn = [space.values(sweep, space.point(sweep, number)) for number in range(space.points(sweep))]
    assert [(one["a"], one["b"]) for one in drawn] == [(a, b) for a in all_of_them for b in (1, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "{min: 0.001, max: 0.1, distribution: log_uniform_values}",
        "{min: -6.9, max: -2.3, distribution: log_uniform}",
        "{min: 8, max: 100, q: 8, distribution: q_log_uniform_values}",
        "{min: 3, max: 9}",
        "{min: 0.5, max: 0.75}",
    ],
)
def test_a_drawn_value_lies_within_its_limits(text: str) -> None:
    import math

    one, chance = parameter(text), random.Random(0)
    found = space.distribution(one)
    for _ in range(200):
        whole = type(found.low) is int
        draw = chance.randint(found.low, found.high) if whole else chance.uniform(found.low, found.high)
        value = space.value(one, draw)
        low, high = (math.exp(one.min), math.exp(one.max)) if one.kind == "log_uniform" else (one.min, one.max)
        assert low <= value <= high  # type: ignore[operator]
        if one.q:
            assert type(value) is int and (value % one.q == 0 or value == high)


@pytest.mark.parametrize("value", [True, False, 3, 1e-5, 0.1, "lstm", "1e-3", "true", "a: b: c", "{", " x", "10 epochs", "~"])
def test_a_value_is_typed_as_what_it_is(value: bool | int | float | str) -> None:
    from pipeline.config import strict_yaml

    found = strict_yaml.parse(space.override("a.b", value).partition("=")[2], "here")[0]
    assert found == value and type(found) is type(value)


def test_what_wandbs_agent_writes_for_true_is_understood() -> None:
    """It writes values as Python does."""
    made = config.load(ROOT / "configs/digits.yaml", ["train.bucket=True", "bidirectional=False", "track.name=True"])
    assert made.train.bucket is True and made.model.bidirectional is False and made.track.name == "True"
