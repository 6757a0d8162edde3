"""What stands between a function of functional.py and a backend: arrays checked, layouts turned, results checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import backends, config
from .ops import Conv2dSpec, normalise_padding
from .ops.base import Spec
from .ops.checks import Padding, Pair, as_choice

NHWC_TO_NCHW, NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def as_array(argument: str, value: Any, rank: int | None = None, *, optional: bool = False) -> Any:
    """`value`, if it is a float32 array (of `rank`; NumPy's, or a GPU's) or, where optional, None."""
    if value is None and optional:
        return None
    on_device = backends.is_device_array(value)
    if not on_device and (not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray)):
        raise TypeError(f"{argument} must be a float32 numpy array, got {type(value).__name__}")
    if value.dtype != np.float32:
        raise TypeError(f"{argument} must be of dtype float32, got {value.dtype}; convert it with astype(np.float32)")
    if rank is not None and value.ndim != rank:
        raise ValueError(f"{argument} must have rank {rank}, got shape {value.shape} of rank {value.ndim}")
    if on_device:
        return value
    value = np.asarray(value)
    return value if value.flags.aligned else value.copy()  # kernels take any strides, but whole floats


def as_image(argument: str, value: Any, layout: str) -> np.ndarray:
    """A rank 4 float32 array as an NCHW view."""
    as_choice("layout", layout, ("NCHW", "NHWC"))
    value = as_array(argument, value, 4)
    return value if layout == "NCHW" else value.transpose(NHWC_TO_NCHW)


def padding_for(padding, x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    return normalise_padding(padding, x.shape[2:], kernel, stride, dilation)


def split_activation(activation: Any) -> tuple[str | None, float | None]:
    """None, a name, or (name, parameter) -> (name, parameter)."""
    if isinstance(activation, (tuple, list)):
        if len(activation) != 2:
            raise ValueError(f"activation must be a name or (name, parameter), got {activation!r}")
        return activation[0], activation[1]
    return activation, None


def run(
    spec: Spec,
    arrays: Sequence[np.ndarray | None],
    backend: Any = None,
    precision: str | None = None,
    layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> Any:
    """One operation: everything is checked before the backend is asked. Returns its one output, or a tuple of them.

    NHWC images arrive here as NCHW views; their result is written into a fresh NHWC array through such a view.
    """
    shapes = spec.infer(*(None if a is None else a.shape for a in arrays))
    given = [a for a in arrays if a is not None]
    chosen = backends.choose(backend, *given)
    on_device = [backends.is_device_array(a) for a in given]
    if any(on_device) and not all(on_device):
        raise TypeError(f"{spec.op}: arrays on a GPU and in host memory were given at once; move them to one place")
    if spec.by_value:
        spec.check_values(
            [None if a is None else a.shape for a in arrays], {i: _on_host(arrays[i]) for i in spec.by_value}
        )
    precision = config.get("precision") if precision is None else as_choice("precision", precision, config.PRECISIONS)
    if isinstance(spec, Conv2dSpec) and spec.algo == "auto" and config.get("conv_algo") != "auto":
        spec = replace(spec, algo=config.get("conv_algo"))
    empty = chosen.empty if any(on_device) else np.empty
    target = _target(out, shapes, layout, getattr(chosen, "dtype", None) or np.float32, empty, any(on_device))
    # A kernel may not read what it has written, and writes whole floats. (Results on a GPU are copied out at the end.)
    copied = out is not None and not any(on_device) and (
        not out.flags.aligned or any(np.may_share_memory(out, a) for a in given)
    )  # fmt: skip
    results = chosen.call(spec, arrays, out=None if copied else target, precision=precision)
    if config.get("check"):
        _check(spec, arrays, results, precision)
    if copied:
        target[...] = results[0]
    if out is not None:
        return out
    if layout == "NHWC":
        results = tuple(y.transpose(NCHW_TO_NHWC) if y.ndim == 4 else y for y in results)
    return results[0] if len(results) == 1 else results


def _target(out: Any, shapes, layout: str, dtype, empty: Callable[..., Any], on_device: bool) -> Any:
    """Where the result goes, as an NCHW view; None: the backend allocates. `empty` makes arrays of the inputs' kind."""
    shape = shapes[0]
    nhwc = layout == "NHWC" and len(shape) == 4
    if out is None:
        if not nhwc or len(shapes) > 1:
            return None
        return empty(tuple(shape[axis] for axis in NCHW_TO_NHWC), dtype).transpose(NHWC_TO_NCHW)
    right_kind = backends.is_device_array(out) if on_device else isinstance(out, np.ndarray)
    if not right_kind or out.dtype != np.float32:
        kind = f"of dtype {out.dtype}" if right_kind else type(out).__name__
        raise TypeError(f"out must be a float32 {'array on the GPU' if on_device else 'numpy array'}, got one {kind}")
    view = out.transpose(NHWC_TO_NCHW) if nhwc and out.ndim == 4 else out
    if view.shape != shape:
        wanted = tuple(shape[axis] for axis in NCHW_TO_NHWC) if nhwc else shape
        raise ValueError(f"out must have shape {wanted}, got {out.shape}")
    if not on_device and not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    return view


def _check(spec: Spec, arrays, results, precision: str) -> None:
    """Compare with the oracle; AssertionError says where they differ."""
    from . import testing  # which imports the functions that call this

    arrays, results = ([_on_host(a) for a in of] for of in (arrays, results))
    with config.overrides(check=False, verbose=0):
        theirs = testing.reference(spec, *arrays)
        for mine, expected in zip(results, theirs if len(results) > 1 else (theirs,)):
            testing.assert_close(mine, expected, spec, arrays, precision=precision)


def _on_host(array: Any) -> Any:
    return array.get() if backends.is_device_array(array) else array
