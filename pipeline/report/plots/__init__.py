"""Every picture.

In the order of their imports:

    canvas      what all pictures share
    series      examples of series
    data        examples of images, the report on a prepared folder
    examples    examples of a prepared folder, whatever they are
    training    curves, the range test
    sweeps      the trials of a sweep, and its parameters
    evaluation  confusion, reliability
"""
