"""Single native ops, run on NHWC buffers: the harness of tests/ukernels."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import testing

_core = pytest.importorskip("cnnkern._core")
if not hasattr(_core, "Program"):
    pytest.skip("cnnkern._core has no programs", allow_module_level=True)

ISAS = _core.available_isas()
CANARY = np.float32(-12345.0)
KINDS = ("fma", "mul", "add", "max", "special", "bytes_read", "bytes_written")
EXTRA = [pytest.param(0, id="dense"), pytest.param(3, id="strided")]
isas = pytest.mark.parametrize("isa", ISAS)
extras = pytest.mark.parametrize("extra", EXTRA)


def view(slot: int, buffer: np.ndarray, c: int | None = None):
    """An NHWC buffer as a program's tensor of its first c channels."""
    return slot, 0, (*buffer.shape[:3], c or buffer.shape[3]), tuple(s // 4 for s in buffer.strides)


def nhwc(x: np.ndarray, extra: int) -> np.ndarray:
    """NCHW (or a matrix) -> a fresh NHWC buffer whose lanes beyond c hold NaN."""
    if x.ndim == 2:
        x = x[:, :, None, None]
    n, c, h, w = x.shape
    buffer = np.full((n, h, w, c + extra), np.nan, np.float32)
    buffer[..., :c] = x.transpose(0, 2, 3, 1)
    return buffer


def native(isa, add, inputs, out_shape, extra=0, threads=1):
    """Runs one op that `add(program, *tensors, y)` adds; returns (y as NCHW, its counts)."""
    buffers = [nhwc(x, extra) for x in inputs]
    n, c, h, w = out_shape if len(out_shape) == 4 else (*out_shape, 1, 1)
    y = np.full((n, h, w, c + extra), CANARY, np.float32)
    program = _core.Program(isa, threads, 0, [b.size for b in buffers] + [y.size], len(buffers))
    tensors = [view(i + 1, b, b.shape[3] - extra) for i, b in enumerate(buffers)]
    add(program, *tensors, view(len(buffers) + 1, y, c))
    context = program.new_context()
    (counts,) = program.count(context, [*buffers, y])
    counted = y.copy()
    y[:] = CANARY
    program.run(context, [*buffers, y])
    assert np.array_equal(counted, y, equal_nan=True), "the counting form computes something else"
    assert (y[..., c:] == CANARY).all(), "lanes beyond the channels were written"
    return y[..., :c].transpose(0, 3, 1, 2).reshape(out_shape), dict(zip(KINDS, counts))


def check(isa, spec, add, inputs, extra, expected=None, oracle_inputs=None):
    """Against the oracle; teams of 1 and of 2 or 3 agree in bits and counts; the counts are the expected ones."""
    want = testing.reference(spec, *(oracle_inputs or inputs))
    y, counts = native(isa, add, inputs, want.shape, extra)
    threads = 2 + want.size % 2
    again, more = native(isa, add, inputs, want.shape, extra, threads)
    assert np.array_equal(y, again, equal_nan=True) and counts == more, f"{threads} threads"
    testing.assert_close(y, want, spec, oracle_inputs or inputs)
    if expected is not None:
        assert counts == {kind: expected.get(kind, 0) for kind in KINDS}
    return y


def width(isa) -> int:
    return _core.ukernels.width(isa)


def lanes(shape, isa, dense) -> int:
    """Lanes of the vectors that an element-wise op takes: whole tensors in a row, or pixel by pixel."""
    n, c, h, w = shape if len(shape) == 4 else (*shape, 1, 1)
    rows, length = (1, n * c * h * w) if dense else (n * h * w, c)
    return rows * -(-length // width(isa)) * width(isa)


def times(counts: dict, number: int, **rest) -> dict:
    return {kind: value * number for kind, value in counts.items()} | rest


def windows(size, outputs, kernel, stride, before, dilation):
    """Taps inside the input, for every output along an axis."""
    return [sum(0 <= i * stride - before + t * dilation < size for t in range(kernel)) for i in range(outputs)]
