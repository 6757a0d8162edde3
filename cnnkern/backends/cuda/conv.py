"""Convolutions, linear layers and what is made of them: from a decision to launches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import config, ops
from ...graph.ir import Node
from ...graph.memory import round_up
from ...ops.base import product
from . import im2col
from .activations import act_args
from .conv_select import ConvProblem, select
from .eltwise import affine_launch
from .gemm import ENGINES, FFMA, Epilogue, Product, Weights, gemm
from .gemm import kernels as gemm_kernels
from .launch import Kernel, Launch, Pointer
from .lowering import Lowered, Lowering, as_node, line
from .moves import Axis, copy, copy_axes
from .tensors import ITEM_BYTES, Tensor, dense

DIRECT_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i c_group:i k:i k_group:i p:i q:i r:i s:i stride:i2 pad:i2 "
    "dilation:i2 x_strides:i3 y_stride:i residual_stride:i act:i param:f"
)
LOCAL_ARGS = (
    "x:p w:p bias:p y:p n:i h:i width:i c:i k:i p:i q:i r:i s:i stride:i2 pad:i2 x_strides:i3 y_stride:i bias_k:i "
    "bias_position:i"
)
DEPTHWISE_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i c:i p:i q:i r:i s:i stride:i2 pad:i2 dilation:i2 multiplier:i "
    "x_strides:i3 y_stride:i residual_stride:i w_stride:i act:i param:f"
)
GROUPED_ARGS = (
    "x:p w:p bias:p residual:p y:p n:i h:i width:i groups:i p:i q:i r:i s:i stride:i2 pad:i2 dilation:i2 x_strides:i3 "
    "y_stride:i residual_stride:i act:i param:f"
)
FILTER_ARGS = "w:p u:p k:i c:i c_padded:i k_padded:i"
WINOGRAD_IN_ARGS = "x:p v:p n:i h:i width:i c:i c_padded:i down:i across:i tiles:i top:i left:i x_strides:i3"
WINOGRAD_OUT_ARGS = (
    "m:p bias:p residual:p y:p p:i q:i k:i k_padded:i down:i across:i tiles:i y_stride:i residual_stride:i act:i "
    "param:f"
)
LINEAR_ARGS = "x:p w:p bias:p y:p n:i f:i o:i x_stride:i y_stride:i act:i param:f"
CTYPES = ("float", "f16", "bf16")
WINOGRAD_BYTES = 256 << 20  # of transformed tiles at once: more images go one chunk after the other
SMALL_BATCH = 8  # rows up to which a linear layer is bound by its weights
DEPTHWISE_TILES = {(3, 1): (2, 4), (3, 2): (1, 4), (5, 1): (2, 4), (5, 2): (1, 4)}  # (kernel, stride): rows, columns


def direct_kernel(ctype: str) -> Kernel:
    return Kernel("conv_direct.cu", f"conv_direct<{ctype}>", DIRECT_ARGS, 256)


def local_kernel(ctype: str) -> Kernel:
    return Kernel("conv_direct.cu", f"locally_connected<{ctype}>", LOCAL_ARGS, 256)


def depthwise_kernel(ctype: str, vector: int, size: int, stride: int) -> Kernel:
    rows, columns = DEPTHWISE_TILES[size, stride]
    name = f"conv_depthwise<{ctype}, {vector}, {size}, {stride}, {rows}, {columns}>"
    return Kernel("conv_depthwise.cu", name, DEPTHWISE_ARGS, 128)


def depthwise_any_kernel(ctype: str, vector: int) -> Kernel:
    return Kernel("conv_depthwise.cu", f"conv_depthwise_any<{ctype}, {vector}>", DEPTHWISE_ARGS, 256)


def grouped_kernel(ctype: str, size: int) -> Kernel:
    return Kernel("conv_depthwise.cu", f"conv_grouped<{ctype}, {size}, 4>", GROUPED_ARGS, 128)


def filter_kernel(side: int, size: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_filter<{side}, {size}>", FILTER_ARGS, 256)


def winograd_in_kernel(side: int, m: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_in<{side}, {m}>", WINOGRAD_IN_ARGS, 128)


def winograd_out_kernel(side: int, m: int) -> Kernel:
    return Kernel("conv_winograd.cu", f"winograd_out<{side}, {m}>", WINOGRAD_OUT_ARGS, 128)


def linear_kernel(ctype: str, rows: int, vector: int) -> Kernel:
    return Kernel("linear.cu", f"linear<{ctype}, {rows}, {vector}>", LINEAR_ARGS, 256)


def kernels() -> list[Kernel]:
    found = [*gemm_kernels()]
    for ctype in CTYPES:
        found += [direct_kernel(ctype), local_kernel(ctype)]
        found += [depthwise_kernel(ctype, v, *tile) for tile in DEPTHWISE_TILES for v in (1, 2, 4) if v * tile[0] <= 12]
        found += [depthwise_any_kernel(ctype, v) for v in (1, 2, 4)]
        found += [grouped_kernel(ctype, size) for size in (2, 4, 8)]
        found += [linear_kernel(ctype, rows, v) for rows in (1, 4) for v in (1, 4)]
    for m, size in ((2, 3), (4, 3), (2, 5)):
        side = m + size - 1
        found += [filter_kernel(side, size), winograd_in_kernel(side, m), winograd_out_kernel(side, m)]
    return found


# --- the problem


def conv_problem(spec: ops.Conv2dSpec, x: Tensor, weight) -> ConvProblem:
    n, c, h, w = x.sizes
    k, _, r, s = weight
    ((_, _, p, q),) = spec.infer(x.sizes, weight, None, None, (c,), (c,))  # a prologue wants both
    pad = (spec.padding[0][0], spec.padding[1][0])
    vector = min(4, x.vector(extra=c // spec.groups if spec.groups > 1 else 0))
    return ConvProblem(n, c, h, w, k, p, q, r, s, spec.stride, pad, spec.dilation, spec.groups, vector)


def gather(problem: ConvProblem, x: Tensor) -> dict[str, Any]:
    """The fields of a kernel's struct that say how it walks the image."""
    return {
        "x": x.pointer, "n": problem.n, "h": problem.h, "width": problem.w, "p": problem.p, "q": problem.q,
        "r": problem.r, "s": problem.s, "stride": problem.stride, "pad": problem.pad, "dilation": problem.dilation,
        "x_strides": x.nhwc_strides,
    }  # fmt: skip


def pixel_stride(y: Tensor) -> int:
    return y.strides[-1] if y.rank == 4 else y.strides[0]


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
    algo = config.get("conv_algo") if spec.algo == "auto" else spec.algo
    problem = conv_problem(spec, x, weight.sizes)
    epilogue = Epilogue(
        None if bias is None else bias.pointer, residual, act_args(spec.activation, spec.activation_param)
    )
    plan = select(problem, algo, low.precision, low.multiprocessors)
    why = "asked for" if algo != "auto" else "the selector's estimate"
    if decision:
        plan, why = {**plan, **decision}, "given with the plan"
        plan = _with_tile(low, plan)
    lowered = DRIVERS[plan["algo"]](low, problem, plan, x, weight, y, epilogue)
    lowered.launches[:0] = before
    shown = {
        key: list(value) if isinstance(value, tuple) else value for key, value in plan.items() if value is not None
    }
    return Lowered(lowered.launches, lowered.kernel, lowered.setup, shown, why)


def _shown(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A decision as JSON has it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plan.items()}


def _with_tile(low: Lowering, plan: dict[str, Any]) -> dict[str, Any]:
    """A decision from a file, where a tile is a list."""
    tiles = {tuple(tile): tile for tile in ENGINES[low.precision].tiles}
    if "tile" not in plan:
        return plan
    if tuple(plan["tile"]) not in tiles:
        raise ValueError(f"decisions: {plan['tile']} is no tile of {low.precision}; there are {list(map(list, tiles))}")
    return {**plan, "tile": tiles[tuple(plan["tile"])]}


def direct(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    args = {
        **gather(problem, x), "w": weight.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "c_group": problem.c_group, "k": problem.k, "k_group": problem.k_group, "y_stride": pixel_stride(y),
        **epilogue.act,
    }  # fmt: skip
    return Lowered([line(direct_kernel(x.ctype), problem.m * problem.k, args)], "conv_direct")


def implicit_gemm(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """Patches gathered as they are multiplied. Tensor cores take channels by the 16 bytes: where they do not lie so,
    by way of a copy."""
    engine = ENGINES[low.precision]
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
    w = engine.pack(low, weight, problem.groups, channels)
    given = Product(
        {**gather(problem, x), "c": channels}, problem.m, problem.k_group, problem.r * problem.s * channels, w,
        y.pointer, pixel_stride(y), problem.groups, problem.c_group, problem.k_group,
    )  # fmt: skip
    launches = gemm(low, given, plan, vector, epilogue)
    return Lowered([*before, *launches], f"{engine.name}_conv_gemm_{_tile_name(plan)}", [w.pack])


def _tile_name(plan: Mapping[str, Any]) -> str:
    return f"{plan['tile'].rows}x{plan['tile'].columns}"


def im2col_conv(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """The patches as a matrix, then its product with the weights, group by group."""
    engine = ENGINES[low.precision]
    matrix = low.scratch((problem.m, round_up(problem.taps, 16 // x.item_bytes)), x.ctype)
    w = engine.pack(low, weight, problem.groups, problem.c_group)
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
        given = _matrix_product(matrix, taps, problem.k_group, own, to, pixel_stride(y))
        launches += gemm(low, given, plan, vector, part)
    return Lowered(launches, f"{engine.name}_conv_im2col_{_tile_name(plan)}", [w.pack])


def _matrix_product(x: Tensor, taps: int, k: int, w: Weights, y: Pointer, y_stride: int) -> Product:
    """The first `taps` columns of a matrix, whose rows lie on whole vectors, times w."""
    m, stride = x.sizes[0], x.strides[0]
    fields = {
        "x": x.pointer, "n": 1, "h": 1, "width": m, "c": taps, "p": 1, "q": m, "r": 1, "s": 1, "stride": (1, 1),
        "pad": (0, 0), "dilation": (1, 1), "x_strides": (0, 0, stride),
    }  # fmt: skip
    return Product(fields, m, k, taps, w, y, y_stride)


def winograd(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    m, size = plan["m"], problem.r
    side = m + size - 1
    positions = side * side
    down, across = -(-problem.p // m), -(-problem.q // m)
    c_padded, k_padded = round_up(problem.c, 4), round_up(problem.k, 4)
    u = low.weights.take(4 * positions * c_padded * k_padded)
    transform = {
        "w": weight.pointer,
        "u": u,
        "k": problem.k,
        "c": problem.c,
        "c_padded": c_padded,
        "k_padded": k_padded,
    }
    setup = [line(filter_kernel(side, size), problem.k * problem.c, transform)]
    image_bytes = 4 * positions * down * across * (c_padded + k_padded)
    most = max(1, WINOGRAD_BYTES // image_bytes)
    chunk = -(-problem.n // -(-problem.n // most))
    v = low.scratch((positions * chunk * down * across * c_padded,), "float").pointer
    products = low.scratch((positions * chunk * down * across * k_padded,), "float").pointer
    launches = []
    for first in range(0, problem.n, chunk):
        n = min(chunk, problem.n - first)
        tiles = n * down * across
        image = {"down": down, "across": across, "tiles": tiles}
        seen = x.pointer + first * x.strides[0] * x.item_bytes
        args = {"x": seen, "v": v, "n": n, "h": problem.h, "width": problem.w, "c": problem.c, "c_padded": c_padded,
                "top": problem.pad[0], "left": problem.pad[1], "x_strides": x.nhwc_strides, **image}  # fmt: skip
        launches.append(line(winograd_in_kernel(side, m), tiles * c_padded, args))
        filters = Weights(u, k_padded, c_padded * k_padded, None)
        given = _matrix_product(dense(v, (tiles, c_padded)), c_padded, problem.k, filters, products, k_padded)
        given = given._replace(groups=positions, x_group=tiles * c_padded, y_group=tiles * k_padded)
        launches += gemm(low, given, plan, 4, Epilogue())
        pixels = first * problem.p * problem.q
        beside = epilogue.residual_args
        if epilogue.residual is not None:
            beside["residual"] = beside["residual"] + 4 * pixels * beside["residual_stride"]
        out = {"m": products, "bias": epilogue.bias, **beside, "y": y.pointer + 4 * pixels * pixel_stride(y),
               "p": problem.p, "q": problem.q, "k": problem.k, "k_padded": k_padded, "y_stride": pixel_stride(y),
               **image, **epilogue.act}  # fmt: skip
        launches.append(line(winograd_out_kernel(side, m), tiles * problem.k, out))
    return Lowered(launches, f"f32_conv_winograd_f{m}x{size}", setup)


def depthwise(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    multiplier = problem.k // problem.c
    residual = [] if epilogue.residual is None else [epilogue.residual]
    vector = min(4, x.vector(y, *residual)) if multiplier == 1 else 1
    while problem.k % vector:
        vector //= 2
    filters = FFMA.pack(low, weight, 1, 1)
    args = {
        **gather(problem, x), "w": filters.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "multiplier": multiplier, "y_stride": pixel_stride(y), "w_stride": filters.stride, **epilogue.act,
    }  # fmt: skip
    size, stride = problem.r, problem.stride[0]
    regular = problem.r == problem.s and problem.stride[0] == problem.stride[1] and problem.dilation == (1, 1)
    if regular and multiplier == 1 and (size, stride) in DEPTHWISE_TILES:
        while vector * size > 12:
            vector //= 2
        rows, across = DEPTHWISE_TILES[size, stride]
        kernel = depthwise_kernel(x.ctype, vector, size, stride)
        count = problem.n * -(-problem.p // rows) * -(-problem.q // across) * (problem.k // vector)
    else:
        kernel = depthwise_any_kernel(x.ctype, vector)
        count = problem.m * (problem.k // vector)
    launch = line(kernel, count, {**args, "c": problem.k // vector})
    return Lowered([launch], f"conv_depthwise_{problem.r}x{problem.s}", [filters.pack])


def grouped(low, problem, plan, x, weight, y, epilogue) -> Lowered:
    """Groups of few channels, side by side; where they do not lie on whole words, one output at a time."""
    size = problem.c_group
    tensors = [t for t in (x, y, epilogue.residual) if t is not None]
    if any(t.vector(extra=size) < min(size, 16 // t.item_bytes) for t in tensors):
        return direct(low, problem, plan, x, weight, y, epilogue)
    filters = _group_weights(low, weight, problem)
    args = {
        **gather(problem, x), "w": filters.pointer, "bias": epilogue.bias, **epilogue.residual_args, "y": y.pointer,
        "groups": problem.groups, "y_stride": pixel_stride(y), **epilogue.act,
    }  # fmt: skip
    count = problem.n * problem.p * -(-problem.q // 4) * problem.groups
    return Lowered([line(grouped_kernel(x.ctype, size), count, args)], f"conv_grouped_{size}", [filters.pack])


def _group_weights(low: Lowering, weight: Tensor, problem: ConvProblem) -> Weights:
    """Per group r s c rows of its outputs, without gaps."""
    size, taps = problem.c_group, problem.r * problem.s
    to = low.weights.take(4 * problem.groups * taps * size * size)
    axes = [
        Axis(problem.groups, size * size * taps, taps * size * size),
        Axis(taps, 1, size * size),
        Axis(size, taps, size),
        Axis(size, size * taps, 1),
    ]
    return Weights(to, size, taps * size * size, copy_axes(weight, dense(to, weight.sizes), axes))


DRIVERS = {
    "direct": direct,
    "implicit_gemm": implicit_gemm,
    "pointwise": implicit_gemm,
    "im2col": im2col_conv,
    "winograd": winograd,
    "depthwise": depthwise,
    "grouped": grouped,
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
    plan = select(problem, "pointwise", low.precision, low.multiprocessors)
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


def locally_connected2d(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2):
        return None
    spec, y = node.spec, low.output(node)
    x, weight, bias = low.inputs(node)
    p, q, k, c, r, s = weight.sizes
    by_position = bias is not None and bias.rank == 3
    args = {
        "x": x.pointer, "w": weight.pointer, "bias": None if bias is None else bias.pointer, "y": y.pointer,
        "n": x.sizes[0], "h": x.sizes[2], "width": x.sizes[3], "c": c, "k": k, "p": p, "q": q, "r": r, "s": s,
        "stride": spec.stride, "pad": (spec.padding[0][0], spec.padding[1][0]), "x_strides": x.nhwc_strides,
        "y_stride": pixel_stride(y), "bias_k": p * q if by_position else 1, "bias_position": int(by_position),
    }  # fmt: skip
    return Lowered([line(local_kernel(x.ctype), product((p, q, k)) * 32, args)], "locally_connected")


LOWERINGS = {
    ops.Conv2dSpec: conv2d,
    ops.LinearSpec: linear,
    ops.FusedBlockSpec: fused_block,
    ops.LocallyConnected2dSpec: locally_connected2d,
}
DECIDED = (conv2d, linear)  # that take a decision
