"""ATen's moves in cnnkern's: shapes, slices, joins, padding, resampling."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..ops import (
    ChannelShuffleSpec,
    ConcatSpec,
    DepthToSpaceSpec,
    ExpandSpec,
    FlattenSpec,
    PadNdSpec,
    PadSpec,
    ResampleSpec,
    ReshapeSpec,
    SliceSpec,
    StrideSpec,
    TileSpec,
    TransposeSpec,
)
from .aten import lowers
from .emitter import Emitter, image
from .errors import Decline


@lowers("clone", "alias", "detach", "contiguous", "lift_fresh", "lift_fresh_copy", "_to_copy", "dropout")
def same(e: Emitter, node, self, *ignored, **options):
    """What changes memory and not values. (That the type stays float32 has been seen.)"""
    return e.value(self)


@lowers("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten", "unflatten", "view_copy")
def view(e: Emitter, node, self, *ignored):
    """Any new shape: the traced result says which."""
    x, shape = e.value(self), tuple(node.meta["val"].shape)
    before = e.shape(x)
    groups = _shuffled(e, x, shape)
    if groups is not None:
        return e.emit(ChannelShuffleSpec(groups[1]), groups[0])
    if len(before) > 2 and shape == (before[0], math.prod(before[1:])):
        return e.emit(FlattenSpec(), x)
    return e.reshape(x, shape)


@lowers("as_strided_", "as_strided")
def as_strided(e: Emitter, node, self, size, stride, storage_offset=None):
    """Other strides for axes that have one element."""
    before, after = self.meta["val"], node.meta["val"]
    same_axes = all(n == 1 or a == b for n, a, b in zip(after.shape, before.stride(), after.stride()))
    if before.shape != after.shape or not same_axes or storage_offset not in (None, before.storage_offset()):
        raise Decline("it reads memory by strides of its own")
    return e.value(self)


def _shuffled(e: Emitter, x: str, shape) -> tuple[str, int] | None:
    """(image, groups) where x is the image's channels seen as (groups, rest) and turned to (rest, groups)."""
    turn = e.producer.get(x)
    if turn is None or not isinstance(turn.spec, TransposeSpec) or turn.spec.axes != (0, 2, 1, 3, 4):
        return None
    split = e.producer.get(turn.inputs[0])
    if split is None or not isinstance(split.spec, ReshapeSpec) or e.shape(split.inputs[0]) != shape:
        return None
    n, groups, _, h, w = e.shape(turn.inputs[0])
    return (split.inputs[0], groups) if len(shape) == 4 and (n, h, w) == (shape[0], *shape[2:]) else None


def _transpose(e: Emitter, x: str, axes) -> str:
    axes = tuple(axes)
    return x if axes == tuple(range(len(axes))) else e.emit(TransposeSpec(axes), x)


@lowers("permute")
def permute(e: Emitter, node, self, dims):
    x = e.value(self)
    return _transpose(e, x, (d % e.rank(x) for d in dims))


@lowers("transpose")
def transpose(e: Emitter, node, self, dim0, dim1):
    x = e.value(self)
    axes = list(range(e.rank(x)))
    a, b = dim0 % max(1, len(axes)), dim1 % max(1, len(axes))
    if axes:
        axes[a], axes[b] = axes[b], axes[a]
    return _transpose(e, x, axes)


@lowers("t")
def t(e: Emitter, node, self):
    x = e.value(self)
    return _transpose(e, x, reversed(range(e.rank(x))))


@lowers("expand")
def expand(e: Emitter, node, self, size, implicit=False):
    x, shape = e.value(self), tuple(node.meta["val"].shape)
    return x if e.shape(x) == shape else e.emit(ExpandSpec(shape), x)


@lowers("repeat")
def repeat(e: Emitter, node, self, repeats):
    x = e.value(self)
    x = e.reshape(x, (*(1,) * (len(repeats) - e.rank(x)), *e.shape(x)))
    return x if all(times == 1 for times in repeats) else e.emit(TileSpec(tuple(repeats)), x)


# --- joining and cutting


@lowers("cat")
def cat(e: Emitter, node, tensors, dim=0):
    shapes = [tuple(tensor.meta["val"].shape) for tensor in tensors]
    names = [e.value(tensor) for tensor, shape in zip(tensors, shapes) if shape != (0,)]  # PyTorch's empty nothing
    return names[0] if len(names) == 1 else e.emit(ConcatSpec(dim), *names)


@lowers("stack")
def stack(e: Emitter, node, tensors, dim=0):
    names = [e.value(tensor) for tensor in tensors]
    at = dim % (e.rank(names[0]) + 1)
    shape = e.shape(names[0])
    return e.emit(ConcatSpec(at), *(e.reshape(name, (*shape[:at], 1, *shape[at:])) for name in names))


def _cut(e: Emitter, x: str, axis: int, start: int, stop: int) -> str:
    if (start, stop) == (0, e.shape(x)[axis]):
        return x
    if stop <= start:
        raise Decline("an empty slice")
    return e.emit(SliceSpec(axis, start, stop), x)


@lowers("slice")
def slice_(e: Emitter, node, self, dim=0, start=None, end=None, step=1):
    x = e.value(self)
    axis = dim % e.rank(x)
    start, stop, step = slice(start, end, step).indices(e.shape(x)[axis])
    if step == 1:
        return _cut(e, x, axis, start, stop)
    return e.emit(StrideSpec(axis, start, step, len(range(start, stop, step))), x)


@lowers("narrow")
def narrow(e: Emitter, node, self, dim, start, length):
    x = e.value(self)
    axis = dim % e.rank(x)
    start = start % max(1, e.shape(x)[axis])
    return _cut(e, x, axis, start, start + length)


@lowers("select")
def select(e: Emitter, node, self, dim, index):
    x = e.value(self)
    axis = dim % e.rank(x)
    at = index % e.shape(x)[axis]
    return e.reshape(_cut(e, x, axis, at, at + 1), tuple(node.meta["val"].shape))


@lowers("split", "split_with_sizes", "split_copy", "split_with_sizes_copy")
def split(e: Emitter, node, self, sizes, dim=0):
    x = e.value(self)
    axis = dim % e.rank(x)
    stops = np.cumsum([part.shape[axis] for part in node.meta["val"]]).tolist()
    used = {user.args[1] for user in node.users}
    spans = list(zip([0, *stops], stops))
    return tuple(_cut(e, x, axis, *span) if i in used else None for i, span in enumerate(spans))


@lowers("unbind")
def unbind(e: Emitter, node, self, dim=0):
    x = e.value(self)
    axis = dim % e.rank(x)
    used = {user.args[1] for user in node.users}
    shape = (*e.shape(x)[:axis], *e.shape(x)[axis + 1 :])
    return tuple(e.reshape(_cut(e, x, axis, i, i + 1), shape) if i in used else None for i in range(e.shape(x)[axis]))


@lowers("flip")
def flip(e: Emitter, node, self, dims):
    x = e.value(self)
    for dim in dims:
        size = e.shape(x)[dim % e.rank(x)]
        x = e.emit(StrideSpec(dim % e.rank(x), size - 1, -1, size), x) if size > 1 else x
    return x


@lowers("index_select")
def index_select(e: Emitter, node, self, dim, index):
    x, rows = e.value(self), e.tensor(index)
    return e.emit(ResampleSpec(dim % max(1, e.rank(x)), tuple((int(i),) for i in rows.reshape(-1))), x)


@lowers("index", "_unsafe_index")
def index(e: Emitter, node, self, indices):
    """Rows and columns by tables that are known beforehand, each along an axis of its own."""
    x, axes = e.value(self), [axis for axis, table in enumerate(indices) if table is not None]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise Decline("tables along axes that are not next to each other")
    for place, axis in enumerate(axes):
        table = e.tensor(indices[axis])
        own = len(axes) - 1 - place  # counted from the end
        if table.dtype not in (torch.int64, torch.int32) or table.dim() not in range(own + 1, len(axes) + 1):
            raise Decline("tables that name single elements")
        if table.numel() != table.shape[-1 - own]:
            raise Decline("a table that varies along other axes too")
        size = e.shape(x)[axis]
        x = e.emit(ResampleSpec(axis, tuple((int(i) % size,) for i in table.reshape(-1))), x)
    return x


# --- padding


@lowers("constant_pad_nd", "pad")
def constant_pad(e: Emitter, node, self, pad, value=0.0):
    x = e.value(self)
    pads = _sides(e, x, pad)
    for axis, (before, after) in enumerate(pads):
        if min(before, after) < 0:  # PyTorch's way to crop
            x = _cut(e, x, axis, max(0, -before), e.shape(x)[axis] - max(0, -after))
    pads = [(max(0, before), max(0, after)) for before, after in pads]
    if not any(map(any, pads)):
        return x
    if len(pads) == 4 and not any(pads[0] + pads[1]):
        return e.emit(PadSpec((pads[2], pads[3]), float(value or 0.0)), x)
    return e.emit(PadNdSpec(tuple(pads), "constant", float(value or 0.0)), x)


@lowers("reflection_pad1d", "reflection_pad2d")
def reflection_pad(e: Emitter, node, self, padding):
    x = e.value(self)
    return e.emit(PadNdSpec(tuple(_sides(e, x, padding)), "reflect"), x)


@lowers("replication_pad1d", "replication_pad2d")
def replication_pad(e: Emitter, node, self, padding):
    x = e.value(self)
    return e.emit(PadNdSpec(tuple(_sides(e, x, padding)), "edge"), x)


def _sides(e: Emitter, x: str, pad) -> list[tuple[int, int]]:
    """(before, after) for every axis, from PyTorch's list, which begins with the last axis."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (e.rank(x) - len(pairs)) + pairs[::-1]


# --- resampling


@lowers("upsample_nearest2d", "_upsample_nearest_exact2d")
def nearest(e: Emitter, node, self, output_size, scales_h=None, scales_w=None):
    x = image(e, e.value(self))
    shift = 0.5 if "exact" in str(node.target) else 0.0
    for axis, out, factor in zip((2, 3), output_size, (scales_h, scales_w)):
        size = e.shape(x)[axis]
        scale = np.float32(1 / factor if factor else size / out)
        at = np.floor((np.arange(out, dtype=np.float32) + np.float32(shift)) * scale).astype(int)
        index = np.minimum(at, size - 1)
        if not np.array_equal(index, np.arange(size)):
            x = e.emit(ResampleSpec(axis, tuple((int(i),) for i in index)), x)
    return x


@lowers("upsample_bilinear2d")
def bilinear(e: Emitter, node, self, output_size, align_corners, scales_h=None, scales_w=None):
    x = image(e, e.value(self))
    for axis, out, factor in zip((2, 3), output_size, (scales_h, scales_w)):
        size = e.shape(x)[axis]
        step = np.arange(out, dtype=np.float32)
        if align_corners:
            at = step * np.float32((size - 1) / (out - 1) if out > 1 else 0)
        else:
            scale = np.float32(1 / factor if factor else size / out)
            at = np.maximum((step + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0))
        low = np.minimum(at.astype(int), size - 1)
        high, share = np.minimum(low + 1, size - 1), np.clip(at - low, 0, 1)
        if np.array_equal(at, np.arange(size)):
            continue
        index = tuple((int(a), int(b)) for a, b in zip(low, high))
        x = e.emit(ResampleSpec(axis, index, tuple((float(1 - s), float(s)) for s in share)), x)
    return x


@lowers("pixel_shuffle")
def pixel_shuffle(e: Emitter, node, self, upscale_factor):
    return e.emit(DepthToSpaceSpec(upscale_factor, "CRD"), image(e, e.value(self)))


@lowers("pixel_unshuffle")
def pixel_unshuffle(e: Emitter, node, self, downscale_factor):
    x, b = image(e, e.value(self)), downscale_factor
    n, c, h, w = e.shape(x)
    x = e.reshape(x, (n, c, h // b, b, w // b, b))
    return e.reshape(_transpose(e, x, (0, 1, 3, 5, 2, 4)), (n, c * b * b, h // b, w // b))


@lowers("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(e: Emitter, node, self, groups):
    return e.emit(ChannelShuffleSpec(groups), image(e, e.value(self)))


def is_view(node: torch.fx.Node) -> bool:
    """Whether the result may lie in its first argument's memory."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(out.alias_info is not None for out in schema.returns)
