"""Arrays in an .npz file -> series.

In the order of their imports:

    archive    the strict reader of the arrays in an .npz file
    described  labels, ids, groups, times and channels of the series in it
    axes       which array holds the values, and in which order its axes are
    npz        .npz -> series
"""
