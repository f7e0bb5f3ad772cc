"""What a machine can do, and whether the promises of this program hold on it.

In the order of their imports:

    results   what a check says
    software  versions, compiler, wandb
    hardware  processors, memory, GPUs, links
    disk      how fast a disk writes, and whether locks hold there
    task      the small training that promises are held against
    promises  what must hold: number formats, graphs, resuming, exact mode
    rivals    hand-written loops, and a bare cuDNN layer
    speeds    a step beside those
    group     several processes: exact mode, all-reduce, hosts that differ
    checks    all of them, by name
    worker    a process that makes them
    watched   such processes, each check within its time
"""
