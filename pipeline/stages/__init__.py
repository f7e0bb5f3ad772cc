"""The verbs, a file a command: the only place where the parts meet.

Each stage reads the folder that the one before it wrote, and nothing else:

    terminal/  what is typed, and the last line and the exit status
    assembly   what several stages put together: model, state, batches, the best weights of a run
    job        one attempt at a run: what it is made of, where it goes on
    prepare    raw data -> prepared/
    train      prepared/ -> runs/NAME/
    evaluate   runs/NAME/ -> runs/NAME/eval/
    repeats    prepared/ -> runs/NAME/folds/ or runs/NAME/seed-1/ ...: folds and seeds
    advice/    init, check, tune, doctor, sweep: with what to train, and on what
    export     runs/NAME/ -> runs/NAME/export/
    predict    runs/NAME/export/ and a file of the user's -> predictions
    views/     summary: what was trained, shown
    fit        train, evaluate and export from Python: ``from pipeline import fit``
"""
