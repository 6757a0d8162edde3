"""cnnkern.onnx.load on models whose shapes follow from their inputs: the same answers as before they were saved, shapes
that change from call to call, dtypes at the border, and everything that a Model can do."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from graphs import conv_relu, model, node, port  # noqa: E402  beside this file
from onnx.reference import ReferenceEvaluator  # noqa: E402

import cnnkern  # noqa: E402
from cnnkern import ModelError, UnsupportedError, models  # noqa: E402
from cnnkern.measure.accuracy import range_error  # noqa: E402
from cnnkern.onnx import load  # noqa: E402

X = port("x", (2, 3))
ONES = np.ones((2, 3), np.float32)


def run(proto, feeds, **options):
    return load(proto).run(feeds, backend="reference", **options)


# --- there and back


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", None), ("squeezenet1_1", 96), ("resnet18", 64), ("mobilenet_v2", 64), ("shufflenet_v2_x1_0", 64),
        ("densenet121", 64), ("efficientnet_b0", 64), ("googlenet", 64), ("alexnet", None), ("seresnet50", 64),
    ],
)  # fmt: skip
def test_there_and_back(name, size, rng, tmp_path):
    built = models.create(name, input_shape=None if size is None else (3, size, size), seed=int(rng.integers(1000)))
    cnnkern.onnx.save(built, tmp_path / "m.onnx", batch=None)
    loaded = load(tmp_path / "m.onnx")
    assert loaded.fallbacks() == []
    assert (loaded.macs, loaded.param_count, loaded.name) == (built.macs, built.param_count, "m")
    x = rng.standard_normal((2, *built.input_shape)).astype(np.float32)
    mine, theirs = loaded(x), built(x)
    mine, theirs = (y if isinstance(y, tuple) else (y,) for y in (mine, theirs))
    for a, b in zip(mine, theirs, strict=True):
        assert np.ptp(b[0] - b[1]) > 0
        assert range_error(a, b) < 1e-4


def test_it_can_do_what_a_model_can(rng, tmp_path):
    built = models.create("lenet5", seed=3)
    cnnkern.onnx.save(built, tmp_path / "m.onnx", batch=None)
    m = load(tmp_path / "m.onnx")
    assert m.input_shape == (1, 32, 32)
    assert m.input_shapes == {"input": ("N", 1, 32, 32)}
    assert "m" in repr(m) and "(N, 1, 32, 32)" in repr(m)
    assert m.summary().macs == built.summary().macs
    assert m.flops == built.flops
    x = rng.standard_normal((3, 1, 32, 32)).astype(np.float32)
    executable = m.compile((3, 1, 32, 32), backend="reference")
    np.testing.assert_array_equal(executable(x), m(x, backend="reference"))
    taps = m.features(x, ["c1", "output"], backend="reference")
    np.testing.assert_array_equal(taps["output"], executable(x))
    assert taps["c1"].shape == (3, 6, 28, 28)
    with pytest.raises(ValueError, match="no layer 'c9'"):
        m.features(x, "c9")
    with pytest.raises(UnsupportedError, match="not of an ONNX file"):
        m.without("c1")
    state = m.state_dict()
    assert set(state) == set(built.state_dict())
    m.load_state_dict({name: 2 * array for name, array in state.items()})
    doubled = models.create("lenet5")
    doubled.load_state_dict({name: 2 * array for name, array in state.items()})
    np.testing.assert_allclose(m(x, backend="reference"), doubled(x, backend="reference"), rtol=1e-6)
    cnnkern.onnx.save(m, tmp_path / "again.onnx", batch=3)
    np.testing.assert_array_equal(load(tmp_path / "again.onnx")(x, backend="reference"), m(x, backend="reference"))
    with pytest.raises(ModelError, match="does not fit m: 1 missing: c1.weight"):
        m.load_state_dict({name: array for name, array in state.items() if name != "c1.weight"})
    with pytest.raises(ModelError, match="of another shape"):
        m.load_state_dict({**state, "c1.bias": np.zeros(7, np.float32)})


def test_a_path_bytes_and_a_proto_are_the_same(tmp_path, rng):
    proto = conv_relu()
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    x = rng.standard_normal((1, 3, 8, 9)).astype(np.float32)
    ways = (proto, proto.SerializeToString(), tmp_path / "m.onnx", str(tmp_path / "m.onnx"))
    answers = [load(way)(x, backend="reference") for way in ways]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


# --- shapes


def test_every_shape_gets_a_graph_and_the_last_few_are_kept(rng):
    proto = conv_relu()
    m, oracle = load(proto), ReferenceEvaluator(proto)
    for n, h, w in [(1, 8, 8), (2, 8, 8), (1, 5, 11), (1, 8, 8), *((1, 6, 6 + i) for i in range(12))]:
        x = rng.standard_normal((n, 3, h, w)).astype(np.float32)
        (expected,) = oracle.run(None, {"x": x})
        np.testing.assert_allclose(m(x, backend="reference"), expected, rtol=1e-4, atol=1e-5)
    assert len(m._programs._items) == 8


def test_weights_are_one_array_for_all_shapes():
    m = load(conv_relu())
    graphs = [m._program(m._checked_shapes([(1, 3, 8, size)]), (), {}).stage for size in (8, 9)]
    for name in ("w", "b"):
        assert np.shares_memory(graphs[0].weights[name], graphs[1].weights[name])
        assert np.shares_memory(graphs[0].weights[name], m.initializers[name])


def test_converted_weights_are_one_array_for_all_shapes(rng):
    proto = conv_relu(dtype="float16")
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(rng.standard_normal((64, 3, 3, 3)).astype(np.float16), "w")
    )
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(64, np.float16), "b"))
    m = load(proto)
    graphs = [m._program(m._checked_shapes([(1, 3, 8, size)]), (), {}).stage for size in (8, 9)]
    assert np.shares_memory(graphs[0].weights["w"], graphs[1].weights["w"])


def test_open_dimensions_need_sizes_where_nothing_runs():
    m = load(conv_relu(("N", 3, "height", None)))
    with pytest.raises(ValueError, match=r"leaves height, x\[3\] open; give sizes .*sizes=\{'height': 224\}"):
        m.summary()
    m = load(conv_relu(("N", 3, "height", None)), sizes={"height": 8, "x[3]": 9})
    assert m.graph.shape("x") == (1, 3, 8, 9)
    assert m.compile((2, 3, 4, 4), backend="reference").plan.inputs[0].shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match="sizes"):
        load(conv_relu(), sizes={"H": -1})


def test_shape_arithmetic_is_folded(rng):
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axes", "n1"),
        node("Concat", "n1 rest", "to", axis=0),
        node("Reshape", "x to", "y"),
        node("Size", "x", "count"),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1, 2])}
    proto = model(nodes, [port("x", ("N", "C", "H"))], ["y", "count", "s"], constants)
    m, x = load(proto), rng.standard_normal((2, 3, 4)).astype(np.float32)
    y, count, s = m.run({"x": x}, backend="reference")
    np.testing.assert_array_equal(y, x.reshape(2, 6, 2))
    assert (count.dtype, int(count), s.tolist()) == (np.int64, 24, [2, 3, 4])
    assert m.fallbacks([(2, 3, 4)]) == []


def test_inputs_that_decide_shapes_are_known_by_value(rng):
    proto = model([node("Reshape", "x to", "y")], [X, port("to", (2,), "int64")], ["y"])
    m, x = load(proto), rng.standard_normal((2, 3)).astype(np.float32)
    for shape in ((3, 2), (1, 6), (-1, 1), (3, 2)):
        (y,) = m.run({"x": x, "to": np.array(shape)}, backend="reference")
        np.testing.assert_array_equal(y, x.reshape(shape))
    with pytest.raises(ModelError, match="Reshape"):
        m.run({"x": x, "to": np.array([4, 4])}, backend="reference")


def test_weights_that_are_inputs(rng):
    proto = model([node("Conv", "x w", "y")], [port("x", (1, 3, 8, 8)), port("w", (4, 3, 3, 3))], ["y"])
    m = load(proto)
    for _ in range(2):
        feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("x", (1, 3, 8, 8)), ("w", (4, 3, 3, 3)))}
        (expected,) = ReferenceEvaluator(proto).run(None, feeds)
        np.testing.assert_allclose(m.run(feeds, backend="reference")[0], expected, rtol=1e-4, atol=1e-4)
    assert m.fallbacks() == []


@pytest.mark.parametrize("rank", [3, 4])
def test_the_branch_of_an_if_is_taken_where_it_is_known(rank, rng):
    def branch(op: str) -> onnx.GraphProto:
        nodes = [node(op, "x", "h"), node("Add", "h one", "out")]
        return onnx.helper.make_graph(nodes, op, [], [port("out", None)], [one])

    one = onnx.numpy_helper.from_array(np.ones((), np.float32), "one")
    nodes = [
        node("Shape", "x", "s"),
        node("Size", "s", "rank"),
        node("Equal", "rank four", "image"),
        node("If", "image", "y", then_branch=branch("Neg"), else_branch=branch("Exp")),
    ]
    x = rng.standard_normal((2,) * rank).astype(np.float32)
    (y,) = run(model(nodes, [port("x", None)], ["y"], {"four": np.array(4)}), {"x": x})
    np.testing.assert_allclose(y, 1 - x if rank == 4 else 1 + np.exp(x), rtol=1e-5)


def test_a_branch_that_hangs_on_values_is_refused():
    branch = onnx.helper.make_graph([node("Neg", "x", "out")], "b", [], [port("out", None)])
    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Greater", "sum zero", "positive"),
        node("If", "positive", "y", name="which", then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(ModelError, match=r"node 'which' \(If\): control flow is not supported"):
        run(model(nodes, [X], ["y"], {"zero": np.float32(0)}), {"x": ONES})


# --- inputs and outputs


def test_constants_inputs_and_duplicates_as_outputs():
    nodes = [node("Neg", "x", "a"), node("Identity", "a", "b"), node("Identity", "x", "same"), node("Shape", "x", "s")]
    outputs = ["a", "b", "same", "x", "s", "c", "w", "n"]
    constants = {"c": np.arange(3), "w": np.array([2.0], np.float16)}
    proto = model(nodes, [X, port("n", (2,), "int64")], outputs, constants)
    feeds = {"x": ONES, "n": np.array([1, 2])}
    for backend in ("reference", None):
        a, b, same, x, s, c, w, n = load(proto).run(feeds, backend=backend)
        for found, expected in ((a, -ONES), (b, -ONES), (same, ONES), (x, ONES), (s, [2, 3]), (c, [0, 1, 2]), (w, [2])):
            np.testing.assert_array_equal(found, expected)
        assert n.tolist() == [1, 2] and n is not feeds["n"]
        assert (c.dtype, w.dtype, s.dtype) == (np.int64, np.float16, np.int64)
        x[:] = 5
        assert ONES.max() == 1  # what is returned belongs to the caller


def test_several_inputs_and_a_choice_of_outputs():
    proto = model([node("Add", "a b", "s"), node("Mul", "a b", "p")], [port("a", (2,)), port("b", (2,))], ["s", "p"])
    m = load(proto)
    a, b = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    for x in ((a, b), [a, b], {"b": b, "a": a}):
        s, p = m(x, backend="reference")
        assert (s.tolist(), p.tolist()) == ([4, 6], [3, 8])
    feeds = {"a": a, "b": b}
    assert [y.tolist() for y in m.run(feeds, ["p"], backend="reference")] == [[3, 8]]
    assert [y.tolist() for y in m.run(feeds, ["p", "s", "p"], backend="reference")] == [[3, 8], [4, 6], [3, 8]]
    assert m.run(feeds, [], backend="reference") == []
    assert [v.shape for v in m.compile(((2,), (2,)), backend="reference").plan.inputs] == [(2,), (2,)]


def test_inputs_with_an_initialiser_may_be_left_out():
    proto = model(
        [node("Add", "x w", "y")], [X, port("w", (3,))], ["y"], {"w": np.full(3, 2, np.float32)}, ir_version=3
    )
    m = load(proto)
    assert [p.name for p in m.inputs] == ["x"]
    assert m.run({"x": ONES}, backend="reference")[0].max() == 3
    assert m.run({"x": ONES, "w": np.full(3, 5, np.float32)}, backend="reference")[0].max() == 6
    assert m.run({"x": ONES}, backend="reference")[0].max() == 3


def test_arguments_that_do_not_fit():
    m = load(model([node("Relu", "x", "y")], [port("x", ("N", 3))], ["y"]))
    with pytest.raises(ValueError, match="input 'x' is missing; got 'z'"):
        m.run({"z": ONES})
    with pytest.raises(ValueError, match="the model has no input 'z'; it has x"):
        m.run({"x": ONES, "z": ONES})
    with pytest.raises(ValueError, match=r"input 'x': the shape \(N, 3\) is accepted, got \(2, 4\)"):
        m.run({"x": np.ones((2, 4), np.float32)})
    with pytest.raises(ValueError, match=r"\(N, 3\) is accepted, got \(3,\)"):
        m.run({"x": np.ones(3, np.float32)})
    with pytest.raises(TypeError, match="input 'x': dtype float32 is accepted, got float64"):
        m.run({"x": np.ones((2, 3))})
    with pytest.raises(TypeError, match="input 'x'"):
        m.run({"x": None})
    with pytest.raises(ValueError, match="the model has no output 'z'; it has y"):
        m.run({"x": ONES}, ["z"])
    with pytest.raises(ValueError, match=r"\(N, 3\) is accepted, got \(2, 4\)"):
        m.compile((2, 4))
    assert m.run({"x": [[1, -2, 3]]}, backend="reference")[0].tolist() == [[1, 0, 3]]  # numbers become what is declared


# --- dtypes


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_at_the_border(dtype, rng):
    import ml_dtypes  # noqa: F401  NumPy's bfloat16

    proto = conv_relu(("N", 3, 8, 8), dtype, opset=22)  # the first that has all of it in bfloat16
    x = rng.standard_normal((2, 3, 8, 8)).astype(dtype)
    m = load(proto)
    assert (m.inputs[0].dtype, m.outputs[0].dtype) == (dtype, dtype)
    (y,) = m.run({"x": x}, backend="reference")
    assert y.dtype == np.dtype(dtype)
    single = load(conv_relu(("N", 3, 8, 8)))
    single.load_state_dict({name: array.astype(np.float32) for name, array in m.state_dict().items()})
    (expected,) = single.run({"x": x.astype(np.float32)}, backend="reference")
    np.testing.assert_array_equal(y, expected.astype(dtype))
    with pytest.raises(TypeError, match=f"dtype {dtype} is accepted, got float32"):
        m.run({"x": x.astype(np.float32)})


# --- many at once


def test_several_threads_and_shapes_at_once(rng):
    proto = conv_relu()
    m, oracle = load(proto), ReferenceEvaluator(proto)
    inputs = [rng.standard_normal((1, 3, 6, 6 + i % 3)).astype(np.float32) for i in range(12)]
    expected = [oracle.run(None, {"x": x})[0] for x in inputs]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = m.run({"x": inputs[i]}, backend="reference")[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, y in enumerate(expected):
        np.testing.assert_allclose(found[i], y, rtol=1e-4, atol=1e-5)


def test_without_onnx_the_extra_is_named():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import cnnkern\n"
        "try:\n    cnnkern.onnx.load('x.onnx')\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cnnkern[onnx]'" in done.stdout
