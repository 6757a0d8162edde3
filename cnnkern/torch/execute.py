"""Running a traced graph: its parts on cnnkern and in PyTorch, tensors handed over without copying."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from .. import backends, config
from ..graph import passes
from ..graph.executor import Executable
from . import borders
from .emitter import Emitter
from .pieces import Part, cut, declined, emit, name_of
from .trace import Trace, trace

MAX_SHAPES = 8  # programs kept where shapes change from call to call; each holds packed weights and an arena


class Program:
    """A function for one set of input shapes: its parts, and the weights they were made from.

    Attributes:
        executables: of the pieces on cnnkern, in order.
        left: (operation, how many, reason) for what stays in PyTorch.
        operations: how many of them cnnkern has.
    """

    def __init__(self, name: str, found: Trace, options: Mapping[str, Any], device: torch.device):
        self.name, self._found, self._options, self._device = name, found, options, device
        why = declined(found)
        parts = cut(found, why)
        self.left = _counted(why)
        taken = [node for part in parts if part.ours for node in part.nodes]
        self.operations = sum(node.target is not operator.getitem for node in taken)
        self.executables: list[Executable] = []
        self.weights = Weights(found)
        self._steps = [self._ours(part) if part.ours else _Theirs(part, found) for part in parts]
        self._outputs = found.outputs
        whole = len(parts) == 1 and parts[0].ours and self._steps[0].outputs == found.outputs
        self.whole: borders.Piece | None = self._steps[0] if whole else None
        self._positions = [found.inputs[node] for node in self.whole.inputs] if whole else []

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """The outputs for one call's arguments, whose shapes are the traced ones."""
        if self.whole is not None:
            return self.whole([arguments[i] for i in self._positions])
        env = {**self._found.constants}
        env.update((node, arguments[i]) for node, i in self._found.inputs.items())
        for step in self._steps:
            env.update(zip(step.outputs, step([env[node] for node in step.inputs])))
        results = []
        for output in self._outputs:
            if not isinstance(output, fx.Node):
                results.append(output)
                continue
            folded = output in self._found.constants and output not in self._found.weights
            results.append(env[output].clone() if folded and isinstance(env[output], torch.Tensor) else env[output])
        return results

    def piece_of(self, position: int) -> borders.Piece | None:
        """The one piece that a whole graph is, where it reads nothing but the argument at this position."""
        return self.whole if self._positions == [position] else None

    def inputs(self, arguments: Sequence[Any]) -> list[Any]:
        """The arrays of the one piece that a whole graph is."""
        return [borders.to_numpy(arguments[i]) for i in self._positions]

    def explanation(self) -> str:
        """What runs where, in words."""
        stay = sum(count for _, count, _ in self.left)
        counts = [len(exe.steps) for exe in self.executables]
        head = (
            f"cnnkern.torch, {self.name}: {self.operations} operations in {len(counts)} "
            f"{'piece' if len(counts) == 1 else 'pieces'} on cnnkern ({', '.join(map(str, counts)) or 'no'} steps), "
            f"{stay or 'none'} left in PyTorch"
        )
        return "\n".join([head, *(f"  {op}{f' ({count} times)' * (count > 1)}: {why}" for op, count, why in self.left)])

    def _ours(self, part: Part) -> borders.Piece:
        found, options = self._found, self._options
        e = Emitter(self.name, found.constants, found.labels)
        for node in part.inputs:
            e.input(node, node.meta["val"].shape)
        for node in part.nodes:
            emit(e, node)
        names = [e.env[node] for node in part.outputs]
        own = [name for name in dict.fromkeys(names) if name not in e.graph.inputs]
        e.graph.outputs = own
        graph, weights = passes.dead_code(e.graph, e.weights)
        layouts = {e.env[node]: borders.layout(node.meta["val"]) for node in (*part.inputs, *part.outputs)}
        executable = _compile(graph, weights, options, self._device, layouts) if own else None
        if executable is not None:
            self.executables.append(executable)
        return borders.Piece(executable, part.inputs, part.outputs, [e.env[node] for node in part.inputs], names, own)


class Weights:
    """What a program was made from, to be recognised at each call: the same memory, unchanged since.

    PyTorch counts a tensor's in-place changes. Not seen: changes through `.data` or through another library's view of
    the same memory, which it does not count.
    """

    def __init__(self, found: Trace):
        arguments = [found.inputs[node] for node in found.weights if node.op == "placeholder"]
        fixed = [tensor for node, tensor in found.weights.items() if node.op != "placeholder"]
        self._pick = operator.itemgetter(*arguments) if len(arguments) > 1 else None
        self._arguments, self._fixed = arguments, [t for t in fixed if isinstance(t, torch.Tensor)]
        held = [t for node, t in found.weights.items() if node.op == "placeholder"] + self._fixed
        self._held = [t.detach() for t in held]  # their memory is not given to others as long as we look at it
        self._pointers, self._versions = _pointers(held), _versions(held)

    def unchanged(self, arguments: Sequence[Any]) -> bool:
        now = self._pick(arguments) if self._pick else [arguments[i] for i in self._arguments]
        if self._fixed:
            now = [*now, *self._fixed]
        return _pointers(now) == self._pointers and _versions(now) == self._versions


def _pointers(tensors: Sequence[torch.Tensor]) -> list[int]:
    return list(map(torch.Tensor.data_ptr, tensors))


_VERSION = operator.attrgetter("_version")


def _versions(tensors: Sequence[torch.Tensor]) -> list[int]:
    try:
        return list(map(_VERSION, tensors))
    except RuntimeError:  # tensors made under inference_mode are not counted
        return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


class Programs:
    """The programs of one function, by the shapes of its arguments; made when needed, the last used kept.

    Args:
        function: of flat arguments, for `trace`; frozen, names: as there.
        varies: whether shapes may differ from call to call.
        options: as `backend` takes them.
    """

    def __init__(self, name: str, function: Callable, frozen, names, options: Mapping[str, Any], varies: bool):
        self.name, self._function, self._frozen, self._names = name, function, frozen, names
        self._options, self.varies = options, varies
        self._check = options.get("check_weights", True)
        self._kept: OrderedDict[tuple, Program] = OrderedDict()
        self._last: Program | None = None
        self.made = 0  # programs so far: a change of weights adds one

    @property
    def program(self) -> Program | None:
        """The one made last."""
        return self._last

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        return self.get(arguments).run(arguments)

    def get(self, arguments: Sequence[Any]) -> Program:
        program = self._kept.get(self._key(arguments)) if self.varies else self._last
        if program is None or (self._check and not program.weights.unchanged(arguments)):
            return self._make(arguments)
        return program

    def _key(self, arguments: Sequence[Any]) -> tuple:
        inputs = (a for a, frozen in zip(arguments, self._frozen) if not frozen)
        return tuple((tuple(a.shape), a.stride(), a.dtype) if isinstance(a, torch.Tensor) else a for a in inputs)

    def _make(self, arguments: Sequence[Any]) -> Program:
        with tracing_lock():
            key = self._key(arguments)
            program = self._kept.get(key)
            if program is not None and program.weights.unchanged(arguments):
                return program  # another thread was first
            found = trace(self._function, arguments, self._frozen, self._names)
            tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
            device = tensors[0].device if tensors else torch.device("cpu")
            program = Program(self.name, found, self._options, device)
            self._kept[key] = self._last = program
            self._kept.move_to_end(key)
            while len(self._kept) > (MAX_SHAPES if self.varies else 1):
                self._kept.popitem(last=False)
            self.made += 1
            return program


def tracing_lock():
    """One thread traces at a time, TorchDynamo included: tracing changes what the whole process sees."""
    try:
        from torch._dynamo.convert_frame import compile_lock
    except ImportError:  # a release that keeps it elsewhere
        return _LOCK
    return compile_lock


_LOCK = threading.RLock()


def _compile(graph, weights, options: Mapping[str, Any], device: torch.device, layouts: dict[str, str]) -> Executable:
    name = options.get("backend") or ("cuda" if device.type == "cuda" else None)
    chosen = backends.get(name)
    graph, weights = passes.apply(graph, weights, chosen.passes())
    given = {key: options[key] for key in ("threads", "free_weights", "autotune") if options.get(key) is not None}
    if chosen.name == "cpu":
        given["layouts"] = {name: layout for name, layout in layouts.items() if layout == "NHWC"}
    precision = options.get("precision") or config.get("precision")
    return chosen.compile(graph, weights, precision=precision, **given)


class _Theirs:
    """Operations as PyTorch runs them."""

    def __init__(self, part: Part, found: Trace):
        self.inputs, self.outputs = part.inputs, part.outputs
        graph, env = fx.Graph(), {}
        for node in part.inputs:
            env[node] = graph.placeholder(node.name)
        for node in part.nodes:
            env[node] = graph.node_copy(node, env.__getitem__)
            if env[node].target is torch.ops.aten.view.default:  # what is before it may lie otherwise in memory now
                env[node].target = torch.ops.aten.reshape.default
        graph.output(tuple(env[node] for node in part.outputs))
        self._run = fx.GraphModule(found.module, graph)

    def __call__(self, tensors: Sequence[Any]) -> Sequence[Any]:
        return self._run(*tensors)


def _counted(why: Mapping[fx.Node, str]) -> list[tuple[str, int, str]]:
    """(operation, how many, reason), in the order of the graph."""
    counts: dict[tuple[str, str], int] = {}
    for node, reason in why.items():
        if reason:
            counts[name_of(node), reason] = counts.get((name_of(node), reason), 0) + 1
    return [(op, count, reason) for (op, reason), count in counts.items()]
