"""The cpu backend's functions, pairs, reductions and products inside graphs: operands that were computed, or that
are constant, images one by one; and what its native entries refuse."""

from __future__ import annotations

import numpy as np
import pytest

import cnnkern
from cnnkern import ops, testing
from cnnkern.backends.cpu import CpuBackend
from cnnkern.graph.ir import Graph, Node, Param, Value
from cnnkern.ops.base import Counts

core = pytest.importorskip("cnnkern._core", reason="no native module")
ISAS = core.available_isas()


def chain(nodes, inputs: dict, weights: dict) -> Graph:
    """A graph from [(output, spec, inputs), ...]; the last one is its output."""
    graph = Graph("chain")
    graph.inputs = [*inputs]
    graph.values = {name: Value(name, array.shape) for name, array in inputs.items()}
    graph.params = {name: Param(name, array.shape, "constant") for name, array in weights.items()}
    for out, spec, names in nodes:
        (shape,) = spec.infer(*(graph.shape(name) for name in names))
        graph.values[out] = Value(out, shape)
        graph.nodes.append(Node(out, spec, tuple(names), (out,)))
    graph.outputs = [nodes[-1][0]]
    return graph


def run(nodes, inputs, weights, isa, threads=2, **options):
    """(the result, the counted steps, the float64 oracle's result); every step must be native and as predicted."""
    graph = chain(nodes, inputs, weights)
    executable = CpuBackend(isa).compile(graph, weights, threads=threads, **options)
    y = executable([*inputs.values()])
    rows = executable.count(inputs)
    values = {**inputs, **weights}
    for out, spec, names in nodes:
        values[out] = testing.reference(spec, *(values[name] for name in names))
    for row in rows:
        assert row["executed"] is not None, f"{row['name']} fell back"
        assert row["predicted"] == row["executed"], row["name"]
        assert row["theory"] - row["executed"] == sum(row["itemised"].values(), Counts()), row["name"]
    return y, rows, values[nodes[-1][0]]


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
def test_attention_and_layer_norm(isa, rng):
    """Products of computed values, a layer norm from its parts; a square becomes a product."""
    tokens, width = 10, 72
    inputs = {"x": floats(rng, 2, tokens, width), "keys": floats(rng, 2, width, tokens)}
    weights = {name: floats(rng, width, width) / 9 for name in ("wq", "wv")}
    weights |= {"scale": np.full((), width**-0.5, np.float32), "bias": floats(rng, width)}
    weights |= {"two": np.full((), 2.0, np.float32), "eps": np.full((1,), 1e-3, np.float32)}
    nodes = [
        ("q", ops.MatMulSpec(), ("x", "wq")),
        ("queries", ops.AddSpec(), ("q", "bias")),
        ("v", ops.MatMulSpec(), ("x", "wv")),
        ("values", ops.AddSpec(), ("bias", "v")),
        ("scores", ops.MatMulSpec(), ("queries", "keys")),
        ("scaled", ops.MulSpec(), ("scores", "scale")),
        ("share", ops.SoftmaxSpec(-1), ("scaled",)),
        ("o", ops.MatMulSpec(), ("share", "values")),
        ("mean", ops.ReduceSpec("mean", (-1,)), ("o",)),
        ("centred", ops.BinarySpec("sub"), ("o", "mean")),
        ("square", ops.BinarySpec("pow"), ("centred", "two")),
        ("var", ops.ReduceSpec("mean", (2,)), ("square",)),
        ("safe", ops.AddSpec(), ("var", "eps")),
        ("deviation", ops.UnarySpec("sqrt"), ("safe",)),
        ("y", ops.BinarySpec("div"), ("centred", "deviation")),
    ]
    y, rows, theirs = run(nodes, inputs, weights, isa)
    np.testing.assert_allclose(y, theirs, rtol=2e-4, atol=2e-4)
    assert next(row["kernel"] for row in rows if row["name"] == "square") == f"f32_mul__{isa}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_images_with_constants_of_every_shape(isa, threads, rng):
    """Rank 4 values lie channels last; a constant may have fewer axes, or an image for each image of the batch."""
    n, c, h, w = 4, 5, 6, 7
    x = floats(rng, n, c, h, w)
    shapes = [(), (1,), (w,), (h, 1), (c, 1, 1), (c, h, w), (1, c, 1, 1), (1, 1, h, w), (n, c, h, w), (n, 1, 1, 1)]
    weights = {f"k{i}": floats(rng, *shape) for i, shape in enumerate(shapes)}
    for i, name in enumerate(weights):
        for spec, names in (
            (ops.AddSpec("relu"), ("x", name)),
            (ops.BinarySpec("sub"), (name, "x")),
            (ops.MulSpec("silu"), (name, "x")),
        ):
            nodes = [
                ("first", ops.ActivationSpec("tanh"), ("x",)),
                ("y", spec, tuple(n.replace("x", "first") for n in names)),
            ]
            y, _, theirs = run(nodes, {"x": x}, weights, isa, threads)
            np.testing.assert_allclose(y, theirs, rtol=1e-5, atol=1e-5, err_msg=f"{spec} {shapes[i]}")
            by_image = {"first": {"images": 1}, "y": {"images": 1}}
            again, rows, _ = run(nodes, {"x": x}, weights, isa, threads, decisions=by_image)
            assert np.array_equal(again, y), f"image by image: {spec} {shapes[i]}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("lead", [(), (3,), (1,), (2, 3), (2, 1)])
def test_products_with_a_known_matrix(isa, lead, rng):
    """b packed when the plan is made: of one matrix for all, of one each."""
    a, w = (
        floats(rng, 2, 3, 9, 20),
        floats(rng, *lead, 20, 33) if len(lead) < 2 or lead[1] == 3 else floats(rng, 2, 1, 20, 33),
    )
    nodes = [("y", ops.MatMulSpec(), ("a", "w"))]
    y, _, theirs = run(nodes, {"a": a}, {"w": w}, isa)
    testing.assert_close(y, theirs, ops.MatMulSpec(), (a, w))


@pytest.mark.parametrize("isa", ISAS)
def test_the_same_value_twice(isa, rng):
    x = floats(rng, 3, 40, 5)
    for spec in (ops.AddSpec(), ops.MulSpec(), ops.BinarySpec("sub"), ops.BinarySpec("div")):
        y, _, theirs = run([("y", spec, ("x", "x"))], {"x": x}, {}, isa)
        testing.assert_close(y, theirs, spec, (x, x))


@pytest.mark.parametrize("isa", ISAS)
def test_powers_as_ieee_says(isa):
    special = np.array(
        [
            0,
            -0.0,
            1,
            -1,
            2,
            -2,
            3,
            -3,
            0.5,
            -0.5,
            2.5,
            np.inf,
            -np.inf,
            np.nan,
            1e-45,
            -1e-40,
            3e38,
            -3e38,
            1e10,
            2**24 + 2,
        ],
        np.float32,
    )
    a, b = (v.ravel().copy() for v in np.meshgrid(special, special))
    (y,) = CpuBackend(isa).call(ops.BinarySpec("pow"), (a, b))
    with np.errstate(all="ignore"):
        theirs = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(y, theirs, rtol=2**-21, atol=2.0**-148)
    assert np.array_equal(np.signbit(y[~np.isnan(y)]), np.signbit(theirs[~np.isnan(y)]))


@pytest.mark.parametrize("isa", ISAS)
def test_functions_keep_their_digits(isa, rng):
    """Relative errors, where a tolerance that looks at the largest result would not see them."""
    backend = CpuBackend(isa)
    x = np.concatenate([floats(rng, 2000) * scale for scale in (1e-30, 1e-6, 1e-2, 1, 8)]).astype(np.float32)
    limits = {
        "erf": 4,
        "log": 3,
        "exp": 2,
        "softplus": 4,
        "elu": 3,
        "celu": 3,
        "sqrt": 1,
        "reciprocal": 1,
        "softsign": 2,
    }
    for kind, limit in limits.items():
        spec = ops.UnarySpec(kind, *((1.0,) if kind in ("elu", "celu") else ()))
        given = np.abs(x) if kind in ("log", "sqrt") else x
        (y,) = backend.call(spec, (given,))
        theirs = testing.reference(spec, given)
        error = np.abs(y - theirs) / np.maximum(np.abs(theirs), 2.0**-126) * 2**23
        assert error.max() <= limit, (kind, error.max(), given[error.argmax()])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_long_sums_lose_nothing(isa, axes):
    """A million equal numbers, which a sum one after the other gets wrong by hundreds of units."""
    x = np.full((1000, 1024), 0.1, np.float32)
    spec = ops.ReduceSpec("sum", axes)
    (y,) = CpuBackend(isa).call(spec, (x,))
    theirs = testing.reference(spec, x)
    assert np.max(np.abs(y / theirs - 1)) < 40 * 2**-23


# --- the native border

X, Y = (1, 0, (2, 3, 4), (12, 4, 1)), (2, 0, (2, 3, 4), (12, 4, 1))


def program():
    return core.Program("", 2, 0, [24, 24, 24], 2)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("add_unary", (X, Y, "no"), "one of neg"),
        ("add_unary", ((1, 0, (2, 3, 5), (12, 4, 1)), Y, "abs"), "outside|same sizes"),
        ("add_unary", ((1, 0, (2, 3), (4, 1)), Y, "abs"), "same sizes"),
        ("add_unary", (X, (2, 0, (2, 3, 4), (12, 0, 1)), "abs"), "repeat"),
        ("add_unary", ((1, 0, (2, 3, 4), (-12, 4, 1)), Y, "abs"), "outside"),
        ("add_unary", (None, Y, "abs"), "needed"),
        ("add_binary_nd", (X, X, Y, "modulo"), "one of add"),
        ("add_binary_nd", (X, (1, 0, (2, 3, 1), (3, 1, 0)), Y, "add"), "same sizes"),
        ("add_binary_nd", (X, X, Y, "sub", "relu"), "activation"),
        ("add_affine_nd", (X, Y, 3, np.ones(4, np.float32), np.ones(4, np.float32)), "no such axis"),
        ("add_affine_nd", (X, Y, 1, np.ones(4, np.float32), np.ones(3, np.float32)), "scale"),
        ("add_affine_nd", (X, Y, 1, None, np.ones(3, np.float32)), "needed"),
        ("add_reduce", (X, Y, "sum", [0]), "sizes"),
        ("add_reduce", (X, Y, "sum", [3]), "no such axis"),
        ("add_reduce", (X, (2, 0, (1, 3, 4), (0, 4, 1)), "sum", [0, 0]), "differ"),
        ("add_reduce", (X, (2, 0, (1, 3, 4), (0, 4, 1)), "median", [0]), "one of sum"),
        ("add_softmax_nd", (X, Y, -1), "no such axis"),
        ("add_matmul", (X, None, Y, 1, 1), "b or weight"),
        ("add_matmul", (X, X, Y, 1, 1), "columns"),
        ("add_matmul", (X, (1, 0, (2, 4, 4), (0, 4, 1)), Y, 0, 1), "width"),
        ("add_matmul", (X, (1, 0, (2, 4, 4), (0, 4, 1)), Y, 1, 99), "length"),
        ("add_matmul", (X, None, Y, 1, 1, np.ones((4, 5), np.float32)), "columns"),
        ("add_matmul", (X, None, Y, 1, 1, np.ones((3, 4, 4), np.float32)), "broadcast"),
        ("add_matmul", (X, None, Y, 1, 1, np.ones((4, 4))), "float32"),
    ],
)
def test_what_is_refused(method, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(program(), method)(*arguments)


@pytest.mark.parametrize("isa", ISAS)
def test_any_strides(isa, rng):
    """Operands turned, reversed and repeated, results turned: what is counted is what is predicted."""
    from cnnkern.backends.cpu.buffers import Nd
    from cnnkern.backends.cpu.calls import NativeCall
    from cnnkern.backends.cpu.predict import predict

    a, b = floats(rng, 60), floats(rng, 60)
    width = core.ukernels.width(isa)
    views = {
        "plain": (0, (3, 4, 5), (20, 5, 1)),
        "turned": (0, (3, 4, 5), (1, 3, 12)),
        "reversed": (59, (3, 4, 5), (-20, -5, -1)),
        "repeated": (7, (3, 4, 5), (0, 1, 0)),
        "still": (7, (3, 4, 5), (0, 0, 0)),
    }

    def seen(array, view):
        offset, sizes, strides = views[view]
        return np.lib.stride_tricks.as_strided(array[offset:], sizes, [4 * s for s in strides])

    def nd(slot, view):
        return Nd(slot, *views[view])

    out = [view for view in views if view not in ("repeated", "still")]
    cases = []
    for left in views:
        for right in views:
            for result in out:
                call = NativeCall(
                    "add_binary_nd",
                    {"a": nd(1, left), "b": nd(2, right), "y": nd(3, result)},
                    {"kind": "sub", "act": ""},
                )
                cases.append((call, result, seen(a, left) - seen(b, right)))
        for result in out:
            call = NativeCall("add_unary", {"x": nd(1, left), "y": nd(3, result)}, {"kind": "neg"})
            cases.append((call, result, -seen(a, left)))
            x = np.exp(seen(a, left).astype(np.float64))
            for axis in range(3):
                options = {"axis": axis, "log": False}
                call = NativeCall("add_softmax_nd", {"x": nd(1, left), "y": nd(3, result)}, options)
                cases.append((call, result, x / x.sum(axis, keepdims=True)))
        for axes in [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)]:
            sizes = tuple(1 if i in axes else size for i, size in enumerate((3, 4, 5)))
            y = Nd(3, 0, sizes, (20, 5, 1))
            expected = seen(a, left).astype(np.float64).sum(axis=axes, keepdims=True)
            call = NativeCall("add_reduce", {"x": nd(1, left), "y": y}, {"kind": "sum", "axes": axes})
            cases.append((call, y, expected))
    for call, result, expected in cases:
        made, y = core.Program(isa, 2, 0, [60, 60, 60], 2), np.full(60, np.nan, np.float32)
        call.add_to(made)
        (counts,) = made.count(made.new_context(), [a, b, y])
        assert Counts(*counts) == predict([call], isa, width), call
        offset, sizes, strides = views[result] if isinstance(result, str) else result[1:4]
        got = np.lib.stride_tricks.as_strided(y[offset:], sizes, [4 * s for s in strides])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=str(call))


def test_the_eager_road_says_nothing_of_falling_back(rng, recwarn):
    with cnnkern.config(verbose=1):
        CpuBackend().call(ops.ReduceSpec("mean", (1,)), (floats(rng, 3, 5),))
    assert not [w for w in recwarn if "reference" in str(w.message)]
