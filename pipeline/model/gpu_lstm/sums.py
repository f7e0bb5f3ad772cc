"""The gradients of the weights: sums over all series and steps, in pieces whose sums are added in one order."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["B", "T", "each"])
def pieces(
    found, outputs, x, x_series, x_step, partial, B, T, each,
    F: tl.constexpr, H: tl.constexpr, D: tl.constexpr, OWN: tl.constexpr, INPUT: tl.constexpr,
    M: tl.constexpr, NH: tl.constexpr, NX: tl.constexpr, K: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Write ``partial`` (S, D, H * 4, H + F + 1), the sums over the S pieces of ``each`` places: the gradients of the recurrent
    weights, of the input's, and of the bias. Programs: columns of the input, rows of all directions, S. OWN: the recurrent
    weights and the bias are among them; INPUT: the input's are."""
    KIND: tl.constexpr = found.dtype.element_ty
    WIDTH: tl.constexpr = D * 4 * H
    COLUMNS: tl.constexpr = H + F + 1
    TILES: tl.constexpr = (4 * H + M - 1) // M
    direction = tl.program_id(1) // TILES
    row = (tl.program_id(1) % TILES) * M + tl.arange(0, M)
    begin, last = tl.program_id(2) * each, B * T
    end = tl.minimum(begin + each, last)
    unit, feature = tl.arange(0, NH), tl.program_id(0) * NX + tl.arange(0, NX)
    before = (direction * 2 - 1) * B  # places from a step to the one that was read before it
    total, inputs, bias = tl.zeros((M, NH), tl.float32), tl.zeros((M, NX), tl.float32), tl.zeros((M, 16), tl.float32)
    ones = tl.full((K, 16), 1.0, KIND)
    for start in range(begin, end, K):
        place = start + tl.arange(0, K)
        there = (place < end)[:, None]
        own = found + place[:, None].to(tl.int64) * WIDTH + (direction * 4 * H + row)[None, :]
        g = tl.load(own, there & (row < 4 * H)[None, :], 0.0)
        turned = tl.trans(g)
        if OWN:
            read = place + before
            known = there & ((read >= 0) & (read < last))[:, None] & (unit < H)[None, :]
            h = tl.load(outputs + read[:, None].to(tl.int64) * (D * H) + (direction * H + unit)[None, :], known, 0.0)
            total = tl.dot(turned, h, total, input_precision=EXACT)
            bias = tl.dot(turned, ones, bias, input_precision=EXACT)
        if INPUT:
            from_ = x + (place // B).to(tl.int64)[:, None] * x_step + (place % B).to(tl.int64)[:, None] * x_series
            v = tl.load(from_ + feature[None, :], there & (feature < F)[None, :], 0.0)
            inputs = tl.dot(turned, v.to(KIND), inputs, input_precision=EXACT)
    to = partial + ((tl.program_id(2) * D + direction).to(tl.int64) * (4 * H) + row[:, None]) * COLUMNS
    mine = (row < 4 * H)[:, None]
    if OWN:
        tl.store(to + unit[None, :], total, mine & (unit < H)[None, :])
        column = tl.arange(0, 16)
        tl.store(to + H + F + column[None, :], bias, mine & (column < 1)[None, :])
    if INPUT:
        tl.store(to + H + feature[None, :], inputs, mine & (feature < F)[None, :])


@triton.jit
def together(
    partial, grads,
    F: tl.constexpr, H: tl.constexpr, D: tl.constexpr, S: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Add the S pieces; write ``grads`` (D, 4 * H * (F + H + 2)): of the input's weights, the recurrent ones, both biases."""
    COLUMNS: tl.constexpr = H + F + 1
    ONE: tl.constexpr = 4 * H * COLUMNS
    at = tl.program_id(0) * N + tl.arange(0, N)
    here = at < D * ONE
    piece = tl.arange(0, S)
    value = tl.sum(tl.load(partial + piece[:, None].to(tl.int64) * (D * ONE) + at[None, :], here[None, :], 0.0), 0)
    direction, inner = at // ONE, at % ONE
    row, column = inner // COLUMNS, inner % COLUMNS
    to = grads + direction * (4 * H * (F + H + 2))
    row = row % 4 * H + row // 4  # torch has the gates one after the other
    own, bias = column < H, column == H + F
    tl.store(to + 4 * H * F + row * H + column, value, here & own)
    tl.store(to + row * F + column - H, value, here & (column >= H) & (column < H + F))
    tl.store(to + 4 * H * (F + H) + row, value, here & bias)
    tl.store(to + 4 * H * (F + H + 1) + row, value, here & bias)
