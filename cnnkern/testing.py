"""Checking kernels, ours or yours, against the float64 oracle.

    y = my_conv(x, w)
    spec = cnnkern.ops.Conv2dSpec(stride=2)
    cnnkern.testing.assert_close(y, cnnkern.testing.reference(spec, x, w), spec, (x, w))

An error is the largest |mine - theirs| over a *scale*: the largest |theirs|, or where the inputs are given and it is
larger, the size that the terms behind one output have together (a sum may cancel; its rounding errors do not). For sums
of products that is the largest root of the sum of the squared terms, for averages and sums of x the result on |x|, for
batch norm (|x| + |mean|) |weight| / sqrt(var + eps) + |bias|.

The tolerance is in units of the float32 epsilon, 2**-23, with K the reduction length (`Spec.reduction`): the roundings
of a sum of K terms of random size add like a random walk, so

    tolerance = epsilon (A + sqrt(K))         A by operation, see ROUNDING; 0 for what rounds nothing
    tolerance = epsilon (40 + sqrt(K))        where Winograd may run: F(4x4,3x3) multiplies its inputs and its sums
                                              before they cancel, which costs tens of epsilon already with one
                                              channel; 1.3e-5 at 512 channels (Lavin and Gray, 2015)

plus the activation's own. Under a precision below float32 operands and results are rounded to its unit u, 2**-11 for
tf32 and float16, 2**-8 for bfloat16, while sums stay float32: that adds 8 u (the largest of many random errors of two
operands and a result). Systematic data (all elements equal) can do worse than a random walk: use random data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from . import functional
from .backends.reference import ReferenceBackend, contrast
from .ops import ActivationSpec, AddSpec, BinarySpec, Conv2dSpec, FusedBlockSpec, ReduceSpec, UnarySpec
from .ops.base import Spec

EPSILON = 2.0**-23
SMALLEST = 2.0**-149  # the float32 grid below the normal range
DEFAULT_REDUCTION = 4608  # K where no shapes are given: 3x3 over 512 channels
WINOGRAD_BASE, WINOGRAD_GROWTH = 40.0, 1.0

# A: the roundings of one output beside its sum, in epsilon. Operations without an entry only move data: tolerance 0.
ROUNDING = {
    "conv2d": 4, "fused_block": 4, "locally_connected2d": 4, "linear": 4, "pool2d": 2, "global_pool2d": 2,
    "adaptive_avg_pool2d": 2, "batch_norm": 8, "local_response_norm": 16, "local_contrast_norm": 16, "softmax": 8,
    "add": 1, "mul": 1, "resample": 2, "conv_transpose2d": 4, "reduce": 4, "matmul": 4,
}  # fmt: skip
ACTIVATION_ROUNDING = {
    "relu": 0, "relu6": 0, "leaky_relu": 1, "hardsigmoid": 4, "hardswish": 4, "sigmoid": 8, "tanh": 8, "silu": 8,
    "gelu": 8,
}  # fmt: skip
UNARY_ROUNDING = {
    "neg": 0, "abs": 0, "sign": 0, "floor": 0, "ceil": 0, "round": 0, "clip": 0, "thresholded_relu": 0, "sqrt": 1,
    "reciprocal": 1, "affine": 2, "softsign": 2, "hardsigmoid": 4, "exp": 4, "log": 4, "erf": 4, "elu": 4, "celu": 4,
    "softplus": 4, "selu": 8, "mish": 8, "gelu_tanh": 8, "swish": 8,
}  # fmt: skip
BINARY_ROUNDING = {"sub": 1, "div": 1, "pow": 4, "min": 0, "max": 0, "prelu": 1}
UNITS = {"tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # half a step between neighbours of 1
UNITS_LOST = 8
MULTIPLIED = ("conv2d", "conv_transpose2d", "fused_block", "linear")  # what tf32 rounds the operands of
ACTIVATION_FIELDS = ("activation", "activation_param", "prologue")
_ORACLE = ReferenceBackend(dtype=np.float64)


@dataclass(frozen=True)
class Comparison:
    """The error of a result and what it may be, both shares of `scale`."""

    error: float
    tolerance: float
    scale: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance


def reference(op: str | Spec, *inputs: Any, **options: Any) -> Any:
    """The float64 oracle.

    Args:
        op: the name of a function of `cnnkern` with its arguments ("conv2d", x, weight, stride=2), or a Spec with its
            NCHW inputs by position (None where absent; any float type).
    Returns:
        What that operation returns, in float64 (indices int64).
    Raises:
        ValueError: an unknown name, or what the operation itself refuses.
    Example:
        >>> x = np.ones((1, 1, 2, 2), np.float32)
        >>> cnnkern.testing.reference("sum_pool2d", x, 2)
        array([[[[4.]]]])
    """
    if isinstance(op, Spec):
        results = _ORACLE.call(op, inputs, **options)
        return results if len(results) > 1 else results[0]
    if op not in functional.__all__:
        raise ValueError(f"op must be a Spec or one of {', '.join(functional.__all__)}, got {op!r}")
    return getattr(functional, op)(*inputs, **options, backend=_ORACLE)


def tolerance(spec: Spec, *shapes: Sequence[int] | None, precision: str = "float32") -> float:
    """The largest error that float32 arithmetic excuses, a share of the scale (see the module's text).

    Args:
        spec: the operation. shapes: its inputs' shapes by position; without them K = 4608 is assumed where it matters.
        precision: "strict" takes Winograd's allowance away; "tf32", "float16" and "bfloat16" add theirs.
    Example:
        >>> cnnkern.testing.tolerance(cnnkern.ops.LinearSpec(), (1, 256), (10, 256)) == 20 * 2**-23
        True
    """
    if precision in UNITS:
        stages = 3 if isinstance(spec, FusedBlockSpec) else 1
        lost = UNITS_LOST * UNITS[precision] * stages
        rounds = precision != "tf32" or spec.op in MULTIPLIED
        return tolerance(spec, *shapes, precision="strict") + (lost if rounds else 0.0)
    if isinstance(spec, ActivationSpec):
        return EPSILON * ACTIVATION_ROUNDING[spec.kind]
    if isinstance(spec, (UnarySpec, BinarySpec)):
        return EPSILON * (UNARY_ROUNDING if isinstance(spec, UnarySpec) else BINARY_ROUNDING)[spec.kind]
    if spec.op not in ROUNDING or getattr(spec, "kind", None) in ("max", "min"):
        return 0.0
    if getattr(spec, "weight", 0) is None:  # gathers
        return 0.0
    if isinstance(spec, FusedBlockSpec):
        return sum(tolerance(stage, *given, precision=precision) for stage, *given in _stages(spec, shapes))
    k = spec.reduction(*shapes) if shapes else DEFAULT_REDUCTION
    if isinstance(spec, Conv2dSpec) and _winograd_may_run(spec, shapes, precision):
        units = WINOGRAD_BASE + WINOGRAD_GROWTH * math.sqrt(k)
    else:
        units = ROUNDING[spec.op] + (math.sqrt(k) if k > 1 or not shapes else 0.0)
    return EPSILON * (units + ACTIVATION_ROUNDING.get(getattr(spec, "activation", None), 0))


def _stages(spec: FusedBlockSpec, shapes) -> list[tuple]:
    """The convolutions of a block with their inputs' shapes, where those are known."""
    if not shapes:
        return [
            (Conv2dSpec(activation=act, algo="direct"),)
            for act in (spec.expand_activation, spec.depthwise_activation, spec.project_activation)
        ]
    found, x = [], shapes[0]
    for stage, *given in spec.stages(*shapes):
        found.append((stage, x, *given))
        (x,) = stage.infer(x, *given)
    return found


def _winograd_may_run(spec: Conv2dSpec, shapes, precision: str) -> bool:
    fits = spec.stride == spec.dilation == (1, 1) and (not shapes or tuple(shapes[1][2:]) in ((3, 3), (5, 5)))
    return fits and precision != "strict" and spec.algo in ("auto", "winograd")


def magnitude(spec: Spec, inputs: Sequence[Any]) -> float:
    """The size of the terms behind one output, from the inputs; 0 where the output itself says it."""
    x, *others = (None if a is None else np.abs(np.asarray(a, np.float64)) for a in inputs)
    if not x.size:
        return 0.0
    if spec.op == "resample" and spec.weight is not None:
        squares = replace(spec, weight=tuple(tuple(w * w for w in row) for row in spec.weight))
        return math.sqrt(_largest(reference(squares, x * x)))
    if spec.op in ("unary", "binary", "reduce"):
        return _magnitude_nd(spec, inputs, x, others)
    if spec.op in ("conv2d", "conv_transpose2d", "linear", "locally_connected2d", "matmul"):
        plain = _without_activations(spec)
        squares = [None if a is None else a * a for a in (x, *others)]
        return math.sqrt(_largest(reference(plain, *squares)))
    if isinstance(spec, FusedBlockSpec):
        (*before, (last, *given)) = spec.stages(*inputs)
        wide = np.asarray(inputs[0], np.float64)
        for stage, *arrays in before:
            wide = reference(stage, wide, *arrays)
        return magnitude(last, (wide, *given))
    if spec.op in ("add", "mul"):
        return _largest(reference(type(spec)(), x, *others))
    if spec.op in ("pool2d", "global_pool2d", "adaptive_avg_pool2d"):
        return 0.0 if getattr(spec, "kind", None) == "max" else _largest(reference(spec, x))
    if spec.op == "batch_norm":
        mean, var, *affine = others
        return _largest(reference(_without_activations(spec), x, -mean, var, *affine))
    if spec.op == "local_contrast_norm":
        _, divisor = contrast(spec, np.asarray(inputs[0], np.float64))
        return _largest(x.max(axis=(1, 2, 3)) / divisor.min(axis=(1, 2, 3)))
    if spec.op == "activation" and spec.kind == "gelu":
        return _largest(x)  # 1 + erf cancels for x < 0
    return 0.0


def _magnitude_nd(spec: Spec, inputs: Sequence[Any], x: np.ndarray, others: list) -> float:
    """The same of functions and reductions; x and others are magnitudes already."""
    if spec.op == "unary":
        if spec.kind in ("affine", "hardsigmoid"):
            return _largest(abs(spec.alpha) * x + abs(spec.beta))
        return _largest(x) if spec.kind in ("gelu_tanh", "swish") else 0.0  # an exponential of what was rounded
    if spec.op == "binary":
        return _largest(reference(AddSpec(), x, *others)) if spec.kind == "sub" else 0.0
    if spec.kind in ("sum", "mean"):
        return _largest(reference(spec, x))
    if spec.kind == "log_sum":  # a logarithm turns relative errors into absolute ones
        total = ReduceSpec("sum", spec.axes)
        with np.errstate(all="ignore"):
            return _largest(reference(total, x) / reference(total, np.asarray(inputs[0], np.float64)))
    return 1.0 if spec.kind == "log_sum_exp" else 0.0


def _without_activations(spec: Spec) -> Spec:
    return replace(spec, **{f.name: None for f in fields(spec) if f.name in ACTIVATION_FIELDS})


def _largest(values: np.ndarray) -> float:
    """The largest finite magnitude; 0 if there is none."""
    sizes = np.abs(np.asarray(values, np.float64))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def compare(
    mine: Any, theirs: Any, spec: Spec, inputs: Sequence[Any] | None = None, *, precision: str = "float32"
) -> Comparison:
    """How far `mine` is from `theirs`; arguments as `assert_close`. A NaN or an infinity that only one side has,
    another shape, or any difference of integers is an infinite error."""
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.dtype.kind in "iub":
        return Comparison(0.0 if np.array_equal(mine, theirs) else math.inf, 0.0, 1.0)
    shapes = () if inputs is None else [a if a is None or isinstance(a, tuple) else np.shape(a) for a in inputs]
    allowed = tolerance(spec, *shapes, precision=precision)
    if mine.shape != theirs.shape:
        return Comparison(math.inf, allowed, 1.0)
    known = inputs is not None and not any(isinstance(a, tuple) for a in inputs)
    scale = max(_largest(theirs), magnitude(spec, inputs) if known else 0.0)
    mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = theirs.astype(np.float32)
    odd = ~np.isfinite(mine) | ~np.isfinite(rounded)
    if not np.array_equal(mine[odd], rounded[odd].astype(np.float64), equal_nan=True):
        return Comparison(math.inf, allowed, scale)
    if allowed == 0.0:
        theirs = rounded.astype(np.float64)  # nothing may round but the oracle's own last cast
    difference = float(np.max(np.abs(mine[~odd] - theirs[~odd]), initial=0.0))
    excess = max(0.0, difference - SMALLEST * (1 + (spec.reduction(*shapes) if shapes else 1)) * (allowed > 0))
    return Comparison(excess / scale if scale else (math.inf if excess else 0.0), allowed, scale)


def assert_close(
    mine: Any, theirs: Any, spec: Spec, inputs: Sequence[Any] | None = None, *, precision: str = "float32"
) -> None:
    """Raise AssertionError unless `mine` is `theirs` within float32's rounding errors.

    Args:
        mine: the result to check. theirs: the oracle's, same shape.
        spec: the operation. inputs: its input arrays by position: the tolerance then fits their shapes, and results
            that are small because their terms cancel are judged by their terms; or only the shapes, as tuples.
        precision: as for `tolerance`.
    Example:
        >>> x = np.linspace(-3, 3, 7, dtype=np.float32)
        >>> spec = cnnkern.ops.ActivationSpec("tanh")
        >>> cnnkern.testing.assert_close(cnnkern.tanh(x), cnnkern.testing.reference(spec, x), spec, (x,))
    """
    result = compare(mine, theirs, spec, inputs, precision=precision)
    if result.ok:
        return
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.shape != theirs.shape:
        raise AssertionError(f"{spec}: shape {mine.shape}, expected {theirs.shape}")
    with np.errstate(invalid="ignore"):
        gap = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))
    gap[np.isnan(mine) & np.isnan(theirs) | (mine == theirs)] = 0.0
    worst = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
    where = tuple(int(i) for i in worst)
    raise AssertionError(
        f"{spec}: error {result.error:.3g} of the scale {result.scale:.3g}, allowed {result.tolerance:.3g}; worst at "
        f"{where}: {mine[worst]!r}, expected {theirs[worst]!r}"
    )
