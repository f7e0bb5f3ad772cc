"""A CUDA without a GPU: ``cuda.c``, compiled once for each version of torch, and laid over the libraries by LD_PRELOAD."""
