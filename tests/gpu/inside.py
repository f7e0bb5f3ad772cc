"""The inside of a rehearsal: a process below which CUDA is the stand-in. Its scenarios answer with what was counted.

python -m tests.gpu.inside FOLDER CONFIG SCENARIO [section.key=value ...], started by ``rehearse``
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.data.prepared import Prepared
from pipeline.data.store import Store, resident_limit, stores
from pipeline.distributed import collectives, meeting, world
from pipeline.model.classifier import RecurrentClassifier
from pipeline.model.gpu_lstm import layer
from pipeline.run import checkpoints, saving
from pipeline.stages import assembly, job
from pipeline.stages import train as stage
from pipeline.stages.advice.examination import task, worker
from pipeline.stages.advice.examination.results import Place
from pipeline.stages.terminal import endings
from pipeline.training import evaluation, loop
from pipeline.training.graphs.graphed_step import GraphedStep
from pipeline.training.selection import Selection
from pipeline.training.state import State
from tests.gpu.cases import LONE, TWO, series
from tests.gpu.counting import Counting

WORLD, RANK = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
LAST = 30  # the step after which a process is lost
SETTLED = 14  # steps after which each is like the one before


class Rehearsal:
    """One process of a rehearsal: what is configured, and what is counted."""

    def __init__(self, folder: str, file: str, overrides: list[str]) -> None:
        self.folder, self.file, self.counting, self.overrides = Path(folder), file, Counting(), overrides
        self.settings = self.configured(overrides)

    def configured(self, overrides: list[str]) -> config.Config:
        """The configuration with these overrides, kept away from the user's folders."""
        return config.load(self.file, [*self.where(), *overrides])

    def where(self) -> list[str]:
        """Overrides that keep a rehearsal away from the user's folders."""
        return [f"data.prepared={tempfile.gettempdir()}/rehearsed-data", f"run.dir={self.folder}/run", "track.backends=[]"]

    @contextmanager
    def ready(self) -> Iterator[tuple[Prepared, State, Batches, Any]]:
        """What a training stage puts together."""
        settings = self.settings
        with job.meet(settings) as accelerator:
            prepared = job.ready(settings.data)
            slices, mine = assembly.slices_of(settings.train, RANK, WORLD)
            state = assembly.make_state(settings, prepared, accelerator)
            limit = resident_limit(settings.data.resident_limit_mb, accelerator.device)
            store = Store(prepared.part("train"), accelerator.device, limit)
            yield prepared, state, assembly.make_batches(settings, prepared, store, slices, mine), accelerator

    def steps(self) -> dict[str, Any]:
        """One step between log steps, one that is logged, and an evaluation."""
        train, counting = self.settings.train.model_copy(update={"log_every": 10**6}), self.counting
        with self.ready() as (prepared, state, batches, accelerator):
            reports = loop.train(state, batches, train, self.settings.optim, 0)
            for _ in range(SETTLED):
                counting.reset()
                next(reports)
            answer = counting.report()
            answer["forward"] = type(state.forward).__name__
            counting.reset()
            evaluation.evaluate(state.best_model, Store(prepared.part("valid"), accelerator.device, 4096))
            return answer | {"evaluation": counting.report()}

    def cases(self) -> dict[str, Any]:
        """``steps`` of each case of this number of processes."""
        path, answer = series(Path(tempfile.gettempdir(), "rehearsed-series.csv")), {}
        for name, overrides in (LONE if WORLD == 1 else TWO).items():
            eager = [] if "train.cuda_graph" in overrides else ["train.cuda_graph=off"]
            self.settings = self.configured([*eager, *overrides.format(series=path).split()])
            self.counting.anew()
            if WORLD > 1:  # a store of its own, as that of the case before may still be there
                os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
            answer[name] = self.steps()
        return answer

    def train(self) -> dict[str, Any]:
        """A whole run of the stage: train, evaluate, compare, save."""
        train = self.settings.train.model_copy(update={"epochs": 2, "compare_every": 10})
        stage.train(self.settings.model_copy(update={"train": train}))
        saved = checkpoints.newest(self.folder / "run/checkpoints")[0]
        assert saved
        return self.counting.report() | {"gpu": saved.facts.gpu}

    def commands(self) -> dict[str, Any]:
        """Each command in turn, as typed, from check to predict, on series of unequal lengths."""
        from pipeline.__main__ import main as command

        run, data = str(self.folder / "run"), series(self.folder / "series.csv")
        keys = ["data.source=csv", f"data.path={data}", "train.epochs=2", *self.overrides]
        settings = ["--config", self.file, *self.where(), *keys]
        for arguments in (
            ["check", *settings],
            ["prepare", *settings],
            ["tune", *settings],
            ["train", *settings],
            ["evaluate", "--run", run],
            ["export", "--run", run],
            ["predict", "--model", f"{run}/export", str(data)],
            ["summary", "--run", run],
        ):
            sys.argv = ["pipeline", *arguments]
            try:
                command()
            except SystemExit as ended:
                assert not ended.code, f"{arguments[0]}: exit status {ended.code}"
        found = sorted(str(path.relative_to(run)) for path in Path(run).rglob("*") if path.is_file())
        return {"illegal": dict(self.counting.illegal), "files": found}

    def doctor(self) -> dict[str, Any]:
        """The checks of ``doctor``, in this process: how each ended, and what it said."""
        which = "alone" if WORLD == 1 else "launched"
        names = [check.name for check in worker.SETS[which]]
        found = list(worker.answers(which, names, Place(self.folder), lambda name: None))
        answer = {one.name: {"status": one.status, "said": one.said, "values": one.values} for one in found}
        return {"checks": answer, "illegal": dict(self.counting.illegal)}

    def words(self) -> dict[str, Any]:
        """What two processes say to each other before they train."""
        with job.meet(self.settings):
            self.counting.reset()
            collectives.gather({"text": "a word"})
            collectives.together(lambda: None)
            return self.counting.report()

    def kept(self) -> dict[str, Any]:
        """What a checkpoint, the digest of all weights and an evaluation ask of the device, after a few steps."""
        with self.ready() as (prepared, state, batches, accelerator):
            for _ in islice(loop.train(state, batches, self.settings.train, self.settings.optim, 0), 3):
                pass
            facts = checkpoints.Facts(selection=Selection(), data="", processes=WORLD, cpu_lstm=16)
            valid = Store(prepared.part("valid"), accelerator.device, 4096)
            calls: dict[str, Callable[[], object]] = {
                "snapshot": lambda: saving.snapshot(state, facts),
                "digest": lambda: checkpoints.digest(state.model),
                "evaluation": lambda: evaluation.evaluate(state.best_model, valid),
            }
            answer: dict[str, Any] = {"examples": valid.count}
            for name, call in calls.items():
                self.counting.reset()
                call()
                answer[name] = self.counting.report()
            return answer

    def limits(self) -> dict[str, Any]:
        """What ``data.resident_limit_mb`` comes to, and which splits are held on the device by it."""
        with job.meet(self.settings) as accelerator:
            setting, device, prepared = self.settings.data.resident_limit_mb, accelerator.device, job.ready(self.settings.data)
            limit = resident_limit(setting, device)
            made = stores({name: prepared.part(name) for name in prepared.manifest.parts}, device, setting, limit)
            held = {name: [store.resident, store.nbytes] for name, store in made.items()}
            return {"limits": collectives.gather(limit), "held": held}

    def repeats(self) -> list[Any]:
        """What cuBLAS and cuDNN are told of repeating: by default, in exact mode, and in deterministic runs."""
        answer = []
        for more in ([], ["train.gradient_shards=8"], ["run.deterministic=true"]):
            with job.meet(self.configured(more)):
                answer.append([os.environ.get("CUBLAS_WORKSPACE_CONFIG"), torch.backends.cudnn.deterministic])
        return answer

    def refused(self) -> dict[str, Any]:
        """``steps`` where the last process does what no graph can hold, and what is said of it."""
        said: list[str] = []
        with self.ready() as (_, state, batches, _):
            state.say = said.append

            def look(*_: Any) -> None:
                if torch.cuda.is_current_stream_capturing():
                    state.nonfinite.item()

            if RANK == WORLD - 1:
                state.model.head.register_forward_hook(look)
            reports = loop.train(state, batches, self.settings.train, self.settings.optim, 0)
            for _ in range(SETTLED):
                self.counting.reset()
                next(reports)
            answer = self.counting.report() | {"said": said}
            reports.close()  # type: ignore[attr-defined]
            return answer

    def directions(self) -> dict[str, Any]:
        """The two directions of a layer one after the other, and side by side: launches, and waits of a stream for another."""
        model = RecurrentClassifier(3, 4, hidden=64, bidirectional=True).to("cuda").train()
        values, lengths, answer = torch.zeros(8, 5, 3, device="cuda"), torch.ones(8, dtype=torch.int64, device="cuda"), {}
        for name, model.two_streams in {"in turn": False, "side by side": True}.items():
            self.counting.reset()
            torch.autograd.grad(model(values, lengths).sum(), list(model.parameters()))
            crossings = self.counting.of("api").get("streamWaitEvent", 0)
            answer[name] = {"launches": self.counting.report()["launches"], "crossings": crossings}
        return answer

    def lstm(self) -> dict[str, Any]:
        """What carries a layer's weights to cuDNN, and how dear that is."""
        module, x = nn.LSTM(28, 128, batch_first=True).to("cuda"), torch.zeros(64, 28, 28, device="cuda")

        def flat(weights: list[torch.Tensor]) -> list[torch.Tensor]:
            both = torch.cat([w.reshape(-1) for w in weights]).to(torch.bfloat16)  # cuDNN's layout for one layer and direction
            return [piece.view_as(w) for piece, w in zip(both.split([w.numel() for w in weights]), weights, strict=True)]

        def call(weights: list[torch.Tensor]) -> Any:
            zero = torch.zeros(1, 64, 128, device="cuda", dtype=torch.bfloat16)
            return torch._VF.lstm(x.bfloat16(), (zero, zero), weights, True, 1, 0.0, True, False, True)[0]  # type: ignore[attr-defined]

        def autocast() -> Any:
            with torch.autocast("cuda", torch.bfloat16):
                return module(x)[0]

        ways = {
            "fp32": lambda: module(x)[0],
            "autocast": autocast,
            "cast one by one": lambda: call([w.bfloat16() for w in module._flat_weights]),
            "cast as one": lambda: call(flat(module._flat_weights)),
        }
        answer = {}
        for name, way in ways.items():
            for _ in range(3):
                self.counting.reset()
                y = way()
                y.sum().backward()
            answer[name] = self.counting.report() | {"output": str(y.dtype)}
        return answer

    def peer(self) -> dict[str, Any]:
        """A peer is gone: NCCL says so at once (FAIL=1), or the stream never ends. TORCH_DIST_USE_NCCL2=0: as in torch 2.11."""
        named = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # as a launcher does
        os.environ.update({"STUB_ALONE": "1"} | named)
        limit = datetime.timedelta(seconds=10)
        world._refuse_shared = lambda: None  # type: ignore[assignment]  # there is nobody to ask
        meeting.join = lambda backend, run: dist.init_process_group(  # type: ignore[assignment]
            "nccl", store=dist.HashStore(), rank=0, world_size=2, timeout=limit
        )
        began = time.monotonic()
        try:
            with world.world(self.settings.run) as accelerator:
                one = torch.ones((), device=accelerator.device)
                dist.all_reduce(one)
                stub = self.counting.library
                stub.stub_fail(6) if os.environ.get("FAIL") else stub.stub_hang(1)
                dist.all_reduce(one)
                collectives.settled(one).item()
        except BaseException as error:
            return {"raised": type(error).__name__, "seconds": round(time.monotonic() - began), "text": str(error)}
        return {"raised": ""}

    def lost(self) -> None:
        """A training whose process 1 is gone after step 30: HOW=die or HOW=hang. The GPU of process 0 waits for ever."""
        keys = ["train.checkpoint_every=20", "train.log_every=5", *self.overrides]

        def program() -> None:
            for report in stage.reports(self.configured(keys)):
                if report.step == LAST and RANK:
                    time.sleep(45 if os.environ["HOW"] == "hang" else 0)
                    os._exit(9)
                if report.step == LAST:
                    self.counting.library.stub_hang(1)

        endings.ended(program)


def _without_values() -> None:
    """Leave out what looks at values, which no kernel has computed."""
    world._assert_world = lambda accelerator: None  # type: ignore[assignment]
    layer.problem = lambda *_: "it has a compiler and a driver of its own"
    stage.refuse_nonfinite = lambda state: None
    task.untouched = lambda: ""  # type: ignore[assignment]
    GraphedStep.position = lambda self: (1 << 62, False)  # type: ignore[method-assign]
    make = assembly.make_state

    def made(*arguments: Any) -> State:
        state = make(*arguments)
        state.nonfinite.copy_(torch.zeros(()))  # filled by a kernel in torch 2.11
        return state

    assembly.make_state = job.make_state = made


def main() -> None:
    """Play one scenario; process 0 writes the answer."""
    torch.set_num_threads(1)
    folder, file, scenario, *overrides = sys.argv[1:]
    _without_values()
    status = 0
    try:
        rehearsal = Rehearsal(folder, file, overrides)
        answer = getattr(rehearsal, scenario)()
        if RANK == 0:
            Path(folder, "answer.json").write_text(json.dumps(answer))
    except BaseException:
        traceback.print_exc()
        status = 1
        print("illegal calls:", dict(rehearsal.counting.illegal) if "rehearsal" in locals() else None, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # libraries that are not there cannot be taken down


if __name__ == "__main__":
    main()
