"""What this machine's GPU takes for a step, and for a whole training, beside loops written by hand and beside cuDNN alone.

    python -m tests.benchmarks.on_gpu steps --data FOLDER [--json FILE] [--only WORD ...] [--seconds S]
    python -m tests.benchmarks.on_gpu runs --data FOLDER --config FILE [--seeds N] [--json FILE] [section.key=value ...]
    python -m tests.benchmarks.on_gpu kernels --data FOLDER [--json FILE]

``FOLDER`` holds MNIST/raw/ with the four files. Times are of the wall clock between two waits for the GPU.
"""
