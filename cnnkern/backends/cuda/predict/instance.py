"""What a kernel's name and arguments say: template arguments, sizes of types, operations of an epilogue."""

from __future__ import annotations

from ....ops.base import Counts
from ..launch import Launch

ITEM_BYTES = {"float": 4, "f16": 2, "bf16": 2, "tf32": 4}
# Operations of an activation on one value, in the order kernels number them.
ACTIVATION = (
    Counts(),
    Counts(max=1),  # relu
    Counts(max=2),  # relu6
    Counts(mul=1, max=1),  # leaky_relu
    Counts(add=1, special=2),  # sigmoid
    Counts(special=1),  # tanh
    Counts(add=1, special=2),  # silu, as x / (1 + exp(-x))
    Counts(fma=1, mul=1, max=2),  # hardswish
    Counts(fma=1, max=2),  # hardsigmoid
    Counts(mul=3, add=1, special=1),  # gelu
)


def arguments(launch: Launch) -> list[str | int]:
    """ "pool<float, 4>" -> ["float", 4]."""
    inside = launch.kernel.name.partition("<")[2].rstrip(">")
    words = [word.strip() for word in inside.split(",") if word.strip()]
    return [int(word) if word.lstrip("-").isdigit() else word for word in words]


def epilogue(launch: Launch, outputs: int, item_bytes: int) -> Counts:
    """Bias, residual and activation of so many outputs, and their store."""
    args = launch.args
    counts = ACTIVATION[args["act"]] * outputs + Counts(bytes_written=item_bytes * outputs)
    if args.get("bias") is not None:
        counts += Counts(add=outputs, bytes_read=4 * outputs)
    if args.get("residual") is not None:
        counts += Counts(add=outputs, bytes_read=item_bytes * outputs)
    return counts


def ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def inside(out: int, size: int, taps: int, stride: int, dilation: int, pad: int) -> int:
    """Over all outputs of one axis, the taps that lie inside the image: pairs (o, t), o < out, t < taps, with
    0 <= o stride - pad + t dilation < size."""
    total = 0
    for tap in range(taps):
        shift = pad - tap * dilation
        first = max(0, ceil_div(shift, stride))
        last = min(out - 1, (size - 1 + shift) // stride)
        total += max(0, last - first + 1)
    return total
