"""The network: sequences of raw values -> one logit a class.

In the order of their imports:

    cpu_lstm    the LSTM layer on CPUs, a kernel compiled for the processor
    gpu_lstm/   the LSTM layer on GPUs, kernels in Triton
    torch_private  what is used of torch under names that it keeps to itself
    gpu_layer   a recurrent layer as cuDNN trains it on a GPU
    streams     two things side by side on a GPU
    footprint   what follows from the sizes alone: how many series one pass reads at a time
    masked      layers and means over the valid steps of series of unequal lengths
    convolutions   the convolutional branch and its normalisation
    initial     initial weights other than torch's own
    classifier  RecurrentClassifier
"""
