"""runs/NAME/ and what is said of it.

In the order of their imports:

    advice       what to type next
    environment  where and by what a run was made
    marks        which checkpoints there are, which is the best
    folder       one writer, one configuration
    checkpoints  find, verify, restore
    placing      which folder is that of a configuration
    record       metrics.jsonl
    saving       copy, write, mark, prune; in a thread
    stragglers   which process holds up the others
    trackers/    wandb and others through Accelerate's trackers, which may fail at any time
    log          all that a run says while it trains: record, trackers, screen
"""
