"""Activations on a run of floats, in place, and what other kernels share. float32 throughout; NaN passes.

Runs are indexed with unsigned numbers: an index that could be negative, for all that Numba knows, is looked at each
time, which keeps a loop from vectors.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from ...ops import ACTIVATIONS
from .compiled import helper
from .tiles import bits_of, float_of

CODES = {None: 0, **{kind: i for i, kind in enumerate(ACTIVATIONS, 1)}}  # of activations, for kernels
_RELU, _RELU6, _LEAKY, _SIGMOID = (CODES[kind] for kind in ("relu", "relu6", "leaky_relu", "sigmoid"))
_TANH, _SILU, _HARDSWISH, _HARDSIGMOID = (CODES[kind] for kind in ("tanh", "silu", "hardswish", "hardsigmoid"))
_GELU = CODES["gelu"]

# Numba takes a bare 0.5 for a double, and computes in doubles from there on.
ZERO, HALF, ONE, SIX, SIXTH = (np.float32(v) for v in (0, 0.5, 1, 6, 1 / 6))
INFINITY, NAN = np.float32(np.inf), np.float32(np.nan)
_LOWEST, _HIGHEST = np.float32(-87.33), np.float32(88.72)  # exp of less is no normal number, of more none at all
_LOG2_E, _ROUNDER = (
    np.float32(1.44269504),
    np.float32(12582912.0),
)  # 1.5 * 2**23: what is added to it loses its fraction
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_TAYLOR = tuple(np.float32(1 / math.factorial(i)) for i in range(8))
_A2, _A3, _A4, _A5, _A6, _A7 = _TAYLOR[2:]


@helper
def exp(x):
    """e**x: 2**n times a polynomial on half a power of two, within two roundings; 0 where it is no normal number."""
    v = _HIGHEST if x > _HIGHEST else (_LOWEST if x < _LOWEST else x)
    rounded = v * _LOG2_E + _ROUNDER
    n = rounded - _ROUNDER
    r = (v - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((((_A7 * r + _A6) * r + _A5) * r + _A4) * r + _A3) * r + _A2) * r + ONE) * r + ONE
    half = bits_of(rounded) >> np.int32(1)  # in two steps: 2**128 is no float
    other = bits_of(rounded) - half
    y = p * _power(half, _HALF_BITS) * _power(other, _OTHER_BITS)
    return INFINITY if x > _HIGHEST else (ZERO if x < _LOWEST else y)


_ROUNDER_BITS = int(_ROUNDER.view(np.int32))
_HALF_BITS, _OTHER_BITS = np.int32(_ROUNDER_BITS >> 1), np.int32(_ROUNDER_BITS - (_ROUNDER_BITS >> 1))


@helper
def _power(bits, zero):
    """2**(bits - zero)."""
    return float_of(np.int32((bits - zero + np.int32(127)) << np.int32(23)))


@helper
def fill(y, at, count, value):
    start = np.uint64(at)
    for i in range(np.uint64(count)):
        y[start + i] = value


@helper
def activate(y, at, count, kind, slope):
    """y[at : at + count] = act(y[at : at + count]); `kind` is of CODES."""
    start, length = np.uint64(at), np.uint64(count)
    if kind == _RELU:
        for i in range(length):
            y[start + i] = ZERO if y[start + i] < ZERO else y[start + i]
    elif kind == _RELU6:
        for i in range(length):
            y[start + i] = _clamped(y[start + i], SIX)
    elif kind == _LEAKY:
        for i in range(length):
            y[start + i] = y[start + i] if y[start + i] > ZERO else slope * y[start + i]
    elif kind == _SIGMOID:
        for i in range(length):
            y[start + i] = ONE / (ONE + exp(-y[start + i]))
    elif kind == _SILU:
        for i in range(length):
            y[start + i] = y[start + i] / (ONE + exp(-y[start + i]))
    elif kind == _HARDSWISH:
        for i in range(length):
            y[start + i] = y[start + i] * _clamped(y[start + i] * SIXTH + HALF, ONE)
    elif kind == _HARDSIGMOID:
        for i in range(length):
            y[start + i] = _clamped(y[start + i] * SIXTH + HALF, ONE)
    elif kind == _TANH:
        for i in range(length):
            y[start + i] = math.tanh(y[start + i])
    elif kind == _GELU:
        for i in range(length):
            wide = np.float64(y[start + i])
            y[start + i] = wide / 2.0 * math.erfc(-wide / math.sqrt(2.0))


@helper
def _clamped(v, most):
    return ZERO if v < ZERO else (most if v > most else v)


@numba.njit(nogil=True, fastmath={"reassoc", "contract"})  # a sum that one thread computes: its order is compiled in
def total(x, at, count):
    """The sum of x[at : at + count]."""
    made, start = ZERO, np.uint64(at)
    for i in range(np.uint64(count)):
        made += x[start + i]
    return made
