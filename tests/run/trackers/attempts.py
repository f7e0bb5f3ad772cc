"""A process that records, saves, tracks and resumes as training does, without training; it is killed again and again.

    python -m tests.run.trackers.attempts FOLDER STEPS [SECONDS A STEP]

Of 0 steps it is an evaluation of what is there. A step is a line, every 10th an evaluation too, every 7th a checkpoint.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np

from pipeline import files
from pipeline.config import make
from pipeline.run.record import Record
from pipeline.run.trackers import tracker
from pipeline.run.trackers.view import Evaluation


def loss(step: int) -> float:
    """That of a training whose best evaluation is that of step 30."""
    return abs(step - 30) + 1 / (step + 1)


def main() -> None:
    """One attempt."""
    folder, steps, pause = Path(sys.argv[1]), int(sys.argv[2]), float((sys.argv[3:] or ["0.01"])[0])
    folder.mkdir(exist_ok=True)
    saved = folder / "saved"
    done = int(saved.read_text()) if saved.exists() else 0
    record = Record(folder / "metrics.jsonl")
    if steps:
        record.resume(done)
    views = tracker.start(make({"run": {"dir": str(folder)}}), folder)
    if steps == 0:  # an evaluation
        views.log_evaluation(Evaluation({"step": done, "test/accuracy": 0.5}, np.array([[0, 1, 3]]), ["a", "b"], {}))
        views.finish()
        return
    views.describe({"parameters": 5})
    for step in range(done, steps + 1):
        rows = [{"train/loss": math.nan if step == 3 else loss(step), "train/lr": 0.1}] if step > done else []
        rows += [{"valid/loss": loss(step), "valid/accuracy": 1 / (1 + loss(step))}] if step % 10 == 0 else []
        for values in rows:
            record.append({"step": step, "epoch": step / 50, "time": time.time()} | values)
            views.log(values, step)
        if step % 7 == 0:
            files.write_text(saved, str(step))
        time.sleep(pause)
    views.finish()


if __name__ == "__main__":
    main()
