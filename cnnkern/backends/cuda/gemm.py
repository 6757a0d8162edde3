"""The matrix products behind most convolutions, on FFMA (kernels/conv_fp32.cu) and on tensor cores (conv_mma.cu, on
Hopper conv_wgmma.cu): their tiles, packed weights and launches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from ...graph.memory import round_up
from . import compiler
from .launch import Kernel, Launch, Pointer
from .lowering import Lowering, line
from .moves import Axis, copy_axes
from .tensors import ITEM_BYTES, Tensor, dense

GEMM_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i c:i p:i q:i r:i s:i m:i k:i stride:i2 pad:i2 dilation:i2 "
    "x_strides:i3 y_stride:i residual_stride:i w_stride:i x_group:i w_group:i y_group:i bias_group:i column_tiles:i "
    "splits:i split_steps:i y_split:i act:i param:f"
)
WGMMA_WEIGHTS_ARGS = "x:p y:p groups:i k:i c:i r:i s:i channels:i columns:i column_tiles:i steps:i"
REDUCE_ARGS = "parts:p bias:p residual:p y:p m:i k:i splits:i part:i y_stride:i residual_stride:i act:i param:f"
NO_ACT = {"act": 0, "param": 0.0}


class Epilogue(NamedTuple):
    """What follows a sum: see kernels/epilogue.cuh."""

    bias: Pointer | None = None
    residual: Tensor | None = None
    act: Mapping[str, Any] = NO_ACT

    @property
    def residual_args(self) -> dict[str, Any]:
        stride = 0 if self.residual is None else self.residual.strides[-1 if self.residual.rank == 4 else 0]
        return {"residual": None if self.residual is None else self.residual.pointer, "residual_stride": stride}


class Weights(NamedTuple):
    """Packed weights: where, from line to line, from group to group, and the launch that packs them."""

    pointer: Pointer
    stride: int
    group: int
    pack: Launch | None


class Product(NamedTuple):
    """The problem of a launch: what is gathered (`gather`: the fields x, n, h, ..., x_strides of GemmArgs, c being the
    channels of a group), by groups. `y_stride`: from pixel to pixel."""

    gather: Mapping[str, Any]
    m: int
    k: int  # of a group
    taps: int  # r s c
    w: Weights
    y: Pointer
    y_stride: int
    groups: int = 1
    x_group: int = 0
    y_group: int = 0


class Ffma:
    """Float32 products on the multiply-add units."""

    name, source, ctype, weights_ctype = "f32", "conv_fp32.cu", "float", "float"
    step = 8  # taps that a block holds at once
    word = 1  # channels that a load must take at least

    class Tile(NamedTuple):
        """Outputs of a block, rows by columns, and of a thread."""

        rows: int
        columns: int
        thread_rows: int
        thread_columns: int

        @property
        def threads(self) -> int:
            return (self.rows // self.thread_rows) * (self.columns // self.thread_columns)

        @property
        def shared_bytes(self) -> int:
            """Two halves of both operands; the sums on their way out."""
            operands = 2 * Ffma.step * (self.rows + 4 + self.columns)
            outputs = self.rows // self.thread_rows * 4 * (self.columns + 4)
            return 4 * max(operands, outputs)

    tiles = (
        Tile(128, 128, 8, 8),
        Tile(128, 64, 8, 8),
        Tile(64, 64, 8, 4),
        Tile(128, 32, 8, 4),
        Tile(64, 32, 4, 4),
        Tile(32, 64, 4, 4),
        Tile(32, 32, 4, 4),
    )

    def kernel(self, tile, vector: int) -> Kernel:
        name = f"conv_fp32<{', '.join(map(str, tile))}, {vector}>"
        return Kernel(self.source, name, GEMM_ARGS, tile.threads, tile.shared_bytes)

    def kernels(self) -> list[Kernel]:
        return [self.kernel(tile, vector) for vector in (1, 2, 4) for tile in self.tiles_for(vector)]

    def tiles_for(self, vector: int) -> list[Tile]:
        """The narrower the loads, the more registers they take: not for the largest tiles."""
        most = {1: 64 * 64, 2: 128 * 64, 4: 128 * 128}[vector]
        return [tile for tile in self.tiles if tile.rows * tile.columns <= most]

    def pack(self, low: Lowering, weight: Tensor, groups: int, channels: int, tile: Tile | None = None) -> Weights:
        """Per group a row of outputs for each (r, s, c), `channels` of them per tap; zeros where there is no weight."""
        k, c, r, s = weight.sizes
        each, rows = k // groups, r * s * channels
        columns = round_up(each, 4)
        to = low.weights.take(4 * groups * rows * columns)
        axes = [
            Axis(groups, each * c * r * s, rows * columns),
            Axis(r, s, s * channels * columns),
            Axis(s, 1, channels * columns),
            Axis(c, r * s, columns),
            Axis(each, c * r * s, 1),
        ]
        return Weights(to, columns, rows * columns, copy_axes(weight, dense(to, (groups, rows, columns)), axes))


class Mma:
    """Products on tensor cores, by mma.sync: float32 sums of operands of 10 or 7 bits of mantissa."""

    source = "conv_mma.cu"

    class Tile(NamedTuple):
        """Outputs of a block, rows by columns, and of a warp."""

        rows: int
        columns: int
        warp_rows: int
        warp_columns: int

        @property
        def threads(self) -> int:
            return (self.rows // self.warp_rows) * (self.columns // self.warp_columns) * 32

        @property
        def shared_bytes(self) -> int:
            """Four stages of both operands, 64 bytes a row; the sums on their way out."""
            return max(4 * 64 * (self.rows + self.columns), 4 * self.warp_rows * (self.columns + 4))

    tiles = (
        Tile(128, 128, 64, 32),
        Tile(128, 64, 32, 32),
        Tile(64, 128, 32, 32),
        Tile(64, 64, 32, 32),
        Tile(128, 32, 32, 32),
        Tile(32, 64, 16, 32),
        Tile(32, 32, 16, 16),
    )

    def __init__(self, name: str, ctype: str, weights_ctype: str):
        self.name, self.ctype, self.weights_ctype = name, ctype, weights_ctype
        item = ITEM_BYTES[ctype]
        self.step, self.word = 64 // item, 16 // item

    def kernel(self, tile, vector: int) -> Kernel:
        name = f"conv_mma<{self.ctype}, {', '.join(map(str, tile))}>"
        return Kernel(self.source, name, GEMM_ARGS, tile.threads, tile.shared_bytes, sm=80)

    def kernels(self) -> list[Kernel]:
        return [self.kernel(tile, self.word) for tile in self.tiles]

    def tiles_for(self, vector: int) -> list[Tile]:
        return list(self.tiles)

    def pack(self, low: Lowering, weight: Tensor, groups: int, channels: int, tile: Tile) -> Weights:
        """Per output a row of its (r, s, c), `channels` of them per tap, zeros where the weights have none."""
        k, c, r, s = weight.sizes
        row = round_up(r * s * channels, self.word)
        to = low.weights.take(ITEM_BYTES[self.weights_ctype] * k * row)
        axes = [Axis(k, c * r * s, row), Axis(r, s, s * channels), Axis(s, 1, channels), Axis(c, r * s, 1)]
        packed = copy_axes(weight, dense(to, (k, row), self.weights_ctype), axes)
        return Weights(to, row, k // groups * row, packed)


class Wgmma:
    """The same on Hopper's, both operands from shared memory: tf32 cuts activations off, where Mma rounds them."""

    source = "conv_wgmma.cu"

    class Tile(NamedTuple):
        """Outputs of a block, rows by columns."""

        rows: int
        columns: int

        @property
        def threads(self) -> int:
            return 384

        @property
        def stages(self) -> int:
            """Steps that are under way or in use, 128 bytes a row: what 192 KB hold."""
            return (192 << 10) // (128 * (self.rows + self.columns))

        @property
        def shared_bytes(self) -> int:
            """The stages of both operands, and two barriers of each."""
            return self.stages * (128 * (self.rows + self.columns) + 16)

    tiles = (Tile(128, 256), Tile(128, 128), Tile(128, 64))

    def __init__(self, name: str, ctype: str, weights_ctype: str):
        self.name, self.ctype, self.weights_ctype = name, ctype, weights_ctype
        item = ITEM_BYTES[ctype]
        self.step, self.word = 128 // item, 16 // item

    def kernel(self, tile, vector: int) -> Kernel:
        name = f"conv_wgmma<{self.ctype}, {tile.columns}>"
        return Kernel(self.source, name, GEMM_ARGS, tile.threads, tile.shared_bytes, sm=90, arch="a")

    def weights_kernel(self) -> Kernel:
        name = f"wgmma_weights<{self.weights_ctype}>"
        return Kernel("conv_wgmma_weights.cu", name, WGMMA_WEIGHTS_ARGS, 256, sm=90, arch="a")

    def kernels(self) -> list[Kernel]:
        return [*(self.kernel(tile, self.word) for tile in self.tiles), self.weights_kernel()]

    def tiles_for(self, vector: int) -> list[Tile]:
        return list(self.tiles)

    def pack(self, low: Lowering, weight: Tensor, groups: int, channels: int, tile: Tile) -> Weights:
        """Per group, tile of columns and step what a block copies at once: 128 bytes of each output, as they lie in
        shared memory."""
        k, c, r, s = weight.sizes
        column_tiles, steps = -(-(k // groups) // tile.columns), -(-(r * s * channels) // self.step)
        column = steps * tile.columns * self.step
        to = low.weights.take(ITEM_BYTES[self.weights_ctype] * groups * column_tiles * column)
        args = {
            "x": weight.pointer, "y": to, "groups": groups, "k": k // groups, "c": c, "r": r, "s": s,
            "channels": channels, "columns": tile.columns, "column_tiles": column_tiles, "steps": steps,
        }  # fmt: skip
        packed = line(self.weights_kernel(), groups * column_tiles * column // self.word, args)
        return Weights(to, column, column_tiles * column, packed)


FFMA = Ffma()
ENGINES = {
    "float32": (FFMA,),
    "strict": (FFMA,),
    "tf32": (Mma("tf32", "float", "tf32"), Wgmma("tf32_wgmma", "float", "tf32")),
    "float16": (Mma("f16", "f16", "f16"), Wgmma("f16_wgmma", "f16", "f16")),
    "bfloat16": (Mma("bf16", "bf16", "bf16"), Wgmma("bf16_wgmma", "bf16", "bf16")),
}
Engine = Ffma | Mma | Wgmma


@cache
def engines(precision: str, target: str) -> tuple[Engine, ...]:
    """Those that run on a target. All of one precision take the same words of channels."""
    return tuple(e for e in ENGINES[precision] if compiler.serves(target, e.kernels()[0]))


def engine_of(precision: str, tile: tuple[int, ...]) -> Engine:
    """Whose tile it is."""
    return next(engine for engine in ENGINES[precision] if isinstance(tile, engine.Tile))


def reduce_kernel(ctype: str) -> Kernel:
    return Kernel("conv_reduce.cu", f"conv_reduce<{ctype}>", REDUCE_ARGS, 256)


def kernels() -> list[Kernel]:
    found = [kernel for of in dict.fromkeys(ENGINES.values()) for engine in of for kernel in engine.kernels()]
    return found + [reduce_kernel(ctype) for ctype in ("float", "f16", "bf16")]


def gemm(low: Lowering, given: Product, plan: Mapping[str, Any], vector: int, epilogue: Epilogue) -> list[Launch]:
    """One launch; with the sum in several parts another that adds them up.

    Args:
        plan: "tile" and "splits" of the selector's decision.
        vector: channels of a load; of no meaning on tensor cores, which always take 16 bytes.
    """
    tile, splits = plan["tile"], plan["splits"]
    engine = engine_of(low.precision, tile)
    steps = -(-given.taps // engine.step)
    split_steps = -(-steps // splits)
    splits = -(-steps // split_steps)  # none is empty
    column_tiles = -(-given.k // tile.columns)
    kernel = engine.kernel(tile, vector)
    args = {
        **given.gather, "w": given.w.pointer, "m": given.m, "k": given.k, "w_stride": given.w.stride,
        "x_group": given.x_group, "w_group": given.w.group, "column_tiles": column_tiles, "splits": splits,
        "split_steps": split_steps,
    }  # fmt: skip
    grid = (-(-given.m // tile.rows) * column_tiles, 1, given.groups * splits)
    outputs = given.k * given.groups
    if splits == 1:
        args |= {"y": given.y, "y_stride": given.y_stride, "y_group": given.y_group, "bias": epilogue.bias,
                 "bias_group": given.k, "y_split": 0, **epilogue.residual_args, **epilogue.act}  # fmt: skip
        return [Launch(kernel, grid, args)]
    part = given.m * outputs
    parts = low.scratch((splits * part,), "float").pointer
    args |= {"y": parts, "y_stride": outputs, "y_group": given.k, "bias": None, "bias_group": 0, "y_split": part,
             "residual": None, "residual_stride": 0, **NO_ACT}  # fmt: skip
    added = {"parts": parts, "bias": epilogue.bias, "y": given.y, "m": given.m, "k": outputs, "splits": splits,
             "part": part, "y_stride": given.y_stride, **epilogue.residual_args, **epilogue.act}  # fmt: skip
    return [Launch(kernel, grid, args), line(reduce_kernel(engine.ctype), part, added)]
