"""The backward pass: one program a direction and block of series, from its last step to its first."""

from __future__ import annotations

import triton
import triton.language as tl

from pipeline.model.gpu_lstm.tiles import across, apart, interleaved, tanh, times, weight


@triton.jit(do_not_specialize=["B", "T"])
def unscan(  # type: ignore[no-untyped-def]
    grad, grad_series, grad_step,
    w_hh0, w_hh1, gates, cells, found, lengths, B, T,
    H: tl.constexpr, D: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr,
    TURNED: tl.constexpr, UNEQUAL: tl.constexpr, EXACT: tl.constexpr, ROUGH: tl.constexpr,
):  # fmt: skip
    """``grad`` (B, T, D * H) with strides; ``found`` (T, B, D, H, 4) is written: the gradient of the gates before their
    activations, in the type of ``gates``."""
    KIND: tl.constexpr = gates.dtype.element_ty
    direction = tl.program_id(1)
    w_hh = w_hh0
    if D == 2:  # noqa: SIM102 - the first is known when this is compiled, the other is not
        if direction == 1:
            w_hh = w_hh1
    series = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    units = tl.arange(0, HP)
    b, u = across(series, units, TURNED)
    inside = (b < B) & (u < H)
    wi = weight(w_hh, 0, units, units, H, H, not TURNED, KIND)
    wf = weight(w_hh, 1, units, units, H, H, not TURNED, KIND)
    wg = weight(w_hh, 2, units, units, H, H, not TURNED, KIND)
    wo = weight(w_hh, 3, units, units, H, H, not TURNED, KIND)
    step, first = 2 * direction - 1, (1 - direction) * (T - 1)
    if UNEQUAL:
        length = tl.load(lengths + b, b < B, 0)
    at = first.to(tl.int64) * B + b
    along = (step * B).to(tl.int64)
    cell = cells + at * (D * H) + direction * H + u
    rows, columns = across(series, tl.arange(0, 4 * HP), TURNED)
    four = (rows < B) & (columns < 4 * H)
    place = (first.to(tl.int64) * B + rows) * (D * 4 * H) + direction * 4 * H + columns
    gate, result = gates + place, found + place
    dy = grad + first.to(tl.int64) * grad_step + b.to(tl.int64) * grad_series + direction * H + u
    zero = tl.zeros_like(b + u).to(tl.float32)
    dh, dc = zero, zero
    nifgo = tl.load(gate, four, 0.0)
    nc = tl.load(cell, inside, 0.0)
    nd = tl.load(dy, inside, 0.0)
    for s in range(T):
        i, f, g, o = apart(nifgo, ROWS, HP, TURNED)
        i, f, g, o = i.to(tl.float32), f.to(tl.float32), g.to(tl.float32), o.to(tl.float32)
        c = nc.to(tl.float32)
        d = nd.to(tl.float32)
        cell += along * (D * H)
        gate += along * (D * 4 * H)
        dy += step * grad_step
        left = tl.full((1, 1), s + 1, tl.int32) < T
        ahead = inside & left
        nc = tl.load(cell, ahead, 0.0)
        nifgo = tl.load(gate, four & left, 0.0)
        nd = tl.load(dy, ahead, 0.0)
        d += dh
        tc = tanh(c, ROUGH)
        do = d * tc * o * (1.0 - o)
        dc += d * o * (1.0 - tc * tc)
        di = dc * g * i * (1.0 - i)
        df = dc * nc.to(tl.float32) * f * (1.0 - f)
        dg = dc * i * (1.0 - g * g)
        dc *= f
        if UNEQUAL:
            valid = first + s * step < length
            di = tl.where(valid, di, 0.0)
            df = tl.where(valid, df, 0.0)
            dg = tl.where(valid, dg, 0.0)
            do = tl.where(valid, do, 0.0)
            dc = tl.where(valid, dc, 0.0)
        ki, kf, kg, ko = di.to(KIND), df.to(KIND), dg.to(KIND), do.to(KIND)
        tl.store(result, interleaved(ki, kf, kg, ko, ROWS, HP, TURNED), four)
        result += along * (D * 4 * H)
        dh = times(ki, wi, zero, TURNED, EXACT)
        dh = times(kf, wf, dh, TURNED, EXACT)
        dh = times(kg, wg, dh, TURNED, EXACT)
        dh = times(ko, wo, dh, TURNED, EXACT)
