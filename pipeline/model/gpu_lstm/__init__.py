"""An LSTM layer for training on GPUs, in Triton: kernels that are compiled for the device when they are first wanted.

In the order of their imports:

    tiles      what the kernels share: pieces of weights, products, activations
    scan       the kernel of the forward pass: a block of series from the first step to the last
    unscan     the kernel of the backward pass, from the last step to the first
    sums       the kernels of the weights' gradients
    choices    how large the blocks are, and by how many threads
    layer      ``lstm``, a differentiable function
"""
