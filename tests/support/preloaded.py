"""What the server that forks test processes imports once, before any of them exists."""

import accelerate
import sklearn.model_selection
import torch
import torch._dynamo  # every optimiser imports it, which takes longer than a test

import pipeline.__main__
import pipeline.stages.evaluate
import pipeline.stages.export
import pipeline.stages.prepare
import pipeline.stages.train

__all__ = ["accelerate", "pipeline", "sklearn", "torch"]
