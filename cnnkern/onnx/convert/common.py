"""What converters share: attributes that became inputs, and the moves that many operations begin or end with.

Names here are the graph's ("x" as `b.value` and `b.emit` return it), unless an argument is called `name`: that is
ONNX's.
"""

from __future__ import annotations

import math

import numpy as np

from ...ops import FlattenSpec, ReshapeSpec, SliceSpec, StrideSpec, TransposeSpec, UnarySpec
from ...ops.base import product

# --- what a node says


def has(n, position: int) -> bool:
    """Whether the optional input at this position is there."""
    return position < len(n.inputs) and n.inputs[position] != ""


def name_of(n, position: int) -> str:
    """ONNX's name of an input, "" where it is absent."""
    return n.inputs[position] if has(n, position) else ""


def extra_outputs(n) -> bool:
    """Whether the node is asked for more than its first output."""
    return any(n.outputs[1:])


def known(b, n, position: int) -> np.ndarray | None:
    """The constant at an input that decides shapes; None where it is absent. Declines what only running tells."""
    if not has(n, position):
        return None
    array = b.const(n.inputs[position])
    if array is None:
        raise b.Decline(f"input {position} ({n.inputs[position]!r}) is computed while running")
    return array


def ints(b, n, position: int, attribute: str = "") -> list[int] | None:
    """Whole numbers that are an attribute in old opsets and a constant input in newer ones; None where absent."""
    if attribute and n.attr(attribute) is not None:
        given = n.attr(attribute)
    else:
        given = known(b, n, position)
    return None if given is None else [int(v) for v in np.asarray(given).reshape(-1)]


def scalar(b, name: str, rank: int | None = None) -> float | None:
    """The value of a constant of one element (of at most `rank` dimensions); None for everything else."""
    array = b.const(name) if name else None
    if array is None or array.size != 1 or (rank is not None and array.ndim > rank):
        return None
    return float(np.asarray(array, np.float32).reshape(()))


def axis_in(axis: int, rank: int, scalar_too: bool = False) -> int:
    """An axis counted from the front; ValueError where it lies outside. A scalar may count as rank 1."""
    room = max(rank, 1) if scalar_too else rank
    if not -room <= axis < room:
        raise ValueError(f"axis must lie in [{-room}, {room - 1}] for rank {rank}, got {axis}")
    return axis % room


def axes_in(axes, rank: int) -> list[int]:
    """The same for several, which must differ."""
    found = [axis_in(int(axis), rank) for axis in axes]
    if len(set(found)) < len(found):
        raise ValueError(f"axes must differ, got {list(axes)} for rank {rank}")
    return found


def per_axis(n, attribute: str, rank: int, default: int) -> list[int]:
    """An attribute with a number for each of `rank` spatial axes, none below 0 or, unless that is the default, 1."""
    given = n.attr(attribute)
    if given is None or (not given and rank):
        return [default] * rank
    if len(given) != rank:
        raise ValueError(f"{attribute} must have {rank} numbers, one for each spatial axis, got {list(given)}")
    if min(given) < min(default, 1):
        raise ValueError(f"{attribute} must be at least {min(default, 1)}, got {list(given)}")
    return [int(v) for v in given]


# --- moves (of a param they are made here and now)


def dims(b, x: str) -> tuple[int, ...]:
    """The shape of a value or param of the graph."""
    return tuple(b.graph.shape(x))


def reshaped(b, x: str, shape, hint: str = "reshape") -> str:
    """The same elements in another shape; nothing where x has it already. (N, ...) -> (N, F) is a FlattenSpec, which
    passes know."""
    have, want = dims(b, x), tuple(int(v) for v in shape)
    if have == want:
        return x
    if product(have) != product(want):
        raise ValueError(f"x of shape {have} does not reshape to {want}")
    if len(have) > 2 and len(want) == 2 and have[0] == want[0]:
        return b.emit(FlattenSpec(), [x], hint)
    if x in b.weights:
        return b.param(b.weights[x].reshape(want), hint or "reshape")
    if not product(want):
        return b.param(np.zeros(want, np.float32), hint or "empty")  # of x nothing is left to know
    return b.emit(ReshapeSpec(want), [x], hint)


def transposed(b, x: str, axes, hint: str = "transpose") -> str:
    """Output axis i is input axis axes[i]; where only dimensions of 1 change places it is a reshape, or nothing."""
    have, axes = dims(b, x), tuple(axes)
    if sorted(axes) != list(range(len(have))):
        raise ValueError(f"perm must be a permutation of 0 ... {len(have) - 1}, got {axes}")
    if x in b.weights:
        return b.param(b.weights[x].transpose(axes), hint or "transpose")
    moving = [axis for axis in axes if have[axis] != 1]
    if moving == sorted(moving):
        return reshaped(b, x, [have[axis] for axis in axes], hint)
    return b.emit(TransposeSpec(axes), [x], hint)


def taken(b, x: str, axis: int, start: int, step: int, count: int, hint: str = "slice") -> str:
    """x[start], x[start + step], ...: `count` elements along an axis; nothing where that is all of x."""
    if (start, step, count) == (0, 1, dims(b, x)[axis]):
        return x
    if x in b.weights:
        return b.param(np.take(b.weights[x], [start + i * step for i in range(count)], axis), hint)
    if step == 1 and count > 0:
        return b.emit(SliceSpec(axis, start, start + count), [x], hint)
    return b.emit(StrideSpec(axis, start, step, count), [x], hint)


def scaled(b, x: str, alpha: float, beta: float = -0.0, hint: str = "affine") -> str:
    """alpha x + beta; nothing for x + 0. (-0.0 is what added changes no number, +0.0 would change -0.0.)"""
    if alpha == 1.0 and beta == 0.0 and math.copysign(1.0, beta) < 0:
        return x
    return b.emit(UnarySpec("affine", alpha, beta), [x], hint)
