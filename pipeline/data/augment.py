"""Random distortion of training images, on the device and on the whole batch.

Shapes: b examples, T time steps, F features, P = T * F values of a sequence, h x w pixels of an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import config
from pipeline.data.manifest import Manifest
from pipeline.data.store import Store


def places(manifest: Manifest) -> Tensor:
    """Where each pixel of a flattened image stands in its flattened sequence, (h * w) int64."""
    assert manifest.image is not None
    pixels = math.prod(manifest.image)
    if manifest.order is None:
        return torch.arange(pixels)
    order, result = torch.tensor(manifest.order), torch.empty(pixels, dtype=torch.int64)
    result[order] = torch.arange(len(order))  # a view may hold a pixel twice: either place will do
    return result


class Warp:
    """Each image turned, zoomed, sheared and bent by its own random amounts (Simard et al., Best Practices for
    Convolutional Neural Networks Applied to Visual Document Analysis, 2003), in any view, by one bilinear sampling.

    Up to ``rotate`` degrees each way, to 1 +- ``zoom`` of its size on each axis, sheared by up to ``shear`` pixels a
    pixel, and its points of a coarse grid moved by up to ``elastic`` pixels on each axis, what lies between them smoothly
    along and no further.
    """

    GRID = 5  # points a side: a stroke of a digit bends, and does not tear

    def __init__(self, manifest: Manifest, data: config.Data, device: torch.device) -> None:
        assert manifest.image is not None
        self.height, self.width = manifest.image
        self.background = float(manifest.value_range[0])
        self.data = data
        self.places = places(manifest).to(device)
        self.order = None if manifest.order is None else torch.tensor(manifest.order, device=device)
        # in units of grid_sample, whose coordinates go from -1 to 1 over the whole image
        pixel = torch.tensor([2 / self.width, 2 / self.height], device=device)
        self.reach = data.elastic * pixel[:, None, None]

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Uniform numbers in [-1, 1) that decide what happens to each of ``count`` examples, (count, K)."""
        bends = 2 * self.GRID**2 if self.data.elastic else 0
        return torch.rand(count, 4 + bends, generator=random) * 2 - 1

    def __call__(self, values: Tensor, drawn: Tensor) -> Tensor:
        """Sequences (b, T, F) distorted as ``drawn`` (b, K) says, float32."""
        images = values.reshape(len(values), -1).index_select(1, self.places).float() - self.background
        grid = functional.affine_grid(self._matrices(drawn), [len(values), 1, self.height, self.width], align_corners=False)
        if self.data.elastic:
            bends = drawn[:, 4:].reshape(-1, 2, self.GRID, self.GRID) * self.reach
            smooth = functional.interpolate(bends, (self.height, self.width), mode="bicubic", align_corners=True)
            smooth = smooth.clamp(-self.reach, self.reach)  # between the points a cubic goes beyond them
            grid = grid + smooth.permute(0, 2, 3, 1)
        images = functional.grid_sample(images.reshape(-1, 1, self.height, self.width), grid, align_corners=False)
        flat = images.reshape(len(values), -1) + self.background
        return (flat if self.order is None else flat.index_select(1, self.order)).reshape(values.shape)

    def _matrices(self, drawn: Tensor) -> Tensor:
        """(b, 2, 3): from a place in the result to its place in the image, both in units of half an image."""
        angle = drawn[:, 0] * math.radians(self.data.rotate)
        across, down = 1 / (1 + drawn[:, 1] * self.data.zoom), 1 / (1 + drawn[:, 2] * self.data.zoom)
        shear, tall = drawn[:, 3] * self.data.shear, self.height / self.width
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # rotation x shear x zoom in pixels; ``tall`` turns units of half a height into those of half a width
        first = torch.stack([cos * across, (cos * shear - sin) * down * tall, zero], 1)
        second = torch.stack([sin * across / tall, (sin * shear + cos) * down, zero], 1)
        return torch.stack([first, second], 1)


class Shift:
    """Random shift of images by up to ``pixels`` each way, in any view; what moves in is the background.

    A table holds, for each of the (2 * pixels + 1)^2 shifts, where each of the P values comes from: one gather
    both picks the examples and moves them.
    """

    def __init__(self, manifest: Manifest, pixels: int, home: torch.device) -> None:
        assert manifest.image is not None
        height, width = manifest.image
        order = torch.arange(height * width) if manifest.order is None else torch.tensor(manifest.order)  # (P)
        moves = torch.arange(-pixels, pixels + 1)
        self.choices = len(moves) ** 2
        down, right = (move.reshape(-1, 1) for move in torch.meshgrid(moves, moves, indexing="ij"))  # (choices, 1)
        row, column = order // width - down, order % width - right  # (choices, P)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        self.source = places(manifest)[row.clamp(0, height - 1) * width + column.clamp(0, width - 1)].to(home)  # (choices, P)
        self.inside = inside.to(home)
        self.background = manifest.value_range[0]

    def take(self, store: Store, rows: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """``Store.take`` with each example moved as ``shifts`` (b), numbers of shifts, say."""
        steps = self.source.shape[1]
        values = store.values.reshape(-1).take(rows[:, None] * steps + self.source[shifts])  # (b, P)
        values = values.where(self.inside[shifts], self.background).to(values.dtype)
        values = values.reshape(-1, *store.values.shape[1:])
        return values.to(store.device), store.labels.index_select(0, rows).to(store.device)
