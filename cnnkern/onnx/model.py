"""OnnxModel: a network from an ONNX file, with what every Model can do and ONNX's own names, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import backends, config
from ..errors import ModelError, UnsupportedError
from ..graph.executor import by_position
from ..graph.ir import Graph, Value
from ..graph.recent import Recent
from ..model import Model, find_value
from ..ops.checks import as_int
from ..weights import Mismatch, as_float32, read_state_dict
from . import by_value, ports
from .lowering import FLOATS
from .program import Program, declared, held, run_stages
from .reader import Port, Source, symbols
from .stages import Staging
from .typed import Typed

Shapes = Mapping[str, Sequence[int]] | Sequence[Any] | None


class OnnxModel(Model):
    """A network from an ONNX file; `cnnkern.onnx.load` makes it.

    A graph is built, folded and planned for each set of input shapes it meets; the last few are kept. Where all shapes
    follow from those of the inputs it can do what every `Model` can: compile, summary, features, profiles. Where some
    hang on values (NonZero, NonMaxSuppression ...), calling and `run` work, in stages.

    Attributes:
        inputs, outputs: `Port`s: name, dtype, shape with ints, symbols and None, as the file declares them.
        opset: the version of ai.onnx that it imports. metadata: producer, domain, version and the like.
        graph: for the default shapes: declared sizes, those given to `load`, and 1 for an open first dimension.
        weights: every param of that graph; `state_dict` has the file's own initialisers instead.

    Example:
        >>> m = cnnkern.onnx.load("resnet50.onnx")
        >>> (scores,) = m.run({"input": np.zeros((1, 3, 224, 224), np.float32)})
    """

    def __init__(self, source: Source, origin: Any, sizes: Mapping[str, int], limit_bytes: int):
        self.origin = origin  # a path, bytes or ModelProto
        self._source, self._sizes, self._limit_bytes = source, dict(sizes), limit_bytes
        self.inputs, self.outputs = list(source.inputs), list(source.outputs)
        self.opset, self.metadata = source.opset, dict(source.metadata)
        self._checks = [ports.checker(port) for port in self.inputs]
        self._by_value = by_value.by_value(source)
        self._valued = [i for i, port in enumerate(self.inputs) if port.name in self._by_value]
        self._needs_stages = any(not port.is_tensor for port in self.inputs)
        self._begin()

    def _begin(self) -> None:
        """Forget all graphs: the weights are others."""
        self._staging = Staging(self._source, self._limit_bytes)
        self._programs, self._entries = Recent(), Recent()

    # --- what it is

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def graph(self) -> Graph:
        return self._default().stage.graph

    @property
    def input_shape(self) -> tuple[int, ...]:
        if not self.inputs:
            raise UnsupportedError(f"{self.name} has no inputs")
        return self.default_shapes()[0][1:]

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        return {
            port.name: tuple(f"{port.name}[{i}]" if dim is None else dim for i, dim in enumerate(port.shape or ()))
            for port in self.inputs
        }

    @property
    def overridable(self) -> list[Port]:
        """The inputs that have an initialiser, and may be left out."""
        return list(self._source.defaults.values())

    @property
    def batch(self) -> int | None:
        """How many images the file says it takes at a time; None where that is open."""
        shapes = [port.shape for port in self.inputs if port.shape]
        return shapes[0][0] if shapes and isinstance(shapes[0][0], int) else None

    def graph_for(self, shapes: Shapes) -> Graph:
        """The graph for inputs of these shapes, by name or in order."""
        return self._bound(shapes)

    @property
    def param_count(self) -> int:
        try:
            return super().param_count
        except (UnsupportedError, ValueError):  # no graph for all of it
            return sum(array.size for array in self.state_dict().values())

    def fallbacks(self, shapes: Shapes = None) -> list[tuple[str, str, str]]:
        """The nodes that run on onnx's reference evaluator, as (node, op type, why): for inputs of these shapes (of a
        model of several stages, those of the first); without shapes, of all that has run so far, and of the default
        shapes where nothing has."""
        programs = self._programs.values() if shapes is None else []
        programs = programs or [self._program(self._checked_shapes(shapes), (), {})]
        return list(dict.fromkeys(step for program in programs for step in program.fallbacks()))

    def plans(self) -> list[Any]:
        """The plans of what has run, as far as they are kept: what each prints is what ran, and why."""
        return [executable.plan for executable in self._staging.executables.values()]

    def __repr__(self) -> str:
        inputs = ", ".join(f"{port.name} {port.dtype} {ports.shape_text(port)}" for port in self.inputs)
        return f"OnnxModel({self.name!r}, opset {self.opset}, {inputs})"

    # --- weights

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Every param of `graph` by name: float32, read-only. Change initialisers through `load_state_dict`."""
        return dict(self._default().stage.weights)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The file's initialisers of floating type by name, as it holds them; the arrays are read-only."""
        return {name: array for name, array in self._source.initializers.items() if str(array.dtype) in FLOATS}

    @property
    def initializers(self) -> dict[str, np.ndarray]:
        """All of the file's initialisers by name, whole numbers too; the arrays are read-only."""
        return dict(self._source.initializers)

    def load_state_dict(self, source: Any, strict: bool = True, *, dropout: str = "identity") -> Mismatch:
        """Take other values for the file's initialisers of floating type.

        Args:
            source: name -> array or torch tensor, or the path of a .safetensors, .npz or .pth file. Names are the
                initialisers', shapes theirs.
            strict: raise when a name is missing or unexpected; False takes what there is and returns the difference.
            dropout: as for `Model.load_state_dict`; only "identity" is accepted.
        Returns:
            (missing, unexpected, misshaped) names.
        Raises:
            ModelError: names or shapes do not fit; the model keeps its weights.
        """
        if dropout != "identity":
            raise UnsupportedError(f"dropout: a loaded ONNX model takes 'identity' alone, got {dropout!r}")
        tensors = source if isinstance(source, Mapping) else read_state_dict(source)
        own = self.state_dict()
        found = {name: as_float32(name, tensors[name]) for name in own if name in tensors}
        misshaped = tuple((n, a.shape, own[n].shape) for n, a in found.items() if a.shape != own[n].shape)
        missing = tuple(name for name in own if name not in tensors)
        mismatch = Mismatch(missing, tuple(str(name) for name in tensors if name not in own), misshaped)
        if misshaped or (strict and mismatch):
            raise ModelError(f"the state dict does not fit {self.name}: {mismatch}")
        for name, array in found.items():
            array = declared(array, str(own[name].dtype))
            array.flags.writeable = False
            self._source.initializers[name] = array
        self.changed = True
        self._begin()
        return mismatch

    changed = False  # whether the weights are no longer the file's

    def without(self, *layers: str) -> Model:
        """Not for a loaded model: its layers' widths are fixed by the file."""
        raise UnsupportedError(f"{self.name}: layers can be taken out of built-in architectures, not of an ONNX file")

    # --- running

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None, backend: Any = None
    ) -> list[np.ndarray]:
        """Run the model. Plans are kept for the shapes and settings that they were made for; those of the environment
        are read then.

        Args:
            feeds: an array by input name, of the declared dtype; inputs that have an initialiser may be left out.
            outputs: names of outputs; None means all, in the file's order.
            backend: a name or a backend; default the fastest available.
        Returns:
            The outputs, in their declared dtypes.
        Raises:
            ValueError: a name that is missing or unknown, a shape that the model does not take. TypeError: another
            dtype. ModelError: a node refuses these shapes or values.
        """
        arrays = [check(feeds) for check in self._checks]
        given = self._given(feeds) if len(feeds) != len(arrays) else {}
        return self._kept_entry(arrays, given, outputs, backend)(arrays)

    def entry(self, arrays: Sequence[np.ndarray], outputs: Sequence[str] | None, backend: Any) -> Callable | None:
        """What `run` calls for inputs of these shapes, in order, under the settings now in force: a function from their
        list to the list of outputs. None where more than shapes matters."""
        if self._valued or self._needs_stages or not self._program_of(arrays, {}).stage.is_last:
            return None
        return self._kept_entry(arrays, {}, outputs, backend)

    def prepare(self, shapes: Sequence[Sequence[Any] | None], backend: Any = None) -> None:
        """Plan now what `run` would plan for inputs of these shapes; where one is open, or a shape inside hangs on
        values, the first run does."""
        fixed = all(shape is not None and all(isinstance(size, int) for size in shape) for shape in shapes)
        if not fixed or self._valued or self._needs_stages:
            return
        program = self._program(tuple(map(tuple, shapes)), (), {})
        if program.stage.is_last:
            program.executable(program.outputs, backends.get(backend), self._settings())

    def __call__(self, x: Any, backend: Any = None) -> Any:
        """Run the model on one array, a sequence of all inputs in order, or a mapping by name, of the declared dtypes.

        Returns: the output, or a tuple of all where there are several.
        """
        results = self.run(self._feeds(x), None, backend)
        return results[0] if len(results) == 1 else tuple(results)

    def features(self, x: Any, names: Sequence[str] | str, backend: Any = None) -> dict[str, np.ndarray]:
        """Intermediate activations by layer name (`graph` and plans show them); see `Model.features`."""
        names = [names] if isinstance(names, str) else list(names)
        feeds = self._feeds(x)
        arrays = [check(feeds) for check in self._checks]
        program = self._static(self._program_of(arrays, self._given(feeds)))
        values = {name: find_value(program.stage.graph, name) for name in names}
        outputs = tuple(dict.fromkeys(values.values()))
        if not outputs:
            return {}
        executable = program.executable(outputs, backends.choose(backend, *arrays), self._settings())
        by_name = dict(zip((port.name for port in self.inputs), arrays))
        results = executable([held(by_name[name]) for name in program.stage.feeds])
        found = dict(zip(outputs, results if isinstance(results, tuple) else (results,)))
        return {name: found[value] for name, value in values.items()}

    # --- inside: what Model's own methods ask for

    def _feeds(self, x: Any) -> Mapping[str, Any]:
        if isinstance(x, Mapping):
            return x
        if type(x) is np.ndarray and len(self.inputs) == 1:  # the most frequent call
            return {self.inputs[0].name: x}
        return dict(zip((port.name for port in self.inputs), by_position(x, self._inputs, "x")))

    @property
    def _inputs(self) -> list[Value]:
        return [Value(port.name, port.shape or (), port.dtype) for port in self.inputs]

    def _shapes(self, given: Any) -> list[tuple[int, ...]]:
        return self.default_shapes() if given is None else super()._shapes(given)

    def _bound(self, shapes: Sequence[tuple]) -> Graph:
        return self._static(self._program(self._checked_shapes(shapes), (), {})).stage.graph.copy()

    def _compile(self, shapes, outputs, backend, precision=None, threads=None, **options):
        program = self._static(self._program(self._checked_shapes(shapes), (), {}))
        precision = precision or config.get("precision")
        return program.compiled(program.outputs, backends.get(backend), precision, threads, **options)

    # --- inside: programs

    def default_shapes(self) -> list[tuple[int, ...]]:
        """Of the inputs, in order: declared sizes, those given to `load`, 1 for an open first dimension.

        Raises: ValueError naming the other open ones.
        """
        return list(symbols(self.inputs, self._sizes).values())

    def _default(self) -> Program:
        return self._static(self._program(self._checked_shapes(None), (), {}))

    def _checked_shapes(self, given: Shapes) -> tuple[tuple[int, ...], ...]:
        shapes = self.default_shapes() if given is None else by_position(given, self._inputs, "shapes", "shapes")
        made = []
        for port, shape in zip(self.inputs, shapes):
            if not isinstance(shape, Iterable) or isinstance(shape, str):
                accepted = ports.shape_text(port)
                raise TypeError(f"input {port.name!r}: a shape like {accepted} is accepted, got {shape!r}")
            shape = [as_int(f"shape of {port.name!r}[{i}]", size, 0) for i, size in enumerate(shape)]
            made.append(ports.check_shape(port, shape))
        return tuple(made)

    def _program(self, shapes: Sequence[Any], value_key: tuple, values: Mapping[str, np.ndarray]) -> Program:
        """The first stage for these shapes and values."""

        def make() -> Program:
            types = {port.name: Typed(port.dtype, shape) for port, shape in zip(self.inputs, shapes)}
            return Program(self._staging, self._staging.first(types, values))

        return self._programs.get_or_make((tuple(shapes), value_key), make)

    def _program_of(self, arrays: Sequence[Any], given: Mapping[str, np.ndarray]) -> Program:
        shapes = [array.shape if port.is_tensor else None for port, array in zip(self.inputs, arrays)]
        values = {self.inputs[i].name: arrays[i] for i in self._valued}
        return self._program(shapes, self._value_key(arrays, given), {**values, **given})

    def _static(self, program: Program) -> Program:
        """The program, if it is all there is: UnsupportedError naming the node whose shape hangs on values."""
        if not program.stage.is_last:
            node = program.stage.pending[0]
            raise UnsupportedError(
                f"{self.name}: the shape of what {node.where()} makes is only known while running, so there is no plan "
                "of the whole; calling the model and run() work"
            )
        return program

    def _given(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What is brought for inputs that have an initialiser."""
        names, found = {port.name for port in self.inputs}, {}
        for name in feeds:
            if name in names:
                continue
            port = self._source.defaults.get(name)
            if port is None:
                accepted = ", ".join([*names, *self._source.defaults]) or "none"
                raise ValueError(f"the model has no input {name!r}; it has {accepted}")
            found[name] = ports.checker(port)(feeds)
        return found

    def _value_key(self, arrays: Sequence[Any], given: Mapping[str, np.ndarray]) -> tuple:
        if not self._valued and not given:
            return ()
        values = [(i, arrays[i].shape, by_value.key(arrays[i])) for i in self._valued]
        return (*values, *((name, array.shape, by_value.key(array)) for name, array in sorted(given.items())))

    def _settings(self) -> tuple:
        get = config.get
        return get("precision"), get("conv_algo"), config.get_num_threads(), get("backend"), get("isa")

    def _kept_entry(self, arrays, given, outputs, backend) -> Callable[[Sequence[Any]], list[np.ndarray]]:
        if any(type(array) is not np.ndarray for array in arrays):  # on a GPU, which chooses; or a sequence
            backend = backends.choose(backend, *arrays)
        key = (
            tuple([array.shape for array in arrays]) if not self._needs_stages else None,
            self._value_key(arrays, given),
            None if outputs is None else tuple(outputs),
            backend,
            config.in_force(),
        )
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries.get_or_make(key, lambda: self._entry(arrays, given, outputs, backend))
        return entry

    def _entry(self, arrays, given, outputs, backend) -> Callable[[Sequence[Any]], list[np.ndarray]]:
        """A function from the inputs' arrays to the outputs asked for, made for arrays like these."""
        chosen, settings = backends.choose(backend, *arrays), self._settings()
        program = self._program_of(arrays, given)
        stage = program.stage
        wanted = [port.name for port in self.outputs] if outputs is None else list(outputs)
        dtypes = dict(stage.gives) if stage.is_last else dict.fromkeys(port.name for port in self.outputs)
        for name in wanted:
            if name not in dtypes:
                raise ValueError(f"the model has no output {name!r}; it has {', '.join(dtypes)}")
        names = [port.name for port in self.inputs]
        if not stage.is_last:
            if any(backends.is_device_array(array) for array in arrays):
                raise UnsupportedError(f"{self.name} runs in stages, between which NumPy computes; give NumPy arrays")

            kinds = {port.name: port.dtype for port in self.outputs}

            def staged(arrays: Sequence[Any]) -> list[Any]:
                env = {**given, **dict(zip(names, arrays))}
                env = run_stages(program, env, chosen, settings)
                return [_unwrapped(env[name], kinds[name]) for name in wanted]

            return staged
        order = [name for name, _ in stage.gives]
        kept = [program.outputs[order.index(name)] for name in dict.fromkeys(wanted)]
        if not kept:
            return lambda arrays: []
        executable = program.executable(tuple(kept), chosen, settings)
        at = [names.index(name) for name in stage.feeds]
        distinct = list(dict.fromkeys(wanted))
        feeds = [self.inputs[i] for i in at]
        return _plain(executable, feeds, at, [dtypes[name] for name in wanted], [distinct.index(n) for n in wanted])


def _unwrapped(value: Any, kind: str) -> Any:
    """An optional sequence as the sequence; onnx's evaluator has a list around it."""
    wrapped = kind.startswith("optional(seq(") and isinstance(value, list) and len(value) == 1
    return value[0] if wrapped and isinstance(value[0], list) else value


def _plain(executable: Any, feeds: list[Port], at: list[int], dtypes: list[str], places: list[int]):
    """Calls an executable: inputs in its order and its dtypes, outputs as they are asked for."""
    same = all(port.dtype == "float32" or port.dtype not in FLOATS for port in feeds)
    whole = all(dtype == "float32" or dtype not in FLOATS for dtype in dtypes) and places == list(range(len(places)))

    def run(arrays: Sequence[Any]) -> list[np.ndarray]:
        inputs = [arrays[i] for i in at]
        made = executable(inputs if same else [held(array) for array in inputs])
        if not isinstance(made, tuple):
            made = (made,)
        if whole:
            return list(made)
        return [declared(made[place], dtype) for place, dtype in zip(places, dtypes)]

    return run
