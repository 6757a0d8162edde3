"""Convolutions and their kin on the kernels of products.py: which algorithm serves, how operands lie, units of work.

Whatever the algorithm, one kernel does the arithmetic; they differ in the image it reads. `direct`, `grouped` and
`depthwise` read the image itself, packed with its padding where it has any; `pointwise` as it is; `im2col` a matrix of
patches, a block of rows at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...ops import Conv2dSpec, Im2colSpec
from ...ops.base import Shape, product
from .. import reference
from ..asked import planned_algo
from . import planes, products
from .arithmetic import CODES
from .compiled import NONE
from .tiles import ROWS, WIDTH

ALGOS = ("direct", "im2col", "pointwise", "depthwise", "grouped")
NARROW = (2, 4, 8)  # channels of a group that `grouped` takes where there is one group alone
UNITS = 32  # of work, at least: enough for a team, and few enough to share what they read
CHUNK = 512  # floats of an output row taken at once: their sums stay in the first cache
PATCHES_BYTES = 16 << 20  # of the matrix of patches
CLAMPS = {None: 0, "relu": 1, "relu6": 2}
SCRATCH_BYTES = 256 << 20  # kept by a thread; what is larger is given back
Array = np.ndarray
New = Callable[[Shape], Array]  # makes an output: dense
_kept = threading.local()


def spans_of(size: int) -> int:
    return -(-size // planes.SPAN)


def flat(array: Array | None) -> Array:
    """The elements in order, copied only where they do not lie so."""
    return NONE if array is None else np.ascontiguousarray(array).reshape(-1)


def fresh(shape: Shape) -> Array:
    """A new array, in a buffer so much longer that a kernel may read a whole vector from its last element on."""
    size = product(shape)
    return np.empty(size + WIDTH, np.float32)[:size].reshape(shape)


def scratch(floats: int) -> Array:
    """Memory for one call, of this thread and used again: fresh pages cost as much as a pass over them."""
    have = getattr(_kept, "floats", NONE)
    if have.size < floats:
        have = np.empty(floats, np.float32)
        _kept.floats = have if have.nbytes <= SCRATCH_BYTES else NONE
    return have[:floats]


def roomy(array: Array) -> bool:
    """Whether a whole vector may be read behind a dense array: it lies in a longer one."""
    base = array.base
    if not isinstance(base, np.ndarray) or not base.flags.c_contiguous:
        return False
    return array.ctypes.data + array.nbytes + 4 * WIDTH <= base.ctypes.data + base.nbytes


# --- which algorithm


def algorithm(spec: Conv2dSpec, x: Shape, weight: Shape) -> str:
    """The one that is asked for, here or by CNNKERN_CONV_ALGO, else the one that suits.

    Raises:
        UnsupportedError: it cannot serve this convolution, or there is no such kernel; the message says what can.
    """
    asked = planned_algo(spec)
    serves = {
        "direct": True,
        "im2col": True,
        "pointwise": tuple(weight[2:]) == (1, 1) and spec.groups == 1 and not any(map(sum, spec.padding)),
        "depthwise": weight[1] == 1,
        "grouped": weight[1] > 1 and (spec.groups > 1 or (weight[0] == weight[1] and weight[1] in NARROW)),
    }
    if asked == "auto":
        if serves["depthwise"] and spec.groups > 1:
            return "depthwise"
        return "grouped" if spec.groups > 1 else "pointwise" if serves["pointwise"] else "direct"
    if not serves.get(asked, False):
        able = [algo for algo in ALGOS if serves[algo]]
        raise UnsupportedError(
            f"algo {asked!r} cannot serve this convolution on the numba backend: x {tuple(x)}, weight {tuple(weight)}, "
            f"stride {spec.stride}, padding {spec.padding}, dilation {spec.dilation}, groups {spec.groups}; what can: "
            f"{', '.join(able)}"
        )
    return asked


# --- convolution


@dataclass(frozen=True)
class Layout:
    """How the packed image lies: phases, rows and their length; `offsets` of the taps of one group."""

    phases: tuple[Array, Array]
    rows: int
    wide: int
    offsets: Array
    channel: int  # floats of one
    packs: bool


def prepare(spec: Conv2dSpec, x: Shape, weight: Array) -> Callable[..., Array]:
    """run(new, x, bias, residual, scale, shift) -> y for images of one shape and a weight that no longer changes.

    Raises: as `algorithm`.
    """
    (out,) = replace(spec, prologue=None).infer(x, weight.shape)
    algo = algorithm(spec, x, weight.shape)
    if algo == "im2col":
        return _prepare_patches(spec, x, weight, out)
    linear = _as_linear(spec, x, weight, out)
    if linear is not None and spec.algo == "auto":
        return linear
    filters, panel = packed_filters(weight, spec.groups)
    return _Conv(spec, x, weight.shape, out, filters, panel)


class _Conv:
    """One convolution, ready to run."""

    def __init__(self, spec: Conv2dSpec, x: Shape, weight: Shape, out: Shape, filters: Array, panel: int):
        (n, k, p, q), groups = out, spec.groups
        self.out, self.filters = out, filters
        layout = self.layout = image_layout(spec, x, weight, (p, q))
        panels = -(-(k // groups) // panel)
        chunk = max(1, min(p, CHUNK // layout.wide))
        chunks = -(-p // chunk)
        parts = min(panels, -(-UNITS // max(1, n * groups * chunks)))
        some = -(-panels // parts)
        parts = -(-panels // some)
        image = x[1] * layout.channel
        self.by_plane = weight[1] == 1 and groups > 1
        self.units = n * groups * (1 if self.by_plane else chunks * parts)
        sizes = [groups, k // groups, len(layout.offsets), p, q, layout.wide, chunk, chunks, panel, panels, some, parts]
        self.sizes = np.array([*sizes, image, image // groups, CODES[spec.activation], self.by_plane])
        self.floats = n * image
        self.slope = np.float32(spec.activation_param or 0.0)
        top, left = spec.padding[0][0], spec.padding[1][0]
        packing = [x[0] * x[1], *x[1:], *spec.stride, top, left, layout.rows, layout.wide, CLAMPS[spec.prologue]]
        self.packing = np.array(packing)

    def __call__(self, new: New, x, bias=None, residual=None, scale=None, shift=None):
        y = new(self.out)
        if y.size:
            x = np.ascontiguousarray(x)
            packing = (flat(x), flat(scale), flat(shift), *self.layout.phases, self.packing)
            as_it_is = not self.layout.packs and scale is None and roomy(x) and x.flags.writeable
            seen = NONE if self.by_plane else flat(x) if as_it_is else scratch(self.floats + WIDTH)
            if not (self.by_plane or as_it_is):
                seen[self.floats :] = 0.0
                products.pack(int(self.packing[0]), *packing, seen)
            given = self.filters, self.layout.offsets, flat(bias), flat(residual)
            products.convolve(self.units, *packing, seen, *given, self.sizes, self.slope, y.reshape(-1))
        return y


def image_layout(spec: Conv2dSpec, x: Shape, weight: Shape, out_hw: tuple[int, int]) -> Layout:
    """Of the image as `pack` lays it, or as it is where it has neither padding nor stride."""
    (r_size, s_size), (dh, dw), (sh, sw) = weight[2:], spec.dilation, spec.stride
    rows, columns = np.arange(r_size) * dh, np.arange(s_size) * dw
    row_phases, which_row = np.unique(rows % sh, return_inverse=True)
    column_phases, which_column = np.unique(columns % sw, return_inverse=True)
    packs = any(map(sum, spec.padding)) or spec.stride != (1, 1)
    high, wide = (out_hw[0] + rows[-1] // sh, out_hw[1] + columns[-1] // sw) if packs else x[2:]
    plane = high * wide
    channel = row_phases.size * column_phases.size * plane
    by_row = which_row * column_phases.size * plane + rows // sh * wide
    by_column = which_column * plane + columns // sw
    channels = np.arange(weight[1]) * channel
    offsets = (channels[:, None, None] + by_row[:, None] + by_column).reshape(-1)
    return Layout((row_phases, column_phases), int(high), int(wide), offsets, int(channel), packs)


def packed_filters(weight: Array, groups: int) -> tuple[Array, int]:
    """(the filters as panels of so many, tap by tap, filled up with zeros; how many a panel has)."""
    k, taps = weight.shape[0] // groups, product(weight.shape[1:])
    panel = 1 if k == 1 else 4 if k <= 4 else ROWS
    panels = -(-k // panel)
    made = np.zeros((groups, panels, taps, panel), np.float32)
    by_filter = made.transpose(0, 1, 3, 2)
    given = np.ascontiguousarray(weight).reshape(groups, k, taps)
    whole = k // panel
    by_filter[:, :whole] = given[:, : whole * panel].reshape(groups, whole, panel, taps)
    if whole < panels:
        by_filter[:, whole, : k - whole * panel] = given[:, whole * panel :]
    return made.reshape(-1), panel


def _as_linear(spec: Conv2dSpec, x: Shape, weight: Array, out: Shape):
    """A filter as large as the image is a row of a linear layer."""
    if out[2:] != (1, 1) or spec.groups > 1 or any(map(sum, spec.padding)) or tuple(weight.shape[2:]) != tuple(x[2:]):
        return None
    matrix = np.ascontiguousarray(weight).reshape(weight.shape[0], -1)

    def run(new, x, bias=None, residual=None, scale=None, shift=None):
        if scale is not None:
            x = reference.activate(spec.prologue, None, x * scale[:, None, None] + shift[:, None, None])
        y = new(out)
        kind = spec.activation if residual is None else None
        linear(y.reshape(out[:2]), x.reshape(out[0], matrix.shape[1]), matrix, bias, kind, spec.activation_param)
        if residual is not None:
            y += residual
            activate_all(y, spec.activation, spec.activation_param)
        return y

    return run


def _prepare_patches(spec: Conv2dSpec, x: Shape, weight: Array, out: Shape):
    """Image by image and group by group, a block of output rows at a time: the patches as a matrix, taps by pixels."""
    filters, panel = packed_filters(weight, spec.groups)
    filters = filters.reshape(spec.groups, -1)
    (_, k, p, q), groups, taps = out, spec.groups, product(weight.shape[1:])
    block = max(1, min(p, PATCHES_BYTES // (4 * taps * q)))
    plain = replace(spec, groups=1, prologue=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1))
    patches = Im2colSpec(weight.shape[2:], spec.stride, ((0, 0), (0, 0)), spec.dilation)
    extent = (weight.shape[2] - 1) * spec.dilation[0] + 1
    group_shape = (k // groups, taps, 1, 1)

    def run(new, x, bias=None, residual=None, scale=None, shift=None):
        y = new(out)
        if scale is not None:
            x = reference.activate(spec.prologue, None, x * scale[:, None, None] + shift[:, None, None])
        x = np.pad(x, ((0, 0), (0, 0), *spec.padding))
        for n in range(len(x)):
            for g in range(groups):
                own = slice(g * k // groups, (g + 1) * k // groups)
                channels = slice(g * weight.shape[1], (g + 1) * weight.shape[1])
                for top in range(0, p, block):
                    rows = min(block, p - top)
                    first = top * spec.stride[0]
                    seen = x[n : n + 1, channels, first : first + (rows - 1) * spec.stride[0] + extent]
                    (columns,) = reference.OPS["im2col"](patches, seen)
                    columns = columns.reshape(1, taps, rows, q)
                    made = _Conv(plain, columns.shape, group_shape, (1, k // groups, rows, q), filters[g], panel)
                    given = None if residual is None else residual[n : n + 1, own, top : top + rows]
                    y[n, own, top : top + rows] = made(fresh, columns, None if bias is None else bias[own], given)[0]
        return y

    return run


# --- the rest


def linear(y: Array, x: Array, weight: Array, bias: Array | None, kind: str | None, param: float | None) -> None:
    (images, depth), outputs, slope = x.shape, len(weight), np.float32(param or 0.0)
    if y.size:
        units = -(-outputs // products.OUTPUTS)
        given = flat(x), flat(weight), flat(bias)
        products.multiply(units, *given, images, depth, outputs, CODES[kind], slope, y.reshape(-1))


def locally_connected(spec: Any, y: Array, x: Array, weight: Array, bias: Array | None) -> None:
    p, q, k, c, r, s = weight.shape
    if y.size:
        x = np.pad(x, ((0, 0), (0, 0), *spec.padding)) if any(map(sum, spec.padding)) else x
        sizes = np.array([len(x), c, *x.shape[2:], k, r, s, *spec.stride, p, q])
        products.connect_locally(p * q, flat(x), flat(weight), flat(bias), sizes, y.reshape(-1))


def activate_all(y: Array, kind: str | None, param: float | None) -> None:
    """In place."""
    if kind is not None and y.size:
        planes.activate_all(spans_of(y.size), CODES[kind], np.float32(param or 0.0), y.reshape(-1))
