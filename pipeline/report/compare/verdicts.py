"""Groups -> for each two of them, whether one is better, in words that say what is known and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.report.compare import statistics
from pipeline.report.compare.evaluated import Evaluated
from pipeline.report.compare.groups import Group
from pipeline.report.compare.statistics import LEVEL, Test
from pipeline.run import marks


@dataclass(frozen=True)
class Verdict:
    """What is said of two recipes, or of two seeds of one."""

    first: str
    second: str
    test: Test
    adjusted: float  # p after Holm's correction for all tests of the comparison
    counts: tuple[int, int] | None  # examples that the first, or the second, alone predicts right; of two runs
    same_recipe: bool = False

    @property
    def differs(self) -> bool:
        """Whether there is evidence of a difference."""
        return self.adjusted < LEVEL

    @property
    def better(self) -> str:
        """The name of the better one; empty without evidence, and of two seeds of one recipe."""
        if not self.differs or self.same_recipe:
            return ""
        return self.first if self.test.difference > 0 else self.second

    @property
    def words(self) -> str:
        """The verdict as a sentence without its end."""
        if self.same_recipe and self.differs:
            return "no evidence of a difference between recipes, as it is one; the two models as such differ"
        if not self.differs:
            return "no evidence of a difference"
        return f"{self.better} is better" + (", with the seed of each" if self.counts else "")

    @property
    def numbers(self) -> str:
        """The difference of accuracies and p, and by which test."""
        interval = self.test.interval
        where = f" (95 % interval {interval.low:+.4f} to {interval.high:+.4f})" if interval else ""
        alone = f", {self.counts[0]:,} against {self.counts[1]:,} examples that one alone predicts right" if self.counts else ""
        adjusted = (
            f" ({shown(self.adjusted).removeprefix('= ')} after Holm's correction)" if self.adjusted != self.test.p else ""
        )
        return f"accuracy {self.test.difference:+.4f}{where}; {self.test.name}{alone}: p {shown(self.test.p)}{adjusted}"


def shown(p: float) -> str:
    """What a p value is."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.4f}" if p < 0.1 else f"= {p:.2f}"


def verdicts(groups: Sequence[Group]) -> list[Verdict]:
    """A verdict for each two groups; where there is one group only, for each two of its seeds.

    Two recipes with a run each are compared by McNemar's test on the test examples, which knows nothing of other seeds; recipes
    of several seeds by a test over these.
    """
    one_recipe = len(groups) == 1
    sides = [Group(_seed(run), (run,)) for run in groups[0].runs] if one_recipe else list(groups)
    pairs = list(combinations(sides, 2))
    tests = [_tested(*pair) for pair in pairs]
    adjusted = statistics.holm([test.p for test in tests])
    return [
        Verdict(
            first.name,
            second.name,
            test,
            p,
            _alone(first.runs[0], second.runs[0]) if len(first.runs) == len(second.runs) == 1 else None,
            one_recipe,
        )
        for (first, second), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def _seed(run: Evaluated) -> str:
    return f"{run.folder.name} (seed {run.settings.run.seed})"


def _tested(first: Group, second: Group) -> Test:
    if len(first.runs) == len(second.runs) == 1:
        one, other = first.runs[0], second.runs[0]
        alone = _alone(one, other)
        both = sum(one.right) - alone[0]
        return statistics.mcnemar(both, *alone, len(one.right) - both - sum(alone))
    return statistics.over_seeds(first.values("accuracy"), second.values("accuracy"))


def _alone(first: Evaluated, second: Evaluated) -> tuple[int, int]:
    """The examples that the first, and those that the second alone predicts right."""
    pairs = list(zip(first.right, second.right, strict=True))
    return sum(one and not other for one, other in pairs), sum(other and not one for one, other in pairs)


def notes(groups: Sequence[Group]) -> list[str]:
    """What a reader must know to read the verdicts right."""
    said = []
    single = [group.name for group in groups if len(group.runs) == 1]
    if len(groups) > 1 and single:
        said.append(
            f"{', '.join(single)}: one seed. Another one may turn a difference round; to compare recipes, train several seeds"
        )
    few = [group.name for group in groups if 1 < len(group.runs) < 5]
    if len(groups) > 1 and few:
        said.append(f"{', '.join(few)}: fewer than five seeds, with which only large differences are found")
    runs = [run for group in groups for run in group.runs]
    return said + [f"{run.folder}: {stale}" for run in runs if (stale := marks.outdated(run.folder, run.metrics.step))]
