"""Measured advice.

In the order of their imports:

    recipe        how to train on data of a certain size and shape
    memory        how much memory this process has used, and how much it may still have
    measure       the speed at one batch size
    batch_search  the largest and the fastest batch, threads
    range_test    the range of good learning rates
    gpu_kernels   sizes and number formats that are slow on a GPU
    sweeps/       the trials of a sweep
    processes     how many processes train a model fastest
    scaling       how long a step takes on more processes than there are here
"""
