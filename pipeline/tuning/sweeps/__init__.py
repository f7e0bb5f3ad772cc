"""The search of a sweep, in the format of wandb's sweep files.

In the order of their imports:

    shape       what a sweep file may hold
    space       what a parameter may be -> values of a key
    faults      what is wrong with a sweep file, beyond its shape
    sweep_file  a sweep file -> Sweep, or all its faults with their lines
    table       what the trials gave, and which is the best
    search      the trials of a sweep: which one is next, and what became of each
"""
