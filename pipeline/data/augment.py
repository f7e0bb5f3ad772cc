"""Random distortion of training examples, images and series, on the device and on the whole batch.

Shapes: b examples, T time steps, F features, P = T * F values of a sequence, h x w pixels of an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import config
from pipeline.data.manifest import Manifest
from pipeline.data.store import Store, sent
from pipeline.errors import DataError
from pipeline.model import masked


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
        self.places = torch.from_numpy(manifest.places).to(device)
        self.order = None if manifest.order is None else torch.tensor(manifest.order, device=device)
        # in units of grid_sample, whose coordinates go from -1 to 1 over the whole image
        pixel = torch.tensor([2 / self.width, 2 / self.height], device=device)
        self.reach = data.elastic * pixel[:, None, None]

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Uniform numbers in [-1, 1) that decide what happens to each of ``count`` examples, (count, K)."""
        bends = 2 * self.GRID**2 if self.data.elastic else 0
        return torch.rand(count, 4 + bends, generator=random) * 2 - 1

    def __call__(self, values: Tensor, drawn: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences (b, T, F) distorted as ``drawn`` (b, K) says, float32. ``lengths``: None, as all images have one size."""
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
        pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)  # (choices, P)
        self.source = torch.from_numpy(manifest.places)[pixel].to(home)  # (choices, P)
        self.inside = inside.to(home)
        self.background = manifest.value_range[0]

    def take(self, store: Store, rows: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """``Store.take`` with each example moved as ``shifts`` (b), numbers of shifts, say."""
        values, labels = self.gathered(store, rows, shifts)
        return sent(values, store.device), sent(labels, store.device)

    def gathered(self, store: Store, rows: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """``take``, where the store lies."""
        steps = self.source.shape[1]
        values = store.values.reshape(-1).take(rows[:, None] * steps + self.source[shifts])  # (b, P)
        values = values.where(self.inside[shifts], self.background).to(values.dtype)
        values = values.reshape(-1, *store.values.shape[1:])
        return values, store.labels.index_select(0, rows)


class SeriesWarp:
    """Each series cut, bent in time, scaled, made noisy and bereft of channels by its own random amounts (as Um et al., Data
    Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring using Convolutional Neural Networks, 2017, and Le
    Guennec et al., Data Augmentation for Time Series Classification using Convolutional Neural Networks, 2016).

    A window of at least 1 - ``crop`` of the valid steps, stretched to as many as there were; in each fifth of it the time runs
    at a speed of its own, 1 +- ``time_warp`` before they are brought to that length; each channel's distance from its mean
    times 1 +- ``scaling``; noise of ``jitter`` standard deviations; and each channel with the probability
    ``channel_dropout`` at its mean, one at least left. Means and deviations are those of the train split.

    A number is a function of the example's seed, the step and the feature, in integers: the same bits on any device. What was
    missing keeps its filling; between a step that was missing and one that was not, the nearer decides. A channel that
    is dropped counts as missing.
    """

    PIECES = 5  # of a series, each with a speed of its own
    LIMIT = 2**32 - 1

    def __init__(self, manifest: Manifest, data: config.Data, device: torch.device) -> None:
        assert manifest.series is not None
        self.data = data
        self.channels = len(manifest.series.channels)
        self.masked = torch.tensor(manifest.series.masked, dtype=torch.int64, device=device)
        self.mean = torch.tensor(manifest.mean[: self.channels], device=device)
        self.std = torch.tensor(manifest.std[: self.channels], device=device)
        if data.channel_dropout and self.channels == 1:
            raise DataError("data.channel_dropout leaves one channel at least, and these series have only one; leave it out")

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """A seed of 32 bits for each of ``count`` examples, (count) int64."""
        return torch.randint(self.LIMIT + 1, (count,), generator=random)

    def __call__(self, values: Tensor, drawn: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Series (b, T, F), whose first ``lengths`` (b) steps are valid (None: all), distorted by the seeds ``drawn`` (b)."""
        if self.data.crop or self.data.time_warp:
            values = self._moved(values, drawn, lengths)
        channels, absent = values[..., : self.channels], self._absent(values)
        changed = channels
        if self.data.scaling:
            factor = 1 + self.data.scaling * self._uniform(drawn, self.channels, 1)
            changed = (changed - self.mean) * factor[:, None] + self.mean
        if self.data.jitter:
            changed = changed + self.data.jitter * self.std * self._normal(drawn, values.shape[1])
        changed = torch.where(absent > 0.5, channels, changed)
        indicators = values[..., self.channels :]
        if self.data.channel_dropout:
            odds = (self._uniform(drawn, self.channels, 2) + 1) / 2  # in [0, 1)
            dropped = (odds < self.data.channel_dropout) & (odds < odds.amax(1, keepdim=True))  # (b, C)
            changed = torch.where(dropped[:, None], self.mean, changed)
            indicators = indicators.masked_fill(dropped[:, None, self.masked], 1)
        valid = None if lengths is None else masked.mask(lengths, values.shape[1])
        return masked.zero_padding(torch.cat([changed, indicators], 2), valid)

    def _moved(self, values: Tensor, drawn: Tensor, lengths: Tensor | None) -> Tensor:
        """Each series read where its window and its speeds say, between two steps by linear interpolation."""
        steps = torch.arange(values.shape[1], dtype=torch.float64, device=values.device)
        every = torch.full_like(drawn, values.shape[1]) if lengths is None else lengths
        last = (every - 1).double()[:, None]  # (b, 1), as all of float64 below
        speeds = 1 + self.data.time_warp * self._uniform(drawn, self.PIECES, 3).double()
        ends = speeds.cumsum(1)  # in this order on every device, as a sum is not
        ends, speeds = ends / ends[:, -1:], speeds / ends[:, -1:]
        place = (steps / last.clamp(min=1)).clamp(max=1) * self.PIECES  # (b, T)
        piece = place.long().clamp(max=self.PIECES - 1)
        bent = ends.gather(1, piece) - (piece + 1 - place) * speeds.gather(1, piece)
        cut, start = ((self._uniform(drawn, 2, 4).double() + 1) / 2).unsqueeze(1).unbind(2)  # (b, 1)
        cut = cut * self.data.crop
        place = (start * cut + (1 - cut) * bent) * last
        left = place.long().clamp(min=0)
        right = torch.minimum(left + 1, last.long())
        share = (place - left)[:, :, None].float()  # (b, T, 1)
        before, after = (values.gather(1, index[:, :, None].expand_as(values)) for index in (left, right))
        nearest = torch.where(share < 0.5, before, after)
        first, second = (1 - share) * (1 - self._absent(before)), share * (1 - self._absent(after))  # (b, T, C)
        channels = (first * before[..., : self.channels] + second * after[..., : self.channels]) / (first + second)
        channels = torch.where(self._absent(nearest) > 0.5, nearest[..., : self.channels], channels)
        return torch.cat([channels, nearest[..., self.channels :]], 2)

    def _absent(self, values: Tensor) -> Tensor:
        """(b, T, C), or (b, T, 1) of zeros where no channel has an indicator: 1 where a value was missing."""
        if not len(self.masked):
            return torch.zeros_like(values[..., :1])
        absent = torch.zeros_like(values[..., : self.channels])
        absent[..., self.masked] = values[..., self.channels :]
        return absent

    def _uniform(self, drawn: Tensor, count: int, stream: int) -> Tensor:
        """(b, count) in [-1, 1), in steps of 2**-23; another ``stream`` gives other numbers."""
        return (self._bits(drawn, count, stream) >> 8).float() / 2**23 - 1

    def _normal(self, drawn: Tensor, steps: int) -> Tensor:
        """(b, steps, C) of mean 0 and variance 1, nearly normal: the sum of the four bytes of a random number."""
        bits = self._bits(drawn, steps * self.channels, 0)
        total = (bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)
        return ((total - 510).float() / math.sqrt((256**2 - 1) / 3)).reshape(-1, steps, self.channels)

    def _bits(self, drawn: Tensor, count: int, stream: int) -> Tensor:
        """(b, count) of 32 random bits each: a hash of a number, and of that and the seed."""
        numbers = torch.arange(count, device=drawn.device) + stream * 0x10000001 + 1
        return self._hash(drawn[:, None] ^ self._hash(numbers & self.LIMIT))

    def _hash(self, bits: Tensor) -> Tensor:
        """32 bits from 32 bits, each of which depends on all; no product exceeds int64."""
        for _ in range(2):
            bits = (bits ^ (bits >> 16)) * 0x45D9F3B & self.LIMIT
        return bits ^ (bits >> 16)
