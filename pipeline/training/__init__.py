"""The training loop and what it needs.

In the order of their imports:

    optim       parameter groups, lr_at(step)
    metrics     exact measures from one row an example
    baselines   what an accuracy is held against
    loss        the training loss, smoothed and weighed by class
    state       what training changes, and how it is made ready
    gradients   the gradient of a global batch: plain mode and exact mode
    eager_step  one optimiser step, kernel by kernel
    graphs/     a whole training step as one CUDA graph
    loop        train(): a generator of reports
    evaluation  exact evaluation: one row an example
    selection   which evaluation was the best so far
"""
