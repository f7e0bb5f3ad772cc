"""wandb: one run over all attempts and stages, online or offline, with each line of metrics.jsonl once."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import files
from pipeline.config import Track
from pipeline.run.trackers import kept, names, rows
from pipeline.run.trackers.products import Product
from pipeline.run.trackers.view import Evaluation, Subject, View, say
from pipeline.training import metrics

MISTAKES = 200  # rows of the table for many classes: of a long one wandb drops the end
CHARTED = 100  # classes whose matrix wandb shows whole: its tables end after 10,000 rows
# The command line, the environment, the code and the console can hold secrets: none of them is recorded.
OFF = "disable_code", "label_disable", "x_disable_meta"
SECONDS = {"x_service_wait": 10, "init_timeout": 60, "finish_timeout": 20, "x_transaction_log_flush_interval": 1}


class _Attempt(BaseModel):
    """What is sent of environment.json."""

    git_commit: str | None = None


class WandB(View):
    """See the module. The rows that an earlier attempt recorded and did not send are sent when this one begins."""

    def __init__(self, track: Track, subject: Subject) -> None:
        super().__init__("wandb")
        self.subject, self.folder = subject, subject.folder
        # Tables are staged and logs kept outside the run folder otherwise, where a moved run would miss them.
        own = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), str((self.folder / "wandb" / "local").resolve()))
        own["WANDB_ERROR_REPORTING"] = "false"
        self.added = [variable for variable in own if variable not in os.environ]
        os.environ.update({variable: own[variable] for variable in self.added})
        import wandb
        from accelerate.tracking import WandBTracker
        from wandb.sdk.lib.wbauth import read_netrc_auth

        self.wandb = wandb
        wanted = _settings(track, self.folder)
        settings = wandb.Settings(**{key: wanted[key] for key in wanted if key in wandb.Settings.model_fields})
        # Here and not in the thread: it changes os.environ, which other threads' C code may be reading.
        self.service = wandb.setup(settings=settings)
        found = self.service.settings
        # Decided before init, which without a key asks on a terminal and raises elsewhere.
        key = found.api_key or found.identity_token_file or read_netrc_auth(host=found.base_url)
        offline = not key or found.mode in ("offline", "dryrun")
        self.mode = "disabled" if found.mode == "disabled" else "offline" if offline else "online"
        self.kept = kept.load(self.folder)
        named = names.of(track, self.folder, self.kept.names())
        self.id = named.setdefault("id", os.environ.get("WANDB_RUN_ID") or secrets.token_hex(5))
        self.tracker = WandBTracker(
            named.pop("project", found.project),
            mode=self.mode,
            **named,
            config=subject.config,
            reinit="create_new",
            settings=settings,
        )
        self.place = Path(os.environ.get("WANDB_DIR") or self.folder) / "wandb"  # of its own files
        self.lines = rows.Lines(self.folder / "metrics.jsonl")
        self.best = rows.Best(subject.monitor)
        self.there = 0  # rows that wandb has

    def open(self) -> None:
        """Begin the run, or go on with it."""
        if self.mode != "disabled":  # before there is a run, which may be killed at once
            self.kept = self.kept.model_copy(update={"id": self.id})
            kept.save(self.folder, self.kept)
            rows.mend(self.place, self.id)
        self.tracker.start()
        run = self.run_there
        run.define_metric("*", step_metric="step")
        for name, word in rows.BETTER.items():
            run.define_metric(name, step_metric="step", summary=f"{word},last")
        if self.mode == "offline":
            self.there = rows.recorded(self.place, self.id)
        else:
            self.there = run.starting_step
        self.kept = self.kept.model_copy(update={"project": run.project or "", "entity": run.entity or ""})
        if self.mode != "disabled":
            kept.save(self.folder, self.kept)
        self._follow()
        if self.mode == "online":
            rows.mark_sent(self.place, self.id, self.kept.evaluations)
            say(f"wandb: {run.url}")

    @property
    def run_there(self) -> Any:
        """The run of wandb."""
        return self.tracker.run

    def describe(self, facts: Mapping[str, Any]) -> None:
        """In the configuration of the run."""
        self.run_there.config.update({"facts": dict(facts)}, allow_val_change=True)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """The new lines of metrics.jsonl."""
        self._follow()

    def _follow(self) -> None:
        for line, text in self.lines.new():
            number = rows.number_of(line, self.kept.evaluations)
            if number < self.there and not rows.is_summarised(text):
                continue
            row = rows.values_of(text)
            changed = self.best.after(row)
            if number >= self.there:
                self.run_there.log(row, step=number, commit=True)
                self.there = number + 1
            if changed:  # wandb forgets the best of what it was told before it was resumed
                self.run_there.summary.update(changed)

    def log_evaluation(self, found: Evaluation) -> None:
        """A row of its own: confusion matrix, pictures, a table of examples. The final metrics go into the summary."""
        names_of_classes, whole = found.class_names, len(found.class_names) <= CHARTED
        # its chart draws the cells that it is given, so those that are 0 too
        cells = metrics.all_cells(found.cells, len(names_of_classes)) if whole else metrics.mistakes(found.cells, MISTAKES)
        columns = ["Actual", "Predicted", "nPredictions"]
        counted = [[names_of_classes[one], names_of_classes[other], count] for one, other, count in cells.tolist()]
        table = self.wandb.Table(columns=columns, data=counted)
        fields = dict(zip(columns, columns, strict=True))
        shown: dict[str, Any] = {name: self.wandb.Image(str(path)) for name, path in found.pictures.items()}
        if whole:
            shown["confusion_matrix"] = self.wandb.plot_table("wandb/confusion_matrix/v1", table, fields)
        else:
            shown["frequent_mistakes"] = table
        if found.examples:
            shown["predictions"] = self._examples(found)
        before = self.lines.number
        number = max(self.there, rows.number_of(before, self.kept.evaluations))
        self.kept = self.kept.model_copy(update={"evaluations": [*self.kept.evaluations, before]})
        kept.save(self.folder, self.kept)
        self.run_there.log({"step": found.scores.get("step")} | shown, step=number, commit=True)
        self.there = number + 1
        self.run_there.summary.update({name: value for name, value in found.scores.items() if name != "step"})
        self.run_there.summary.update({f"{found.split}/step": found.scores.get("step")})

    def _examples(self, found: Evaluation) -> Any:
        """Examples and what the model said of them; the picture of those that have one."""
        columns = ["index", "label", "prediction", "probability", "right", "picture"]
        data = [
            (one.index, one.label, one.prediction, one.probability, one.label == one.prediction, picture)
            for one in found.examples
            for picture in [self.wandb.Image(str(one.picture)) if one.picture else None]
        ]
        return self.wandb.Table(columns=columns, data=data, allow_mixed_types=True)

    def use(self, product: Product) -> None:
        """As an input of the run; ``use_artifact`` would wait, and knows no offline run."""
        self._send(product, used=True)

    def produce(self, product: Product) -> None:
        """As an output of the run."""
        self._send(product, used=False)

    def _send(self, product: Product, used: bool) -> None:
        run = self.run_there
        name = product.name if product.shared else f"{run.name}-{product.name}"
        artifact = self.wandb.Artifact(names.clean(name), product.kind, metadata=dict(product.facts))
        for place, content in product.contents.items():
            if isinstance(content, Path):
                # offline they are sent when they may be gone, so wandb takes a copy
                policy = "mutable" if self.mode == "offline" else "immutable"
                artifact.add_file(str(content), name=place, policy=policy, skip_cache=True)
            else:
                with artifact.new_file(place, encoding="utf-8") as file:
                    file.write(content)
        if used and hasattr(run, "_log_artifact"):
            run._log_artifact(artifact, aliases=list(product.aliases), is_user_created=True, use_after_commit=True)
        else:
            run.log_artifact(artifact, aliases=list(product.aliases))

    def alert(self, title: str, text: str) -> None:
        """To whom wandb tells it: by mail or chat, as its settings say."""
        self.run_there.alert(f"{self.run_there.name}: {title}", text, level="ERROR")

    def close(self, exit_code: int) -> None:
        """Send what is left."""
        try:
            self.run_there.finish(exit_code=exit_code)
        finally:
            self.wandb.teardown()
        if self.mode == "offline" and not self.kept.told:  # once, and not by each stage
            self.kept = self.kept.model_copy(update={"told": True})
            kept.save(self.folder, self.kept)
            path = Path(os.path.relpath(self.run_there.dir)).parent
            command = os.path.relpath(Path(sys.executable).with_name("wandb"))
            # all attempts, in their order; elsewhere other runs may lie too
            whole = (
                path.parent
                if path.parent.parent.resolve() == self.folder.resolve()
                else f"{path.parent}/offline-run-*-{self.id}"
            )
            say(f"wandb: an offline run; look at it: {command} leet {path}; upload it: {command} sync {whole}")

    def put_back(self) -> None:
        """The environment."""
        for variable in self.added:
            os.environ.pop(variable, None)

    def abandon(self, why: str) -> None:
        """Leave the thread behind, and end wandb's service."""
        super().abandon(why)
        # wandb's exit hook would wait for its service without a limit; close() takes the hook away.
        with contextlib.suppress(AttributeError, OSError):
            self.service._connection._proc._process.kill()
        self.join(2)


def _settings(track: Track, folder: Path) -> dict[str, Any]:
    """wandb's settings: nothing of the machine unless ``track.system`` asks for it, nothing of git unless ``track.git``."""
    wanted: dict[str, Any] = dict.fromkeys(OFF, True) | SECONDS | {"silent": True, "console": "off"}
    wanted |= {"save_code": False, "x_save_requirements": False}
    wanted |= {"x_disable_stats": not track.system, "x_disable_machine_info": not track.system}
    if not track.system:
        wanted |= {"host": "", "program": "pipeline"}
    commit = _commit(folder) if track.git else None
    return wanted | {"disable_git": commit is None} | ({"git_commit": commit} if commit else {})


def _commit(folder: Path) -> str | None:
    """The commit that the last attempt at a run trained by; None where it is not known."""
    try:
        return files.read_json(folder / "environment.json", _Attempt).git_commit
    except (OSError, ValueError):
        return None
