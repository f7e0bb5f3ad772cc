"""What runs there are, and what each says of itself. Nothing here imports torch: a thousand runs are listed in seconds.

In the order of their imports:

    found      a folder -> the runs in it, and what is none
    history    the record of a run -> what it says in short
    facts      a run folder -> its state, how far it is, what it gave, what it takes of the disk
    differing  in what the configurations of several runs differ
    table      runs -> lines as wide as the terminal
    pruning    what may be deleted, and deleting what was named
"""
