"""Keras 3 on PyTorch: arrays in memory and ``fit``. Keras starts its weights in its own way and has one bias a gate."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"  # read at the import

import keras
from torch import Tensor

from tests.benchmarks.peers.task import Task
from tests.benchmarks.peers.work import CLASSES, RATE, SIDE, Watch, read


def run(task: Task, watch: Watch) -> None:
    """Train."""

    class Model(keras.Sequential):  # type: ignore[misc]
        def train_step(self, data: object) -> object:
            """The place for one's own steps; a callback after each batch would cost Keras its asynchronous ones."""
            logs = super().train_step(data)
            watch.step()
            return logs

    class Begin(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            watch.begin(predict, -(-len(labels) // task.batch))

    def predict(images: Tensor) -> Tensor:
        logits: Tensor = model(images.float() / 255, training=False)
        return logits

    images, labels = (tensor.numpy() for tensor in read(task.data, "train"))
    keras.utils.set_random_seed(task.seed)
    model = Model([keras.Input((SIDE, SIDE)), keras.layers.LSTM(64), keras.layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    values = images.astype("float32") / 255
    model.fit(values, labels, batch_size=task.batch, epochs=task.epochs, shuffle=task.shuffle, verbose=0, callbacks=[Begin()])
    watch.end()
