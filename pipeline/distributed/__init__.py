"""This process among the others.

In the order of their imports:

    collectives  what all processes say, do and agree on
    lock         one process at a time, of all hosts that share a disk
    cores        which cores each process keeps to
    stacks       where a process hangs, on disk
    signals      what a signal does before and after the training
    stop_signal  when to stop: signals, and what all agree on
    loopback     where processes of one machine meet
    places       host and address of each process, the interface between them
    meeting      how they find each other, and who did not come
    process      what a run changes of its process, and puts back
    launcher     several processes on this machine, started and ended quietly
    world        the processes of this launch: how they meet
"""
