"""A network's layers as a table: what `Model.summary()` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .graph.ir import Graph, Node, Param
from .graph.plan import table
from .ops.base import Counts, product

MAC_OPS = (
    "conv2d",
    "fused_block",
    "locally_connected2d",
    "linear",
    "conv_transpose2d",
    "matmul",
)  # the operations whose multiply-accumulates are published
WINDOWS = ("conv2d", "locally_connected2d", "fused_block", "pool2d", "im2col")
POINTWISE = ("activation", "add", "batch_norm", "channel_shuffle", "concat", "local_response_norm", "mul", "pad",
             "reorder", "slice")  # fmt: skip
IN_PLACE = ("activation", "batch_norm", "flatten", "reshape", "softmax")  # may write where they read
COLUMNS = ("layer (type)", "output shape", "param #", "statistics", "activations", "MACs", "field", "jump")
Pair = tuple[int, int]


class Reach(NamedTuple):
    """What the positions of a value see of the input along one axis, in input pixels, padding included."""

    size: int = 1  # one position: the receptive field
    jump: int = 1  # from one position's field to the next one's; 0 where all see the same
    whole: int = 1  # all positions together


Field = tuple[Reach, Reach]  # vertical, horizontal


@dataclass(frozen=True)
class Layer:
    """One row, for one image.

    `receptive_field` and `jump` are (vertical, horizontal), in input pixels: how much of the input a position sees,
    padding included, and how far the next position's field lies from it (0 where every position sees the same, as
    behind a flatten or a global pool). Both are None where no input is an image.
    """

    name: str
    op: str
    output_shape: tuple[int, ...]  # without the batch
    params: int  # learnable values
    buffers: int  # running statistics
    activation_bytes: int
    counts: Counts
    receptive_field: Pair | None
    jump: Pair | None = None
    tensors: int = 0  # learnable ones
    buffer_tensors: int = 0
    in_place: bool = False  # its output may lie where its input lay, for nothing else reads that

    @property
    def macs(self) -> int:
        return self.counts.fma if self.op in MAC_OPS else 0

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of COLUMNS."""
        return (
            f"{self.name} ({self.op})",
            _shape(self.output_shape),
            f"{self.params + self.buffers:,}",
            f"{self.buffers:,}" if self.buffers else "",
            _bytes(self.activation_bytes),
            f"{self.macs:,}" if self.macs else "",
            _pair(self.receptive_field),
            _pair(self.jump),
        )


@dataclass(frozen=True)
class Summary:
    """The layers in execution order and their totals; `str()` is the table.

    `params` and `tensors` count what is learnable, as PyTorch's parameters() and Keras's "Trainable params"; `buffers`
    and `buffer_tensors` the running statistics, Keras's "Non-trainable params"; `total_params` both, Keras's "Total
    params" and its column "Param #".
    """

    name: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]  # name and shape, without the batch
    layers: tuple[Layer, ...]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inputs[0][1]

    @property
    def input_bytes(self) -> int:
        return 4 * sum(product(shape) for _, shape in self.inputs)

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers)

    @property
    def buffers(self) -> int:
        return sum(layer.buffers for layer in self.layers)

    @property
    def total_params(self) -> int:
        return self.params + self.buffers

    @property
    def tensors(self) -> int:
        return sum(layer.tensors for layer in self.layers)

    @property
    def buffer_tensors(self) -> int:
        return sum(layer.buffer_tensors for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        return sum(layer.counts.flops for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Every layer's output on its own."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def memory_bytes(self) -> int:
        """The inputs and every output once, layers that work in place adding nothing: what a forward pass keeps when
        nothing is thrown away, as the lectures add it up."""
        return self.input_bytes + sum(layer.activation_bytes for layer in self.layers if not layer.in_place)

    @property
    def title(self) -> str:
        return ", ".join((self.name, *(f"{name} {_shape(shape)}" for name, shape in self.inputs)))

    def columns(self) -> tuple[str, ...]:
        """COLUMNS, without the one that would be empty."""
        return tuple(column for column in COLUMNS if self.buffers or column != "statistics")

    def rows(self, columns: Sequence[str]) -> list[list[str]]:
        """The layers' cells in these columns, and a row of sums."""
        sums = (f"{self.total_params:,}", f"{self.buffers:,}", _bytes(self.activation_bytes), f"{self.macs:,}")
        picked = [COLUMNS.index(column) for column in columns]
        return [[row[i] for i in picked] for row in (*(a.cells() for a in self.layers), ("total", "", *sums, "", ""))]

    def totals(self) -> list[tuple[str, str]]:
        """Label and figure, a pair per line below the table."""
        held, in_place = _bytes(self.activation_bytes), _bytes(self.memory_bytes)
        return [
            ("Total params", _held(self.total_params, self.tensors + self.buffer_tensors)),
            ("Trainable params", _held(self.params, self.tensors)),
            ("Non-trainable params", _held(self.buffers, self.buffer_tensors)),
            ("Activations", f"{held} for one image; {in_place} with the input, element-wise layers working in place"),
            ("MACs", f"{self.macs:,} in convolutions and linear layers; all operations: {self.flops:,} FLOP"),
        ]

    def __str__(self) -> str:
        columns = self.columns()
        made = table(columns, self.rows(columns), right=range(1, len(columns)))
        return "\n".join((self.title, made, *(f"{label}: {figure}" for label, figure in self.totals())))

    __repr__ = __str__


def summarise(graph: Graph) -> Summary:
    """The table of a graph whose shapes hold symbols, the batch "N" among them, with 1 for each."""
    graph = graph.bind(1)
    fields: dict[str, Field] = {name: (Reach(), Reach()) for name in graph.inputs if len(graph.shape(name)) == 4}
    for name, (vertical, horizontal) in fields.items():
        h, w = graph.shape(name)[2:]
        fields[name] = vertical._replace(whole=h), horizontal._replace(whole=w)
    consumers, seen = graph.consumers(), set()
    layers = []
    for node in graph.nodes:
        field = _field(graph, node, fields)
        if field:
            fields.update(dict.fromkeys(node.outputs, field))
        alone = node.spec.op in IN_PLACE and node.inputs[0] not in (*graph.inputs, *graph.outputs)
        in_place = alone and len(consumers[node.inputs[0]]) == 1
        layers.append(_layer(graph, node, field, in_place, seen))
    return Summary(graph.name, tuple((name, tuple(graph.shape(name)[1:])) for name in graph.inputs), tuple(layers))


def _layer(graph: Graph, node: Node, field: Field | None, in_place: bool, seen: set[str]) -> Layer:
    params = [graph.params[name] for name in node.inputs if name in graph.params and name not in seen]
    seen.update(param.name for param in params)  # a shared weight is counted where it is met first
    learnt, kept = [p for p in params if p.trainable], [p for p in params if p.statistic]
    return Layer(
        name=node.name,
        op=node.spec.op,
        output_shape=tuple(graph.shape(node.outputs[0])[1:]),
        params=_values(learnt),
        buffers=_values(kept),
        activation_bytes=4 * sum(product(graph.shape(name)) for name in node.outputs),
        counts=node.spec.theory(*map(graph.shape, node.inputs)),
        receptive_field=field and (field[0].size, field[1].size),
        jump=field and (field[0].jump, field[1].jump),
        tensors=len(learnt),
        buffer_tensors=len(kept),
        in_place=in_place,
    )


def _values(params: Sequence[Param]) -> int:
    return sum(product(param.shape) for param in params)


# --- receptive fields


def _field(graph: Graph, node: Node, fields: dict[str, Field]) -> Field | None:
    """r += (k - 1) d j, j *= s along each axis; of several inputs the widest. What is neither a window nor pointwise
    may see the whole map. Paddings shift fields against each other: that is not followed."""
    sources = [fields[name] for name in node.inputs if name in fields]
    if not sources:
        return None
    vertical, horizontal = (Reach(*map(max, zip(*(field[axis] for field in sources)))) for axis in (0, 1))
    op, shape, out = node.spec.op, graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if op in WINDOWS:
        weight = node.inputs[3 if op == "fused_block" else 1] if len(node.inputs) > 1 else ""
        kernel = getattr(node.spec, "kernel", None) or graph.shape(weight)[-2:]
        sizes = zip(kernel, node.spec.stride, getattr(node.spec, "dilation", (1, 1)), _positions(node, shape, out))
        return tuple(_window(reach, *size) for reach, size in zip((vertical, horizontal), sizes))
    if op == "adaptive_avg_pool2d":
        windows = (node.spec.windows(size, count) for size, count in zip(shape[2:], out[2:]))
        return tuple(_tiles(reach, tiles) for reach, tiles in zip((vertical, horizontal), windows))
    if op in POINTWISE or (len(shape) == 4 and _keeps_pixels(node, shape, out)):
        return vertical, horizontal
    return Reach(vertical.whole, 0, vertical.whole), Reach(horizontal.whole, 0, horizontal.whole)


def _positions(node: Node, shape: Sequence[int], out: Sequence[int]) -> Sequence[int]:
    return node.spec.output_hw(shape) if node.spec.op == "im2col" else out[2:]


def _window(reach: Reach, kernel: int, stride: int, dilation: int, count: int) -> Reach:
    size, jump = reach.size + (kernel - 1) * dilation * reach.jump, reach.jump * stride
    return Reach(size, jump, size + (count - 1) * jump)


def _tiles(reach: Reach, windows: Sequence[Pair]) -> Reach:
    """Windows that tile the map; where they lie unevenly, the widest and the longest step."""
    starts = [start for start, _ in windows]
    step = max((b - a for a, b in zip(starts, starts[1:])), default=0)
    return Reach(reach.size + (max(b - a for a, b in windows) - 1) * reach.jump, reach.jump * step, reach.whole)


def _keeps_pixels(node: Node, shape: Sequence[int], out: Sequence[int]) -> bool:
    """Does an operation that may mix pixels leave them apart here?"""
    if node.spec.op == "softmax":
        return node.spec.axis % 4 == 1
    return node.spec.op == "reshape" and len(out) == 4 and tuple(out[2:]) == tuple(shape[2:])


# --- text


def _shape(shape: Sequence[int]) -> str:
    """(64, 56, 56) as "(None, 64, 56, 56)": None is the batch, as Keras writes it."""
    return f"(None, {', '.join(map(str, shape))})"


def _bytes(count: int) -> str:
    """12_845_056 as "12.25 MiB"."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def _pair(pair: Pair | None) -> str:
    """(3, 3) as "3", (1, 7) as "1x7"; a dash where there is none."""
    if not pair or pair == (0, 0):
        return "-"
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _held(values: int, tensors: int) -> str:
    return f"{values:,} ({_bytes(4 * values)}) in {tensors:,} tensor" + ("" if tensors == 1 else "s")
