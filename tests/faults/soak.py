"""Kill one run again and again, at random moments and in random ways, and compare its end with a run left alone.

``python -m tests.faults.soak --kills 100 [--seed N] [--minutes M] [--json FILE]``. Every attempt is started on a random
number of processes, mostly forked from a server that has torch loaded and now and then through ``accelerate launch``.
Exact mode promises that nothing of this leaves a trace: the same weights, moments, averaged weights and losses, bit for
bit, as on one process that was never disturbed. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.run import checkpoints
from tests.support.launching import ROOT, Job, launch, losses, numbers, succeed, weights

SMOKE = str(ROOT / "configs/smoke.yaml")
TIMEOUT = 10  # run.timeout: how long a frozen process is waited for by the others
ENDS = TIMEOUT + 35  # seconds within which every process of an attempt must be gone
STEPS_PER_EPOCH = 14
STEPS_PER_KILL = 60  # so that kills hit different places, and a signal that is agreed on later does not end the run
# everything that has a state, and saves and evaluations at odd distances from each other
SETTINGS = (
    *("train.gradient_shards=4", "model.layers=2", "model.dropout=0.2", "data.shift=1", "train.ema=0.99"),
    *("optim.name=adamw", "optim.schedule=one_cycle", "optim.clip=1.0", "train.checkpoint_every=11"),
    *("train.evaluate_every=37", "train.compare_every=5", f"run.timeout={TIMEOUT}"),
)
# kind -> how often; a frozen process costs the timeout each time
KINDS = {
    "kill -9 of a worker": 20,
    "kill -9 of rank 0": 20,
    "kill -9 of all": 25,
    "SIGTERM to all": 15,
    "SIGTERM to one": 15,
    "SIGSTOP of one": 3,
}
LAUNCHES = 0.08  # the share of attempts under accelerate launch, which imports torch anew each time
LAUNCHED = {"kill -9 of the launcher": 3, "kill -9 of a worker": 1, "SIGTERM to all": 1}


class Forked:
    """An attempt whose processes were forked from the server."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, processes: int) -> None:
        self.job = Job(*arguments, cwd=folder, processes=processes)
        self.kinds = KINDS

    def pids(self) -> list[int]:
        """The living processes, in the order of ranks."""
        return [process.pid for process in self.job.processes if process.is_alive() and process.pid]

    def end(self) -> tuple[int, str]:
        """Whatever still lives is killed; the greatest exit status and what was printed."""
        for process in self.job.processes:
            process.kill()
        statuses, output = self.job.wait()
        return max(statuses, key=abs), output


class Launched:
    """An attempt under ``accelerate launch``, which finds its processes by a mark in their environment."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, processes: int, mark: str) -> None:
        self.mark = f"SOAK_ATTEMPT={mark}".encode()
        options = ("--num_processes", str(max(1, processes)), "--main_process_port", "0")
        self.launcher = launch("cpu.yaml", *arguments, cwd=folder, options=options, SOAK_ATTEMPT=mark)
        self.kinds = LAUNCHED

    def pids(self) -> list[int]:
        """The living processes that train, by rank, without the launcher."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                variables = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes().split(b"\0")
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self.mark in variables and b"accelerate.commands.launch" not in command and state != "Z":
                rank = next((int(entry[5:]) for entry in variables if entry.startswith(b"RANK=")), 0)
                found.append((rank, int(path.name)))
        return [pid for _, pid in sorted(found)]

    def end(self) -> tuple[int, str]:
        """Whatever still lives is killed; the exit status and what was printed."""
        for pid in self.pids():
            send(pid, signal.SIGKILL)
        if self.launcher.poll() is None:
            try:
                self.launcher.wait(ENDS)
            except subprocess.TimeoutExpired:
                self.launcher.kill()
        output, _ = self.launcher.communicate(timeout=ENDS)
        return self.launcher.returncode, output


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def waited(true: Callable[[], Any], seconds: float) -> bool:
    """Whether ``true`` said so within so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def last_step(run: Path) -> int:
    """The last step that is recorded, from the end of the file."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        *lines, _torn = file.read().split(b"\n")
    return int(json.loads(lines[-1])["step"]) if lines and lines[-1].startswith(b"{") else 0


class Soak:
    """The kills so far and what came of them."""

    def __init__(self, folder: Path, kills: int, seed: int, minutes: float) -> None:
        self.folder, self.wanted = folder, kills
        self.random = random.Random(seed)
        self.deadline = time.monotonic() + 60 * minutes
        self.epochs = -(-max(20, kills) * STEPS_PER_KILL // STEPS_PER_EPOCH)
        self.kills: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest = 0.0

    def arguments(self, name: str) -> tuple[str, ...]:
        return ("train", "--config", SMOKE, f"run.dir={name}", f"train.epochs={self.epochs}", *SETTINGS)

    def attempt(self, name: str) -> bool:
        """Start the run and kill it; whether it had ended by itself before."""
        random, run = self.random, self.folder / name
        processes = random.choice((1, 2, 4))
        launched = random.random() < LAUNCHES
        before = last_step(run)
        number = sum(self.starts.values())
        job: Forked | Launched
        if launched:
            job = Launched(self.arguments(name), self.folder, processes, f"{os.getpid()}.{number}")
        else:
            # one process also without any variable of a launcher
            job = Forked(self.arguments(name), self.folder, processes if processes > 1 else random.choice((0, 1)))
        self.starts[f"{processes} process{'es' * (processes > 1)}{', accelerate launch' * launched}"] += 1
        kind = random.choices(list(job.kinds), list(job.kinds.values()))[0]
        left = self.epochs * STEPS_PER_EPOCH - before
        if random.random() < 0.15:  # while it starts: imports, lock, verification, restoring
            time.sleep(random.uniform(0, 12 if launched else 3))
        else:
            target = before + random.randint(1, max(1, 2 * left // (self.wanted - self.kills.total() + 1)))
            waited(lambda: last_step(run) >= target or (not job.pids() and number_of(job)), 120)
            time.sleep(random.uniform(0, 0.1))  # anywhere in a step, a save, an evaluation
        alive = job.pids()
        if not alive and not (launched and job.launcher.poll() is None):
            status, output = job.end()
            self.account(run, before, output)
            if status:
                self.counts["attempts that ended with an error of their own"] += 1
                self.problems.append(f"not killed, exit status {status}: {output[-600:]}")
            return status == 0
        self.strike(job, kind, alive)
        self.kills[kind] += 1
        began = time.monotonic()
        _, output = self.ended(job, kind, alive, name)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.account(run, before, output)
        self.verify(run)
        return False

    def strike(self, job: Forked | Launched, kind: str, alive: list[int]) -> None:
        victim = self.random.choice(alive[1:] or alive) if alive else 0
        if kind == "kill -9 of the launcher" or not alive:
            assert isinstance(job, Launched)
            job.launcher.kill()
        elif kind.endswith(("of all", "to all")):
            number = signal.SIGKILL if kind.startswith("kill") else signal.SIGTERM
            for pid in self.random.sample(alive, len(alive)):
                send(pid, number)
        elif kind == "SIGSTOP of one" and len(alive) > 1:
            send(self.random.choice(alive), signal.SIGSTOP)
        elif kind == "SIGTERM to one":
            send(self.random.choice(alive), signal.SIGTERM)
        else:  # one process that is frozen waits for ever, and nobody for it
            send(alive[0] if kind.endswith("rank 0") else victim, signal.SIGKILL)

    def ended(self, job: Forked | Launched, kind: str, alive: list[int], name: str) -> tuple[int, str]:
        """Wait for the attempt to be over: all but a frozen process end by themselves, or still hold the run."""
        if kind == "kill -9 of the launcher":
            if not waited(lambda: not job.pids(), 1):
                self.counts["launchers killed whose processes lived on"] += 1
                self.second(job, name)
            else:
                self.counts["launchers killed whose processes ended by themselves"] += 1
            return job.end()
        frozen = 1 if kind == "SIGSTOP of one" and len(alive) > 1 else 0
        if not waited(lambda: len(job.pids()) <= frozen, ENDS):
            self.problems.append(f"{kind}: {len(job.pids()) - frozen} processes still live after {ENDS} s")
        return job.end()

    def second(self, job: Forked | Launched, name: str) -> None:
        """Start the run although processes of a killed launcher live: it is refused, or they are gone by then."""
        statuses, output = Job(*self.arguments(name), cwd=self.folder).wait() if job.pids() else ([0], "")
        if "another process is writing to this run" in output:
            self.counts["second writers refused"] += 1
        elif job.pids():
            self.problems.append(f"a second writer was let in, exit status {statuses}: {output[-600:]}")

    def account(self, run: Path, before: int, output: str) -> None:
        """How far back the attempt began."""
        if began := re.search(r"steps (\d+) to \d+, ", output):
            self.counts["resumes" if int(began[1]) else "starts from step 0"] += 1
            self.counts["steps computed again"] += max(0, before - int(began[1]))
        else:
            self.counts["killed before the first step"] += 1
        if "pipeline/" in output and "Traceback" in output:
            self.counts["attempts with a traceback"] += 1
            (self.folder / "tracebacks.txt").open("a").write(output + "\n" + "=" * 80 + "\n")

    def verify(self, run: Path) -> None:
        """No kill damages a checkpoint, and once there was one there is one."""
        before = self.counts["checkpoints there"]
        try:
            found, skipped = checkpoints.newest(run / "checkpoints")
        except ValueError as error:
            self.problems.append(str(error))
            return
        self.counts["checkpoints verified"] += bool(found)
        if skipped or (before and found is None):
            self.problems.append(f"damaged: {skipped}, newest {found}")
        self.counts["checkpoints there"] = bool(found)

    def soak(self) -> list[str]:
        """Kill as often as wanted, over several runs if one ends before; the names of the runs, all ended."""
        names = ["soaked_1"]
        while self.kills.total() < self.wanted and time.monotonic() < self.deadline:
            if self.attempt(names[-1]):
                names.append(f"soaked_{len(names) + 1}")
                self.counts["checkpoints there"] = 0
            show(f"{self.kills.total()} of {self.wanted} kills, step {last_step(self.folder / names[-1])}")
        before = last_step(self.folder / names[-1])
        processes = self.random.choice((1, 2, 4))
        output = finish(self.arguments(names[-1]), self.folder, processes)
        self.account(self.folder / names[-1], before, output)
        return names


def number_of(job: Forked | Launched) -> bool:
    """Whether an attempt is over and not only slow to begin."""
    return isinstance(job, Forked) or job.launcher.poll() is not None


def finish(arguments: tuple[str, ...], folder: Path, processes: int) -> str:
    """Run to the end, however long that takes; what was printed."""
    job = Job(*arguments, cwd=folder, processes=processes)
    waited(lambda: not any(process.is_alive() for process in job.processes), 1800)
    statuses, output = job.wait()
    if any(statuses):
        raise SystemExit(f"the run that was not killed ended with {statuses}:\n{output}")
    return output


def outcome(run: Path) -> dict[str, Any]:
    """All that must be equal: the last checkpoint, each step's loss, each evaluation, the choice of the best."""
    newest, digest, best = weights(run)
    return {
        "last checkpoint": newest,
        "weights, averaged weights and optimizer state": digest,
        "losses of all steps": losses(run),
        "all that is recorded": numbers(run),
        "best": best,
        "finished": (run / "checkpoints/finished.json").read_text(),
    }


def differences(run: Path, alone: Path) -> Iterator[str]:
    """What of the outcome differs."""
    one, other = outcome(run), outcome(alone)
    for what, value in one.items():
        if value == other[what]:
            continue
        if isinstance(value, list):
            pairs = enumerate(zip(value, other[what], strict=False), 1)
            first = next((number for number, (mine, theirs) in pairs if mine != theirs), 0)
            yield f"{run.name}: {what}: {len(value)} against {len(other[what])}, the first to differ is number {first}"
        else:
            yield f"{run.name}: {what}: {value} against {other[what]}"


def show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Soak, compare, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="no more kills after so many minutes")
    parser.add_argument("--json", type=Path, help="write the summary to this file")
    parser.add_argument("--folder", type=Path, help="work here and leave it; else in a temporary folder")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder.resolve(), options.kills, options.seed, options.minutes)
        succeed("prepare", "--config", SMOKE, "data.shift=1", cwd=soak.folder)
        show(f"{soak.epochs * STEPS_PER_EPOCH} steps on one process, left alone")
        finish(soak.arguments("alone"), soak.folder, 0)
        names = soak.soak()
        found = [line for name in names for line in differences(soak.folder / name, soak.folder / "alone")]
    short = soak.wanted - soak.kills.total()
    summary = {
        "kills": soak.kills.total(),
        "kills by kind": dict(soak.kills.most_common()),
        "starts": dict(sorted(soak.starts.items())),
        **{what: count for what, count in sorted(soak.counts.items()) if what != "checkpoints there"},
        "steps of the run": soak.epochs * STEPS_PER_EPOCH,
        "runs ended and compared": len(names),
        "slowest end of an attempt after its kill, seconds": round(soak.slowest, 1),
        "seconds": round(time.monotonic() - began),
        "seed": options.seed,
        "problems": soak.problems + [f"{short} kills fewer than asked for: the time was over"] * (short > 0),
        "differences from the run left alone": found,
    }
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    for what, value in summary.items():
        if isinstance(value, dict):
            print(f"{what}:", *(f"  {name}: {number}" for name, number in value.items()), sep="\n")
        elif isinstance(value, list):
            print(f"{what}: {len(value) or 'none'}", *(f"  {line}" for line in value), sep="\n")
        else:
            print(f"{what}: {value}")
    sys.exit(1 if summary["problems"] or found else 0)


if __name__ == "__main__":
    main()
