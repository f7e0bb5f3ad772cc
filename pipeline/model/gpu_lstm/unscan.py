"""The backward pass: one program a direction and block of series, from its last step to its first."""

from __future__ import annotations

import triton
import triton.language as tl

from pipeline.model.gpu_lstm.tiles import across, apart, four, times, weights


@triton.jit(do_not_specialize=["B", "T"])
def unscan(
    grad, grad_series, grad_step, w_hh0, w_hh1, slopes, carried, found, B, T,
    H: tl.constexpr, D: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, TURNED: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Write ``found`` (T, B, D, H, 4), the gradient of the gates before their activations, in the type of ``slopes``.

    ``grad`` (B, T, D * H) with strides is that of the outputs; ``slopes`` and ``carried`` are of the forward pass.
    """
    KIND: tl.constexpr = slopes.dtype.element_ty
    direction = tl.program_id(1)
    w_hh = w_hh0
    if D == 2:  # noqa: SIM102 - the first is known when this is compiled, the other is not
        if direction == 1:
            w_hh = w_hh1
    series = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    units, gates = tl.arange(0, HP), tl.arange(0, 4 * HP)
    w = weights(w_hh, units, gates, H, TURNED, KIND)
    step, first = 2 * direction - 1, (1 - direction) * (T - 1)
    place, along = first.to(tl.int64) * B, (step * B).to(tl.int64)
    b, u = across(series, units, TURNED)
    dy = grad + first.to(tl.int64) * grad_step + b.to(tl.int64) * grad_series + direction * H + u
    inside = (b < B) & (u < H)
    rows, pairs = across(series, tl.arange(0, 2 * HP), TURNED)
    carry = carried + (place + rows) * (D * 2 * H) + direction * 2 * H + pairs
    in_pairs = (rows < B) & (pairs < 2 * H)
    rows, fours = across(series, gates, TURNED)
    offset = (place + rows) * (D * 4 * H) + direction * 4 * H + fours
    slope, result = slopes + offset, found + offset
    in_fours = (rows < B) & (fours < 4 * H)
    zero = tl.zeros_like(b + u).to(tl.float32)
    dh, dc = zero, zero
    next_slope = tl.load(slope, in_fours, 0.0)
    next_pair = tl.load(carry, in_pairs, 0.0)
    next_dy = tl.load(dy, inside, 0.0)
    for s in range(T):
        of_gates = next_slope.to(tl.float32)
        of_output, of_cell = apart(next_pair, ROWS, HP, TURNED)
        dh += next_dy.to(tl.float32)
        carry += along * (D * 2 * H)
        slope += along * (D * 4 * H)
        dy += step * grad_step
        ahead = tl.full((1, 1), s + 1, tl.int32) < T
        next_slope = tl.load(slope, in_fours & ahead, 0.0)
        next_pair = tl.load(carry, in_pairs & ahead, 0.0)
        next_dy = tl.load(dy, inside & ahead, 0.0)
        dc += dh * of_output.to(tl.float32)
        gate = (of_gates * four(dc, dc, dc, dh, ROWS, HP, TURNED)).to(KIND)
        tl.store(result, gate, in_fours)
        result += along * (D * 4 * H)
        dc *= of_cell.to(tl.float32)
        dh = times(gate, w, zero, TURNED, EXACT)
