"""What commands answer with ``--json``: the one home of the keys. docs/commands.md has their table."""

from __future__ import annotations

from typing import Any

from pipeline.stages.terminal.answer import Answer
from pipeline.stages.terminal.answer import key as _key
from pipeline.stages.terminal.machine_answers import Examination, Examined, Planned, Planning


class Memory(Answer):
    """Bytes that a training will take."""

    weights: int = _key("weights, gradients and moments")
    data: int = _key("the prepared splits")
    activations: int = _key("activations of one step, at least")


class Work(Answer):
    """What a configuration amounts to on its data."""

    prepared: str = _key("the prepared folder")
    examples: int = _key("training examples")
    length: int = _key("steps of the longest of them")
    features: int = _key("values per step")
    classes: int = _key("number of classes")
    parameters: int = _key("trained numbers of the model")
    batch: int = _key("examples per optimiser step")
    steps_per_epoch: int = _key("optimiser steps per epoch")
    steps: int = _key("optimiser steps in all")
    memory: Memory = _key("`weights`, `data` and `activations`, in bytes")


class Checked(Answer):
    """The answer of ``check``."""

    work: Work | None = _key("null where the data is not prepared yet; else `prepared`, `examples`, `parameters` and so on")
    warnings: list[str] = _key("what will go wrong")
    changed: dict[str, Any] = _key("the keys that differ from their defaults, by section")
    configuration: dict[str, Any] = _key("the whole resolved configuration, by section")


class ClassMeasures(Answer):
    """The measures of one class."""

    precision: float
    recall: float
    f1: float
    support: int


class Evaluated(Answer):
    """The answer of ``evaluate``."""

    run: str = _key("the run folder")
    split: str = _key("the split that was measured")
    step: int = _key("the step of the checkpoint")
    count: int = _key("examples")
    accuracy: float = _key("share of examples that were predicted right")
    accuracy_low: float = _key("lower end of its 95 % interval")
    accuracy_high: float = _key("upper end of it")
    balanced_accuracy: float = _key("mean recall of the classes")
    macro_f1: float = _key("mean F1 of the classes")
    loss: float = _key("mean cross-entropy, in nats")
    expected_calibration_error: float = _key("mean distance of confidence from accuracy")
    largest_class: str = _key("the class of most training examples")
    largest_class_accuracy: float = _key("accuracy of always answering it")
    nearest_neighbour_accuracy: float | None = _key("accuracy of the nearest training example's label; null if not searched")
    per_class: dict[str, ClassMeasures] = _key("`precision`, `recall`, `f1` and `support` of each class")
    warnings: list[str] = _key("what says that the model is useless")
    written: str = _key("the folder of `metrics.json`, `predictions.csv` and the pictures")


class Predicted(Answer):
    """The answer of ``predict``. Without ``--output``, ``predictions`` is the first key, a list of objects."""

    examples: int = _key("predictions made")
    labelled: int = _key("examples with a label that the model knows")
    accuracy: float | None = _key("share of these that were predicted right; null if there are none")
    seconds: float = _key("what it took")
    output: str | None = _key("the file of the predictions; null if they are in this document")
    warnings: list[str] = _key("labels that the model does not know, values far from those of the training")


class Summary(Answer):
    """The answer of ``summary``."""

    run: str = _key("the run folder")
    split: str = _key("the split that was measured")
    step: int = _key("the step of the checkpoint")
    count: int = _key("examples")
    accuracy: float = _key("share of examples that were predicted right")
    pictures: str = _key("the folder of the evaluation")
    model: str = _key("the folder of the export")
    warnings: list[str] = _key("what says that the model is useless, or that another checkpoint is the best by now")


class ListedRun(Answer):
    """A run in the answer of ``runs``."""

    run: str = _key("the run folder")
    within: str | None = _key("the run that it is a fold, a seed or a trial of; else null")
    state: str = _key("`running`, `done`, `stopped`, `failed`, `new` (nothing trained) or `damaged`")
    why: str = _key("the reason of the state, if there is one")
    step: int = _key("optimiser steps so far")
    steps: int | None = _key("optimiser steps of the whole training; null while not known")
    monitor: str = _key("the validation metric by which its best checkpoint is chosen")
    best: float | None = _key("the best value of it; null without a valid split")
    best_step: int | None = _key("the step of that")
    test_accuracy: float | None = _key("accuracy on the test split, over seeds the mean; null if not evaluated")
    differs: dict[str, Any] = _key("the keys that are not the same in all runs of its data, each with its value here")
    seconds: float = _key("of training, over all attempts, as recorded")
    bytes: int = _key("on the disk, with all that is in it")
    changed: str = _key("when its newest file changed")
    keep: bool | None = _key("with `--prune`: false if it may be deleted")
    keep_why: str | None = _key("with `--prune`: the reason")


class Other(Answer):
    """Something in the answer of ``runs`` that is no run."""

    folder: str
    problem: str


class Listed(Answer):
    """The answer of ``runs``."""

    folder: str = _key("the folder that was looked at")
    runs: list[ListedRun] = _key("the runs, as sorted; each of those within another one follows it")
    others: list[Other] = _key("what is no run: `folder` and `problem`")


class ComparedGroup(Answer):
    """A recipe in the answer of ``compare``."""

    name: str
    runs: list[str]
    metrics: dict[str, float | None]


class ComparedPair(Answer):
    """Two recipes in the answer of ``compare``."""

    first: str = _key("a name of `groups`; where there is one group, a run of it")
    second: str = _key("another one")
    verdict: str = _key("what is said of the two, in words")
    better: str | None = _key("the one that is better; null without evidence")
    test: str = _key("the test")
    difference: float = _key("of the accuracies on the test split, first minus second")
    interval: tuple[float, float] | None = _key("its 95 % interval; null where the test gives none")
    p: float = _key("the p value of the test")
    p_adjusted: float = _key("after Holm's correction for all pairs")


class Compared(Answer):
    """The answer of ``compare``."""

    groups: list[ComparedGroup] = _key("runs that differ by their seed only, together: `name`, `runs`, mean `metrics`")
    examples: int = _key("test examples, the same for all")
    differences: dict[str, list[Any]] = _key("the keys that differ, each with the value in each group")
    pairs: list[ComparedPair] = _key("what is said of each two groups")
    notes: list[str] = _key("what must be known to read it right")
    output: str = _key("the page")


class Explained(Answer):
    """The answer of ``explain``."""

    run: str = _key("the run folder")
    split: str = _key("the split of the example")
    index: int = _key("its index, as in `predictions.csv`")
    label: str = _key("its class")
    prediction: str = _key("what the model says")
    explained: str = _key("the class that is explained")
    probability: float = _key("its probability")
    difference: float = _key("its logit, minus that of the baseline")
    total: float = _key("the sum of all attributions")
    complete: bool = _key("whether the two agree, as they must")
    features: list[str] = _key("the names of the values of a step")
    attribution: list[list[float]] = _key("per step, what each value adds to the logit")
    relevance: list[float] = _key("per step, from 0 to 1, how much it matters")
    areas: dict[str, float] = _key("under the deletion curves: `falling`, `random` (the mean), `rising`")
    true: bool = _key("whether the attribution beats steps at random")
    picture: str = _key("the picture")


ANSWERS: dict[str, type[Answer]] = {
    "check": Checked,
    "doctor": Examined,
    "evaluate": Evaluated,
    "plan": Planned,
    "predict": Predicted,
    "summary": Summary,
    "runs": Listed,
    "compare": Compared,
    "explain": Explained,
}


def reference() -> str:
    """The keys of each answer as Markdown. docs/commands.md holds it, and a test compares."""
    tables = []
    parts: dict[str, type[Answer]] = {
        "work": Work,
        "checks": Examination,
        "runs": ListedRun,
        "pairs": ComparedPair,
    }
    parts |= {"processes": Planning}
    for title, answer in ({f"{name} --json": answer for name, answer in ANSWERS.items()} | parts).items():
        rows = [f"| {key} | {field.description} |" for key, field in answer.model_fields.items()]
        tables.append("\n".join([f"`{title}`:", "", "| key | what |", "|---|---|", *rows]))
    return "\n\n".join(tables)
