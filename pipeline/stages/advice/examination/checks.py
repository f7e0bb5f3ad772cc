"""All checks, by name, in the order they are made."""

from __future__ import annotations

from functools import partial

from pipeline.stages.advice.examination import disk, group, hardware, promises, software, speeds
from pipeline.stages.advice.examination.results import Check

ALONE = (  # of one process
    Check("versions", "fact", "versions", software.versions),
    Check("processors", "fact", "processors", hardware.processors),
    Check("gpus", "fact", "GPUs", hardware.gpus),
    Check("links", "fact", "links between GPUs", hardware.links),
    Check("kernel", "fact", "CPU kernel", software.kernel, 120),  # it may have to be compiled
    Check("wandb", "fact", "wandb", software.wandb),
    Check("disk", "speed", "disk", disk.writes),
    Check("locks", "promise", "locks on run folders", disk.locks),
    Check("dtype_bf16", "promise", "bf16 is bf16", partial(promises.computes_in, "bf16")),
    Check("dtype_fp16", "promise", "fp16 is fp16", partial(promises.computes_in, "fp16")),
    Check("graph_fp32", "promise", "graph = kernels, fp32", partial(promises.graph, "fp32", {})),
    Check("graph_bf16", "promise", "graph = kernels, bf16", partial(promises.graph, "bf16", {})),
    Check("graph_fp16", "promise", "graph = kernels, fp16", partial(promises.graph, "fp16", {})),
    Check("graph_dropout", "promise", "the same, with dropout", partial(promises.graph, "fp16", {"head_dropout": 0.2})),
    Check("graph_conv", "promise", "the same, LSTM-FCN", partial(promises.graph, "fp32", {"conv": 32, "conv_norm": "batch"})),
    Check("repeats", "promise", "a run repeats", partial(promises.repeats, 0)),
    Check("repeats_exact", "promise", "exact mode repeats", partial(promises.repeats, group.SHARDS)),
    Check("resumed", "promise", "resumed = uninterrupted", partial(promises.resumed, "fp32", 0)),
    Check("resumed_exact", "promise", "the same, exact mode", partial(promises.resumed, "fp32", group.SHARDS)),
    Check("resumed_fp16", "promise", "the same, fp16", partial(promises.resumed, "fp16", 0)),
    Check("precision_bf16", "promise", "bf16 learns as fp32", partial(promises.precise, "bf16"), 60),
    Check("precision_fp16", "promise", "fp16 learns as fp32", partial(promises.precise, "fp16"), 60),
    Check("exact_1", "promise", "exact mode, 1 process", group.exact),
    Check("step_64", "speed", "step, 64 units, batch 64", partial(speeds.of_step, 28, 28, 64, 64)),
    Check("step_1024", "speed", "step, 128 units, batch 1,024", partial(speeds.of_step, 28, 28, 128, 1024)),
    Check("layer", "speed", "cuDNN's LSTM", partial(speeds.of_layer, 28, 28, 64)),
)
OF_EXACT = "exact"
SEVERAL = (  # of several on this machine, beside ALONE
    Check(OF_EXACT, "promise", "exact mode", group.exact, 60),
    Check("all_reduce", "speed", "all-reduce", group.all_reduce, 60),
)
SHARES, STEP = "shares", "configured"
PLANNED = (  # of a configuration, for a plan: of one process, and of several
    Check(SHARES, "speed", "a step by examples", speeds.of_shares, 300),
    Check("all_reduce", "speed", "all-reduce", group.all_reduce, 60),
    Check(STEP, "speed", "a step", speeds.of_configuration, 60),
)
LAUNCHED = (  # of those that a launcher started
    Check("versions", "fact", "versions", software.versions),
    Check("processors", "fact", "processors", hardware.processors),
    Check("gpus", "fact", "GPUs", hardware.gpus),
    Check("hosts", "promise", "hosts", group.hosts),
    Check("product", "promise", "a product on all", group.product),
    Check("disk", "speed", "disk", group.disks),
    *SEVERAL,
    Check("step_64", "speed", "step, 64 units, batch 64", partial(speeds.of_step, 28, 28, 64, 64)),
)
