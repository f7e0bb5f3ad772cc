"""Which of two runs is better is said where the test examples, or the seeds, say so; and never of other examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.report.compare import groups, statistics, verdicts
from pipeline.report.compare.verdicts import Verdict
from tests.report.compare.runs import evaluated, hits


def said_of(*folders: Path) -> list[Verdict]:
    return verdicts.verdicts(groups.of(groups.named(folders)))


def test_two_seeds_of_one_recipe_are_no_evidence_of_a_difference(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "a", hits(200, range(10)), "run.seed=1")
    other = evaluated(tmp_path / "b", hits(200, range(5, 17)), "run.seed=2")
    (verdict,) = said_of(one, other)
    assert verdict.words == "no evidence of a difference" and verdict.better == ""
    assert verdict.counts == (7, 5) and verdict.test.p == pytest.approx(0.774, abs=1e-3)


def test_two_seeds_whose_models_differ_are_still_one_recipe(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "a", hits(200, range(10)), "run.seed=1")
    other = evaluated(tmp_path / "b", hits(200, range(100)), "run.seed=2")
    (verdict,) = said_of(one, other)
    assert verdict.words.startswith("no evidence of a difference between recipes, as it is one") and verdict.better == ""


def test_a_clearly_better_recipe_is_said_to_be_better_with_p(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "a", hits(200, range(100)), "model.cell=rnn")
    other = evaluated(tmp_path / "b", hits(200, range(10)))
    (verdict,) = said_of(one, other)
    assert verdict.words == "b is better, with the seed of each" and verdict.better == "b"
    assert "p < 0.0001" in verdict.numbers and "0 against 90 examples" in verdict.numbers


def test_p_values_of_several_pairs_are_corrected_together(tmp_path: Path) -> None:
    wrong = (range(10), range(21), range(30))
    folders = [
        evaluated(tmp_path / str(number), hits(100, one), f"optim.lr=0.{number + 1}") for number, one in enumerate(wrong)
    ]
    found = said_of(*folders)
    assert [verdict.adjusted for verdict in found] == statistics.holm([verdict.test.p for verdict in found])
    assert len(found) == 3 and [verdict.test.p for verdict in found] != [verdict.adjusted for verdict in found]


def test_seeds_are_compared_as_groups_wherever_they_lie(tmp_path: Path) -> None:
    for number, wrong in enumerate((5, 8, 6), 1):
        evaluated(tmp_path / f"good/seed-{number}", hits(100, range(wrong)), f"run.seed={number}")
        evaluated(tmp_path / f"bad-{number}", hits(100, range(20 + wrong)), f"run.seed={number}", "optim.lr=0.5")
    good = tmp_path / "good"
    (good / "config.yaml").write_text((good / "seed-1/config.yaml").read_text())
    runs = groups.named([good, *(tmp_path / f"bad-{number}" for number in (1, 2, 3))])
    compared = groups.of(runs)
    assert [(group.name, len(group.runs)) for group in compared] == [("good", 3), ("bad-1 +2", 3)]
    (verdict,) = verdicts.verdicts(compared)
    assert verdict.words == "good is better" and verdict.test.name == "Welch's t-test over seeds" and verdict.counts is None
    assert groups.differences(compared) == {"optim.lr": [0.01, 0.5]} and groups.best(compared, "loss") == {0}
    assert any("fewer than five seeds" in note for note in verdicts.notes(compared))


def test_the_same_run_named_twice_is_one(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "a", hits(10, ()))
    with pytest.raises(UserError, match="two runs or more"):
        groups.named([folder, folder])


def test_a_copy_of_a_run_is_no_second_seed(tmp_path: Path) -> None:
    one, copy = (evaluated(tmp_path / name, hits(100, range(10))) for name in ("a", "copy"))
    other = evaluated(tmp_path / "b", hits(100, range(40)), "model.cell=rnn")
    with pytest.raises(UserError, match=r"a and .*copy are one recipe with the same seed, 0, and count as one"):
        said_of(one, copy, other)
    (verdict,) = said_of(one, copy)  # of nothing but one recipe the two models are compared
    assert verdict.words == "no evidence of a difference" and verdict.counts == (0, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"first": 5}, "95 are in both, 5 and 5 in one alone"),
        ({"digest": "other"}, "the data changed between them"),
        ({"overrides": ("data.source=mnist",)}, "data.source is digits and mnist"),
        ({"count": 90}, "90 are in both, 10 and 0 in one alone"),
    ],
)
def test_runs_of_other_test_examples_are_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    evaluated(tmp_path / "a", hits(100, ()))
    overrides: tuple[str, ...] = change.pop("overrides", ())  # type: ignore[assignment]
    count: int = change.pop("count", 100)  # type: ignore[assignment]
    evaluated(tmp_path / "b", hits(count, ()), *overrides, **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"not evaluated on the same test examples.*{says}"):
        groups.named([tmp_path / "a", tmp_path / "b"])


def test_other_labels_are_refused(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", hits(10, ()))
    path = evaluated(tmp_path / "b", hits(10, ())) / "eval/predictions.csv"
    path.write_text(path.read_text().replace("0,0,0,", "0,1,1,"))
    with pytest.raises(UserError, match="some have other labels"):
        groups.named([tmp_path / "a", tmp_path / "b"])


def test_another_treatment_of_the_same_examples_can_be_compared(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", hits(10, ()))
    evaluated(tmp_path / "b", hits(10, ()), "data.view=columns", digest="other")
    assert len(groups.named([tmp_path / "a", tmp_path / "b"])) == 2


def test_what_was_not_evaluated_or_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", hits(10, ()))
    folder = evaluated(tmp_path / "b", hits(10, ()))
    measured = json.loads((folder / "eval/metrics.json").read_text())
    (folder / "eval/metrics.json").write_text(json.dumps(measured | {"accuracy": 0.5}))
    with pytest.raises(UserError, match=r"of two evaluations; type: .*evaluate --run"):
        groups.named([tmp_path / "a", folder])
    (folder / "eval/predictions.csv").write_text("index,label,prediction,probability\nx,1,1,0.5\n")
    with pytest.raises(UserError, match="cannot be read"):
        groups.named([tmp_path / "a", folder])
    (folder / "eval/predictions.csv").unlink()
    with pytest.raises(UserError, match=r"not evaluated on the test split yet; type: .*evaluate --run"):
        groups.named([tmp_path / "a", folder])
    with pytest.raises(UserError, match="no such run folder"):
        groups.named([tmp_path / "a", tmp_path / "none"])


def test_an_evaluation_of_another_checkpoint_than_the_best_is_noted(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "a", hits(10, ()), "run.seed=1")
    evaluated(tmp_path / "b", hits(10, ()), "run.seed=2")
    (folder / "checkpoints/best.json").write_text(json.dumps({"step": 30}))
    notes = verdicts.notes(groups.of(groups.named([tmp_path / "a", tmp_path / "b"])))
    (note,) = notes
    assert note.startswith(f"{folder}: evaluated at step 20, and step 30 is the best now; type: ")
