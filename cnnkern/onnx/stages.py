"""A model for concrete input shapes: its nodes, in order, as constants, layers of one cnnkern graph, or steps on onnx's
reference evaluator. Where a shape hangs on values, a stage ends; the next begins when these values are there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import config
from ..errors import ModelError, UnsupportedError
from ..graph import passes
from ..graph.ir import Graph, Value
from ..graph.memory import dense_bytes, nhwc_bytes, plan_memory
from ..graph.recent import Recent
from ..graph.views import own_buffers
from ..ops import ForeignSpec, ReorderSpec
from . import branches, convert
from .constants import constant, measured
from .evaluate import Evaluator, foreign, inside, may_fold
from .lowering import FLOATS, Decline, Known, Lowerer, Node
from .reader import Source, tensor
from .typed import Typed, infer

_said: set[str] = set()


@dataclass
class Stage:
    """One graph, what it takes and gives, and what is left to do behind it.

    Attributes:
        feeds: the model's names of the graph's inputs, in order. gives: those of its outputs, with declared dtypes.
        constants: values known here that outputs or later nodes need.
        later: nodes left for the next stage, in order. pending: those of them that are evaluated first, for their
            shapes hang on values.
        fallbacks: (node, op type, why) of the steps that run on the evaluator.
    """

    graph: Graph
    weights: dict[str, np.ndarray]
    feeds: tuple[str, ...]
    gives: tuple[tuple[str, str], ...]
    constants: dict[str, np.ndarray]
    later: list[Node] = field(default_factory=list)
    pending: list[Node] = field(default_factory=list)
    fallbacks: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def is_last(self) -> bool:
        return not self.later


class Kept:
    """What all graphs of a model share: arrays of weights, folded constants, evaluators."""

    def __init__(self) -> None:
        self.params: dict[str, np.ndarray] = {}
        self.folded: dict[str, np.ndarray] = {}  # that hang on initialisers alone
        self.lock = threading.Lock()


class Staging:
    """Makes stages of a `Source`.

    Args:
        limit_bytes: the most that the values of one graph may take at a time.
    """

    def __init__(self, source: Source, limit_bytes: int):
        self.source, self.limit_bytes, self.kept = source, limit_bytes, Kept()
        self.executables = Recent()  # of all its stages and shapes
        self.wanted = [port.name for port in source.outputs]

    def first(self, inputs: Mapping[str, Typed], values: Mapping[str, np.ndarray]) -> Stage:
        """The first stage for inputs of these types; `values`: those whose values are known, too."""
        constants = {**self.source.initializers, **values}
        fixed = self.source.initializers.keys() - values.keys()
        return _Walk(self, self.source.nodes, inputs, constants, fixed, self.wanted).stage()

    def after(self, stage: Stage, types: Mapping[str, Typed]) -> Stage:
        """The stage behind one whose pending nodes have been evaluated.

        Args:
            types: of all that is there by now; of a sequence, a type without a shape.
        """
        left = [node for node in stage.later if node not in stage.pending]
        read = {name for node in left for name in node.reads}
        inputs = {name: kind for name, kind in types.items() if name in read}
        wanted = [name for name in self.wanted if name not in types]
        return _Walk(self, left, inputs, stage.constants, frozenset(), wanted).stage()

    def evaluator(self, node: Node) -> Evaluator:
        return node.memo.setdefault("evaluator", Evaluator(node, self.source.opsets, self.limit_bytes))


class _Walk:
    """One pass over the nodes that are left."""

    def __init__(self, staging: Staging, nodes: Sequence[Node], inputs: Mapping[str, Typed], constants, fixed, wanted):
        self.staging, self.source, self.wanted = staging, staging.source, wanted
        self.nodes = list(nodes)
        self.b = Lowerer(self.source.name, self.source.initializers, staging.kept.params, staging.limit_bytes)
        self.b.constants.update(constants)
        self.fixed = set(fixed)  # constants that are the same for every shape
        self.feeds = tuple(name for name in inputs if name not in constants)
        self.pending: list[Node] = []
        self.later: list[Node] = []
        self.waiting: set[str] = set()  # names that only later stages know
        self.made_later: set[str] = set()  # those of them that a later node makes
        self.fallbacks: list[tuple[str, str, str]] = []
        self.folded_bytes = 0
        for name in self.feeds:
            if inputs[name].shape is None:
                self.waiting.add(name)  # a sequence: only the evaluator reads it
            else:
                self.b.add_input(name, inputs[name].shape, inputs[name].dtype)
        self.feeds = tuple(name for name in self.feeds if name not in self.waiting)

    def stage(self) -> Stage:
        queue = list(reversed(self.nodes))
        while queue:
            node = queue.pop()
            self.b.at(node)
            if any(name in self.waiting for name in node.reads):
                self._postpone(node)
            elif node.op == "If" and not node.domain:
                queue += reversed(self._branch(node))
            elif not self._fold(node):
                self._lower(node)
        self.b.at(None)
        return self._finished()

    # --- constants

    def _fold(self, node: Node) -> bool:
        """Make the outputs constants where they can be known now."""
        b, name = self.b, node.outputs[0] if node.outputs else ""
        if node.op == "Constant" and not node.domain:
            b.constants[name] = constant(node)
            self.fixed.add(name)
            return True
        if node.op in ("Shape", "Size") and not node.domain and node.inputs[0] in b.known:
            b.constants[name] = measured(node, b.shape(node.inputs[0]))
            return True
        if node.op == "CastLike" and not node.domain and node.inputs[0] in b.constants and node.inputs[1] in b.known:
            like = np.zeros((), b.dtype(node.inputs[1]))  # nothing but its type matters
            b.constants[name] = np.asarray(self.staging.evaluator(node)([b.constants[node.inputs[0]], like])[0])
            return True
        if any(read not in b.constants for read in node.reads):
            return False
        fixed = all(read in self.fixed for read in node.reads)
        if fixed and (found := self._folded_before(node)):
            b.constants.update(found)
            self.fixed.update(found)
            return True
        arrays = [b.constants[read] if read else None for read in node.inputs]
        given = [array for array in arrays if array is not None]
        if not all(isinstance(array, np.ndarray) for array in given):
            return False
        types = self._types(node)
        if not may_fold(node, given, types) or any(kind is None for name, kind in zip(node.outputs, types) if name):
            return False
        self._account(node, types)
        made = self.staging.evaluator(node)(arrays)
        if not all(isinstance(value, (np.ndarray, np.generic)) for value in made):
            return False
        for output, value in zip((out for out in node.outputs if out), made):
            value = np.asarray(value)
            value = value.view() if value.base is not None or not value.flags.owndata else value
            value.flags.writeable = False
            b.constants[output] = value
            if fixed:
                self.fixed.add(output)
                with self.staging.kept.lock:
                    self.staging.kept.folded[output] = value
        return True

    def _account(self, node: Node, types: Sequence[Typed | None]) -> None:
        """ModelError where what is folded takes more than a graph may."""
        self.folded_bytes += sum(kind.nbytes or 0 for kind in types if kind)
        if self.folded_bytes > self.staging.limit_bytes:
            raise ModelError(
                f"{node.where()}: its value and the constants folded before it take {self.folded_bytes:,} bytes; at "
                f"most {self.staging.limit_bytes:,} are accepted (memory_limit_bytes)"
            )

    def _folded_before(self, node: Node) -> dict[str, np.ndarray] | None:
        with self.staging.kept.lock:
            folded = self.staging.kept.folded
            names = [name for name in node.outputs if name]
            return {name: folded[name] for name in names} if all(name in folded for name in names) else None

    def _branch(self, node: Node) -> list[Node]:
        """The nodes of the branch that an If takes, where its condition is known."""
        condition = self.b.const(node.inputs[0])
        if condition is None or condition.size != 1:
            raise ModelError(
                f"{node.where()}: control flow is not supported: which branch it takes hangs on values that are only "
                "known while running"
            )
        which = bool(condition.reshape(())[()])
        if which not in node.memo:
            node.memo[which] = branches.taken(node, which, self.source.opsets, tensor)
        nodes, constants = node.memo[which]
        self.b.constants.update(constants)
        self.fixed.update(constants)
        return nodes

    # --- layers

    def _lower(self, node: Node) -> None:
        if self.source.legacy and node.op == "PRelu":
            node = self._slope_of_channels(node)
        types = self._types(node)
        reason = self._convert(node, types)
        if reason and not self._foreign(node, types, reason):
            self._postpone(node, pending=True)

    def _slope_of_channels(self, node: Node) -> Node:
        """PRelu before opset 7, whose vector of slopes is one for each channel, as onnx's conversion leaves it."""
        b, (x, slope) = self.b, node.inputs
        array = b.constants.get(slope)
        if array is None or array.ndim != 1 or x not in b.known:
            return node
        name = f"{slope}/{len(b.shape(x))}d"
        b.constants[name] = array.reshape(-1, *[1] * max(len(b.shape(x)) - 2, 0))
        proto = type(node.proto)()
        proto.CopyFrom(node.proto)
        proto.input[1] = name
        return Node(proto, node.name, node.opset)

    def _types(self, node: Node) -> list[Typed | None]:
        b, constants = self.b, {}
        inputs: list[Typed | None] = []
        for name in node.inputs:
            if name in b.constants:
                constants[name] = b.constants[name]
            inputs.append(Typed(b.dtype(name), b.shape(name)) if name else None)
        return infer(node, inputs, constants, self.source.opsets)

    def _convert(self, node: Node, types: Sequence[Typed | None]) -> str:
        """Ask the node's converter; why there is no layer, or "" where there is one now."""
        b = self.b
        function = convert.find(node.op, node.opset) if not node.domain else None
        if function is None:
            return "cnnkern has no kernel for it"
        asked = [(name, kind) for name, kind in zip(node.outputs, types) if name]
        if any(kind is None for _, kind in asked):
            return "onnx does not say what it makes"
        whole = [name for name in node.inputs if name in b.known and not b.is_float(name)]
        if whole:
            return f"its input {whole[0]!r} is {b.dtype(whole[0])}, and known only while running"
        mark = b.mark()
        try:
            made = list(function(b, node))
            made += [""] * (len(node.outputs) - len(made))
            for (name, kind), found in zip(asked, [m for n, m in zip(node.outputs, made) if n]):
                if not found:
                    raise Decline(f"its output {name!r} is not made")
                shape = tuple(b.graph.shape(found))
                whole = kind.shape is not None and len(kind.shape) == len(shape)  # ConvTranspose's may be cut short
                if whole and shape != kind.shape:
                    raise Decline(f"its output {name!r} would have the shape {shape}, where onnx expects {kind.shape}")
                if found in b.graph.values and b.graph.values[found].dtype != str(inside(kind.dtype)):
                    raise Decline(f"its output {name!r} is {kind.dtype}")
                b.known[name] = Known(self._runtime(found), shape, kind.dtype)
        except Decline as declined:
            b.rewind(mark)
            for name in node.outputs:
                b.known.pop(name, None)
            return str(declined) or "its converter declined"
        except ModelError:
            raise
        except (ValueError, TypeError) as error:  # a Spec refuses
            if not self._empty(node):
                raise ModelError(f"{node.where()}: {error}") from error
            b.rewind(mark)
            return "an array in it is empty"
        return ""

    def _empty(self, node: Node) -> bool:
        """Whether an input has no elements, which Specs of images do not take."""
        return any(0 in self.b.shape(name) for name in node.inputs if name)

    def _runtime(self, name: str) -> str:
        """A layer's output; of a Param, which a converter passes on, a copy that is one."""
        return self.b.emit(ReorderSpec(), [name]) if name in self.b.graph.params else name

    def _foreign(self, node: Node, types: Sequence[Typed | None], reason: str) -> bool:
        """A step on the evaluator, where the shapes of its outputs are known."""
        b = self.b
        asked = [(name, kind) for name, kind in zip(node.outputs, types) if name]
        if any(kind is None or kind.shape is None for _, kind in asked):
            return False
        slots, operands = [], []
        for name in node.inputs:
            if name in b.known:
                slots.append(("value", b.dtype(name)))
                operands.append(b.known[name].graph_name)
            else:
                slots.append(("constant", b.constants[name]) if name else ("absent", None))
        kinds = [kind for _, kind in asked]
        for kind in kinds:
            b.check_bytes(kind.shape, inside(kind.dtype).itemsize)
        run = foreign(self.staging.evaluator(node), slots, kinds)
        shapes = tuple(kind.shape for kind in kinds)
        spec = ForeignSpec(node.op, shapes, tuple(str(inside(kind.dtype)) for kind in kinds), run)
        for (name, kind), made in zip(asked, b.emit_all(spec, operands)):
            b.known[name] = Known(made, kind.shape, kind.dtype)
        self._note(node, reason)
        return True

    def _note(self, node: Node, reason: str) -> None:
        self.fallbacks.append((node.name, node.op, reason))
        if node.op not in _said and config.get("verbose") >= 1:
            _said.add(node.op)
            print(f"cnnkern onnx: {node.op} (node {node.name!r}) runs on onnx's reference evaluator", file=sys.stderr)

    def _postpone(self, node: Node, pending: bool = False) -> None:
        """Leave a node to a later stage; where all it reads is there, a sequence perhaps, it is evaluated before."""
        self.later.append(node)
        if pending or not any(name in self.made_later for name in node.reads):
            self.pending.append(node)
            self._note(node, "the shape of what it makes hangs on values")
        made = {name for name in node.outputs if name}
        self.waiting |= made
        self.made_later |= made

    # --- the end

    def _finished(self) -> Stage:
        b, needed, gives = self.b, dict.fromkeys(self.wanted), list(self.wanted)
        if self.later:
            needed.update(dict.fromkeys(name for node in self.later for name in node.reads))
            gives = [name for name in needed if name in b.known and name not in self.feeds]
        b.graph.outputs = self._outputs(gives)
        graph, weights = passes.dead_code(b.graph, b.weights)
        self._check_memory(graph)
        left = {node.name for node in graph.nodes}
        return Stage(
            graph=graph,
            weights=weights,
            feeds=self.feeds,
            gives=tuple((name, b.dtype(name)) for name in gives),
            constants={name: b.constants[name] for name in needed if name in b.constants} if self.later else {},
            later=self.later,
            pending=self.pending,
            fallbacks=[row for row in self.fallbacks if row[0] in left or self.later],
        )

    def _outputs(self, wanted: Sequence[str]) -> list[str]:
        """The graph's names for values, each its own: constants, inputs and duplicates are copied."""
        b, names = self.b, []
        for name in wanted:
            if name in b.known:
                found = b.known[name].graph_name
                names.append(self._copy(found, name) if found in names or found in b.graph.inputs else found)
            else:
                names.append(self._constant_output(name))
        return names

    def _copy(self, graph_name: str, name: str) -> str:
        """The same value under a name of its own."""
        value = self.b.graph.values[graph_name]
        if value.dtype == "float32":
            return self.b.emit(ReorderSpec(), [graph_name], f"{name}/copy")
        spec = ForeignSpec("Identity", (tuple(value.shape),), (value.dtype,), lambda array: [array.copy()])
        return self.b.emit(spec, [graph_name], f"{name}/copy")

    def _constant_output(self, name: str) -> str:
        b, array = self.b, self.b.constants[name]
        if not isinstance(array, np.ndarray):
            raise UnsupportedError(f"{self.source.name}: its output {name!r} is a constant that is no tensor")
        held = array.astype(inside(str(array.dtype)))
        if str(array.dtype) in FLOATS:
            return b.emit(ReorderSpec(), [b.value(name)], f"{name}/constant")
        spec = ForeignSpec("Constant", (tuple(held.shape),), (str(held.dtype),), lambda: [held.copy()])
        return b.emit(spec, [], f"{name}/constant")

    def _check_memory(self, graph: Graph) -> None:
        limit = self.staging.limit_bytes
        sizes = {name: _held_bytes(value) for name, value in graph.values.items()}
        if sum(sizes.values()) <= limit:
            return
        planned = plan_memory(graph, own_buffers(graph), sizes.__getitem__).arena_bytes
        if planned > limit:
            raise ModelError(
                f"{self.source.name}: its activations take {planned:,} bytes at these shapes; at most {limit:,} are "
                "accepted (memory_limit_bytes)"
            )


def _held_bytes(value: Value) -> int:
    """What a value takes while a plan runs: pixels, and rows of matrices, are rounded up to whole vectors."""
    rounded = value.dtype == "float32" and len(value.shape) in (2, 4)
    return (nhwc_bytes if rounded else dense_bytes)(value.shape, value.dtype)
