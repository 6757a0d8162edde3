"""One node on the onnx package's reference evaluator: constants are folded with it, and what cnnkern has no kernel for
runs on it. Slow, never broken; sizes are looked at before anything is made."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from ..errors import ModelError
from ..ops.base import product
from .lowering import FLOATS, Node
from .typed import Typed, infer, one_node

RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
# What costs more than a pass over its inputs: folded only where these are small, for the evaluator is slow.
HEAVY = (
    "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DFT", "DeformConv", "Einsum", "GRU", "Gemm", "GridSample",
    "LRN", "LSTM", "LpPool", "MatMul", "MatMulInteger", "MaxPool", "MaxRoiPool", "NonMaxSuppression", "QLinearConv",
    "QLinearMatMul", "RNN", "Resize", "RoiAlign", "STFT", "TfIdfVectorizer", "TopK", "Upsample",
)  # fmt: skip
RENAMED = {"Scatter": "ScatterElements"}  # the same operation, which the evaluator has by its newer name alone
SMALL = 1 << 16  # elements
FOLD_BYTES = 1 << 29  # a folded value may take so much, or twice what it is folded from; vgg19's largest weight does


class Evaluator:
    """One node, ready to run.

    Args:
        limit_bytes: the most that its outputs may take together.
    """

    def __init__(self, node: Node, opsets: Mapping[str, int], limit_bytes: int):
        self.node, self._opsets, self._limit_bytes = node, opsets, limit_bytes
        self._lock = threading.Lock()
        self._made: dict[tuple, Any] = {}
        self._outputs = [name for name in node.outputs if name]

    def checked(self, arrays: Sequence[Any]) -> list[Any]:
        """As calling, once onnx has said how large the outputs will be and that is within the limit."""
        if all(array is None or isinstance(array, np.ndarray) for array in arrays):
            known = {name: a for name, a in zip(self.node.inputs, arrays) if name and a is not None}
            types = [None if array is None else Typed.of(array) for array in arrays]
            total = sum(kind.nbytes or 0 for kind in infer(self.node, types, known, self._opsets) if kind)
            if total > self._limit_bytes:
                raise ModelError(
                    f"{self.node.where()}: its outputs take {total:,} bytes; at most {self._limit_bytes:,} are "
                    "accepted (memory_limit_bytes)"
                )
        return self(arrays)

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs that the node names, from its inputs by position, None for an absent one.

        Raises: ModelError naming the node where the evaluator fails.
        """
        feeds = {name: array for name, array in zip(self.node.inputs, arrays) if name}
        try:
            with np.errstate(all="ignore"):
                made = self._evaluator(arrays).run(self._outputs, feeds)
        except MemoryError as error:
            raise ModelError(f"{self.node.where()}: there is not enough memory for its outputs ({error})") from error
        except Exception as error:  # whatever NumPy or the evaluator makes of these values
            text = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {text[0]}"
            raise ModelError(f"{self.node.where()}: onnx's reference evaluator fails: {reason}") from error
        if (total := sum(map(_bytes, made))) > self._limit_bytes:  # strings: nobody knew how long they would be
            raise ModelError(
                f"{self.node.where()}: its outputs take {total:,} bytes; at most {self._limit_bytes:,} are accepted "
                "(memory_limit_bytes)"
            )
        return made

    def _evaluator(self, arrays: Sequence[Any]) -> ReferenceEvaluator:
        """Made once per dtypes: functions that stand for a node may hang on them."""
        key = tuple(str(a.dtype) if isinstance(a, np.ndarray) else type(a).__name__ for a in arrays)
        with self._lock:
            if key not in self._made:
                types = [Typed(str(a.dtype), None) if isinstance(a, np.ndarray) else None for a in arrays]
                model = one_node(self.node, types, {}, self._opsets)
                if self.node.op in RENAMED and not self.node.domain:
                    model.graph.node[0].op_type = RENAMED[self.node.op]
                    model.opset_import[0].version = max(model.opset_import[0].version, 11)
                self._made[key] = ReferenceEvaluator(model)
            return self._made[key]


def _bytes(value: Any) -> int:
    """What a value takes, the characters of its strings included."""
    if not isinstance(value, np.ndarray):
        return 0
    if value.dtype != object:
        return value.nbytes
    return sum(4 * len(text) for text in value.flat if isinstance(text, (str, bytes)))  # as NumPy holds them meanwhile


def may_fold(node: Node, inputs: Sequence[np.ndarray], outputs: Sequence[Typed | None]) -> bool:
    """Whether a node on constants is worth its value's memory, and quick."""
    if node.op in RANDOM:
        return False
    if node.op == "Dropout" and len(inputs) > 2 and inputs[2].any():  # training
        return False
    read = sum(array.nbytes for array in inputs)
    made = sum(kind.nbytes or 0 for kind in outputs if kind)
    if node.op in HEAVY and any(array.size > SMALL for array in inputs):
        return False
    return made <= max(FOLD_BYTES, 2 * read)


def restored(array: np.ndarray | None, dtype: str) -> np.ndarray | None:
    """A value of the graph as the model declares it: float32 inside may be half or double outside."""
    if array is None or dtype not in FLOATS or array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(np.dtype(dtype))  # the oracle holds float64, which the evaluator would not mix


def foreign(evaluator: Evaluator, slots: Sequence[tuple[str, Any]], types: Sequence[Typed]):
    """The function of a ForeignSpec: runtime arrays in order -> the node's outputs, as the graph holds them.

    Args:
        slots: per input of the node: ("constant", array), ("absent", None), or ("value", declared dtype) for the next
            runtime array.
        types: of the outputs, which must come out so.
    """

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        given = iter(arrays)
        inputs = [restored(next(given), what) if kind == "value" else what for kind, what in slots]
        return [_held(evaluator.node, made, kind) for made, kind in zip(evaluator(inputs), types)]

    return run


def _held(node: Node, made: Any, kind: Typed) -> np.ndarray:
    """What the evaluator returned, in the dtype that the graph holds."""
    array = np.asarray(made)
    if array.shape != kind.shape:
        if product(array.shape) != product(kind.shape):
            raise ModelError(
                f"{node.where()}: onnx promised an output of shape {kind.shape}, its reference evaluator made "
                f"{array.shape}"
            )
        array = array.reshape(kind.shape)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, inside(kind.dtype)).reshape(kind.shape)


def inside(dtype: str) -> np.dtype:
    """The dtype in which the graph holds a value that is declared so."""
    return np.dtype("float32" if dtype in FLOATS else dtype)
