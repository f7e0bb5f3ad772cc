"""The gradients of the weights: sums over all series and steps, in pieces whose sums are added in one order."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _product(
    found, source, source_series, source_step, shift, begin, end, B, T, rows, columns, known, one,
    WIDTH: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """(M, N): the sum over the places ``begin`` to ``end`` of rows of ``found`` times columns of ``source``, which is read
    ``shift`` steps away; column ``one`` is 1."""
    KIND: tl.constexpr = found.dtype.element_ty
    total = tl.zeros((M, N), tl.float32)
    for start in range(begin, end, K):
        place = start + tl.arange(0, K)
        t = place // B + shift
        b = place % B
        there = place < end
        g = tl.load(found + place[None, :].to(tl.int64) * WIDTH + rows[:, None], there[None, :] & (rows >= 0)[:, None], 0.0)
        from_ = source + t.to(tl.int64)[:, None] * source_step + b.to(tl.int64)[:, None] * source_series + columns[None, :]
        v = tl.load(from_, (there & (t >= 0) & (t < T))[:, None] & known[None, :], 0.0).to(KIND)
        v = tl.where((columns == one)[None, :], 1.0, v).to(KIND)
        total = tl.dot(g, v, total, input_precision=EXACT)
    return total


@triton.jit(do_not_specialize=["B", "T", "each"])
def pieces(
    found, outputs, x, x_series, x_step, partial, B, T, each,
    F: tl.constexpr, H: tl.constexpr, D: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Write ``partial`` (S, D, H * 4, H + F + 1), the sums over the S pieces of ``each`` places: the gradients of the recurrent
    weights, of the input's, and of the bias. Programs: columns, rows of all directions, S."""
    WIDTH: tl.constexpr = D * 4 * H
    COLUMNS: tl.constexpr = H + F + 1
    TILES: tl.constexpr = (4 * H + M - 1) // M
    OWN: tl.constexpr = (H + N - 1) // N
    direction = tl.program_id(1) // TILES
    row = (tl.program_id(1) % TILES) * M + tl.arange(0, M)
    rows = tl.where(row < 4 * H, row + direction * 4 * H, -1)
    begin = tl.program_id(2) * each
    end = tl.minimum(begin + each, B * T)
    to = partial + ((tl.program_id(2) * D + direction).to(tl.int64) * (4 * H) + row[:, None]) * COLUMNS
    tile = tl.program_id(0)
    if tile < OWN:
        column = tile * N + tl.arange(0, N)
        total = _product(found, outputs + direction * H, D * H, B * D * H, direction * 2 - 1, begin, end, B, T, rows,
                         column, column < H, -1, WIDTH, M, N, K, EXACT)  # fmt: skip
        tl.store(to + column[None, :], total, (row < 4 * H)[:, None] & (column < H)[None, :])
    else:
        column = (tile - OWN) * N + tl.arange(0, N)
        total = _product(found, x, x_series, x_step, 0, begin, end, B, T, rows,
                         column, column < F, F, WIDTH, M, N, K, EXACT)  # fmt: skip
        tl.store(to + H + column[None, :], total, (row < 4 * H)[:, None] & (column <= F)[None, :])


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
