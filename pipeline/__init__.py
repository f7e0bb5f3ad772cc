"""Distributed training of recurrent sequence classifiers, in the order data flows.

Each module imports only from those above it:

    errors          what a user can put right
    files           files that are either whole or absent
    yamlfile        YAML text -> plain values and the line of every key
    config          YAML file + overrides -> validated, immutable sections
    data.sources    raw examples: torchvision's MNIST family, scikit-learn's digits
    data.prepare    verify, split, statistics -> prepared/
    data.batches    prepared/ -> this process's batches, in an order given by (seed, epoch)
    model           RecurrentClassifier
    optim           parameter groups, lr_at(step)
    metrics         exact, mergeable counts
    processes       this process among the others: launch, world, agreement, signals
    engine          train(): a generator of reports; evaluate()
    checkpoint      atomic save, verified load, retention
    tracking        metrics.jsonl always; wandb and others through Accelerate's trackers
    plots           every picture
    export          checkpoint -> files that other software loads, each checked against the original
    stages          prepare, train, evaluate, export: the only place where the parts meet
    __main__        command line -> stage
"""

__version__ = "0.1.0"
