"""Moves: the same elements in another shape or order, parts of them, several joined."""

from __future__ import annotations

import numpy as np

from ...ops import ConcatSpec, DepthToSpaceSpec, ExpandSpec, ReorderSpec, ResampleSpec, SpaceToDepthSpec, TileSpec
from ...ops.base import product
from . import converter
from .common import axes_in, axis_in, dims, ints, known, reshaped, taken, transposed

LARGEST_TABLE = 1 << 20  # rows of a gather that a plan may hold


@converter("Reshape")
def reshape(b, n):
    """0 keeps the dimension at its place (unless allowzero), one -1 takes what is left."""
    x, wanted = b.value(n.inputs[0]), ints(b, n, 1, "shape")
    have = dims(b, x)
    if wanted is None:
        raise ValueError("shape is required")
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ValueError(f"shape may hold sizes and one -1, got {wanted}")
    if not n.attr("allowzero", 0):
        if any(v == 0 and i >= len(have) for i, v in enumerate(wanted)):
            raise ValueError(f"shape {wanted} keeps a dimension that x of shape {have} does not have")
        wanted = [have[i] if v == 0 else v for i, v in enumerate(wanted)]
    if -1 in wanted:
        rest = product(v for v in wanted if v != -1)
        if not rest or product(have) % rest:
            raise ValueError(f"x of shape {have} does not reshape to {wanted}")
        wanted[wanted.index(-1)] = product(have) // rest
    return [reshaped(b, x, wanted, "")]


@converter("Flatten")
def flatten(b, n):
    x = b.value(n.inputs[0])
    shape, axis = dims(b, x), n.attr("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"axis must lie in [{-len(shape)}, {len(shape)}] for rank {len(shape)}, got {axis}")
    axis += len(shape) if axis < 0 else 0
    return [reshaped(b, x, (product(shape[:axis]), product(shape[axis:])), "")]


@converter("Squeeze")
def squeeze(b, n):
    """Without the given dimensions of 1, or without any."""
    x = b.value(n.inputs[0])
    shape, axes = dims(b, x), ints(b, n, 1, "axes")
    axes = [i for i, v in enumerate(shape) if v == 1] if axes is None else axes_in(axes, len(shape))
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of x of shape {shape} must be of size 1")
    return [reshaped(b, x, [v for i, v in enumerate(shape) if i not in axes], "")]


@converter("Unsqueeze")
def unsqueeze(b, n):
    x, axes = b.value(n.inputs[0]), ints(b, n, 1, "axes")
    if axes is None:
        raise ValueError("axes is required")
    rank = len(dims(b, x)) + len(axes)
    axes, rest = axes_in(axes, rank), iter(dims(b, x))
    return [reshaped(b, x, [1 if i in axes else next(rest) for i in range(rank)], "")]


@converter("Transpose")
def transpose(b, n):
    x = b.value(n.inputs[0])
    rank = len(dims(b, x))
    axes = n.attr("perm")
    return [transposed(b, x, range(rank)[::-1] if axes is None else [int(axis) for axis in axes], "")]


@converter("Concat")
def concat(b, n):
    """Constants among them are copied first: only what runs has a place in the result."""
    axis = n.attr("axis", 1)
    names = [b.value(name) for name in n.inputs]
    if not names:
        raise ValueError("Concat needs at least one input, got none")
    for i, name in enumerate(names):
        if name in b.weights:
            names[i] = b.emit(ReorderSpec(), [name], f"constant{i}")
    return [names[0] if len(names) == 1 else b.emit(ConcatSpec(axis_in(axis, len(dims(b, names[0])))), names)]


@converter("Expand")
def expand(b, n):
    x, shape = b.value(n.inputs[0]), ints(b, n, 1)
    spec = ExpandSpec(tuple(shape or ()))
    return [x if spec.infer(dims(b, x))[0] == dims(b, x) else b.emit(spec, [x])]


@converter("Tile")
def tile(b, n):
    x, repeats = b.value(n.inputs[0]), ints(b, n, 1)
    if repeats is None or len(repeats) != len(dims(b, x)):
        raise ValueError(f"repeats must have {len(dims(b, x))} numbers, one for each axis, got {repeats}")
    return [x if set(repeats) <= {1} else b.emit(TileSpec(tuple(repeats)), [x])]


@converter("DepthToSpace")
def depth_to_space(b, n):
    return [b.emit(DepthToSpaceSpec(n.attr("blocksize"), n.attr("mode", "DCR")), [b.value(n.inputs[0])])]


@converter("SpaceToDepth")
def space_to_depth(b, n):
    x = b.value(n.inputs[0])
    if n.attr("mode", "DCR") == "DCR":
        return [b.emit(SpaceToDepthSpec(n.attr("blocksize")), [x])]
    if n.attr("mode") != "CRD":
        raise ValueError(f"mode must be 'DCR' or 'CRD', got {n.attr('mode')!r}")
    size = n.attr("blocksize")
    spec = SpaceToDepthSpec(size)
    out = spec.infer(dims(b, x))[0]
    y = reshaped(b, b.emit(spec, [x], "blocks"), (out[0], size * size, out[1] // size**2, *out[2:]), "split")
    return [reshaped(b, transposed(b, y, (0, 2, 1, 3, 4)), out, "join")]


# --- parts


@converter("Split")
def split(b, n):
    """Sizes by attribute, by input, or by the number of parts: equal ones, the last of which may be smaller."""
    x = b.value(n.inputs[0])
    shape = dims(b, x)
    axis = axis_in(n.attr("axis", 0), len(shape))
    sizes, parts, size = ints(b, n, 1, "split"), len(n.outputs), shape[axis]
    if n.attr("num_outputs", parts) != parts:
        raise ValueError(f"num_outputs must be the number of outputs, {parts}, got {n.attr('num_outputs')}")
    if sizes is None:
        if size % parts and n.opset < 18:
            raise ValueError(f"axis {axis} of size {size} does not split into {parts} equal parts")
        each = -(-size // parts)
        sizes = [min(each, max(0, size - i * each)) for i in range(parts)]
    if sum(sizes) != size or min(sizes, default=0) < 0 or len(sizes) != len(n.outputs):
        raise ValueError(f"split {sizes} must be {len(n.outputs)} sizes that sum to {size}, axis {axis} of {shape}")
    starts = np.cumsum([0, *sizes]).tolist()
    return [
        taken(b, x, axis, start if count else 0, 1, count, f"part{i}") if n.outputs[i] else ""
        for i, (start, count) in enumerate(zip(starts, sizes))
    ]


def slice_range(start: int, end: int, step: int, size: int) -> tuple[int, int]:
    """(first, count) of a slice: negative bounds count from the end, what lies outside is brought inside."""
    if step == 0:
        raise ValueError("steps must not be 0")
    start, end = (v + size if v < 0 else v for v in (start, end))
    low, high = (0, size) if step > 0 else (0, size - 1)
    start = min(max(start, low), high)
    end = min(max(end, 0 if step > 0 else -1), size)
    return start, max(0, -(-(end - start) // step)) if size else 0


@converter("Slice")
def slice_(b, n):
    x = b.value(n.inputs[0])
    shape = dims(b, x)
    starts, ends = ints(b, n, 1, "starts"), ints(b, n, 2, "ends")
    axes, steps = ints(b, n, 3, "axes"), ints(b, n, 4)
    if starts is None or ends is None:
        raise ValueError("starts and ends are required")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} must be equally many")
    axes, y = axes_in(axes, len(shape)), x
    for start, end, axis, step in zip(starts, ends, axes, steps):
        first, count = slice_range(start, end, step, shape[axis])
        y = taken(b, y, axis, first if count else 0, step if count > 1 else 1, count, f"axis{axis}")
    return [y]


@converter("Gather")
def gather(b, n):
    """With indices known beforehand: a slice where they are evenly spaced, else a table."""
    x, indices = b.value(n.inputs[0]), known(b, n, 1)
    shape = dims(b, x)
    axis = axis_in(n.attr("axis", 0), len(shape))
    if indices.size > LARGEST_TABLE:
        raise b.Decline(f"a table of {indices.size} indices")
    flat = [int(v) for v in indices.reshape(-1)]
    if any(not -shape[axis] <= v < shape[axis] for v in flat):
        raise ValueError(f"indices must lie in [{-shape[axis]}, {shape[axis] - 1}], got {min(flat)} to {max(flat)}")
    flat = [v % shape[axis] for v in flat]
    y = picked(b, x, axis, flat)
    return [reshaped(b, y, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))]


def picked(b, x: str, axis: int, indices: list[int], hint: str = "gather") -> str:
    """The elements with these indices, counted from the front."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if not indices:
        return taken(b, x, axis, 0, 1, 0, hint)
    if step != 0 and all(v - u == step for u, v in zip(indices, indices[1:])):
        return taken(b, x, axis, indices[0], step, len(indices), hint)
    return b.emit(ResampleSpec(axis, tuple((v,) for v in indices)), [x], hint)
