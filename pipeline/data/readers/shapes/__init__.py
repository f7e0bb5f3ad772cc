"""Series as a file has them -> series as they are asked for.

In the order of their imports:

    rows_of_values  a row of values -> steps of several
    windows         recordings -> windows, a series each
    clock           the times of steps: as a channel, to resample by, and whether they are even
    asked           all of it, in its order
"""
