"""GraphBuilder: layers in data order -> `Graph`. Shapes are inferred, and checked, the moment a layer is added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..ops import (
    ActivationSpec,
    AdaptiveAvgPool2dSpec,
    AddSpec,
    BatchNormSpec,
    ChannelShuffleSpec,
    ConcatSpec,
    Conv2dSpec,
    FlattenSpec,
    ForeignSpec,
    GlobalPool2dSpec,
    LinearSpec,
    LocallyConnected2dSpec,
    LocalResponseNormSpec,
    MulSpec,
    PadSpec,
    Pool2dSpec,
    ReshapeSpec,
    RoiMaxPoolSpec,
    SliceSpec,
    SoftmaxSpec,
    normalise_padding,
)
from ..ops.base import Spec
from .ir import Graph, Node, Param, Value

Pair = int | tuple[int, int]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class GraphBuilder:
    """Builds a `Graph` one layer at a time; every method takes and returns names of values.

    Layers carry the names of the network's state dict (torchvision's where it has the network), so that a parameter
    is `<layer>.weight`, `<layer>.bias`, `<layer>.running_mean`, `<layer>.running_var`. Inside `scope(prefix)` names
    get the prefix. A layer without a name is called after its kind, numbered where that is taken.

    Raises:
        ValueError: where a name is taken or the op's Spec refuses the shapes; the message starts with the layer.

    Example:
        >>> g = GraphBuilder("tiny")
        >>> x = g.input((3, 8, 8))
        >>> x = g.relu(g.conv(x, "conv1", 16, 3, padding=1))
        >>> g.finish(g.linear(g.flatten(x), "fc", 10)).outputs
        ['fc']
    """

    def __init__(self, name: str):
        self.graph = Graph(name)
        self._scopes: list[str] = []
        self._layers: set[str] = set()

    @classmethod
    def on(cls, graph: Graph) -> GraphBuilder:
        """A builder that adds to a copy of `graph`."""
        g = cls(graph.name)
        g.graph = graph.copy()
        g._layers = {*graph.inputs, *(node.name for node in graph.nodes)}
        return g

    # --- names, shapes, the general case

    @contextmanager
    def scope(self, prefix: str, separator: str = ".") -> Iterator[None]:
        """Within the block, every layer's name starts with `prefix` and the separator."""
        self._scopes.append(prefix + separator)
        try:
            yield
        finally:
            self._scopes.pop()

    def shape(self, x: str) -> tuple[int | str, ...]:
        """The shape of a value; its first dimension is the symbol "N", or "R" behind regions."""
        return self.graph.values[x].shape

    def channels(self, x: str) -> int:
        return self.shape(x)[1]

    def emit(self, spec: Spec, inputs: Sequence[str], name: str | None = None) -> str:
        """Any operation: its Spec on values and params ("" for an absent one) -> the name of its first output."""
        layer = self._claim(name, spec.op if not isinstance(spec, ActivationSpec) else spec.kind)
        try:
            shapes = spec.infer(*map(self.graph.shape, inputs))
        except ValueError as error:
            raise ValueError(f"{self.graph.name}, layer {layer!r}: {error}") from None
        outputs = tuple(layer if i == 0 else f"{layer}:{i}" for i in range(len(shapes)))
        dtypes = spec.dtypes if isinstance(spec, ForeignSpec) else ("float32",) * len(shapes)
        for output, shape, dtype in zip(outputs, shapes, dtypes):
            self.graph.values[output] = Value(output, shape, dtype)
        self.graph.nodes.append(Node(layer, spec, tuple(inputs), outputs))
        return outputs[0]

    def input(self, shape: tuple[int, int, int], name: str = "input") -> str:
        """A network input of `shape` (C, H, W), without the batch."""
        if len(shape) != 3 or any(not isinstance(d, int) or d < 1 for d in shape):
            raise ValueError(f"input_shape: expected three positive integers (C, H, W), got {tuple(shape)}")
        self._layers.add(name)
        self.graph.values[name] = Value(name, ("N", *shape))
        self.graph.inputs.append(name)
        return name

    def regions(self, name: str = "rois") -> str:
        """A network input of "R" regions (R, 5): image, x1, y1, x2, y2 each, as `roi_max_pool` takes them."""
        self._layers.add(name)
        self.graph.values[name] = Value(name, ("R", 5))
        self.graph.inputs.append(name)
        return name

    def finish(self, outputs: str | Sequence[str]) -> Graph:
        """The graph, with these values as its outputs."""
        self.graph.outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        return self.graph

    # --- layers with weights

    def conv(
        self,
        x: str,
        name: str,
        channels: int,
        kernel: Pair,
        stride: Pair = 1,
        padding=0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> str:
        """2-D convolution to `channels`; params weight (channels, C/groups, R, S) and bias (channels,)."""
        (r, s), stride, dilation = _pair(kernel), _pair(stride), _pair(dilation)
        _, c, *hw = self.shape(x)
        spec = Conv2dSpec(stride, normalise_padding(padding, tuple(hw), (r, s), stride, dilation), dilation, groups)
        layer = self._scoped(name)
        weight = self._param(f"{layer}.weight", (channels, c // groups, r, s), "conv_weight")
        return self.emit(spec, (x, weight, self._bias(layer, channels, bias), ""), name)

    def linear(self, x: str, name: str, features: int, bias: bool = True) -> str:
        """(N, F) -> (N, features); params weight (features, F) and bias (features,)."""
        layer = self._scoped(name)
        weight = self._param(f"{layer}.weight", (features, self.shape(x)[1]), "linear_weight")
        return self.emit(LinearSpec(), (x, weight, self._bias(layer, features, bias)), name)

    def fixed_linear(self, x: str, name: str, weight: tuple[tuple[float, ...], ...], bias: tuple[float, ...]) -> str:
        """(N, F) -> (N, features) by numbers that are part of the network's definition: no state dict holds them."""
        layer = self._scoped(name)
        weight = self._param(f"{layer}.weight", (len(weight), len(weight[0])), "constant", weight)
        return self.emit(LinearSpec(), (x, weight, self._param(f"{layer}.bias", (len(bias),), "constant", bias)), name)

    def locally_connected(self, x: str, name: str, channels: int, kernel: Pair, stride: Pair = 1) -> str:
        """Convolution with filters of its own at each of the (P, Q) positions, without padding; params weight
        (P, Q, channels, C, R, S) and bias (channels, P, Q)."""
        (r, s), stride = _pair(kernel), _pair(stride)
        _, c, h, w = self.shape(x)
        layer, p, q = self._scoped(name), (h - r) // stride[0] + 1, (w - s) // stride[1] + 1
        weight = self._param(f"{layer}.weight", (p, q, channels, c, r, s), "conv_weight")
        bias = self._param(f"{layer}.bias", (channels, p, q), "bias")
        return self.emit(LocallyConnected2dSpec(stride), (x, weight, bias), name)

    def affine(self, x: str, name: str, factor: float) -> str:
        """x times a number that is part of the network's definition, times a weight per channel, plus a bias: a batch
        norm of fixed statistics."""
        layer, c = self._scoped(name), (self.channels(x),)
        params = (
            self._param(f"{layer}.mean", c, "constant", 0.0),
            self._param(f"{layer}.var", c, "constant", factor**-2),
            self._param(f"{layer}.weight", c, "bn_weight"),
            self._param(f"{layer}.bias", c, "bn_bias"),
        )
        return self.emit(BatchNormSpec(0.0), (x, *params), name)

    def batch_norm(self, x: str, name: str, eps: float = 1e-5, scale: bool = True, shift: bool = True) -> str:
        """Inference batch norm; `scale` and `shift`: whether it has gamma (weight) and beta (bias)."""
        layer, c = self._scoped(name), (self.channels(x),)
        params = (
            self._param(f"{layer}.running_mean", c, "bn_mean"),
            self._param(f"{layer}.running_var", c, "bn_var"),
            self._param(f"{layer}.weight", c, "bn_weight") if scale else "",
            self._param(f"{layer}.bias", c, "bn_bias") if shift else "",
        )
        return self.emit(BatchNormSpec(eps), (x, *params), name)

    # --- element-wise

    def activation(self, x: str, kind: str, name: str | None = None, param: float | None = None) -> str:
        return self.emit(ActivationSpec(kind, param), (x,), name)

    def relu(self, x: str, name: str | None = None) -> str:
        return self.activation(x, "relu", name)

    def add(self, a: str, b: str, name: str | None = None) -> str:
        return self.emit(AddSpec(), (a, b), name)

    def mul(self, a: str, b: str, name: str | None = None) -> str:
        return self.emit(MulSpec(), (a, b), name)

    def scale(self, x: str, factor: float, name: str) -> str:
        """x times a number that is part of the network's definition: no state dict holds it."""
        layer = self._scoped(name)
        constant = self._param(f"{layer}.factor", (1,) * len(self.shape(x)), "constant", factor)
        return self.emit(MulSpec(), (x, constant), name)

    def softmax(self, x: str, name: str | None = None, axis: int = -1) -> str:
        return self.emit(SoftmaxSpec(axis), (x,), name)

    def dropout(self, x: str, rate: float) -> str:
        """The identity at inference; adds nothing. That training drops this share of x is noted in the graph."""
        self.graph.dropped[x] = rate
        return x

    # --- pooling and normalisation

    def max_pool(self, x: str, kernel: Pair, stride: Pair | None = None, padding=0, name=None, **options) -> str:
        """Max pooling; options: dilation, ceil_mode."""
        return self._pool("max", x, kernel, stride, padding, name, **options)

    def avg_pool(self, x: str, kernel: Pair, stride: Pair | None = None, padding=0, name=None, **options) -> str:
        """Average pooling; options: ceil_mode, count_include_pad."""
        return self._pool("avg", x, kernel, stride, padding, name, **options)

    def global_avg_pool(self, x: str, name: str | None = None) -> str:
        """(N, C, H, W) -> (N, C, 1, 1), the mean of each channel."""
        return self.emit(GlobalPool2dSpec("avg"), (x,), name)

    def adaptive_avg_pool(self, x: str, size: Pair, name: str | None = None) -> str:
        """Average pooling to `size`; a map that has that size already passes as it is, nothing is added."""
        size = _pair(size)
        if self.shape(x)[2:] == size:
            return x
        return self.global_avg_pool(x, name) if size == (1, 1) else self.emit(AdaptiveAvgPool2dSpec(size), (x,), name)

    def roi_max_pool(self, x: str, rois: str, size: Pair, scale: float, name: str | None = None) -> str:
        """Maxima over a grid of `size` cells on each region: (N, C, H, W) and (R, 5) -> (R, C, *size)."""
        return self.emit(RoiMaxPoolSpec(_pair(size), scale), (x, rois), name)

    def lrn(self, x: str, size: int, alpha=1e-4, beta=0.75, k=1.0, alpha_is_sum=False, name=None) -> str:
        """Local response normalisation across `size` channels."""
        return self.emit(LocalResponseNormSpec(size, alpha, beta, k, alpha_is_sum), (x,), name)

    # --- shape

    def concat(self, values: Sequence[str], name: str | None = None, axis: int = 1) -> str:
        return self.emit(ConcatSpec(axis), tuple(values), name)

    def slice(self, x: str, start: int, stop: int, name: str | None = None, axis: int = 1) -> str:
        return self.emit(SliceSpec(axis, start, stop), (x,), name)

    def channel_shuffle(self, x: str, groups: int, name: str | None = None) -> str:
        return self.emit(ChannelShuffleSpec(groups), (x,), name)

    def pad(self, x: str, padding: tuple[Pair, Pair], value: float = 0.0, name: str | None = None) -> str:
        return self.emit(PadSpec(padding, value), (x,), name)

    def flatten(self, x: str, order: str = "CHW", name: str | None = None) -> str:
        """(N, C, H, W) -> (N, C*H*W); order "HWC" is the one in which Keras's Dense layers expect their input."""
        return self.emit(FlattenSpec(order), (x,), name)

    def reshape(self, x: str, shape: tuple[int, ...], name: str | None = None) -> str:
        """The same values in another shape; 0 keeps the dimension at its place, one -1 takes what is left."""
        return self.emit(ReshapeSpec(shape), (x,), name)

    # --- inside

    def _pool(self, kind, x, kernel, stride, padding, name, dilation: Pair = 1, **options) -> str:
        kernel, dilation = _pair(kernel), _pair(dilation)
        stride = kernel if stride is None else _pair(stride)
        padding = normalise_padding(padding, tuple(self.shape(x)[2:]), kernel, stride, dilation)
        return self.emit(Pool2dSpec(kind, kernel, stride, padding, dilation, **options), (x,), name)

    def _bias(self, layer: str, size: int, wanted: bool) -> str:
        return self._param(f"{layer}.bias", (size,), "bias") if wanted else ""

    def _param(self, name: str, shape: tuple[int, ...], kind: str, value: float | tuple | None = None) -> str:
        if name in self.graph.params:
            raise ValueError(f"{self.graph.name}: parameter {name!r} exists already")
        self.graph.params[name] = Param(name, shape, kind, value=value)
        return name

    def _scoped(self, name: str) -> str:
        return "".join(self._scopes) + name

    def _claim(self, name: str | None, kind: str) -> str:
        """The full name of a new layer: the given one, or the kind, numbered from 1 where that is taken."""
        layer = self._scoped(name or kind)
        if layer in self._layers:
            if name:
                raise ValueError(f"{self.graph.name}: layer {layer!r} exists already")
            layer = next(f"{layer}_{i}" for i in range(1, len(self._layers) + 2) if f"{layer}_{i}" not in self._layers)
        self._layers.add(layer)
        return layer
