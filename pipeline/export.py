"""``load`` under the name that the model cards of older exports import."""

from pipeline.deploy.weights_file import load_model as load  # noqa: F401
