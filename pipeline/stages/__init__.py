"""prepare, tune, train, evaluate, export, predict: the only place where the parts meet.

Each stage reads the folder that the one before it wrote, and nothing else:

    parts       what several stages put together: the model and the batches for the prepared data, the best weights of a run
    log         what a run says of itself, and which of its checkpoints is the best
    prepare     raw data -> prepared/; and check, the dry run
    tune        prepared/ -> tuning/NAME/: measured advice on batch, threads and rate
    train       prepared/ -> runs/NAME/
    evaluate    runs/NAME/ -> runs/NAME/eval/
    export      runs/NAME/ -> runs/NAME/export/; and the summary of a run
    predict     runs/NAME/export/ and a file of the user's -> predictions
"""
