"""Argument checks that every Spec shares: integers, pairs, paddings, shapes. Messages name the argument, what was
received and what is accepted. A batch dimension may be a symbol ("N"); every other dimension is an int."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable

from .base import Shape

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))

MAX_ELEMENTS = 2**62  # sizes beyond this overflow signed 64-bit byte offsets sooner or later


def as_int(argument: str, value, minimum: int | None = None) -> int:
    """`value` as an int; TypeError unless it is an integer (bool is none), ValueError below `minimum`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an integer, got {value!r} of type {type(value).__name__}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{argument} must be at least {minimum}, got {number}")
    return number


def as_float(argument: str, value, finite: bool = True) -> float:
    """`value` as a float, no NaN; `finite`: nor an infinity."""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be a number, got {value!r} of type {type(value).__name__}") from None
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError(f"{argument} must be {'finite' if finite else 'a number'}, got {number}")
    return number


def as_bool(argument: str, value) -> bool:
    if value is True or value is False:
        return value
    raise TypeError(f"{argument} must be True or False, got {value!r}")


def as_choice(argument: str, value, choices: Iterable[str]) -> str:
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def as_pair(argument: str, value, minimum: int = 1) -> Pair:
    """An int for both axes, or (vertical, horizontal)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{argument} must be an int or a pair of ints, got {value!r}")
        return as_int(f"{argument}[0]", value[0], minimum), as_int(f"{argument}[1]", value[1], minimum)
    number = as_int(argument, value, minimum)
    return number, number


def as_padding(argument: str, value) -> Padding:
    """An int for four sides, (vertical, horizontal), or ((top, bottom), (left, right))."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return as_pair(f"{argument}[0]", value[0], 0), as_pair(f"{argument}[1]", value[1], 0)
    if isinstance(value, (tuple, list, str)):
        raise ValueError(
            f"{argument} must be an int, (vertical, horizontal) or ((top, bottom), (left, right)), got {value!r}"
        )
    number = as_int(argument, value, 0)
    return (number, number), (number, number)


def check_shape(op: str, argument: str, shape, rank: int | None = None, axes: str = "", minimum: int = 1) -> Shape:
    """The shape as a tuple: of `rank` where given; the first dimension may be 0 or a symbol, others >= `minimum`."""
    if shape is None:
        raise TypeError(f"{op}: {argument} is required")
    shape = tuple(shape)
    if rank is not None and len(shape) != rank:
        raise ValueError(f"{op}: {argument} must have rank {rank} {axes}, got shape {shape} of rank {len(shape)}")
    for axis, dim in enumerate(shape):
        if axis == 0 and (isinstance(dim, str) or dim >= 0):
            continue
        if isinstance(dim, str):
            raise ValueError(f"{op}: {argument} may have a symbol only as its first dimension, got shape {shape}")
        if dim < minimum:
            raise ValueError(f"{op}: {argument} must have dimensions of at least {minimum}, got shape {shape}")
    check_size(op, argument, shape)
    return shape


def check_image(op: str, shape, argument: str = "x") -> Shape:
    return check_shape(op, argument, shape, 4, "(N, C, H, W)")


def check_weight(op: str, shape, rank: int, axes: str) -> Shape:
    shape = check_shape(op, "weight", shape, rank, axes)
    if isinstance(shape[0], str) or shape[0] < 1:
        raise ValueError(f"{op}: weight must have dimensions of at least 1, got shape {shape}")
    return shape


def check_same(op: str, argument: str, shape, *accepted: Shape) -> None:
    """An optional argument's shape is None or one of `accepted`."""
    if shape is not None and tuple(shape) not in accepted:
        raise ValueError(f"{op}: {argument} must have shape {' or '.join(map(str, accepted))}, got {tuple(shape)}")


def check_size(op: str, argument: str, shape) -> None:
    elements = 1
    for dim in shape:
        elements *= dim if not isinstance(dim, str) else 1
    if elements > MAX_ELEMENTS:
        raise ValueError(f"{op}: {argument} of shape {tuple(shape)} has {elements} elements, more than 2**62")


def check_axis(op: str, axis: int, rank: int) -> int:
    """`axis` counted from the front."""
    if not -rank <= axis < rank:
        raise ValueError(f"{op}: axis must lie in [{-rank}, {rank - 1}] for rank {rank}, got {axis}")
    return axis % rank


def sliding_size(
    op: str, axis: str, size: int, kernel: int, stride: int, padding: Pair, dilation: int, ceil_mode: bool = False
) -> int:
    """How many windows fit: floor((size + padding - dilation (kernel - 1) - 1) / stride) + 1; `ceil_mode` rounds up,
    and so takes a last window that hangs over by less than the stride, were it the only one."""
    extent, room = dilation * (kernel - 1) + 1, size + sum(padding)
    overhang = stride - 1 if ceil_mode else 0
    if extent > room + overhang:
        raise ValueError(
            f"{op}: kernel larger than the padded input along {axis}: kernel {kernel} with dilation {dilation} spans "
            f"{extent}, input {size} with padding {padding} has {room}"
        )
    return (room - extent + overhang) // stride + 1


def normalise_padding(padding, in_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    """Any accepted padding -> ((top, bottom), (left, right)).

    Args:
        padding: int | (ph, pw) | ((top, bottom), (left, right)) | "valid" (none) | "same" (output = ceil(input /
            stride), an odd pixel at the end, as TensorFlow) | "same_lower" (the odd pixel at the start, as ONNX).
        in_hw, kernel, stride, dilation: (vertical, horizontal).
    Example:
        >>> normalise_padding("same", (224, 224), (3, 3), (2, 2))
        ((0, 1), (0, 1))
    """
    if not isinstance(padding, str):
        return as_padding("padding", padding)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding not in ("same", "same_lower"):
        raise ValueError(f"padding must be ints, 'same', 'same_lower' or 'valid', got {padding!r}")

    def sides(size: int, k: int, s: int, d: int) -> Pair:
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small = total // 2
        return (small, total - small) if padding == "same" else (total - small, small)

    vertical, horizontal = (sides(*axis) for axis in zip(in_hw, kernel, stride, dilation))
    return vertical, horizontal
