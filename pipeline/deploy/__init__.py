"""A checkpoint -> files that other software loads -> predictions.

In the order of their imports:

    facts       config.json: what an export says of its model and its data
    onnx_file/  the model as an ONNX graph of native recurrent nodes, written and read
    weights_file  the model out of its safetensors
    bundle      an export folder, ready to run
    card        README.md beside an exported model; its text stands in card.md
    exporter    a model -> files, each compared with it
    inputs      a file to predict -> blocks of examples as the model reads them
    arrays      arrays and frames to predict -> the same blocks
    predictor   blocks of examples -> predictions
    loaded      an export as an object of Python: ``from pipeline import load``
    outputs     predictions -> CSV, JSON or Parquet
"""
