"""What a drawn image must look like is measured from the images."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.page.ink import ink


def strokes(count: int, width: int) -> np.ndarray:
    """Images of 40 x 30 with an upright stroke of 20 pixels, at places of its own."""
    images = np.zeros((count, 40, 30), np.uint8)
    for number, image in enumerate(images):
        left = 5 + number % 3
        image[10:30, left : left + width] = 200
    return images


@pytest.mark.parametrize("width", [2, 3, 5])
def test_size_and_thickness_of_a_stroke_are_found(width: int) -> None:
    found = ink(strokes(9, width), 0, 255)
    assert found and found["side"] == 20 and found["centre"] == [20, 6 + width / 2]
    assert found["stroke"] == pytest.approx(width, rel=0.3) and found["peak"] == pytest.approx(200 / 255)


def test_digits_that_lie_by_their_mass_are_told_from_those_that_lie_by_their_box() -> None:
    random, images = np.random.default_rng(0), np.zeros((50, 28, 28))
    for image in images:
        size = int(random.integers(4, 12))
        image[14 - size // 2 : 14 + size - size // 2, 4:24] = 1
    assert not ink(images, 0, 1)["by_mass"]  # type: ignore[index]
    leaning = np.zeros((50, 28, 28))
    for image in leaning:
        tail = int(random.integers(0, 10))
        image[10:18, 10:18] = 1
        image[17:18, 18 : 18 + tail] = 0.2
    assert ink(leaning, 0, 1)["by_mass"]  # type: ignore[index]


def test_photographs_and_empty_images_cannot_be_drawn() -> None:
    random = np.random.default_rng(0)
    assert ink(random.integers(0, 256, (20, 16, 16)), 0, 255) is None
    assert ink(np.zeros((5, 8, 8)), 0, 255) is None
