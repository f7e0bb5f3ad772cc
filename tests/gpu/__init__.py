"""What the program does on GPUs, rehearsed without one.

``stand_in`` stands in for the CUDA driver, runtime, cuDNN, cuBLAS and NCCL below torch's own CUDA build: dispatch, autocast,
autograd, the allocator, DDP, NCCL's process groups, capture and replay are torch's code. Launches, copies, waits and library
calls are counted.

    python -m tests.gpu.rehearse steps|train|cases|lstm|peer [section.key=value ...]     # one JSON
    python -m tests.gpu.rehearse --processes 2 train train.precision=bf16

``rehearse.rehearsed`` is the same for tests. A rehearsal knows no time and no number of a GPU: kernels do nothing, so that
values are those that memory happened to hold, and checks of values are off.
"""
