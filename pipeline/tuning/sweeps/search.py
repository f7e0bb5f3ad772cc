"""The trials of a sweep: which one is next, and what became of each. They stand in study.db, which Optuna's tools read too.

A worker holds the lock of its trial. The trial of a worker that died has a free one: the next worker goes on with it, in
the same run folder, so that each trial is made once. No clock and no heartbeat is needed for that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.distributed import lock
from pipeline.errors import UserError, needs
from pipeline.tuning.sweeps import space
from pipeline.tuning.sweeps.shape import Scalar, Sweep
from pipeline.tuning.sweeps.table import Became, Row

TRIES = 3  # workers that die of one trial without a checkpoint more, until it is given up
TELLING = 4  # finished trials of different metrics, from which importances are told
PATIENCE = 60  # seconds that a worker waits for another one to write


@contextmanager
def stored(path: Path) -> Iterator[None]:
    """Raise UserError if the file of the trials cannot be read or written in this block."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        raise UserError(
            f"{path}: the trials cannot be read or written ({cause}); free some space there, or if the file is damaged, "
            "delete it: the runs in trials/ are found again by the same command"
        ) from None


class Trial:
    """One trial, in the hands of this worker."""

    def __init__(self, trial: Any, number: int, values: dict[str, Scalar], stops: bool) -> None:
        self._trial, self.number, self.values, self._stops = trial, number, values, stops

    @property
    def overrides(self) -> list[str]:
        """Its values as ``section.key=value``."""
        return [space.override(key, value) for key, value in self.values.items()]

    @property
    def attempts(self) -> tuple[str, int]:
        """How far the trial had come when a worker took it last, and how many took it there."""
        where, count = self._trial.user_attrs.get("attempts", ["", 0])
        return where, count

    def taken(self, where: str) -> bool:
        """A worker begins with it, ``where``: how far it has come. False if too many died there."""
        before, count = self.attempts
        count = count + 1 if before == where else 1
        self._trial.set_user_attr("attempts", [where, count])
        return count <= TRIES

    def returned(self) -> None:
        """The worker was asked to stop, which is not held against the trial."""
        where, count = self.attempts
        self._trial.set_user_attr("attempts", [where, count - 1])

    def report(self, iteration: int, value: float) -> bool:
        """The best value so far, at an evaluation by its number from 1. Whether the trial is to be stopped here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was reported before, which it was if the trial went on
            self._trial.report(value, iteration)
        return self._stops and bool(self._trial.should_prune())

    def end(self, became: Became, metric: float | None, seconds: float, **more: Any) -> None:
        """What became of it. ``more``: fields of its row."""
        from optuna.trial import TrialState

        for name, told in {"metric": metric, "seconds": seconds, **more}.items():
            self._trial.set_user_attr(name, told)
        if became == "finished":
            self._trial.study.tell(self._trial, metric)
        else:
            states = {"stopped early": TrialState.PRUNED, "failed": TrialState.FAIL}
            self._trial.study.tell(self._trial, state=states[became])


class Search:
    """All trials of a sweep, ``total`` of them, in a folder that is there. Several processes may have it open."""

    def __init__(self, folder: Path, sweep: Sweep, total: int) -> None:
        with needs("sweep", "optuna"):
            import optuna
            from sqlalchemy import URL  # which spells a name that has ? or % in it
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.sweep, self.total = folder, sweep, total
        files.make_folder(folder / "locks")
        with self._alone(), stored(folder / "study.db"):
            url = URL.create("sqlite", database=str((folder / "study.db").absolute())).render_as_string()
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
            self._study = optuna.create_study(
                storage=storage,
                study_name="sweep",
                direction="maximize" if sweep.is_maximized else "minimize",
                pruner=_pruner(sweep),
                load_if_exists=True,
            )

    def take(self, stack: ExitStack) -> Trial | None:
        """The next trial, held until ``stack`` is closed: one whose worker died, or else a new one. None if there is none."""
        with self._alone(), stored(self.folder / "study.db"):
            for trial in self._in_state("RUNNING"):
                if self._hold(trial.number, stack):
                    return self._trial(trial.number)
            asked = self._study.get_trials(deepcopy=False)
            waiting = self._in_state("WAITING")
            if len(asked) >= self.total and not waiting:
                return None
            number = waiting[0].number if waiting else len(asked)
            if self.sweep.method == "grid" and not waiting:
                self._study.enqueue_trial(space.point(self.sweep, number))
            held = self._hold(number, stack)
            assert held, "the lock of a trial that nobody has begun"
            return self._trial(number)

    def rows(self) -> list[Row]:
        """What became of each trial so far, by their numbers."""
        names: dict[str, Became] = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed"}
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            told = trial.user_attrs
            values = space.values(self.sweep, trial.params)
            more = {"each": tuple(told.get("each", ())), "reason": told.get("reason", "")}
            became = names.get(trial.state.name, "unfinished")
            found.append(Row(trial.number, became, told.get("metric"), values, told.get("seconds", 0.0), **more))
        return found

    def importances(self) -> dict[str, float]:
        """The share of each parameter in what differs between the finished trials; empty where too few tell."""
        import optuna

        if len({trial.value for trial in self._in_state("COMPLETE")}) < TELLING:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def _trial(self, number: int) -> Trial:
        """A trial that this process holds, with the draws that it has, or new ones. They follow from its number and from
        what the others gave."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that options of samplers may change
            self._study.sampler = _sampler(self.sweep, number)
            there = self._study.get_trials(deepcopy=False)
            begun = number < len(there) and there[number].state.name == "RUNNING"
            trial = optuna.trial.Trial(self._study, there[number]._trial_id) if begun else self._study.ask()
            assert trial.number == number, "trials are asked for one at a time"
            for name, parameter in self.sweep.parameters.items():
                space.draw(parameter, name, trial)
        return Trial(trial, number, space.values(self.sweep, trial.params), self.sweep.early_terminate is not None)

    def _in_state(self, name: str) -> list[Any]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.name == name]

    def _hold(self, number: int, stack: ExitStack) -> bool:
        """Whether this process holds the lock of a trial now."""
        try:
            stack.enter_context(lock.held(self.folder / "locks" / str(number)))
        except lock.Busy:
            return False
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time looks for a trial."""
        with lock.held(self.folder / "locks" / "search", wait=True):
            yield


def _pruner(sweep: Sweep) -> Any:
    import optuna

    rule = sweep.early_terminate
    if rule is None:
        return optuna.pruners.NopPruner()
    if rule.type == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=rule.first - 1)
    # what wandb calls hyperband is this: after first, first * eta, first * eta^2 ... iterations, the best of each eta go on
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=rule.first, reduction_factor=rule.eta)


def _sampler(sweep: Sweep, number: int) -> Any:
    """A sampler whose chance is that of a trial's number, whichever worker asks."""
    import optuna

    makes: Callable[..., Any] = optuna.samplers.TPESampler if sweep.method == "bayes" else optuna.samplers.RandomSampler
    more = {"constant_liar": True} if sweep.method == "bayes" else {}  # several workers do not try the same
    return makes(seed=number, **more)
