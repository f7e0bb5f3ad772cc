"""What is said of a key of the configuration."""

from __future__ import annotations

import pytest

from pipeline import config
from pipeline.errors import ConfigError
from pipeline.stages.terminal.keys import explain


@pytest.mark.parametrize(
    ("asked", "first", "number"),
    [
        ("optim", "optim.name", 7),
        ("optim.lr", "optim.lr", 1),
        ("lr", "optim.lr", 1),
        ("--optim.weight-decay", "optim.weight_decay", 1),
        ("seed", "run.seed", 2),
        ("learning rate", "optim.lr", 3),
        ("learning_rate", "optim.lr", 3),
        ("window_l", "data.window_label", 1),
    ],
)
def test_a_section_a_key_or_words_of_its_meaning_find_it(asked: str, first: str, number: int) -> None:
    found = [meaning.name for meaning in config.meanings(asked)]
    assert (found[0], len(found)) == (first, number)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("optim.wieght_decay", "did you mean optim.weight_decay"),
        ("train.bach", "did you mean train.batch"),
        ("hiden", "did you mean model.hidden"),
        ("optm", "did you mean optim"),
        ("zzzz", "the sections are run, data, model"),
        (".", "no section and no key"),
    ],
)
def test_an_unknown_name_is_answered_with_what_may_have_been_meant(asked: str, answer: str) -> None:
    with pytest.raises(ConfigError, match=answer):
        explain(asked)


def test_every_key_says_what_it_is_for_and_what_it_takes() -> None:
    everything = config.meanings()
    assert len({meaning.name for meaning in everything}) == len(everything) > 80
    for meaning in everything:
        assert meaning.what and meaning.takes and meaning.default, meaning
        assert not set("{}[]'") & set(meaning.takes.replace("[a, b]", "").replace("'2 epochs'", "")), meaning


def test_every_value_that_is_offered_is_taken() -> None:
    for meaning in config.meanings():
        for choice in meaning.choices:
            value = f"[{choice}]" if meaning.takes.startswith("list") else choice
            try:
                config.make({"run": {"dir": "x"}}, [f"{meaning.name}={value}"])
            except ConfigError as error:
                assert "expected one of" not in str(error), meaning  # another key may have to change too


@pytest.mark.parametrize("width", [20, 80, 300])
def test_lines_fit_the_terminal(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for asked in ("", *config.purposes()):
        explain(asked)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 200
    assert all(len(line) <= max(width, 40) for line in printed)
