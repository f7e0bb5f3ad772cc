"""Which of cuDNN's kernels train a model, as torch chooses them: sizes and number formats that another beside them beats.

Source: the algorithms that torch 2.15 asks cuDNN for, by cell, size and dtype, as a rehearsal counts them (its
aten/src/ATen/native/cudnn/RNN.cpp), and for LSTMs an H200 with cuDNN 9.19: docs/gpus.md.
"""

from __future__ import annotations

from pipeline import config

# hidden sizes up to which both passes, and from there on the forward pass alone, are one kernel for all steps
ONE_KERNEL = {"lstm": (128, 192), "gru": (128, 192), "rnn": (256, 384)}
LARGEST, MULTIPLE = 1024, 128  # of the persistent kernels: fp16, batches of up to 128, inputs and hidden sizes of multiples
SAID = "as torch chooses its kernels; not measured here"
SEEN = "on an H200 a step of 1,024 series took 4.6 ms with 160 units, 2.7 ms with 256 and 1.8 ms with 128"


def slow(model: config.Model, precision: str, features: int) -> str:
    """What is slow about a model of so many ``features`` on a GPU, and what to set instead; empty if nothing is known."""
    both, forward = ONE_KERNEL[model.cell]
    lstm = model.cell == "lstm"  # of which an H200 showed that it holds in fp32 alone
    if both < model.hidden <= forward and not (lstm and precision != "fp32"):
        return (
            f"model.hidden = {model.hidden}: from {both + 1} to {forward} only the forward pass is one kernel of cuDNN "
            f"({SEEN if lstm else SAID}); model.hidden={both} or {2 * both} is likely to be faster on a GPU"
        )
    persistent = model.cell != "gru" and forward < model.hidden <= LARGEST and model.hidden % MULTIPLE == 0
    if precision == "bf16" and persistent and (model.layers > 1 or (model.projection or features) % MULTIPLE == 0):
        return (
            f"train.precision = bf16: with model.hidden = {model.hidden} cuDNN has kernels for fp16 that keep their weights, "
            f"in batches of up to 128, and none for bf16 ({SAID}); train.precision=fp16 is likely to be faster on a GPU"
        )
    return ""
