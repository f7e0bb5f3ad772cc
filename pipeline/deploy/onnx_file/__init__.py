"""model.onnx.

In the order of their imports:

    graph   the graph that a model of given arguments has, without the numbers of its parameters
    writer  RecurrentClassifier -> such a graph with its numbers
    reader  the reader of such files, which refuses all others
"""
