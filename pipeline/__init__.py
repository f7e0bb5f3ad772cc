"""Distributed training of recurrent sequence classifiers, in the order data flows.

Each module imports only from those above it:

    errors          what a user can put right
    files           files that are either whole or absent
    yamlfile        YAML text -> plain values and the line of every key
    config_data     the section on data, and what all sections are made of
    config_errors   what is said of a wrong configuration
    config          YAML file + overrides -> validated, immutable sections
    data.idx        the strict reader of idx files
    data.download   torchvision's download, from every mirror, with checksums
    data.split      which examples are held out: stratified, whole groups, the latest
    data.imagefolder  images in a folder a class
    data.sources    raw examples: torchvision's MNIST family, scikit-learn's digits, images of the user's own
    data.series     series of unequal lengths, as every reader of the user's files gives them
    data.cells      words, numbers and messages that all readers of the user's files share
    data.table      a table of rows in blocks, whatever file it is in
    data.csvfile    CSV as a table
    data.parquet    Parquet as a table
    data.layouts    long and wide tables -> series
    data.archive    the strict reader of the arrays in an .npz file
    data.npz        .npz -> series
    data.tsfile     .ts -> series
    data.arff       ARFF -> series
    data.readers    the user's own files -> series, whatever their format
    data.derive     view, examples in two parts, statistics
    data.clean      cut, fill and resample a series, by the policies of the configuration
    data.spool      all series of a file, in a temporary file, to be used in any order
    data.shards     parts of series on disk, written as streams
    data.prepared   prepared/ as it lies on the disk: manifest, parts, whether it is whole
    data.build      series -> the parts of prepared/, in bounded memory
    data.report     what a prepared folder holds, in numbers
    data.prepare    verified raw examples -> prepared/
    data.augment    random distortion of training images
    data.batches    prepared/ -> this process's batches, in an order given by (seed, epoch)
    masked          layers and means over the valid steps of series of unequal lengths
    cpu_lstm        the LSTM layer on CPUs, a kernel compiled for the processor
    model           RecurrentClassifier
    optim           parameter groups, lr_at(step)
    metrics         exact measures from one row an example
    balance         weights against classes of unequal size
    faults          faults on purpose, for tests
    processes       this process among the others: launch, world, agreement, signals
    state           what training changes
    cuda_graph      a whole training step as one CUDA graph
    engine          train(): a generator of reports
    evaluation      exact evaluation: one row an example
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
    onnx_file       the reader of such files, which refuses all others
    model_card      README.md beside an exported model
    export          checkpoint -> files that other software loads, each checked against the original
    exported        such files -> the model, ready to run, and what it was trained on
    inputs          a file to predict -> blocks of examples as the model reads them
    predict         blocks of examples -> predictions
    outputs         predictions -> CSV, JSON or Parquet
    stages          prepare, tune, train, evaluate, export, predict: the only place where the parts meet
    __main__        command line -> stage
"""

__version__ = "0.1.0"
