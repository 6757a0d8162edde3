"""Every operation that the writer emits, as TFLite; and that XNNPACK takes what the architectures have."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import models, ops
from cnnkern.backends.reference import ReferenceBackend
from cnnkern.graph.builder import GraphBuilder
from cnnkern.measure.accuracy import range_error, variation
from cnnkern.measure.peers.litert import undelegated

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
pytest.importorskip("ai_edge_litert", reason="LiteRT is an extra: pip install 'cnnkern[peers]'")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

import cnnkern  # noqa: E402
from cnnkern.measure.peers.tflite_graph import from_onnx  # noqa: E402
from cnnkern.measure.peers.tflite_model import order, stored  # noqa: E402
from cnnkern.onnx.exporter import to_onnx  # noqa: E402

TOLERANCE = 1e-5  # of the range, after one operation
# one-sided padding, relu6, silu, shuffle, ceil_mode, softmax, averages, six tensors in one concat, groups
SHAPES = {
    "lenet5": (1, 32, 32),
    "keras_mnist_convnet": (1, 28, 28),
    "squeezenet1_1": (3, 65, 65),
    "mobilenet_v2": (3, 33, 33),
    "densenet_100_12_cifar10": (3, 32, 32),
    "shufflenet_v1_g3": (3, 64, 64),
    "shufflenet_v2_x1_0": (3, 32, 32),
    "efficientnet_b0": (3, 97, 97),
    "inception_v3": (3, 107, 107),
    "resnext50_32x4d": (3, 65, 65),
    "xception41": (3, 97, 97),
}
# LRN, and 1x1 pools with a stride
LEFT_BY_XNNPACK = {
    "googlenet_2014": ((3, 224, 224), {"LOCAL_RESPONSE_NORMALIZATION"}),
    "keras_nasnet_mobile": ((3, 97, 97), {"AVERAGE_POOL_2D"}),
}


def run(model: bytes, x: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """The answer, and the operators that XNNPACK does not run."""
    interpreter = Interpreter(model_content=model, num_threads=2)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer, undelegated(interpreter._get_ops_details())


def operators(model: bytes) -> list[str]:
    interpreter = Interpreter(model_content=model)
    return [operator["op_name"] for operator in interpreter._get_ops_details()]


@pytest.mark.parametrize("name", [*SHAPES, *LEFT_BY_XNNPACK])
def test_architectures(name, rng, tmp_path):
    shape, may_be_left = LEFT_BY_XNNPACK.get(name) or (SHAPES[name], set())
    network = models.create(name, input_shape=shape)
    path = tmp_path / "net.onnx"
    cnnkern.onnx.save(network, path, batch=2)
    x = rng.standard_normal((2, *network.input_shape), np.float32)
    x[1] *= np.linspace(-2, 3, x.shape[-1], dtype=np.float32)
    answer, left = run(from_onnx(str(path)), x)
    expected = network(x, backend="reference")
    assert variation(expected) > 0.01
    assert answer.shape == expected.shape and range_error(answer, expected) < 1e-4
    assert set(left) <= may_be_left


def written(graph, batch: int, rng, path) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A graph as TFLite, an input for it and the reference's answer."""
    weights = {p.name: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in graph.params.values()}
    for param in graph.params.values():
        if param.kind == "conv_weight":
            weights[param.name] -= 1
    bound = graph.bind(batch)
    path.write_bytes(to_onnx(bound, weights).SerializeToString())
    x = 3 * rng.standard_normal(bound.shape(graph.inputs[0]), np.float32)
    return from_onnx(str(path)), x, ReferenceBackend().compile(bound, weights)(x)


def chain(*steps):
    """x -> x, one step after the other."""

    def build(g, x):
        for step in steps:
            x = step(g, x)
        return x

    return build


def op(spec):
    return lambda g, x: g.emit(spec, (x,))


def conv(channels=6, kernel=3, **options):
    return lambda g, x: g.conv(x, f"conv{len(g.graph.nodes)}", channels, kernel, **options)


def norm(g, x):
    return g.batch_norm(x, f"norm{len(g.graph.nodes)}")


def relu(g, x):
    return g.relu(x)


def pool(kind, *args, **options):
    return op(ops.Pool2dSpec(kind, *args, **options))


def gate(g, x):
    """Squeeze and excitation: a product that is repeated over the image."""
    return g.mul(x, g.activation(g.global_avg_pool(x), "sigmoid"))


def fork(g, x):
    """A convolution read twice: neither the ReLU nor the batch norm behind may become part of it."""
    y = g.conv(x, "conv", 4, 3, padding=1)
    return g.concat([g.relu(y), norm(g, y), y])


def join_many(g, x):
    return g.concat([g.relu(x), *(g.scale(x, 0.5 * i, f"scale{i}") for i in range(1, 12))])


KINDS = {
    **{f"activation {kind}": op(ops.ActivationSpec(kind)) for kind in ops.ACTIVATIONS if kind != "gelu"},
    "convolution, batch norm, ReLU": chain(conv(), norm, relu),
    "convolution, ReLU, batch norm": chain(conv(bias=False), relu, norm),
    "batch norm, ReLU, convolution": chain(norm, relu, conv()),
    "depthwise, batch norm, ReLU6": chain(conv(4, groups=4), norm, op(ops.ActivationSpec("relu6"))),
    "depthwise with a multiplier": chain(conv(12, groups=4), norm),
    "one channel, grouped": chain(lambda g, x: g.slice(x, 1, 2), conv(3, padding=1)),
    "linear, batch norm, ReLU": chain(
        lambda g, x: g.flatten(x), lambda g, x: g.linear(x, "fc", 5), op(ops.ActivationSpec("relu"))
    ),
    "linear, in the order HWC": chain(lambda g, x: g.flatten(x, "HWC"), lambda g, x: g.linear(x, "fc", 5, bias=False)),
    "fork": fork,
    "gate": gate,
    "residual": lambda g, x: g.relu(g.add(g.conv(x, "conv", 4, 3, padding=1), x)),
    "concat of many": join_many,
    "concat of rows": lambda g, x: g.concat([x, g.relu(x)], axis=2),
    "max pool, padded by a convolution's ReLU": chain(conv(), relu, pool("max", (3, 3), (2, 2), ((1, 1), (1, 1)))),
    "max pool, padded": pool("max", (3, 2), (2, 3), ((1, 1), (0, 1))),
    "max pool, overhanging": pool("max", (3, 3), (2, 2), ceil_mode=True),
    "average pool, padding counted": pool("avg", (3, 3), (1, 1), ((1, 1), (1, 1))),
    "average pool, padding not counted": pool("avg", (3, 3), (1, 1), ((1, 1), (1, 1)), count_include_pad=False),
    "average pool, one-sided": pool("avg", (3, 2), (2, 2), ((0, 1), (1, 0)), count_include_pad=False),
    "average pool, overhanging": pool("avg", (2, 3), (2, 2), ((0, 0), (1, 0)), ceil_mode=True),
    "global pools": chain(op(ops.GlobalPool2dSpec("max")), op(ops.GlobalPool2dSpec("avg"))),
    "adaptive pool": op(ops.AdaptiveAvgPool2dSpec((4, 5))),
    "local response norm": op(ops.LocalResponseNormSpec(3, 0.1, 0.75, 2.0, alpha_is_sum=True)),
    "softmax": chain(lambda g, x: g.flatten(x), op(ops.SoftmaxSpec(-1))),
    "log softmax over channels": op(ops.SoftmaxSpec(1, log=True)),
    "pad": op(ops.PadSpec(((1, 0), (2, 3)), -1.5)),
    "slice from the end": op(ops.SliceSpec(-1, -5, -2)),
    "shuffle": chain(op(ops.ChannelShuffleSpec(2)), conv()),
    "transpose and reshape": chain(op(ops.TransposeSpec((0, 2, 3, 1))), op(ops.ReshapeSpec((0, -1, 2, 2)))),
    "transpose alone": op(ops.TransposeSpec((0, 3, 1, 2))),
}


@pytest.mark.parametrize("name", KINDS)
def test_operations(name, rng, tmp_path):
    g = GraphBuilder("kind")
    size = (int(rng.integers(7, 14)), int(rng.integers(7, 14)))
    graph = g.finish(KINDS[name](g, g.input((4, *size))))
    model, x, expected = written(graph, int(rng.integers(1, 4)), rng, tmp_path / "net.onnx")
    answer, _ = run(model, x)
    assert answer.shape == expected.shape
    assert range_error(answer, expected) < TOLERANCE, (size, len(x))


@pytest.mark.parametrize("kind", ["conv", "max", "avg"])
def test_windows(kind, rng, tmp_path):
    """Any size, stride, padding on each side, dilation, groups."""
    for number in range(25):
        kernel, stride = (tuple(int(v) for v in rng.integers(1, high, 2)) for high in (5, 4))
        padding = tuple(tuple(int(v) for v in rng.integers(0, k // 2 + 1, 2)) for k in kernel)
        size = tuple(int(v) for v in rng.integers(13, 20, 2))
        g = GraphBuilder("window")
        x = g.input((6, *size))
        if kind == "conv":
            options = {"dilation": int(rng.integers(1, 4)), "groups": int(rng.choice([1, 2, 3, 6]))}
            y = g.conv(x, "conv", 12, kernel, stride, padding, **options)
        else:
            options = {"ceil_mode": bool(rng.integers(2)) and not np.any(padding)}  # onnx miscounts windows of both
            options.update({"count_include_pad": bool(rng.integers(2))} if kind == "avg" else {})
            y = g.emit(ops.Pool2dSpec(kind, kernel, stride, padding, **options), (x,))
        model, x, expected = written(g.finish(y), 1, rng, tmp_path / f"{number}.onnx")
        answer, _ = run(model, x)
        assert answer.shape == expected.shape
        assert range_error(answer, expected) < TOLERANCE, (kernel, stride, padding, size, options)


def test_several_outputs(rng, tmp_path):
    g = GraphBuilder("two")
    x = g.conv(g.input((4, 9, 9)), "conv", 6, 3)
    graph = g.finish([g.relu(x), g.max_pool(x, 2)])
    model, x, (expected, _) = written(graph, 2, rng, tmp_path / "net.onnx")
    answer, left = run(model, x)
    assert range_error(answer, expected) < TOLERANCE and not left


def test_what_belongs_together_is_one_operator(rng, tmp_path):
    g = GraphBuilder("joined")
    x = g.relu(norm(g, g.conv(g.input((4, 9, 9)), "conv", 6, 3, padding=1)))
    model, *_ = written(g.finish(x), 1, rng, tmp_path / "net.onnx")
    assert operators(model)[:3] == ["TRANSPOSE", "CONV_2D", "TRANSPOSE"]


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 3, 1), (0, 3, 4, 1, 2)])
def test_images_lie_before_channels(axes):
    assert order(len(axes)) == axes
    assert stored([10 + axis for axis in range(len(axes))]) == tuple(10 + axis for axis in axes)


@pytest.mark.parametrize(
    "spec, said",
    [
        (ops.ActivationSpec("gelu"), "Erf"),
        (ops.Pool2dSpec("max", (2, 2), dilation=(2, 2)), "dilated"),
        (ops.Pool2dSpec("avg", (2, 2), dilation=(2, 2)), "dilated"),
        (ops.SoftmaxSpec(-1), "SOFTMAX.*axis"),
    ],
)
def test_what_tflite_does_not_have_is_named(spec, said, rng, tmp_path):
    g = GraphBuilder("strange")
    graph = g.finish(g.emit(spec, (g.input((4, 9, 9)),)))
    with pytest.raises(NotImplementedError, match=f"{said}.*layer '{graph.outputs[0]}"):
        written(graph, 1, rng, tmp_path / "net.onnx")


def test_what_no_delegate_has_taken():
    own = [("CONV_2D", [0], [1]), ("LRN", [1], [2]), ("CONV_2D", [2], [3]), ("ADD", [3, 1], [4])]
    parts = [("DELEGATE", [0], [1]), ("DELEGATE", [1, 2], [4])]
    as_listed = lambda rows: [dict(zip(("op_name", "inputs", "outputs"), row)) for row in rows]  # noqa: E731
    assert undelegated(as_listed(own + parts)) == {"LRN": 1}
    assert undelegated(as_listed(own)) == {"CONV_2D": 2, "LRN": 1, "ADD": 1}
    assert undelegated(as_listed([*own, ("DELEGATE", [0], [4])])) == {}
