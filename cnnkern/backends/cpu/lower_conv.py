"""What convolutions, linear layers and im2col become."""

from __future__ import annotations

from ... import ops
from ...errors import UnsupportedError
from ...graph.ir import Graph, Node
from ..asked import planned_algo
from .buffers import LANES
from .calls import NativeCall
from .candidates import Problem, shown
from .lowering import Lowered, Lowering, act_options, dense, windowed

# Moves that read and write any layout: at the border of a plan they need no reorder beside them.
ANY_LAYOUT = (
    ops.TransposeSpec, ops.StrideSpec, ops.ExpandSpec, ops.TileSpec, ops.DepthToSpaceSpec, ops.SpaceToDepthSpec,
    ops.PadNdSpec,
)  # fmt: skip
LOOKERS = (ops.SliceSpec, ops.ReshapeSpec, ops.FlattenSpec)  # likewise, but their outputs may be views of another value


def writes_nchw(node: Node) -> bool:
    return isinstance(node.spec, ANY_LAYOUT)


def conv_shape(spec: ops.Conv2dSpec, x, weight) -> dict[str, int]:
    """The native side's description of a convolution, from NCHW and KCRS shapes."""
    (top, bottom), (left, right) = spec.padding
    return {
        "n": x[0], "c": x[1], "h": x[2], "w": x[3], "k": weight[0], "r": weight[2], "s": weight[3],
        "stride_h": spec.stride[0], "stride_w": spec.stride[1], "pad_t": top, "pad_b": bottom, "pad_l": left,
        "pad_r": right, "dil_h": spec.dilation[0], "dil_w": spec.dilation[1], "groups": spec.groups,
    }  # fmt: skip


def reads_nchw(node: Node, graph: Graph) -> bool:
    """A stem: a dense convolution of few channels packs its input anyway, from any layout. Or a move."""
    spec = node.spec
    if isinstance(spec, ANY_LAYOUT + LOOKERS):
        return True
    few = isinstance(spec, ops.Conv2dSpec) and spec.groups == 1 and graph.shape(node.inputs[0])[1] < LANES
    return few and not any(node.inputs[4:]) and spec.algo in ("auto", "direct", "im2col")


def conv2d(low: Lowering, node: Node, decision=None) -> Lowered | None:
    if not low.constant(node, 1, 2, 4, 5):
        return None
    spec = node.spec
    shape = conv_shape(spec, low.graph.shape(node.inputs[0]), low.graph.shape(node.inputs[1]))
    residual = low.tensor(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else None
    algo = planned_algo(spec)
    arrays = {name: low.array(node, i) for i, name in enumerate(spec.inputs) if name not in ("x", "residual")}
    return convolution(low, shape, {**low.in_out(node), "residual": residual}, arrays, spec, algo, decision)


def linear(low: Lowering, node: Node, decision=None) -> Lowered | None:
    """A 1x1 convolution over N pixels."""
    if not low.constant(node, 1, 2):
        return None
    weight = low.array(node, 1)
    n, features = low.graph.shape(node.inputs[0])
    shape = conv_shape(ops.Conv2dSpec(), (n, features, 1, 1), (*weight.shape, 1, 1))
    tensors = {**low.in_out(node), "residual": None}
    arrays = {"weight": weight, "bias": low.array(node, 2), "scale": None, "shift": None}
    lowered = convolution(low, shape, tensors, arrays, node.spec, "pointwise", decision)
    lowered.kernel = lowered.kernel.replace("conv_pointwise", "linear")
    return lowered


def convolution(low, shape, tensors, arrays, spec, algo, decision) -> Lowered:
    x, scaled = tensors["x"], arrays["scale"] is not None
    flat = all(t.flat for t in tensors.values() if t is not None)
    given = (low.isa, shape, algo, low.precision == "strict", x.channels_last, x.strides[2], flat, scaled)
    try:
        plan = low.core.conv_select(*given)
    except ValueError as error:
        raise UnsupportedError(str(error)) from None
    problem = Problem.of(shape, algo, low.precision, low.threads, not x.channels_last, scaled)
    why = "asked for" if algo != "auto" else "the selector's estimate"
    if decision:
        plan, why = {**plan, **decision}, "given with the plan"
    elif problem.key in low.kept:
        # One of today's candidates, or it was measured by other kernels than these.
        best = (p for p in low.core.conv_candidates(*given) if shown(p) == low.kept[problem.key])
        found = next(best, None)
        plan, why = (found, "autotuned") if found else (plan, why)
    call = NativeCall(
        "add_conv",
        tensors,
        {
            "shape": shape,
            "plan": plan,
            "prologue": getattr(spec, "prologue", None) or "",
            **act_options(spec.activation, spec.activation_param),
        },
        {name: None if a is None else dense(a) for name, a in arrays.items()},
    )
    name = {"winograd": f"winograd_f{plan['m']}x{shape['r']}"}.get(plan["algo"], plan["algo"])
    kernel = f"f32_conv_{name}_{plan['px']}x{16 * plan['ob']}"
    return Lowered([call], kernel, shown(plan), why, plan["cycles"], plan["weight_bytes"], problem)


def fused_block(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2, 3, 4, 5, 6):
        return None
    spec, tensors = node.spec, low.in_out(node)
    inputs = (*node.inputs, *("",) * (8 - len(node.inputs)))
    tensors["residual"] = low.tensor(inputs[7]) if inputs[7] else None
    shapes = [low.graph.shape(name) if name else None for name in inputs]
    x, options, arrays, cycles, weight_bytes = shapes[0], {"project": None}, {}, 0.0, 0
    for i, (stage, weight, bias, _) in enumerate(spec.stages(*shapes)):
        shape, name = conv_shape(stage, x, weight), ("expand", "depthwise", "project")[i]
        # Rows are lines of their own: `flat` would promise more.
        plan = low.core.conv_select(low.isa, shape, "depthwise" if i == 1 else "pointwise", False, True, 16, False)
        act = act_options(stage.activation, stage.activation_param)
        options[name] = {"shape": shape, "plan": plan, **act}
        for what, j in (("weight", 1 + 2 * i), ("bias", 2 + 2 * i)):
            array = low.array(node, j)
            arrays[f"{name}_{what}"] = None if array is None else dense(array)
        (x,) = stage.infer(x, weight, bias)
        cycles, weight_bytes = cycles + plan["cycles"], weight_bytes + plan["weight_bytes"]
    return Lowered(
        [NativeCall("add_fused_block", tensors, options, arrays)],
        "f32_fused_block",
        why="the wide rows stay in L2",
        cycles=cycles,
        weight_bytes=weight_bytes,
    )


def locally_connected2d(low: Lowering, node: Node) -> Lowered | None:
    if not low.constant(node, 1, 2):
        return None
    spec, weight, bias = node.spec, low.array(node, 1), low.array(node, 2)
    (top, bottom), (left, right) = spec.padding
    call = NativeCall(
        "add_locally_connected",
        low.in_out(node),
        {"kernel": weight.shape[4:], "stride": spec.stride, "pad": (top, bottom, left, right)},
        {"weight": dense(weight), "bias": None if bias is None else dense(bias)},
    )
    return Lowered([call], "f32_locally_connected")


def im2col(low: Lowering, node: Node) -> Lowered:
    """The native side sees images of patches: (N, P, Q, C R S) in the strides of (N, C R S, P Q)."""
    n, patch, positions = low.graph.shape(node.outputs[0])
    p, q = node.spec.output_hw(low.graph.shape(node.inputs[0]))
    y = low.tensor(node.outputs[0])
    y = y._replace(sizes=(n, p, q, patch), strides=(patch * positions, q, 1, positions))
    return windowed(low, node, "add_im2col", "f32_im2col", {}, y)
