"""Lightning as its documentation advises for speed: no logger, no checkpoints, no progress bar, no model summary."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import RATE, Model, Watch, dataset, predictor


class Module(lightning.LightningModule):
    """The work of the MNIST LSTM tutorial."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.model, self.watch = Model(), watch

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        x, y = batch
        return functional.cross_entropy(self.model(x.view(-1, 28, 28)), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=RATE)

    def on_train_start(self) -> None:
        """The first step comes now."""
        self.watch.begin(predictor(self.model), int(self.trainer.num_training_batches))

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: object, batch_idx: int) -> None:
        """A step was taken."""
        self.watch.step(outputs["loss"])


def run(task: Task, watch: Watch) -> None:
    """Train."""
    torch.manual_seed(task.seed)
    module = Module(watch)
    loader = DataLoader(dataset(task), batch_size=task.batch, shuffle=task.shuffle)
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    watch.end()
