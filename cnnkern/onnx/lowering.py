"""From ONNX nodes to a cnnkern graph, for concrete shapes: what converters see and write into.

`Node` is a node as converters read it; `Lowerer` knows every value met so far (a constant, or a runtime value with its
shape and declared dtype) and takes the Specs that converters emit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..graph.ir import Graph, Param, Value
from ..graph.ir import Node as GraphNode
from ..ops import ForeignSpec, Spec
from ..ops.base import product
from .node import Node

__all__ = ["FLOATS", "Decline", "Known", "Lowerer", "Node"]

FLOATS = ("float32", "float16", "float64", "bfloat16")  # float32 inside the graph
MAX_RANK = 32  # NumPy 1 takes no more
LARGE_BYTES = 4096  # params of this size that two graphs make alike are one array


class Decline(Exception):
    """A converter cannot express this node; the reason is what people read in `OnnxModel.fallbacks`."""


@dataclass(frozen=True)
class Known:
    """A runtime value: its name in the cnnkern graph, its shape, and its dtype as declared."""

    graph_name: str
    shape: tuple[int, ...]
    dtype: str


class Lowerer:
    """What converters write into: one cnnkern graph and its weights, for concrete shapes.

    Args:
        name: of the graph.
        taken: names that no layer may have: the model's initialisers, which keep theirs.
        shared: float32 arrays by param name that earlier graphs of the model made; they are used again where equal.
        limit_bytes: the most that one value of the graph may take.
    """

    Decline = Decline

    def __init__(self, name: str, taken: Sequence[str] = (), shared: dict | None = None, limit_bytes: int = 2**34):
        self.graph = Graph(name)
        self.weights: dict[str, np.ndarray] = {}
        self.constants: dict[str, np.ndarray] = {}  # ONNX name -> value, in its declared dtype
        self.known: dict[str, Known] = {}  # ONNX name -> runtime value
        self.initializers: frozenset[str] = frozenset(taken)
        self.limit_bytes = limit_bytes
        self._shared = {} if shared is None else shared
        self._names: set[str] = set(taken)
        self._as_param: dict[tuple[str, str], str] = {}  # (ONNX name, kind) -> param
        self._node: Node | None = None

    # --- what is known of a value

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value or constant."""
        return self.known[name].shape if name in self.known else tuple(self.constants[name].shape)

    def dtype(self, name: str) -> str:
        """NumPy's name of the dtype that the model declares: "float32", "float16", "int64"..."""
        return self.known[name].dtype if name in self.known else str(self.constants[name].dtype)

    def is_float(self, name: str) -> bool:
        """Whether it is of a floating type: float32 inside the graph, whatever the model declares."""
        return self.dtype(name) in FLOATS

    def const(self, name: str) -> np.ndarray | None:
        """The value in its declared dtype, read-only; None where it is not known before running, or absent ("")."""
        return self.constants.get(name)

    # --- operands

    def value(self, name: str) -> str:
        """The name to use as an operand: of the runtime value, or of a float32 Param made of the constant."""
        if not name:
            return ""
        return self.known[name].graph_name if name in self.known else self.weight(name, "constant")

    def weight(self, name: str, kind: str) -> str:
        """The Param of a constant that is used as it is: an initialiser keeps its name; made once, however often read.

        Raises: Decline where the value is not known before running.
        """
        if not name:
            return ""
        array = self.constants.get(name)
        if array is None:
            raise Decline(f"{name!r} is computed while running; only a constant can be a {kind} here")
        found = self._as_param.get((name, kind)) or next((p for (n, _), p in self._as_param.items() if n == name), None)
        if found is None:
            found = name if name in self.initializers else self._claim(name)
            self._add_param(found, array, kind)
        elif kind != "constant" and self.graph.params[found].kind == "constant":  # read as an operand first
            self.graph.params[found] = Param(found, self.graph.params[found].shape, kind)
        self._as_param[name, kind] = found
        return found

    def param(self, array: np.ndarray, hint: str, kind: str = "constant") -> str:
        """The name of a new Param with these values in float32; kinds as in cnnkern/graph/ir.py."""
        name = self._claim(f"{self._node.name}.{hint}" if self._node else hint)
        self._add_param(name, np.asarray(array), kind)
        return name

    # --- layers

    def emit(self, spec: Spec, operands: Sequence[str], hint: str = "") -> str:
        """Add a layer; the name of its first output. Layers are called after the node, with the hint behind it.

        Raises: ModelError where the Spec refuses the shapes.
        """
        return self.emit_all(spec, operands, hint)[0]

    def emit_all(self, spec: Spec, operands: Sequence[str], hint: str = "") -> list[str]:
        """Add a layer; the names of all its outputs."""
        operands = tuple(name or "" for name in operands)
        shapes = spec.infer(*map(self.graph.shape, operands))
        dtypes = spec.dtypes if isinstance(spec, ForeignSpec) else ("float32",) * len(shapes)
        for shape in shapes:
            self.check_bytes(shape)
        base = self._node.name if self._node else spec.op
        layer = self._claim(f"{base}/{hint}" if hint else base)
        outputs = tuple(layer if i == 0 else self._claim(f"{layer}:{i}") for i in range(len(shapes)))
        for output, shape, dtype in zip(outputs, shapes, dtypes):
            self.graph.values[output] = Value(output, tuple(shape), dtype)
        self.graph.nodes.append(GraphNode(layer, spec, operands, outputs))
        return list(outputs)

    def check_bytes(self, shape: Sequence[int], itemsize: int = 4) -> None:
        """ModelError where a value of this shape is beyond the limit, or beyond what NumPy holds."""
        if len(shape) > MAX_RANK:
            where = self._node.where() if self._node else self.graph.name
            raise ModelError(f"{where}: a value of {len(shape)} dimensions; at most {MAX_RANK} are accepted")
        size = product(shape) * itemsize
        if size > self.limit_bytes:
            where = self._node.where() if self._node else self.graph.name
            raise ModelError(
                f"{where}: a value of shape {tuple(shape)} takes {size:,} bytes; at most {self.limit_bytes:,} are "
                "accepted (memory_limit_bytes)"
            )

    # --- inside, and for the loader

    def add_input(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """A runtime value that the caller brings, under its own name."""
        graph_name = self._claim(name)
        inside = "float32" if dtype in FLOATS else dtype
        self.check_bytes(shape, 4)
        self.graph.values[graph_name] = Value(graph_name, shape, inside)
        self.graph.inputs.append(graph_name)
        self.known[name] = Known(graph_name, shape, dtype)

    def at(self, node: Node | None) -> None:
        """The node that is being converted: layers and params are called after it."""
        self._node = node

    def mark(self) -> tuple[int, ...]:
        """What `rewind` takes back to here."""
        return len(self.graph.nodes), len(self.graph.values), len(self.graph.params), len(self._as_param)

    def rewind(self, mark: tuple[int, ...]) -> None:
        """Forget what a converter emitted before it declined."""
        nodes, values, params, as_param = mark
        del self.graph.nodes[nodes:]
        for name in list(self.graph.values)[values:]:
            del self.graph.values[name]
            self._names.discard(name)
        for name in list(self.graph.params)[params:]:
            del self.graph.params[name], self.weights[name]
            if name not in self.initializers:
                self._names.discard(name)
        for key in list(self._as_param)[as_param:]:
            del self._as_param[key]

    def _add_param(self, name: str, array: np.ndarray, kind: str) -> None:
        self.check_bytes(array.shape)
        with np.errstate(over="ignore"):  # a double beyond float32 is infinite in it
            made = np.ascontiguousarray(array, np.float32).reshape(array.shape)
        earlier = self._shared.get(name)
        if earlier is not None and _same_bits(earlier, made):
            made = earlier
        else:
            made = made.view()
            made.flags.writeable = False
            if made.nbytes >= LARGE_BYTES:
                self._shared[name] = made
        self.weights[name] = made
        self.graph.params[name] = Param(name, tuple(made.shape), kind)

    def _claim(self, name: str) -> str:
        """A name that no layer, value or param has: the given one, or numbered where that is taken."""
        found, i = name, 0
        while found in self._names:
            i += 1
            found = f"{name}_{i}"
        self._names.add(found)
        return found


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and (a.ctypes.data == b.ctypes.data or np.array_equal(a.view(np.int32), b.view(np.int32)))
