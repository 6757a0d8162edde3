"""Which inputs of a model are known by value, not by shape alone: what they hold decides shapes, or is a weight.

A plan for such inputs is made per value, as it is per shape for the others. Converters then meet a constant.
"""

from __future__ import annotations

import hashlib

import numpy as np

from .reader import Port, Source

# Operation -> positions of inputs that decide shapes, or are small numbers that kernels take as constants.
DECIDING: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "CenterCropPad": (1,), "Clip": (1, 2), "Col2Im": (1, 2), "ConstantOfShape": (0,),
    "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Dropout": (1, 2), "Expand": (1,), "If": (0,),
    "MaxUnpool": (2,), "OneHot": (1,),
    "Pad": (1, 2, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
    **dict.fromkeys(
        [f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum",
                                      "SumSquare")],
        (1,),
    ),
}  # fmt: skip
# Operation -> positions of weights, which are packed where they are constants.
WEIGHTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4), "Conv": (1, 2), "ConvTranspose": (1, 2), "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "RMSNormalization": (1,),
}  # fmt: skip
INLINE_BYTES = 64  # a value of this size is a key itself; of a larger one it is a digest


def by_value(source: Source) -> frozenset[str]:
    """The inputs of a model that are known by value.

    An input that decides a shape, itself or through whole numbers made of it (Concat, Gather, Cast ...), and one that
    is nothing but a weight.
    """
    uses: dict[str, list[tuple[str, int]]] = {}
    for node in source.nodes:
        for position, name in enumerate(node.inputs):
            uses.setdefault(name, []).append(("" if node.domain else node.op, position))
    inputs = {port.name: port for port in source.inputs if port.is_tensor}
    found = _deciding(source, {name for name, port in inputs.items() if _whole(port)})
    for name in inputs:
        kinds = [position in (*DECIDING.get(op, ()), *WEIGHTS.get(op, ())) for op, position in uses.get(name, ())]
        if kinds and all(kinds):
            found.add(name)
    return frozenset(found)


def _whole(port: Port) -> bool:
    """A vector or scalar of whole numbers, as sizes and axes are."""
    return port.dtype in ("int64", "int32", "bool") and (port.shape is None or len(port.shape) <= 1)


def _deciding(source: Source, candidates: set[str]) -> set[str]:
    """The candidates that reach an input which decides a shape."""
    decides: set[str] = set()
    for node in reversed(source.nodes):
        positions = () if node.domain else DECIDING.get(node.op, ())
        decides.update(name for position, name in enumerate(node.inputs) if name and position in positions)
        if node.op not in ("Shape", "Size") and any(name in decides for name in node.outputs):
            decides.update(node.reads)
    return candidates & decides


def key(array: np.ndarray) -> bytes:
    """What tells an array's value from others of its dtype and shape."""
    if array.dtype == object:
        return repr(array.tolist()).encode()
    data = array.tobytes()
    return data if len(data) <= INLINE_BYTES else hashlib.blake2b(data, digest_size=32).digest()
