"""The contenders of ``make bench-full``, one a module: ``run(task, watch)`` trains and tells ``watch`` of each step.

Each is written as its own documentation advises, and without what a benchmark has no use for (loggers, progress bars).
"""
