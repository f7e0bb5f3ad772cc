"""The forward pass: one program a direction and block of series, which keeps the recurrent weights from step to step."""

from __future__ import annotations

import triton
import triton.language as tl

from pipeline.model.gpu_lstm.tiles import across, four, sigmoid, tanh, times, two, weight


@triton.jit(do_not_specialize=["B", "T"])
def scan(
    x, x_series, x_step,
    w_ih0, w_hh0, b_ih0, b_hh0, w_ih1, w_hh1, b_ih1, b_hh1,
    outputs, slopes, carried, lengths, B, T,
    F: tl.constexpr, H: tl.constexpr, D: tl.constexpr, FP: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr,
    FUSED: tl.constexpr, TURNED: tl.constexpr, UNEQUAL: tl.constexpr, EXACT: tl.constexpr, ROUGH: tl.constexpr,
):  # fmt: skip
    """``x``: (B, T, F) with strides, if FUSED; else the products (B, T, D * 4 * H) with the biases.

    Written are ``outputs`` (T, B, D * H) and all that the backward pass needs: ``slopes`` (T, B, D, H, 4), the derivative of
    the cell, and of the output for the last gate, by each gate before its activation; ``carried`` (T, B, D, H, 2), those of
    the output by the cell and of the cell by the one before. They are zero after the end of a series.
    """
    KIND: tl.constexpr = outputs.dtype.element_ty
    direction = tl.program_id(1)
    w_ih, w_hh, b_ih, b_hh = w_ih0, w_hh0, b_ih0, b_hh0
    if D == 2:  # noqa: SIM102 - the first is known when this is compiled, the other is not
        if direction == 1:
            w_ih, w_hh, b_ih, b_hh = w_ih1, w_hh1, b_ih1, b_hh1
    series = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    units = tl.arange(0, HP)
    b, u = across(series, units, TURNED)
    inside = (b < B) & (u < H)
    wi = weight(w_hh, 0, units, units, H, H, TURNED, KIND)
    wf = weight(w_hh, 1, units, units, H, H, TURNED, KIND)
    wg = weight(w_hh, 2, units, units, H, H, TURNED, KIND)
    wo = weight(w_hh, 3, units, units, H, H, TURNED, KIND)
    step, first = 1 - 2 * direction, direction * (T - 1)
    zero = tl.zeros_like(b + u).to(tl.float32)
    if FUSED:
        feature = tl.arange(0, FP)
        xb, xf = across(series, feature, TURNED)
        xs = x + first.to(tl.int64) * x_step + xb.to(tl.int64) * x_series + xf
        xin = (xb < B) & (xf < F)
        vi = weight(w_ih, 0, units, feature, H, F, TURNED, KIND)
        vf = weight(w_ih, 1, units, feature, H, F, TURNED, KIND)
        vg = weight(w_ih, 2, units, feature, H, F, TURNED, KIND)
        vo = weight(w_ih, 3, units, feature, H, F, TURNED, KIND)
        bias = b_ih + u
        own = b_hh + u
        known = u < H
        bi = tl.load(bias, known, 0.0) + tl.load(own, known, 0.0)
        bf = tl.load(bias + H, known, 0.0) + tl.load(own + H, known, 0.0)
        bg = tl.load(bias + 2 * H, known, 0.0) + tl.load(own + 2 * H, known, 0.0)
        bo = tl.load(bias + 3 * H, known, 0.0) + tl.load(own + 3 * H, known, 0.0)
        xn = tl.load(xs, xin, 0.0)
    else:
        xs = x + first.to(tl.int64) * x_step + b.to(tl.int64) * x_series + direction * 4 * H + u
        ni = tl.load(xs, inside, 0.0)
        nf = tl.load(xs + H, inside, 0.0)
        ng = tl.load(xs + 2 * H, inside, 0.0)
        no = tl.load(xs + 3 * H, inside, 0.0)
    if UNEQUAL:
        length = tl.load(lengths + b, b < B, 0)
    at = first.to(tl.int64) * B + b
    out = outputs + at * (D * H) + direction * H + u
    place = first.to(tl.int64) * B
    rows, pairs = across(series, tl.arange(0, 2 * HP), TURNED)
    carry = carried + (place + rows) * (D * 2 * H) + direction * 2 * H + pairs
    in_pairs = (rows < B) & (pairs < 2 * H)
    rows, fours = across(series, tl.arange(0, 4 * HP), TURNED)
    slope = slopes + (place + rows) * (D * 4 * H) + direction * 4 * H + fours
    in_fours = (rows < B) & (fours < 4 * H)
    c = zero
    h = zero.to(KIND)
    for s in range(T):
        ahead = tl.full((1, 1), s + 1, tl.int32) < T
        xs += step * x_step
        if FUSED:
            xt = xn.to(KIND)
            xn = tl.load(xs, xin & ahead, 0.0)
            ai = times(xt, vi, zero + bi, TURNED, EXACT)
            af = times(xt, vf, zero + bf, TURNED, EXACT)
            ag = times(xt, vg, zero + bg, TURNED, EXACT)
            ao = times(xt, vo, zero + bo, TURNED, EXACT)
        else:
            ai, af, ag, ao = ni.to(tl.float32), nf.to(tl.float32), ng.to(tl.float32), no.to(tl.float32)
            ni = tl.load(xs, inside & ahead, 0.0)
            nf = tl.load(xs + H, inside & ahead, 0.0)
            ng = tl.load(xs + 2 * H, inside & ahead, 0.0)
            no = tl.load(xs + 3 * H, inside & ahead, 0.0)
        i = sigmoid(times(h, wi, ai, TURNED, EXACT), ROUGH)
        f = sigmoid(times(h, wf, af, TURNED, EXACT), ROUGH)
        g = tanh(times(h, wg, ag, TURNED, EXACT), ROUGH)
        o = sigmoid(times(h, wo, ao, TURNED, EXACT), ROUGH)
        before = c
        c = f * c + i * g
        t = tanh(c, ROUGH)
        y = o * t
        if UNEQUAL:
            valid = first + s * step < length
            c = tl.where(valid, c, 0.0)
            y = tl.where(valid, y, 0.0)
        h = y.to(KIND)
        tl.store(out, h, inside)
        pair = two(o * (1.0 - t * t), f, ROWS, HP, TURNED)
        gate = four(g * i * (1.0 - i), before * f * (1.0 - f), i * (1.0 - g * g), y * (1.0 - o), ROWS, HP, TURNED)
        if UNEQUAL:
            pair, gate = tl.where(valid, pair, 0.0), tl.where(valid, gate, 0.0)
        tl.store(carry, pair.to(KIND), in_pairs)
        tl.store(slope, gate.to(KIND), in_fours)
        along = (step * B).to(tl.int64)
        out += along * (D * H)
        carry += along * (D * 2 * H)
        slope += along * (D * 4 * H)
