"""A network's layers as a table: what `Model.summary()` returns."""

from __future__ import annotations

from dataclasses import dataclass

from .graph.ir import Graph, Node
from .graph.plan import shape_text, table
from .ops.base import Counts, product

MAC_OPS = (
    "conv2d",
    "fused_block",
    "locally_connected2d",
    "linear",
)  # the operations whose multiply-accumulates are published
Field = tuple[tuple[int, int], tuple[int, int]]  # receptive field and jump, (vertical, horizontal), in input pixels


@dataclass(frozen=True)
class Layer:
    """One row, for one image. `receptive_field` is (vertical, horizontal), in input pixels, padding included."""

    name: str
    op: str
    output_shape: tuple[int, ...]  # without the batch
    params: int  # learnable values
    buffers: int  # running statistics
    activation_bytes: int
    counts: Counts
    receptive_field: tuple[int, int]

    @property
    def macs(self) -> int:
        return self.counts.fma if self.op in MAC_OPS else 0


@dataclass(frozen=True)
class Summary:
    """The layers in execution order and their totals; `str()` is the table."""

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers)

    @property
    def buffers(self) -> int:
        return sum(layer.buffers for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        return sum(layer.counts.flops for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer (op)", "output shape", "params", "activations", "MACs", "receptive field")
        rows = [
            (
                f"{layer.name} ({layer.op})",
                shape_text(layer.output_shape),
                f"{layer.params:,}",
                _bytes(layer.activation_bytes),
                f"{layer.macs:,}",
                _field(layer.receptive_field),
            )
            for layer in self.layers
        ]
        total = ("total", "", f"{self.params:,}", _bytes(self.activation_bytes), f"{self.macs:,}", "")
        return "\n".join(
            (
                f"{self.name}, input {shape_text(self.input_shape)}",
                table(head, [*rows, total], right=(1, 2, 3, 4, 5)),
                f"parameters: {self.params:,} ({_bytes(4 * self.params)}); running statistics: {self.buffers:,}",
                f"multiply-accumulates (convolution and linear): {self.macs:,}; all operations: {self.flops:,} FLOP",
                f"activations without reuse: {_bytes(self.activation_bytes)}; all for one image",
            )
        )

    __repr__ = __str__


def summarise(graph: Graph) -> Summary:
    """The table of a graph with the symbolic batch "N", for batch 1."""
    graph = graph.bind(1)
    fields: dict[str, Field] = dict.fromkeys(graph.inputs, ((1, 1), (1, 1)))
    seen: set[str] = set()
    layers = []
    for node in graph.nodes:
        fields[node.outputs[0]] = _receptive_field(graph, node, fields)
        layers.append(_layer(graph, node, fields[node.outputs[0]][0], seen))
    return Summary(graph.name, tuple(graph.shape(graph.inputs[0]))[1:], tuple(layers))


def _layer(graph: Graph, node: Node, field: tuple[int, int], seen: set[str]) -> Layer:
    params = [graph.params[name] for name in node.inputs if name in graph.params and name not in seen]
    seen.update(param.name for param in params)  # a shared weight is counted where it is met first
    shape = graph.shape(node.outputs[0])
    return Layer(
        name=node.name,
        op=node.spec.op,
        output_shape=tuple(shape[1:]),
        params=sum(product(p.shape) for p in params if p.trainable),
        buffers=sum(product(p.shape) for p in params if p.statistic),
        activation_bytes=4 * sum(product(graph.shape(name)) for name in node.outputs),
        counts=node.spec.theory(*map(graph.shape, node.inputs)),
        receptive_field=field,
    )


def _receptive_field(graph: Graph, node: Node, fields: dict[str, Field]) -> Field:
    """r += (k - 1) d j, j *= s along each axis, from the widest input; a layer over the whole map has k = its size."""
    sources = [fields[name] for name in node.inputs if name in fields]
    (rh, rw), (jh, jw) = (tuple(max(f[i][axis] for f in sources) for axis in (0, 1)) for i in (0, 1))
    if node.spec.op in ("conv2d", "locally_connected2d", "pool2d", "im2col"):
        kernel = getattr(node.spec, "kernel", None) or graph.shape(node.inputs[1])[-2:]
        (sh, sw), (dh, dw) = node.spec.stride, getattr(node.spec, "dilation", (1, 1))
    elif node.spec.op in ("global_pool2d", "adaptive_avg_pool2d", "flatten"):
        kernel, (sh, sw), (dh, dw) = graph.shape(node.inputs[0])[2:], (1, 1), (1, 1)
    else:
        return (rh, rw), (jh, jw)
    return (rh + (kernel[0] - 1) * dh * jh, rw + (kernel[1] - 1) * dw * jw), (jh * sh, jw * sw)


def _bytes(count: int) -> str:
    """12_845_056 as "12.25 MiB"."""
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def _field(field: tuple[int, int]) -> str:
    return str(field[0]) if field[0] == field[1] else f"{field[0]}x{field[1]}"
