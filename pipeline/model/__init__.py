"""The network: sequences of raw values -> one logit a class.

In the order of their imports:

    cpu_lstm    the LSTM layer on CPUs, a kernel compiled for the processor
    masked      layers and means over the valid steps of series of unequal lengths
    classifier  RecurrentClassifier
"""
