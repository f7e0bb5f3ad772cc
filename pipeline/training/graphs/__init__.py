"""A whole training step without the host, on a GPU as one CUDA graph.

In the order of their imports:

    inputs        batches of data that does not fit the device, gathered ahead by threads, in memory that stays
    tables        what the steps of an epoch need, on the device, picked by the device's own count of steps
    flow          what the device decides by itself: whether a step is settled, and the scale of fp16
    device_step   the step: gather, forward, loss, backward, sum, check, clipping, update, averages
    graphed_step  its warm-up, capture and replay, and what the host learns of it
    fitting       which trainings can take such steps, and why others cannot
"""
