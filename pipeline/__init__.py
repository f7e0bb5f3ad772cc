"""Distributed training of recurrent sequence classifiers, in the order data flows.

Each module imports only from those above it:

    errors          what a user can put right
    files           files that are either whole or absent
    yamlfile        YAML text -> plain values and the line of every key
    explain         what is wrong with a configuration, as one line a key
    config          YAML file + overrides -> validated, immutable sections
    data.idx        the strict reader of idx files
    data.download   torchvision's download, from every mirror, with checksums
    data.sources    raw examples: torchvision's MNIST family, scikit-learn's digits
    data.series     series of unequal lengths, as every reader of the user's files gives them
    data.derive     view, split, statistics
    data.prepare    verified raw examples -> prepared/
    data.augment    random distortion of training images
    data.batches    prepared/ -> this process's batches, in an order given by (seed, epoch)
    model           RecurrentClassifier
    optim           parameter groups, lr_at(step)
    metrics         exact measures from one row an example
    faults          faults on purpose, for tests
    processes       this process among the others: launch, world, agreement, signals
    engine          train(): a generator of reports; evaluate()
    memory          how much this process has used, and how much it may still have
    tune            the largest and the fastest batch, threads, the range of good rates
    checkpoint      atomic save, verified load, retention
    checkpoint_writer  checkpoints written in a thread while training goes on
    runfolder       runs/NAME/: one writer, one configuration, where it was made
    record          metrics.jsonl
    tracking        wandb and others through Accelerate's trackers, which may fail at any time
    progress        a bar on a terminal, lines elsewhere
    plots           every picture
    onnx_graph      the model as an ONNX graph of native recurrent nodes
    model_card      README.md beside an exported model
    export          checkpoint -> files that other software loads, each checked against the original
    stages          prepare, tune, train, evaluate, export: the only place where the parts meet
    __main__        command line -> stage
"""

__version__ = "0.1.0"
