"""What augment.py promises: an image is turned, zoomed, sheared and bent by its own draw, in any view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import Data
from pipeline.data.augment import Shift, Warp
from pipeline.data.batches import Batches
from pipeline.data.manifest import Manifest
from pipeline.data.preparation import image_parts
from pipeline.data.store import Part, Store
from pipeline.errors import DataError

CPU = torch.device("cpu")
SIDE = 6
VIEWS = ("rows", "columns", "rows_columns", "pixels", "permuted_pixels")


def manifest(view: str, height: int = SIDE, width: int = SIDE) -> Any:
    order, length, features = image_parts.view(Data(view=view), height, width)
    pixels = None if order is None else tuple(order.tolist())
    return Manifest.model_construct(image=(height, width), order=pixels, value_range=(7, 255), length=length, features=features)


def images(count: int, height: int = SIDE, width: int = SIDE) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(7, 256, (count, height, width), dtype=torch.uint8, generator=random)


def sequences(pictures: Tensor, made: Any) -> Tensor:
    flat = pictures.reshape(len(pictures), -1)
    flat = flat if made.order is None else flat[:, torch.tensor(made.order)]
    return flat.reshape(-1, made.length, made.features)


def warped(pictures: Tensor, drawn: Tensor, view: str = "rows", **amounts: float) -> Tensor:
    """The images after a warp of their sequences."""
    made = manifest(view, *pictures.shape[1:])
    moved = Warp(made, Data(view=view, **amounts), CPU)(sequences(pictures, made), drawn)
    flat = moved.reshape(len(pictures), -1)
    if view == "rows_columns":
        rows, columns = moved[:, :, :SIDE], moved[:, :, SIDE:]
        assert torch.equal(rows, columns.mT), "both halves show the same image"
    return flat[:, made.places].reshape(pictures.shape)


def drawn(*numbers: float) -> Tensor:
    return torch.tensor([numbers])


@pytest.mark.parametrize("view", VIEWS)
def test_an_image_whose_draw_is_zero_stays_as_it_is(view: str) -> None:
    amounts = {"rotate": 30.0, "zoom": 0.3, "shear": 0.3, "elastic": 2.0}
    result = warped(images(3), torch.zeros(3, 54), view, **amounts)
    torch.testing.assert_close(result, images(3).float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_quarter_turn_is_a_quarter_turn(view: str, sign: int) -> None:
    result = warped(images(2), drawn(sign, 0, 0, 0).repeat(2, 1), view, rotate=90.0)
    torch.testing.assert_close(result, torch.rot90(images(2), sign, (1, 2)).float(), rtol=0, atol=0.01)


def test_a_turn_of_an_image_that_is_not_square_keeps_its_proportions() -> None:
    picture = torch.full((1, 4, 8), 7, dtype=torch.uint8)
    picture[0, 1:3, 2:6] = 200  # two high and four wide, in the middle
    turned = warped(picture, drawn(1, 0, 0, 0), rotate=90.0)[0]
    expected = torch.full((4, 8), 7.0)
    expected[:, 3:5] = 200
    torch.testing.assert_close(turned, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(("draw", "factor"), [(1.0, 1.5), (0.0, 1.0), (-1.0, 0.5)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_side_grows_or_shrinks_about_the_middle_by_up_to_the_share_said(draw: float, factor: float, axis: int) -> None:
    ramp = torch.arange(31, dtype=torch.uint8).expand(1, 31, 31) + 7  # a pixel says its column, and so from where it came
    draws = [0.0] * 4
    draws[1 + axis] = draw
    result = warped(ramp if axis == 0 else ramp.mT, drawn(*draws), zoom=0.5)[0] - 7
    middle, inside = 15, torch.arange(8, 23)
    expected = (middle + (inside - middle) / factor).expand(len(inside), -1)
    found = (result if axis == 0 else result.mT)[8:23, 8:23]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_a_shear_moves_rows_against_each_other() -> None:
    picture = torch.full((1, 7, 7), 7, dtype=torch.uint8)
    picture[0, :, 3] = 255
    result = warped(picture, drawn(0, 0, 0, 1), shear=1.0)[0]
    assert [int(row.argmax()) for row in result] == [6, 5, 4, 3, 2, 1, 0]


def test_all_points_of_the_grid_moved_alike_shift_the_image() -> None:
    bends = torch.zeros(1, 2, Warp.GRID, Warp.GRID)
    bends[0, 0] = 1  # every point reads one step of two pixels further right
    result = warped(images(1), torch.cat([torch.zeros(1, 4), bends.reshape(1, -1)], 1), elastic=2.0)[0]
    torch.testing.assert_close(result[:, :-2], images(1)[0, :, 2:].float(), rtol=0, atol=0.01)
    assert (result[:, -2:] == 7).all(), "what comes in is background"


def test_no_point_of_an_image_moves_further_than_said() -> None:
    side, most = 40, 4.0
    ramp = torch.arange(side, dtype=torch.uint8).expand(1, side, side) + 7
    pairs = torch.tensor([-1.0, 1, 1, -1, -1]).repeat(Warp.GRID)  # between two alike a cubic goes beyond both
    for across in (pairs, -pairs):
        bends = torch.cat([across, torch.zeros(Warp.GRID**2)])
        result = warped(ramp, torch.cat([torch.zeros(4), bends])[None], elastic=most)[0]
        moved = (result - ramp[0]).abs()[:, 6:-6]
        assert 0.95 * most < moved.max() < most + 0.01


@pytest.mark.parametrize("resident", [True, False])
def test_each_example_has_its_own_draw_whatever_the_slices_and_another_in_every_epoch(resident: bool) -> None:
    made = manifest("rows_columns")
    store = Store(Part(sequences(images(30), made), torch.zeros(30).long(), torch.arange(30)), CPU, 1 if resident else 0)
    data = Data(view="rows_columns", rotate=20.0, elastic=1.0)

    def epochs(slices: int, processes: int = 1) -> Tensor:
        each = slices // processes
        shares = [range(number * each, (number + 1) * each) for number in range(processes)]
        made_by = [Batches(store, 12, slices, mine, 2, Shift(made, 1, CPU), Warp(made, data, CPU)) for mine in shares]
        return torch.cat([piece.values for step in range(6) for batches in made_by for piece in batches.slices(step)])

    whole = epochs(1)
    assert whole.dtype == torch.float32
    for slices, processes in ((2, 1), (2, 2), (3, 3), (4, 1), (4, 2), (4, 4)):
        assert torch.equal(epochs(slices, processes), whole), "bit for bit, whatever each process computes at a time"
    assert len(torch.unique(whole, dim=0)) == 2 * 36, "the padding of the last batch is drawn for too"


def test_a_row_and_the_column_of_its_number_stand_side_by_side() -> None:
    made = manifest("rows_columns")
    assert (made.length, made.features) == (SIDE, 2 * SIDE)
    picture = images(1)
    values = sequences(picture, made)[0]
    for step in range(SIDE):
        assert torch.equal(values[step], torch.cat([picture[0, step], picture[0, :, step]]))


def test_images_that_are_not_square_have_no_row_and_column_of_a_number() -> None:
    with pytest.raises(DataError, match=r"square images.*5 x 4 pixels; use rows"):
        image_parts.view(Data(view="rows_columns"), 5, 4)


@pytest.mark.parametrize("view", VIEWS)
def test_places_lead_from_a_sequence_back_to_its_image(view: str) -> None:
    made = manifest(view)
    flat = sequences(images(2), made).reshape(2, -1)
    assert np.array_equal(flat[:, made.places].reshape(2, SIDE, SIDE), images(2))
