"""What footprint.py promises: a pass without gradients takes about so much memory, whatever the sizes are."""

from __future__ import annotations

import itertools

from pipeline.model import footprint
from pipeline.model.footprint import Sizes, rows_at_once


def test_the_rows_of_a_pass_follow_from_the_bytes_that_it_takes() -> None:
    for features, width, conv, classes, steps in itertools.product((1, 1000), (8, 512), (0, 128), (2, 20_000), (1, 300, 10**5)):
        sizes = Sizes(features, width, conv, classes)
        for device, limit in footprint.LIMITS.items():
            rows = rows_at_once(sizes, steps, 250, device)
            assert 1 <= rows <= 250
            assert rows == 1 or (rows * steps * sizes.step_bytes <= limit and rows * classes * 8 <= footprint.LOGITS)
            if rows < 250:
                assert (rows + 1) * steps * sizes.step_bytes > limit or (rows + 1) * classes * 8 > footprint.LOGITS


def test_a_device_of_another_kind_has_the_limit_of_a_cpu() -> None:
    sizes = Sizes(1, 512, 0, 2)
    assert rows_at_once(sizes, 10**4, 250, "mps") == rows_at_once(sizes, 10**4, 250) < rows_at_once(sizes, 10**4, 250, "cuda")
