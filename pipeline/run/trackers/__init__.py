"""Views of a run that may fail at any time: wandb and others, through Accelerate's trackers.

In the order of their imports:

    names        what a run is called in wandb
    kept         wandb/run.json: which run of wandb it is, over attempts and stages
    rows         the lines of metrics.jsonl as rows of wandb; the rows that its files hold already
    products     what wandb calls artifacts: data, checkpoint, export, evaluation
    view         one backend in a thread of its own
    wandb_view   wandb
    others       TensorBoard, MLflow, trackio
    tracker      the views of one attempt at a job
"""
