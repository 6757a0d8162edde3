"""Model: a graph and its weights, and what users ask of a network."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backends, config
from ._dispatch import as_array
from .errors import ModelError
from .graph import passes, surgery
from .graph.dropout import scale_weights
from .graph.executor import by_position, label
from .graph.ir import Graph, Value
from .ops.base import product
from .ops.checks import as_choice, as_int
from .random_weights import random_weights
from .summary import Summary, summarise
from .weights import Mismatch, Rename, fit, looks_like, read_state_dict

if TYPE_CHECKING:
    from .graph.executor import Executable
    from .models.registry import Architecture

MAX_COMPILED = 4  # executables a Model keeps for `model(x)` and `features`; each holds packed weights and an arena
Shape3 = tuple[int, int, int]


class Model:
    """A network that can be run, compiled, inspected and loaded with weights.

    Attributes:
        name: the architecture's.
        graph: with the symbolic batch "N"; its layers are the names that `features` and plans use.
        input_shape: (C, H, W) of one image.
        input_shapes: of every input by name, with "N" for the batch and "R" for the number of regions.
        param_count: learnable values; running statistics are `buffer_count`.
        macs: multiply-accumulates of convolutions and linear layers, for one image (and one region).
        flops: all theoretical operations for one image, two per multiply-accumulate.

    A network with several inputs takes them as a sequence, in their order, or as a mapping by name, wherever one with a
    single input takes that: `model((images, rois))`.

    Example:
        >>> m = cnnkern.models.create("resnet18")
        >>> m(np.zeros((2, 3, 224, 224), np.float32)).shape
        (2, 1000)
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, np.ndarray] | None = None,
        *,
        seed: int = 0,
        rename: Rename | None = None,
        rebuild: Callable[[Shape3], Graph] | None = None,
        optional: Callable[[], frozenset[str]] = frozenset,
    ):
        """Wrap a graph.

        Args:
            weights: every param by name; None draws seeded random ones when first needed.
            rename: see `Architecture.rename`.
            rebuild: makes the graph for another image shape (C, H, W); None: only the graph's own is accepted.
            optional: names that a state dict may hold and this graph does not need.
        """
        self.graph = graph
        self._weights = None if weights is None else _frozen(dict(weights))
        self._seed, self._rename, self._rebuild, self._optional = seed, rename, rebuild, optional
        self._compiled: OrderedDict[tuple, Executable] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        num_classes: int | None = None,
        include_top: bool = True,
        input_shape: Shape3 | None = None,
        seed: int = 0,
    ) -> Model:
        """The model of a registered architecture; `cnnkern.models.create` by name is the public way."""
        if num_classes is not None:
            num_classes = as_int("num_classes", num_classes, 1)

        def build(shape: Shape3 | None, top: bool = include_top) -> Graph:
            return architecture.graph(num_classes, top, shape)

        model = cls(
            build(input_shape),
            seed=seed,
            rename=architecture.rename,
            rebuild=build,
            optional=lambda: frozenset(build(input_shape, top=True).params),
        )
        if architecture.weights is not None and num_classes in (None, architecture.num_classes):
            from . import data

            if not model.graph.params.items() <= build(None, top=True).params.items():
                own = f"{architecture.name} comes with weights for {architecture.input_shape}"
                raise ValueError(f"input_shape: {own}, got {input_shape}")
            model.load_state_dict(data.path(architecture.weights))
        return model

    # --- what it is

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.graph.shape(self.graph.inputs[0])[1:])

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        return {name: self.graph.shape(name) for name in self.graph.inputs}

    @property
    def param_count(self) -> int:
        return sum(product(param.shape) for param in self.graph.params.values() if param.trainable)

    @property
    def buffer_count(self) -> int:
        return sum(product(param.shape) for param in self.graph.params.values() if param.statistic)

    @property
    def macs(self) -> int:
        return self.summary().macs

    @property
    def flops(self) -> int:
        return self.summary().flops

    def summary(self) -> Summary:
        """The layers with output shape, parameters, activation memory, MACs and receptive field, and the totals.

        Returns:
            A `Summary`; printing it prints the table.
        """
        return summarise(self.graph)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, input {self.input_shape}, {self.param_count:,} parameters)"

    # --- weights

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Every param by name: float32, C-contiguous, read-only. Change them through `load_state_dict`."""
        with self._lock:
            if self._weights is None:
                self._weights = _frozen(random_weights(self.graph, self._seed))
            return self._weights

    def state_dict(self) -> dict[str, np.ndarray]:
        """The weights by name (torchvision's or timm's where those have the network); the arrays are read-only."""
        return dict(self.weights)

    def load_state_dict(
        self, source: Mapping[str, Any] | str | PathLike, strict: bool = True, *, dropout: str = "identity"
    ) -> Mismatch:
        """Take weights from a state dict.

        Args:
            source: name -> array or torch tensor, or the path of a .safetensors, .npz or .pth file, or of one that
                Keras wrote: .h5, .weights.h5 or .keras. Names are torchvision's or timm's where both have the network,
                Keras's for keras_* networks. Auxiliary heads, num_batches_tracked, optimizers and preprocessing layers
                are left out; half precision is widened.
            strict: raise when a name is missing or unexpected; False takes what there is and returns the difference.
            dropout: "scale" multiplies the weights behind dropout by the share that training kept (halves them behind
                one half), for weights trained by the rule of 2012; "identity" is right for all later ones.

        Returns:
            (missing, unexpected, misshaped) names, all empty when everything fitted.

        Raises:
            ModelError: names or shapes do not fit (all are listed, and the architecture they look like), or the file is
                truncated or corrupt. FileNotFoundError: no such file. The model keeps its weights in every such case.
        """
        as_choice("dropout", dropout, ("identity", "scale"))
        tensors, origin = source, "state dict"
        if not isinstance(source, Mapping):
            tensors, origin = read_state_dict(source, self.graph), str(source)
        unnamed = [key for key in tensors if not isinstance(key, str)]
        if unnamed:
            raise ModelError(f"{origin}: tensors by name are accepted, got the key {unnamed[0]!r}")
        ignore = self._optional() - self.graph.params.keys()
        found, mismatch = fit(self.graph, tensors, self._rename, frozenset(ignore))
        if mismatch.misshaped or (strict and mismatch):
            raise ModelError(f"{origin} does not fit {self.name}: {mismatch}{looks_like(tensors, self.name)}")
        if mismatch.missing:
            found = {**self.weights, **found}
        if dropout == "scale":
            found = scale_weights(self.graph, found)
        with self._lock:
            self._weights = _frozen(found)
            self._compiled.clear()
        return mismatch

    def without(self, *layers: str) -> Model:
        """The network with layers or blocks taken out (an ablation), the widths behind them fitted.

        Args:
            layers: names of layers, each goes with the activation behind it, or of blocks: "fc7", "layer3.2".
        Returns:
            A new `Model`. Weights that keep their shape keep their values; the others are random, by this one's seed.
        Raises:
            ValueError: no such layer, one with several inputs or outputs, or widths that cannot be fitted.
        Example:
            >>> cnnkern.models.create("alexnet_227").without("fc6", "fc7").param_count
            12964200
        """
        graph, build, own = surgery.remove(self.graph, layers), self._rebuild, self.graph.params
        weights = None
        if self._weights is not None:
            weights = random_weights(graph, self._seed)
            weights |= {name: w for name, w in self.weights.items() if graph.params.get(name) == own[name]}
        return Model(
            graph,
            weights,
            seed=self._seed,
            rename=self._rename,
            rebuild=None if build is None else lambda shape: surgery.remove(build(shape), layers),
            optional=lambda: frozenset(own) | self._optional(),
        )

    # --- running

    def __call__(self, x, backend: Any = None):
        """Run the network: x float32 (N, C, H, W) -> (N, num_classes), or a feature map where it has no top, or a tuple
        where it has several outputs; a CuPy array runs on its GPU and returns one.

        The first call for a shape compiles; use `compile` to choose threads and precision, and for speed.
        """
        return self._run(x, self.graph.outputs, backend)

    def features(self, x, names: Sequence[str] | str, backend: Any = None) -> dict[str, np.ndarray]:
        """Intermediate activations.

        Args:
            x: float32 (N, C, H, W), or all inputs where there are several.
            names: layers, or blocks of layers, which mean their last one: "layer3", "layer3.0.conv1", "avgpool".

        Returns:
            name -> its activation. Layers that none of them needs are not run.

        Raises:
            ValueError: no such layer; the nearest names are given.
        """
        names = [names] if isinstance(names, str) else list(names)
        values = {name: find_value(self.graph, name) for name in names}
        outputs = list(dict.fromkeys(values.values()))
        if not outputs:
            return {}
        results = self._run(x, outputs, backend)
        arrays = dict(zip(outputs, (results,) if len(outputs) == 1 else results))
        return {name: arrays[value] for name, value in values.items()}

    def compile(
        self,
        input_shape: Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
        backend: Any = None,
        precision: str | None = None,
        threads: int | None = None,
        autotune: bool = False,
        **options: Any,
    ) -> Executable:
        """The network bound to one input shape, planned and packed by a backend.

        Args:
            input_shape: (N, C, H, W); default one image of the model's own shape. Where the network has several inputs,
                the shapes of all, in order or by name: ((1, 3, 600, 1000), (300, 5)).
            backend: a name or a backend; default the fastest available.
            precision: "float32", "strict" (no Winograd or FFT), on CUDA also "tf32", "float16" and "bfloat16"; default
                the setting's.
            threads: default `cnnkern.get_num_threads()`.
            autotune: measure what the backend may choose among and no earlier run has measured, and keep the best for
                this machine; takes seconds. What is kept is used by every later plan.
            options: the backend's own, such as the cpu backend's `free_weights=True`: packed weights are all that the
                executable keeps, so that dropping the model frees the rest; its steps can then not be checked; the cuda
                backend's `device=1`, a GPU's number.

        Returns:
            An `Executable`: call it; see `.plan`, `.profile(x)`, `.count(x)`.

        Raises:
            ValueError: a shape the network cannot take. UnsupportedError: what the backend cannot do.
        """
        shapes = self._shapes(input_shape)
        if autotune:
            options["autotune"] = True
        return self._compile(shapes, None, backend, precision, threads, **options)

    @property
    def _inputs(self) -> list[Value]:
        return [self.graph.values[name] for name in self.graph.inputs]

    def _shapes(self, given) -> list[tuple[int, ...]]:
        """A shape for every input from what `compile` takes."""
        inputs, found = self._inputs, []
        if given is None:
            return [self.graph.bind(1).shape(value.name) for value in inputs]
        several = len(inputs) > 1 or isinstance(given, Mapping)
        for value, shape in zip(inputs, by_position(given, inputs, "input_shape", "shapes") if several else [given]):
            name = label("input_shape", value, inputs)
            if not isinstance(shape, Iterable) or isinstance(shape, str):
                raise TypeError(f"{name} must be a shape, like {value.shape}, got {shape!r}")
            found.append(tuple(as_int(f"{name}[{i}]", size, 0) for i, size in enumerate(shape)))
        return found

    def _compile(self, shapes, outputs: Sequence[str] | None, backend, precision=None, threads=None, **rest):
        graph = self._bound(shapes)
        weights = self.weights
        if outputs is not None and list(outputs) != graph.outputs:
            graph.outputs = list(outputs)
            graph, weights = passes.dead_code(graph, weights)
        chosen = backends.get(backend)
        graph, weights = passes.apply(graph, weights, chosen.passes())
        precision = precision or config.get("precision")
        return chosen.compile(graph, weights, precision=precision, threads=threads, **rest)

    def _bound(self, shapes: Sequence[tuple]) -> Graph:
        """The graph for inputs of these shapes, without symbols."""
        graph, sizes = self._for_shape(shapes[0]), {}
        for value, shape in zip((graph.values[name] for name in graph.inputs), shapes):
            pairs = [(d, sizes.setdefault(d, n) if isinstance(d, str) else d, n) for d, n in zip(value.shape, shape)]
            if len(shape) != len(value.shape) or any(wanted != n for _, wanted, n in pairs):
                raise ValueError(f"{self.name} takes {value.name} of shape {value.shape}, got {shape}")
        return graph.bind(sizes)

    def _for_shape(self, shape: tuple) -> Graph:
        """The graph for an input (N, C, H, W), whose params must be the model's own."""
        own = self.input_shape
        if len(shape) != len(own) + 1:
            raise ValueError(f"{self.name} takes inputs of shape {('N', *own)}, got {shape}")
        if shape[1:] == own:
            return self.graph
        if self._rebuild is None or shape[1] != own[0]:
            raise ValueError(f"{self.name} takes inputs of shape {('N', *own)}, got {shape}")
        graph = self._rebuild(shape[1:])
        if graph.params != self.graph.params:
            raise ValueError(f"{self.name} has linear layers made for {own}; it cannot take {shape[1:]}; create it so")
        return graph

    def _run(self, x, outputs: Sequence[str], backend: Any):
        inputs = self._inputs
        arrays = by_position(x, inputs, "x") if len(inputs) > 1 or isinstance(x, Mapping) else [x]
        arrays = [as_array(label("x", v, inputs), array, len(v.shape)) for v, array in zip(inputs, arrays)]
        chosen, shapes = backends.choose(backend, *arrays), tuple(array.shape for array in arrays)
        settings = (config.get("precision"), config.get("conv_algo"), config.get_num_threads())
        key = (shapes, tuple(outputs), chosen, settings)
        with self._lock:
            executable = self._compiled.pop(key, None)
        if executable is None:
            executable = self._compile(shapes, outputs, chosen)
        with self._lock:
            self._compiled[key] = executable  # the last one used is the last to go
            while len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        return executable(arrays)


def find_value(graph: Graph, name: str) -> str:
    """The value that a layer's or block's name means: its own output, or that of the block's last layer."""
    if name in graph.values:
        return name
    inside = [node for node in graph.nodes if node.name.startswith((f"{name}.", f"{name}/"))]
    if inside:
        return inside[-1].outputs[0]
    blocks = {node.name[:i] for node in graph.nodes for i, letter in enumerate(node.name) if letter in "./"}
    nearest = difflib.get_close_matches(str(name), sorted({*graph.values, *blocks}), n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
    raise ValueError(f"{graph.name} has no layer {name!r}{hint}")


def _frozen(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Read-only arrays: executables share them and pack them once."""
    for name, array in weights.items():
        if array.flags.writeable:
            weights[name] = view = array.view()
            view.flags.writeable = False
    return weights
