"""Convolutions, linear layers and what is made of them: from a decision to launches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import ops
from ...graph.ir import Node
from ...graph.memory import round_up
from ..asked import planned_algo
from . import conv_depthwise, conv_direct, conv_winograd, gemm, im2col
from .activations import act_args
from .conv_direct import direct, locally_connected2d
from .conv_parts import CTYPES, conv_problem, gather, matrix_product, pixel_stride
from .conv_select import select
from .eltwise import affine_launch
from .gemm import Epilogue, Product, engine_of, engines
from .launch import Kernel, Launch
from .lowering import Lowered, Lowering, as_node
from .moves import copy
from .tensors import ITEM_BYTES, Tensor, dense

LINEAR_ARGS = "x:p w:p bias:p y:p n:i f:i o:i x_stride:i y_stride:i act:i param:f"
SMALL_BATCH = 8  # rows up to which a linear layer is bound by its weights


def linear_kernel(ctype: str, rows: int, vector: int) -> Kernel:
    return Kernel("linear.cu", f"linear<{ctype}, {rows}, {vector}>", LINEAR_ARGS, 256)


def kernels() -> list[Kernel]:
    found = [kernel for family in (gemm, conv_direct, conv_depthwise, conv_winograd) for kernel in family.kernels()]
    return found + [linear_kernel(ctype, rows, v) for ctype in CTYPES for rows in (1, 4) for v in (1, 4)]


# --- convolution


def conv2d(low: Lowering, node: Node, decision: Mapping[str, Any] | None = None) -> Lowered | None:
    """act(conv(prologue(x scale + shift)) + bias + residual); None where the weights are computed by other steps."""
    if not low.constant(node, 1, 2, 4, 5):
        return None
    spec, y = node.spec, low.output(node)
    x, weight, bias, residual, scale, shift = low.inputs(node)
    before = []
    if scale is not None:
        scaled = low.scratch(x.sizes)
        before = [affine_launch(x, scale.pointer, shift.pointer, scaled, act_args(spec.prologue, None))]
        x = scaled
    algo = planned_algo(spec)
    problem = conv_problem(spec, x, weight.sizes)
    epilogue = Epilogue(
        None if bias is None else bias.pointer, residual, act_args(spec.activation, spec.activation_param)
    )
    plan = select(problem, algo, low.precision, low.multiprocessors, low.target)
    why = "asked for" if algo != "auto" else "the selector's estimate"
    if decision:
        plan, why = {**plan, **decision}, "given with the plan"
        plan = _with_tile(low, plan)
    lowered = DRIVERS[plan["algo"]](low, problem, plan, x, weight, y, epilogue)
    lowered.launches[:0] = before
    return Lowered(lowered.launches, lowered.kernel, lowered.setup, _shown(plan), why)


def _shown(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A decision as JSON has it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plan.items()}


def _with_tile(low: Lowering, plan: dict[str, Any]) -> dict[str, Any]:
    """A decision from a file, where a tile is a list."""
    tiles = {tuple(tile): tile for engine in engines(low.precision, low.target) for tile in engine.tiles}
    if "tile" not in plan:
        return plan
    if tuple(plan["tile"]) not in tiles:
        raise ValueError(f"decisions: {plan['tile']} is no tile of {low.precision}; there are {list(map(list, tiles))}")
    return {**plan, "tile": tiles[tuple(plan["tile"])]}


def implicit_gemm(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """Patches gathered as they are multiplied. Tensor cores take channels by the 16 bytes: where they do not lie so,
    by way of a copy."""
    engine = engine_of(low.precision, plan["tile"])
    before = []
    if engine.word > 1 and x.vector(extra=problem.c_group if problem.groups > 1 else 0) < engine.word:
        if problem.groups > 1:
            return direct(low, problem, plan, x, weight, y, epilogue)
        padded = low.scratch(x.sizes)
        padded = padded._replace(zeros=round_up(problem.c, engine.word) - problem.c)
        before, x = copy(x._replace(zeros=0), padded), padded
    vector = x.vector(extra=problem.c_group if problem.groups > 1 else 0)
    channels = problem.c_group + (x.zeros if problem.groups == 1 else 0)
    channels = round_up(problem.c_group, vector) if channels > problem.c_group else channels
    w = engine.pack(low, weight, problem.groups, channels, plan["tile"])
    given = Product(
        {**gather(problem, x), "c": channels}, problem.m, problem.k_group, problem.r * problem.s * channels, w,
        y.pointer, pixel_stride(y), problem.groups, problem.c_group, problem.k_group,
    )  # fmt: skip
    launches = gemm.gemm(low, given, plan, vector, epilogue)
    return Lowered([*before, *launches], f"{engine.name}_conv_gemm_{_tile_name(plan)}", [w.pack])


def _tile_name(plan: Mapping[str, Any]) -> str:
    return f"{plan['tile'].rows}x{plan['tile'].columns}"


def im2col_conv(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """The patches as a matrix, then its product with the weights, group by group."""
    engine = engine_of(low.precision, plan["tile"])
    matrix = low.scratch((problem.m, round_up(problem.taps, 16 // x.item_bytes)), x.ctype)
    w = engine.pack(low, weight, problem.groups, problem.c_group, plan["tile"])
    taps = round_up(problem.taps, engine.word)
    vector = next(v for v in (4, 2, 1) if taps % v == 0)
    launches = []
    for group in range(problem.groups):
        seen = x.channels(group * problem.c_group, problem.c_group)
        launches.append(im2col.patches(seen, problem, (problem.r, problem.s), (problem.p, problem.q), matrix))
        first = group * problem.k_group
        part = Epilogue(
            epilogue.bias and epilogue.bias + 4 * first,
            epilogue.residual and epilogue.residual.channels(first, problem.k_group),
            epilogue.act,
        )
        own = w._replace(pointer=w.pointer + ITEM_BYTES[engine.weights_ctype] * group * w.group)
        to = y.channels(first, problem.k_group).pointer
        given = matrix_product(matrix, taps, problem.k_group, own, to, pixel_stride(y))
        launches += gemm.gemm(low, given, plan, vector, part)
    return Lowered(launches, f"{engine.name}_conv_im2col_{_tile_name(plan)}", [w.pack])


DRIVERS = {
    "direct": direct,
    "implicit_gemm": implicit_gemm,
    "pointwise": implicit_gemm,
    "im2col": im2col_conv,
    "winograd": conv_winograd.winograd,
    "depthwise": conv_depthwise.depthwise,
    "grouped": conv_depthwise.grouped,
}


# --- what is made of convolutions


def linear(low: Lowering, node: Node, decision: Mapping[str, Any] | None = None) -> Lowered | None:
    """A matrix product; for few rows a kernel that reads each weight once, as users give them."""
    if not low.constant(node, 1, 2):
        return None
    spec, y = node.spec, low.output(node)
    x, weight, bias = low.inputs(node)
    act = act_args(spec.activation, spec.activation_param)
    (n, f), o = x.sizes, weight.sizes[0]
    if n <= SMALL_BATCH:
        vector = 4 if f % 4 == 0 and x.vector() >= 4 else 1
        rows = 1 if n == 1 else 4
        args = {"x": x.pointer, "w": weight.pointer, "bias": None if bias is None else bias.pointer, "y": y.pointer,
                "n": n, "f": f, "o": o, "x_stride": x.strides[0], "y_stride": y.strides[0], **act}  # fmt: skip
        launch = Launch(linear_kernel(x.ctype, rows, vector), (-(-o // 8), -(-n // rows), 1), args)
        return Lowered([launch], "linear", plan={"algo": "rows"}, why="few rows: bound by the weights")
    pixels = Tensor(x.pointer, (n, f, 1, 1), (x.strides[0], 1, x.strides[0], x.strides[0]), x.ctype)
    filters = dense(weight.pointer, (o, f, 1, 1))
    problem = conv_problem(ops.Conv2dSpec(), pixels, filters.sizes)
    plan = select(problem, "pointwise", low.precision, low.multiprocessors, low.target)
    if decision:
        plan = _with_tile(low, {**plan, **decision})
    epilogue = Epilogue(None if bias is None else bias.pointer, None, act)
    lowered = implicit_gemm(low, problem, plan, pixels, filters, y, epilogue)
    kernel = lowered.kernel.replace("conv", "linear")
    return Lowered(lowered.launches, kernel, lowered.setup, _shown(plan), "a matrix product")


def fused_block(low: Lowering, node: Node) -> Lowered | None:
    """Its convolutions, one after the other: a graph made for another backend."""
    if not low.constant(node, 1, 2, 3, 4, 5, 6):
        return None
    inputs = (*node.inputs, *("",) * (8 - len(node.inputs)))
    shapes = [low.graph.shape(name) for name in inputs]
    x, names, total = inputs[0], iter(inputs[1:7]), Lowered([], "fused_block")
    stages = node.spec.stages(*shapes)
    own, shape = dict(low.own), shapes[0]
    for i, (stage, weight, bias, residual) in enumerate(stages):
        given = (x, next(names), next(names), inputs[7] if residual is not None else "")
        (shape,) = stage.infer(shape, weight, bias, residual)
        out = node.outputs[0] if i == len(stages) - 1 else f"{node.name}/{i}"
        if out != node.outputs[0]:
            own[out] = low.scratch(shape)
        low.own = own
        made = conv2d(low, as_node(node, spec=stage, inputs=given, outputs=(out,)))
        total.launches += made.launches
        total.setup += made.setup
        x = out
    low.own = {}
    return total


LOWERINGS = {
    ops.Conv2dSpec: conv2d,
    ops.LinearSpec: linear,
    ops.FusedBlockSpec: fused_block,
    ops.LocallyConnected2dSpec: locally_connected2d,
}
DECIDED = (conv2d, linear)  # that take a decision
