"""A checkpoint -> files that other software loads -> predictions.

In the order of their imports:

    facts        what an export says of its data
    onnx_writer  the model as an ONNX graph of native recurrent nodes
    onnx_reader  the reader of such files, which refuses all others
    card         README.md beside an exported model
    exporter     a model -> files, each compared with it
    bundle       an export folder, ready to run
    inputs       a file to predict -> blocks of examples as the model reads them
    objects      arrays and frames to predict -> the same blocks
    predictor    blocks of examples -> predictions
    trained      an export as an object of Python: ``from pipeline import load``
    outputs      predictions -> CSV, JSON or Parquet
"""
