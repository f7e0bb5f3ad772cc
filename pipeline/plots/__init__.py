"""Every picture.

In the order of their imports:

    canvas      what all pictures share
    data        sample examples, the report on a prepared folder
    training    curves, the range test
    evaluation  confusion, reliability
"""
