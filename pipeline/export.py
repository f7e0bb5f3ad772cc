"""``load`` under the name that the model cards of older exports import."""

from pipeline.deploy.exporter import load as load
