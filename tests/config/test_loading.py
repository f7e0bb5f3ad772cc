"""What config.py promises: a wrong configuration gets every fault at once, a right one never changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline import config
from pipeline.config import Config, strict_yaml
from pipeline.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """``file(text)``: a configuration file of that text."""

    def write(text: str) -> Path:
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return path

    return write


def faults(path: Path, *overrides: str) -> list[str]:
    """The lines of the message that ``load`` refuses with; the file's name is shortened to its last part."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def test_every_fault_is_reported_at_once_with_its_line_key_expectation_and_nearest_key(file: Any) -> None:
    path = file(
        """\
modle:
  hidden: 3
model:
  hiden: 128
  cell: transformer
  layers: 2.0
optim:
  lr: fast
  warmup: -1
  learning_rate: 3
train:
  batch: 0
  evaluate_every: 2 epoch-like
  hidden: 9
lr: 3
export:
"""
    )
    assert faults(path, "optim.clip=-2", "run.sede=1", "track.tags=[1]") == [
        "some.yaml:1: modle: unknown key; did you mean model?",
        "some.yaml:4: model.hiden: unknown key; did you mean model.hidden?",
        "some.yaml:5: model.cell: expected 'lstm', 'gru' or 'rnn', got 'transformer'",
        "some.yaml:6: model.layers: expected a whole number, got 2.0",
        "some.yaml:8: optim.lr: expected a number, got 'fast'",
        "some.yaml:9: optim.warmup: expected greater than or equal to 0, got -1",
        "some.yaml:10: optim.learning_rate: unknown key; did you mean optim.lr?",
        "some.yaml:12: train.batch: expected greater than or equal to 1, got 0",
        "some.yaml:13: train.evaluate_every: expected a whole number, got '2 epoch-like' or expected a number of "
        "epochs of at most nine digits, such as '2 epochs', got '2 epoch-like'",
        "some.yaml:14: train.hidden: unknown key; did you mean model.hidden?",
        "some.yaml:15: lr: unknown key; did you mean optim.lr?",
        "command line: optim.clip=-2: optim.clip: expected greater than or equal to 0, got -2",
        "command line: run.sede=1: run.sede: unknown key; did you mean run.seed?",
        "command line: track.tags=[1]: track.tags: expected text (in quotes, if it looks like a number), got 1",
    ]


REFUSED = {
    "run: {seed: 010}": "run.seed: expected a whole number, got '010'",
    "run: {seed: 1e3}": "run.seed: expected a whole number, got 1000.0",
    "run: {seed: true}": "run.seed: expected a whole number, got True",
    "run: {seed: '1'}": "run.seed: expected a whole number, got '1'",
    "run: {seed: -1}": "run.seed: expected greater than or equal to 0, got -1",
    "run: {deterministic: yes}": "run.deterministic: expected true or false, got 'yes'",
    "run: {deterministic: 1}": "run.deterministic: expected true or false, got 1",
    "run: {dir: 0}": "run.dir: expected text (in quotes, if it looks like a number), got 0",
    "run: {dir: false}": "run.dir: expected text (in quotes, if it looks like a number), got False",
    "optim: {lr: .nan}": "optim.lr: expected a finite number, got nan",
    "optim: {lr: 1e999}": "optim.lr: expected a finite number, got inf",
    "optim: {lr: true}": "optim.lr: expected a number, got True",
    "optim: {lr: }": "optim.lr: expected a number, got nothing",
    "optim: {lr: 0}": "optim.lr: expected greater than 0, got 0",
    "track: {name: 1e-3}": "track.name: expected text (in quotes, if it looks like a number), got 0.001",
    "track: {tags: one}": "track.tags: expected a list, such as [a, b], got 'one'",
    "track: {backends: [comet]}": "track.backends: expected 'wandb', 'tensorboard', 'mlflow' or 'trackio', got 'comet'",
    "data: {validation: 1.0}": "data.validation: expected a whole number, got 1.0 or expected less than 1, got 1.0",
    'run: {dir: "a\\ud800"}': "run.dir: expected text that UTF-8 can hold, got 'a\\ud800'",
    'track: {tags: [a, "\\udcff"]}': "track.tags: expected text that UTF-8 can hold, got ['a', '\\udcff']",
    "optim: 3": "optim: expected a section of key: value lines, got 3",
    "optim: [lr]": "optim: expected a section of key: value lines, got ['lr']",
    "<<: {a: 1}": "<<: unknown key; valid: run, data, model, optim, train, track, export",
    "- run": "expected sections (run, data, model, optim, train, track, export), got ['run']",
    "run": "expected sections (run, data, model, optim, train, track, export), got 'run'",
    "run: {seed: 1}\nrun: {seed: 2}": "run is given twice; it stands in line 1 already",
    "run: !!python/object/apply:os.abort []": "the tag tag:yaml.org,2002:python/object/apply:os.abort is not allowed; "
    "write a plain value",
    "run: &a {seed: 1}": "anchors and aliases are not allowed",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_of_the_kind_is_refused(file: Any, text: str) -> None:
    (fault,) = faults(file(text))
    assert fault == f"some.yaml:{text.count(chr(10)) + 1}: {REFUSED[text]}"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "run:\n", "run: {}\noptim: ~\n"])
def test_what_a_file_does_not_say_has_its_default(file: Any, text: str) -> None:
    loaded = config.load(file(text))
    assert loaded == Config(run=config.Run(dir="runs/some"))


def test_numbers_and_text_are_what_they_look_like(file: Any) -> None:
    loaded = config.load(file("optim: {lr: 1e-3, clip: 1}\ntrack: {name: no, project: 'null', tags: [on, é, '1']}\n"))
    assert loaded.optim.lr == 1e-3 and loaded.optim.clip == 1.0 and isinstance(loaded.optim.clip, float)
    assert (loaded.track.name, loaded.track.project, loaded.track.tags) == ("no", "null", ("on", "é", "1"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, problem in ((tmp_path, "Is a directory"), (tmp_path / "no.yaml", "No such file or directory")):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read: {problem}$"):
            config.load(path)
    (tmp_path / "latin.yaml").write_bytes("run: {dir: é}".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: not a text file in UTF-8 \(byte 11\)$"):
        config.load(tmp_path / "latin.yaml")


@pytest.mark.parametrize("key", ["api_key", "wandb_api_key", "password", "token", "secret"])
@pytest.mark.parametrize("section", ["", "run.", "track."])
def test_there_is_no_key_for_a_secret_and_a_message_does_not_repeat_one(file: Any, section: str, key: str) -> None:
    name = section.rstrip(".")
    text = f"{name}: {{{key}: hunter2}}" if name else f"{key}: hunter2"
    (fault,) = faults(file(text))
    assert fault.startswith(f"some.yaml:1: {section}{key}: unknown key") and "hunter2" not in fault
    assert not any(key in inner for field in Config().model_dump().values() for inner in field)


def test_overrides_are_checked_by_the_same_rules_and_the_last_one_counts(file: Any) -> None:
    path = file("optim: {lr: 0.1}\n")
    loaded = config.load(path, ["optim.lr=0.2", "optim.lr=3e-1", "track.name=a=b", "track.tags=[no, '2']", "run.dir=x"])
    assert (loaded.optim.lr, loaded.track.name, loaded.track.tags, loaded.run.dir) == (0.3, "a=b", ("no", "2"), "x")
    assert config.load(path, ["run.dir="]).run.dir == "runs/some"


@pytest.mark.parametrize("text", ["optim.lr", "a.b.c=3", "optim.=3", ".lr=3", "=", "optim=3", ""])
def test_an_override_of_another_form_is_shown_an_example(file: Any, text: str) -> None:
    assert faults(file(""), text) == [f"command line: {text}: expected section.key=value, such as optim.lr=0.001"]


@pytest.mark.parametrize(
    "text", ["optim.lr=[", "optim.lr=1: 2: 3", "optim.lr=*x", "optim.lr=!!int 3", "optim.lr={lr: 1, lr: 2}"]
)
def test_an_override_whose_value_is_no_yaml_is_named(file: Any, text: str) -> None:
    assert faults(file(""), text)[0].startswith(f"command line: {text}:1: ")


def test_an_override_of_a_section_that_is_no_section_does_not_hide_that(file: Any) -> None:
    assert faults(file("optim: 3\n"), "optim.lr=1") == ["some.yaml:1: optim: expected a section of key: value lines, got 3"]


def whole_numbers() -> list[str]:
    """Every key that takes a whole number."""
    return [f"{section}.{key}" for section, inner in Config() for key in type(inner).model_fields if takes_a_number(inner, key)]


def takes_a_number(section: Any, key: str) -> bool:
    return bool(re.search(r"\bint\b", str(type(section).model_fields[key].annotation)))


@pytest.mark.parametrize("key", whole_numbers())
@pytest.mark.parametrize("value", [10**300, 10**30, 2**64])
def test_a_whole_number_has_a_limit_that_is_said(file: Any, key: str, value: int) -> None:
    (fault,) = faults(file(""), f"{key}={value}")
    assert "expected less than " in fault, fault


@pytest.mark.parametrize("key", ["train.evaluate_every", "train.checkpoint_every"])
def test_a_number_of_epochs_has_a_limit_too(file: Any, key: str) -> None:
    name = key.removeprefix("train.")
    (fault,) = faults(file(f"train: {{{name}: {'9' * 5000} epochs}}"))
    assert "a number of epochs of at most nine digits" in fault and len(fault) < 400
    assert getattr(config.load(file(""), [f"{key}=999999999 epochs"]).train, name) == "999999999 epochs"


def test_a_file_whose_name_is_no_text_gives_no_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.yaml"
    path.write_text("")
    assert faults(path) == ["caf\udce9.yaml: run.dir: expected text that UTF-8 can hold, got 'runs/caf\\udce9'"]
    assert config.load(path, ["run.dir=here"]).run.dir == "here"


DISAGREEMENTS = {
    "model: {hidden: 1, layer_norm: true}": [
        "model.layer_norm: normalises the units of a layer, and one alone becomes a constant; set model.hidden to 2 or more"
    ],
    "model: {conv: 1}": [
        "model.conv: the channels of each step are normalised, and one alone becomes a constant; set it to 2 or more, or "
        "model.conv_norm to batch"
    ],
    "train: {batch: 10, accumulate: 3}": ["train.batch: 10 cannot be cut into train.accumulate = 3 equal parts"],
    "train: {gradient_shards: 3, batch: 3}": ["train.gradient_shards: expected a power of two, got 3"],
    "train: {gradient_shards: 8, batch: 12}": ["train.batch: 12 cannot be cut into train.gradient_shards = 8 equal parts"],
    "train: {gradient_shards: 4, accumulate: 2}": [
        "train.accumulate: exact mode computes a batch shard by shard already; leave it at 1"
    ],
    "train: {early_stopping: 3}\ndata: {validation: 0}": [
        "train.early_stopping: needs a validation split; set data.validation"
    ],
    "model: {init: chrono, cell: rnn}": [
        "model.init: chrono is about gates, which rnn has not; set it to orthogonal, or model.cell to lstm or gru"
    ],
    "model: {dropout: 0.1}": ["model.dropout: acts between layers; set model.layers to 2 or more, or model.head_dropout"],
    "model: {dropout: 0.1}\ntrain: {batch: 3, accumulate: 2}": [
        "model.dropout: acts between layers; set model.layers to 2 or more, or model.head_dropout",
        "train.batch: 3 cannot be cut into train.accumulate = 2 equal parts",
    ],
    "data: {source: csv, path: x, label: ''}": ["data.label: a classifier needs it: name the column of the class"],
}


@pytest.mark.parametrize("text", DISAGREEMENTS)
def test_sections_that_disagree_are_refused_together_with_their_lines(file: Any, text: str) -> None:
    assert faults(file(text)) == [f"some.yaml:{line}: {fault}" for line, fault in enumerate(DISAGREEMENTS[text], 1)]


@pytest.mark.parametrize(
    "text",
    [
        "train: {batch: 12, accumulate: 3}",
        "train: {gradient_shards: 4}",
        "train: {gradient_shards: 1}",
        "train: {early_stopping: 3}",
        "model: {dropout: 0.1, layers: 2}",
    ],
)
def test_sections_that_agree_are_accepted(file: Any, text: str) -> None:
    config.load(file(text))


NASTY = [
    "1e-3",
    "no",
    "null",
    "~",
    "",
    "a: b",
    "é",
    "010",
    "true",
    " a ",
    "a #b",
    "\n",
    "'\"\\",
    "[a]",
    "*a",
    "\x85",
    "x" * 300,
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_dumped_configuration_is_loaded_as_the_same(file: Any, text: str) -> None:
    changed = Config(
        run=config.Run(dir=text or "d", seed=2**63 - 1),
        data=config.Data(mirrors=(text, text), validation=5000, root=text),
        optim=config.Optim(lr=1e-5, warmup=0.1, weight_decay=1e22),
        train=config.Train(evaluate_every="3 epochs", checkpoint_every=7),
        track=config.Track(backends=(), name=text, tags=(text,)),
    )
    again = config.load(file(config.dump(changed)))
    assert again == changed and repr(again) == repr(changed)
    assert config.dump(again) == config.dump(changed)


def test_every_key_survives_the_round_trip(file: Any) -> None:
    default = config.load(file(""))
    assert config.load(file(config.dump(default))) == default
    dumped = strict_yaml.parse(config.dump(default), "")[0]
    assert {(name, key) for name, section in dumped.items() for key in section} == KEYS


KEYS = {(name, key) for name, section in Config() for key in type(section).model_fields}


def test_sections_cannot_be_changed() -> None:
    settings = Config()
    for name, section in settings:
        for key, value in section:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, key, value)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(settings, name, section)
            assert not isinstance(value, list | dict | set), "what could be changed in place"


def test_differences_name_each_key_that_differs() -> None:
    one = Config()
    other = Config(optim=config.Optim(lr=0.5), run=config.Run(dir="x", seed=3))
    assert config.differences(one, one) == []
    assert config.differences(one, other, ["run.dir"]) == ["run.seed: 0 -> 3", "optim.lr: 0.01 -> 0.5"]


def test_an_interval_is_steps_or_epochs() -> None:
    assert [config.interval(value, 100) for value in (7, "1 epoch", "3 epochs")] == [7, 100, 300]
    for value in (0, "0 epochs", "1.5 epochs", "epoch", "3", "3 steps"):
        with pytest.raises(ValidationError):
            config.Train(evaluate_every=value)


def test_the_reference_has_a_table_per_section_and_a_row_for_every_key_with_its_default_and_meaning() -> None:
    tables = re.split(r"^### ", config.reference(), flags=re.MULTILINE)[1:]
    assert [table.split("\n")[0] for table in tables] == list(Config.model_fields)
    cells = []
    for table in tables:
        name, blank, what, blank_too, head, ruler, *rows = table.strip().split("\n")
        assert not blank and not blank_too and what.endswith("."), f"{name} is described"
        assert (head, ruler) == ("| key | default | what |", "|---|---|---|")
        cells += [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert all(len(row) == 3 and all(row) for row in cells), "a row has three cells: no | in a description"
    assert [row[0] for row in cells] == [f"`{name}.{key}`" for name, section in Config() for key, _ in section]
    table = {row[0].strip("`"): row for row in cells}
    assert table["optim.lr"] == ["`optim.lr`", "`0.01`", "learning rate; the peak of the schedule"]
    assert table["run.dir"][1] == '`""`' and table["run.deterministic"][1] == "`false`"
    assert table["track.backends"][1] == "`[wandb]`" and "(lstm, gru, rnn)" in table["model.cell"][2]


def test_loading_a_configuration_needs_no_network_and_makes_nothing(file: Any) -> None:
    path = file("run: {dir: there}\n")
    config.load(path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "resolved"), [("", "global"), ("{source: csv, path: x}", "feature"), ("{normalize: unit}", "unit")]
)
def test_normalize_auto_becomes_what_it_stands_for(file: Any, data: str, resolved: str) -> None:
    loaded = config.load(file(f"data: {data}"))
    assert loaded.data.normalize == resolved
    assert config.load(file(config.dump(loaded))) == loaded


def test_a_run_begun_when_global_was_the_default_goes_on(file: Any) -> None:
    begun = config.load(file("data: {normalize: global}"))
    assert config.differences(begun, config.load(file(""))) == []


@pytest.mark.parametrize("typed", ["optim.lr=0.5", "lr=0.5", "--optim.lr=0.5", "--lr=0.5"])
def test_a_key_is_known_in_each_form_that_people_type(file: Any, typed: str) -> None:
    assert config.load(file(""), [typed]).optim.lr == 0.5


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("seed=3", "seed=3: several sections have a seed; type run.seed=... or data.seed=..."),
        ("optim.rl=3", "optim.rl: unknown key; did you mean optim.lr?"),
        ("optim.learning-rate=3", "optim.learning_rate: unknown key; did you mean optim.lr?"),
        ("batch_size=3", "batch_size=3: expected section.key=value, such as optim.lr=0.001; did you mean train.batch?"),
        ("optim.lr", "optim.lr: expected section.key=value"),
        ("hidden_size=3", "did you mean model.hidden?"),
        ("zzz=3", "zzz=3: expected section.key=value, such as optim.lr=0.001"),
    ],
)
def test_a_name_that_is_no_key_is_answered_with_one_that_is(file: Any, typed: str, says: str) -> None:
    (line,) = faults(file(""), typed)
    assert line.startswith("command line: ") and says in line
