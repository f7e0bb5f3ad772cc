"""Distributed training of recurrent sequence classifiers, in the order data flows.

Each package imports only from those above it; the map of its modules stands in its ``__init__``:

    errors        what a user can put right, and how a name is shown
    files         files and folders that are whole or absent
    config/       YAML file + overrides -> validated, immutable sections
    model/        the network: RecurrentClassifier and what it is made of
    distributed/  this process among the others
    data/         raw data -> prepared/ -> batches
    training/     the loop and what it needs
    tuning/       measured advice on batch, threads and learning rate; the search of a sweep
    run/          runs/NAME/ and what is said of it
    deploy/       checkpoint -> export -> predictions
    export        ``load`` under the name that the model cards of older exports import
    report/       what people look at: pictures and pages
    stages/       prepare, tune, train, evaluate, export, predict: the only place where the parts meet
    __main__      command line -> stage
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["fit", "load"]

TYPE_CHECKING = False  # as type checkers know it; ``typing`` takes time, in which a signal may come
if TYPE_CHECKING:
    from typing import Any

    from pipeline.deploy.loaded import load as load
    from pipeline.stages.fit import fit as fit
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and nothing before: torch takes seconds."""
        if name == "load":
            from pipeline.deploy.loaded import load

            return load
        if name == "fit":
            from pipeline.stages.fit import fit

            return fit
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
