"""Our graph as an ONNX model: valid, with our shapes, and the same answers as the reference in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import UnsupportedError, models, ops
from cnnkern.backends.reference import ReferenceBackend
from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.ir import Param
from cnnkern.measure.accuracy import range_error, variation

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
# Before 1.25 it divided averages over one-sided padding by the wrong count.
onnxruntime = pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")

from cnnkern.onnx.exporter import ACTIVATIONS, to_onnx  # noqa: E402  needs onnx

TOLERANCE = 1e-5  # of the range; both sides are float32 over reductions of a few hundred
NETWORK_TOLERANCE = 1e-4  # a deep network multiplies the rounding of its first layers
# Small enough to run in a moment; what the larger ones need beside is among the chains below.
SHAPES = {
    "lenet5": (1, 32, 32),  # tanh, average pools
    "keras_mnist_convnet": (1, 28, 28),  # flatten in the order HWC, softmax
    "squeezenet1_1": (3, 65, 65),  # concat, pools with ceil_mode
    "mobilenet_v2": (3, 33, 33),  # batch norm, relu6, depthwise, add
    "shufflenet_v2_x1_0": (3, 32, 32),  # slice, channel shuffle
    "efficientnet_b0": (3, 97, 97),  # silu, sigmoid, mul
}


def in_onnxruntime(model, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


def in_reference(graph, weights: dict, x: np.ndarray) -> np.ndarray:
    return ReferenceBackend().compile(graph.bind(len(x)), weights)(x)


@pytest.mark.parametrize("name", SHAPES)
def test_architectures(name, rng):
    network = models.create(name, input_shape=SHAPES[name])
    x = rng.standard_normal((2, *SHAPES[name]), np.float32)
    x[1] *= np.linspace(-2, 3, x.shape[-1], dtype=np.float32)  # two images of noise alone look alike to a deep network
    expected = in_reference(network.graph, network.weights, x)
    assert variation(expected) > 0.01
    model = to_onnx(network.graph, network.weights)  # with the symbolic batch
    assert range_error(in_onnxruntime(model, x), expected) < NETWORK_TOLERANCE
    assert {node.name for node in network.graph.nodes} <= {node.name for node in model.graph.node}
    assert set(network.weights) <= {tensor.name for tensor in model.graph.initializer}


def one_layer(*layers: tuple[ops.Spec, dict[str, tuple]], shape=(4, 9, 7)):
    """A chain of layers, each a Spec and the shapes of its params by name; other inputs are the network's."""
    g = GraphBuilder("chain")
    x = g.input(shape)
    for spec, params in layers:
        inputs = [x]
        for name, param in params.items():
            if param is not None:
                g.graph.params[name] = Param(name, param, "bias")
            inputs.append(name if param is not None else "")
        x = g.emit(spec, inputs)
    return g.finish(x)


def unary_of(kind: str) -> ops.UnarySpec:
    names, _ = ops.UNARY[kind]
    return ops.UnarySpec(kind, **dict(zip(names, (0.4, 0.7))))


CHAINS = {
    **{f"activation {kind}": [(ops.ActivationSpec(kind), {})] for kind in ops.ACTIVATIONS},
    "convolution with a prologue": [
        (
            ops.Conv2dSpec(2, 1, activation="relu6", prologue="relu6"),
            {"w": (6, 4, 3, 3), "b": None, "r": None, "scale": (4,), "shift": (4,)},
        )
    ],
    "activated batch norm": [
        (ops.BatchNormSpec(activation="silu"), {"mean": (4,), "var": (4,), "weight": None, "bias": None})
    ],
    "grouped convolution": [
        (
            ops.Conv2dSpec((2, 1), ((1, 0), (2, 1)), (1, 2), 2, "leaky_relu", 0.3),
            {"w": (6, 2, 3, 2), "b": (6,)},
        )
    ],
    "linear": [(ops.FlattenSpec("HWC"), {}), (ops.LinearSpec("leaky_relu", 0.3), {"w": (5, 252), "b": None})],
    "batch norm without scale and shift": [(ops.BatchNormSpec(1e-3), {"m": (4,), "v": (4,)})],
    "add and mul": [(ops.AddSpec("relu"), {"a": (4, 1, 1)}), (ops.MulSpec(), {"m": (9, 7)})],
    "max pool": [(ops.Pool2dSpec("max", (3, 2), (2, 2), ((1, 1), (0, 0)), (2, 1), ceil_mode=True), {})],
    "average pool, overhanging": [(ops.Pool2dSpec("avg", (2, 3), (2, 2), ((0, 0), (1, 0)), ceil_mode=True), {})],
    "average pool, last window dropped": [
        (ops.Pool2dSpec("avg", (2, 2), (2, 2), ((1, 1), (1, 1)), ceil_mode=True), {})
    ],
    "average pool, its own": [(ops.Pool2dSpec("avg", (3, 3), (1, 1), ((1, 1), (1, 1)), count_include_pad=False), {})],
    "average pool of one value, padded": [(ops.Pool2dSpec("avg", (1, 1), (2, 3), ((0, 1), (2, 1))), {})],
    "average pool of one value": [(ops.Pool2dSpec("avg", (1, 1), (3, 2), ((0, 0), (0, 0)), ceil_mode=True), {})],
    "global pools": [(ops.GlobalPool2dSpec("max"), {}), (ops.GlobalPool2dSpec("avg"), {})],
    "adaptive pool, equal windows": [(ops.AdaptiveAvgPool2dSpec((3, 7)), {})],
    "adaptive pool, overlapping windows": [(ops.AdaptiveAvgPool2dSpec((4, 5)), {})],
    "adaptive pool, larger": [(ops.AdaptiveAvgPool2dSpec((12, 9)), {})],
    "local response norm": [(ops.LocalResponseNormSpec(3, 0.1, 0.75, 2.0, alpha_is_sum=True), {})],
    "log softmax": [(ops.SoftmaxSpec(1, log=True), {})],
    "pad": [(ops.PadSpec(((1, 0), (2, 3)), -1.5), {})],
    "slice from the end": [(ops.SliceSpec(-1, -5, -2), {})],
    "shuffle": [(ops.ChannelShuffleSpec(2), {})],
    **{f"unary {kind}": [(unary_of(kind), {})] for kind in ops.UNARY if kind not in ("sqrt", "log")},
    **{f"unary {kind}": [(ops.UnarySpec("abs"), {}), (unary_of(kind), {})] for kind in ("sqrt", "log")},
    **{f"binary {kind}": [(ops.BinarySpec(kind), {"b": (4, 1, 7)})] for kind in ops.BINARY if kind != "pow"},
    "binary pow": [(ops.UnarySpec("abs"), {}), (ops.BinarySpec("pow"), {"b": (4, 1, 7)})],
    "prelu whose slope is larger": [(ops.ReduceSpec("max", (1,)), {}), (ops.BinarySpec("prelu"), {"b": (4, 1, 7)})],
    **{f"reduce {kind}": [(ops.UnarySpec("abs"), {}), (ops.ReduceSpec(kind, (1, -1)), {})] for kind in ops.REDUCTIONS},
    "reduce nothing": [(ops.ReduceSpec("l1", ()), {}), (ops.ReduceSpec("sum", (-2,), keepdims=False), {})],
    "matmul": [(ops.MatMulSpec(), {"b": (4, 7, 5)})],
    "gather": [(ops.ResampleSpec(2, ((8,), (0,), (0,))), {})],
    "resample": [(ops.ResampleSpec(-1, ((0, 1), (5, 5), (6, 2)), ((0.5, 0.5), (0.1, 0.2), (-1.0, 2.0))), {})],
    "strides": [(ops.StrideSpec(2, 8, -3, 3), {}), (ops.StrideSpec(3, 1, 2, 3), {})],
    **{
        f"pad {mode}": [(ops.PadNdSpec(((0, 0), (1, 2), (3, 0), (0, 1)), mode, 2.5 * (mode == "constant")), {})]
        for mode in ("constant", "reflect", "edge", "wrap")
    },
    "expand and tile": [
        (ops.ReduceSpec("max", (1,)), {}),
        (ops.ExpandSpec((3, 1, 1)), {}),
        (ops.TileSpec((1, 2, 1, 3)), {}),
    ],
    "depth to space": [
        (ops.DepthToSpaceSpec(2), {}),
        (ops.TileSpec((1, 4, 1, 1)), {}),
        (ops.DepthToSpaceSpec(2, "CRD"), {}),
    ],
    "space to depth": [
        (ops.StrideSpec(2, 0, 1, 8), {}),
        (ops.StrideSpec(3, 0, 1, 6), {}),
        (ops.SpaceToDepthSpec(2), {}),
    ],
    "untied convolution": [
        (
            ops.LocallyConnected2dSpec((2, 3), ((1, 0), (0, 2))),
            {"w": (4, 3, 5, 4, 3, 2), "b": (5, 4, 3)},
        ),
        (ops.LocallyConnected2dSpec(), {"w2": (3, 2, 6, 5, 2, 2), "b2": (6,)}),
    ],
    "transposed convolution": [
        (ops.ConvTranspose2dSpec((2, 3), ((1, 0), (0, 2)), (1, 0), (2, 1), 2), {"w": (4, 3, 3, 2), "b": (6,)})
    ],
    "transpose and reshape": [(ops.TransposeSpec((0, 2, 3, 1)), {}), (ops.ReshapeSpec((0, 3, -1)), {})],
}


@pytest.mark.parametrize("name", CHAINS)
def test_operations(name, rng):
    graph = one_layer(*CHAINS[name])
    weights = {p.name: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in graph.params.values()}
    x = 3 * rng.standard_normal((2, 4, 9, 7), np.float32)
    model = to_onnx(graph, weights)
    assert range_error(in_onnxruntime(model, x), in_reference(graph, weights, x)) < TOLERANCE
    assert model.graph.node[-1].output[0] == graph.outputs[0]


def test_residual_and_activation_follow_their_convolution(rng):
    g = GraphBuilder("residual")
    x = g.input((4, 5, 5))
    g.graph.params["w"] = Param("w", (4, 4, 3, 3), "conv_weight")
    spec = ops.Conv2dSpec(padding=((1, 1), (1, 1)), activation="relu6")
    graph = g.finish(g.emit(spec, (x, "w", "", x)))
    weights = {"w": rng.standard_normal((4, 4, 3, 3), np.float32)}
    x = rng.standard_normal((2, 4, 5, 5), np.float32)
    assert range_error(in_onnxruntime(to_onnx(graph, weights), x), in_reference(graph, weights, x)) < TOLERANCE


def test_regions(rng):
    """Two inputs; the number of regions stays open. Corners on half pixels, beyond the map and the wrong way round."""
    g = GraphBuilder("regions")
    graph = g.finish(g.roi_max_pool(g.relu(g.input((4, 9, 7))), g.regions(), (3, 2), 0.5))
    x, corners = rng.standard_normal((2, 4, 9, 7), np.float32), rng.integers(-9, 27, (6, 4))
    rois = np.column_stack([rng.integers(0, 2, 6), corners]).astype(np.float32)
    model = to_onnx(graph.bind({"N": 2}), {})
    assert [[d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input] == [
        [2, 4, 9, 7], ["R", 5]
    ]  # fmt: skip
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"input": x, "rois": rois})
    assert np.array_equal(theirs, ReferenceBackend().compile(graph.bind({"N": 2, "R": 6}), {})((x, rois)))


def test_every_activation_has_a_form():
    assert set(ACTIVATIONS) == set(ops.ACTIVATIONS)


@pytest.mark.parametrize(
    "spec",
    [
        ops.Pool2dSpec("sum"),
        ops.Pool2dSpec("max", return_indices=True),
        ops.LocalResponseNormSpec(4),
        ops.LocalContrastNormSpec(),
    ],
)
def test_what_onnx_cannot_say_is_refused_by_layer(spec):
    with pytest.raises(UnsupportedError, match=f"layer '{spec.op}'"):
        to_onnx(one_layer((spec, {})), {})


def test_missing_weights():
    network = models.create("lenet5")
    with pytest.raises(KeyError):
        to_onnx(network.graph, {})
