"""What the kernels share. A tile is (series, units); (units, series) if TURNED, as tensor cores take at least 8 by 16.

Functions under ``triton.jit`` are compiled for the GPU; capital names in them are known when they are compiled.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

NATIVE = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") != "1")  # the interpreter knows no instructions of a GPU


@triton.jit
def across(rows, columns, TURNED: tl.constexpr):
    """The two index vectors of a tile, ready to be broadcast: of series and of units."""
    if TURNED:
        one, other = rows[None, :], columns[:, None]
    else:
        one, other = rows[:, None], columns[None, :]
    return one, other


@triton.jit
def two(one, other, ROWS: tl.constexpr, HP: tl.constexpr, TURNED: tl.constexpr):
    """One tile (ROWS, HP * 2) of two (ROWS, HP), unit by unit; or turned all."""
    pair = tl.join(one, other)
    return tl.reshape(tl.permute(pair, (0, 2, 1)), (HP * 2, ROWS)) if TURNED else tl.reshape(pair, (ROWS, HP * 2))


@triton.jit
def four(i, f, g, o, ROWS: tl.constexpr, HP: tl.constexpr, TURNED: tl.constexpr):
    """One tile (ROWS, HP * 4) of four (ROWS, HP), unit by unit; or turned all."""
    all_ = tl.join(tl.join(i, g), tl.join(f, o))
    return tl.reshape(tl.permute(all_, (0, 2, 3, 1)), (HP * 4, ROWS)) if TURNED else tl.reshape(all_, (ROWS, HP * 4))


@triton.jit
def apart(pair, ROWS: tl.constexpr, HP: tl.constexpr, TURNED: tl.constexpr):
    """The two tiles of ``two``."""
    pair = tl.permute(tl.reshape(pair, (HP, 2, ROWS)), (0, 2, 1)) if TURNED else tl.reshape(pair, (ROWS, HP, 2))
    one, other = tl.split(pair)
    return one, other


@triton.jit
def weight(w, gate, outs, ins, OUT: tl.constexpr, IN: tl.constexpr, FLIP: tl.constexpr, KIND: tl.constexpr):
    """A gate's (OUT, IN) block of ``w`` (4 * OUT, IN): as (ins, outs), or if FLIP as (outs, ins), zero outside."""
    if FLIP:
        o, i = outs[:, None], ins[None, :]
    else:
        o, i = outs[None, :], ins[:, None]
    return tl.load(w + (gate * OUT + o) * IN + i, mask=(o < OUT) & (i < IN), other=0.0).to(KIND)


@triton.jit
def weights(w, units, gates, H: tl.constexpr, TURNED: tl.constexpr, KIND: tl.constexpr):
    """All of the recurrent ``w`` (4 * H, H), gates in the order of ``four``: (gates, units), or if TURNED (units, gates)."""
    if TURNED:
        n, k = units[:, None], gates[None, :]
    else:
        n, k = units[None, :], gates[:, None]
    return tl.load(w + (k % 4 * H + k // 4) * H + n, mask=(n < H) & (k < 4 * H), other=0.0).to(KIND)


@triton.jit
def times(a, w, total, TURNED: tl.constexpr, EXACT: tl.constexpr):
    """``total`` + a tile times weights."""
    return tl.dot(w, a, total, input_precision=EXACT) if TURNED else tl.dot(a, w, total, input_precision=EXACT)


@triton.jit
def _logistic(x):
    """1 / (1 + 2 ** x), to 3 units in the last place, without the care for numbers that are rounded to 0 or 1 anyway."""
    if NATIVE:
        power = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
        result = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + power], tl.float32, True, 1)
    else:
        result = 1.0 / (1.0 + tl.exp2(x))
    return result


@triton.jit
def sigmoid(x, ROUGH: tl.constexpr):
    """ROUGH: to 11 bits, by one instruction."""
    return 0.5 + 0.5 * tanh(0.5 * x, ROUGH) if ROUGH and NATIVE else _logistic(x * -1.4426950408889634)


@triton.jit
def tanh(x, ROUGH: tl.constexpr):
    """ROUGH: to 11 bits, by one instruction."""
    if ROUGH and NATIVE:
        result = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    else:
        result = 2.0 * _logistic(x * -2.8853900817779268) - 1.0
    return result
