"""cnnkern.onnx.load on models whose shapes hang on values, and on operations that cnnkern has no kernel for."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

from graphs import anything, model, node, port  # noqa: E402  beside this file
from onnx.reference import ReferenceEvaluator  # noqa: E402

import cnnkern  # noqa: E402
from cnnkern import ModelError, UnsupportedError, config  # noqa: E402
from cnnkern.onnx import load  # noqa: E402

X = port("x", ("N", "M"))


def same(proto, feeds, backend="reference", **tolerance):
    """The model's answers, which are onnx's."""
    m = load(proto)
    found, expected = m.run(feeds, backend=backend), ReferenceEvaluator(proto).run(None, feeds)
    for mine, theirs in zip(found, expected, strict=True):
        assert np.shape(mine) == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
    return m


def picked() -> onnx.ModelProto:
    """Values above nought, in the order they come, times two; then how many, and the mean."""
    nodes = [
        node("Neg", "x", "a"),
        node("Neg", "a", "b"),
        node("Greater", "b zero", "above"),
        node("NonZero", "above", "where", name="find"),
        node("Transpose", "where", "at"),
        node("GatherND", "b at", "values"),
        node("Mul", "values two", "y"),
        node("Shape", "values", "count"),
        node("ReduceMean", "y", "mean", keepdims=0),
    ]
    return model(nodes, [X], ["y", "count", "mean", "b"], {"zero": np.float32(0), "two": np.float32(2)})


@pytest.mark.parametrize("backend", ["reference", None])
def test_shapes_that_hang_on_values(backend, rng):
    proto = picked()
    m = load(proto)
    for i in range(12):
        x = rng.standard_normal((3, 4 + i % 2)).astype(np.float32)
        x[0, 0] = 1
        found = m.run({"x": x}, backend=backend)
        expected = ReferenceEvaluator(proto).run(None, {"x": x})
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype
    y, mean = m.run({"x": x}, ["y", "mean"], backend=backend)
    np.testing.assert_allclose(y.mean(), mean, rtol=1e-5)
    assert len(m._staging.executables._items) <= 8
    first = next(iter(m._programs._items.values()))
    assert len(first._next._items) <= 8


def test_what_needs_a_plan_of_the_whole_says_why_there_is_none():
    m = load(picked(), sizes={"M": 3})
    for ask in (m.compile, m.summary, lambda: m.features(np.ones((1, 3), np.float32), "a")):
        with pytest.raises(UnsupportedError, match=r"node 'find' \(NonZero\) makes is only known while running"):
            ask()
    assert m.param_count == 2  # of initialisers
    assert ("find", "NonZero", "the shape of what it makes hangs on values") in m.fallbacks()


def test_a_step_on_the_evaluator_lies_between_layers(rng, capsys):
    nodes = [node("Relu", "x", "r"), node("Acosh", "r", "a", name="odd"), node("Neg", "a", "y")]
    proto = model(nodes, [X], ["y"])
    x = 1 + rng.random((2, 3)).astype(np.float32)
    with config(verbose=1):
        m = same(proto, {"x": x})
    assert "cnnkern onnx: Acosh (node 'odd') runs on onnx's reference evaluator" in capsys.readouterr().err
    assert m.fallbacks([(2, 3)]) == [("odd", "Acosh", "cnnkern has no kernel for it")]
    executable = m.compile((2, 3), backend="reference")  # all shapes are known, so it is one plan
    assert [step.spec.op for step in executable.steps] == ["activation", "foreign", "unary"]
    with config(check=True):
        executable(x)
    same(proto, {"x": x}, backend=None)


def test_whole_numbers_pass_between_steps(rng):
    nodes = [
        node("ArgMax", "x", "i", axis=1, keepdims=0),
        node("Add", "i one", "j"),
        node("Cast", "j", "f", to=onnx.TensorProto.FLOAT),
        node("Exp", "f", "y"),
    ]
    x = rng.standard_normal((4, 5)).astype(np.float32)
    for backend in ("reference", None):
        same(model(nodes, [X], ["y", "j"], {"one": np.array(1)}), {"x": x}, backend)


def test_a_dtype_is_restored_for_the_evaluator(rng):
    """Float16 is float32 inside, and float16 again where a node runs on the evaluator."""
    nodes = [node("Neg", "x", "n"), node("BitCast", "n", "y", to=onnx.TensorProto.INT16)]
    proto = model(nodes, [port("x", ("N", "M"), "float16")], ["y"], opset=26)
    same(proto, {"x": rng.standard_normal((2, 3)).astype(np.float16)})


def test_sequences_and_optionals(rng):
    nodes = [
        node("Neg", "x", "n"),
        node("SplitToSequence", "n", "parts", axis=0, keepdims=1),
        node("SequenceAt", "parts one", "second"),
        node("Mul", "second second", "y"),
        node("SequenceLength", "parts", "count"),
        node("ConcatFromSequence", "parts", "again", axis=1),
    ]
    proto = model(nodes, [X], ["y", "count", "again"], {"one": np.array(1)})
    same(proto, {"x": rng.standard_normal((3, 4)).astype(np.float32)})
    sequence = onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None)
    given = model([node("SequenceAt", "s i", "h"), node("Exp", "h", "y")], [sequence, port("i", (), "int64")], ["y"])
    parts = [rng.standard_normal((2, i + 1)).astype(np.float32) for i in range(3)]
    m = load(given)
    for i in (0, 2, -1):
        np.testing.assert_allclose(
            m.run({"s": parts, "i": np.array(i)}, backend="reference")[0], np.exp(parts[i]), rtol=1e-5
        )
    made = model([node("SequenceConstruct", "x x", "s")], [X], ["s"])
    x = rng.standard_normal((1, 2)).astype(np.float32)
    (found,) = load(made).run({"x": x}, backend="reference")
    assert isinstance(found, list) and len(found) == 2


def test_strings():
    nodes = [node("StringNormalizer", "x", "y", case_change_action="UPPER")]
    m = load(model(nodes, [port("x", (2,), object)], ["y"]))
    for given in (np.array(["ab", "c"], object), np.array(["ab", "c"])):
        (y,) = m.run({"x": given}, backend="reference")
        assert (y.dtype, y.tolist()) == (object, ["AB", "C"])


def test_random_numbers_are_drawn_anew():
    proto = model([node("RandomNormal", "", "r", shape=[4]), node("Add", "r x", "y")], [port("x", (4,))], ["y"])
    for backend in ("reference", None):
        m = load(proto)
        a, b = (m.run({"x": np.zeros(4, np.float32)}, backend=backend)[0] for _ in range(2))
        assert not np.array_equal(a, b)


def test_what_the_evaluator_refuses_names_the_node():
    nodes = [node("Identity", "to", "shape"), node("Mul", "shape shape", "t"), node("Reshape", "x t", "y", name="turn")]
    m = load(model(nodes, [port("x", (2, 3)), port("to", (2,), "int64")], ["y"]))
    with pytest.raises(ModelError, match=r"node 'turn' \(Reshape\)"):
        m.run({"x": np.ones((2, 3), np.float32), "to": np.array([2, 2])}, backend="reference")


def test_a_value_found_while_running_is_held_to_the_limit():
    """A thousand bytes ask for a terabyte, which only running tells."""
    nodes = [
        node("ReduceMax", "x", "top", keepdims=0),
        node("Cast", "top", "n", to=onnx.TensorProto.INT64),
        node("Unsqueeze", "n axes", "shape"),
        node("ConstantOfShape", "shape", "y", name="huge"),
    ]
    m = load(model(nodes, [X], ["y"], {"axes": np.array([0])}))
    assert m.run({"x": np.full((1, 2), 5, np.float32)}, backend="reference")[0].shape == (5,)
    with pytest.raises(
        ModelError, match=r"node 'huge' \(ConstantOfShape\).* bytes; at most 17,179,869,184 are accepted"
    ):
        m.run({"x": np.full((1, 2), 2.0**38, np.float32)}, backend="reference")


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")], {"s": np.array([1 << 20, 1 << 20])}),
        ([node("Expand", "x s", "y")], {"s": np.array([1 << 20, 1 << 20])}),
        ([node("Tile", "x s", "y")], {"s": np.array([1 << 20, 1 << 20])}),
        ([node("Range", "a b c", "r"), node("Cast", "r", "y", to=1)],
         {"a": np.array(0), "b": np.array(1 << 44), "c": np.array(1)}),
        ([node("Pad", "x p", "y")], {"p": np.array([1 << 20, 1 << 20, 0, 0])}),
    ],
)  # fmt: skip
def test_kilobytes_that_ask_for_terabytes(nodes, constants):
    m = load(model(nodes, [port("x", (1, 1))], ["y"], constants))
    with pytest.raises(ModelError, match="bytes"):
        m.run({"x": np.ones((1, 1), np.float32)}, backend="reference")


def test_all_activations_together_are_held_to_the_limit():
    nodes = [node("Relu", "x", "a"), node("Concat", "a x", "y", axis=0)]
    proto = model(nodes, [port("x", ("N", 256))], ["y"])
    m = load(proto, memory_limit_bytes=1 << 20)
    m.run({"x": np.ones((64, 256), np.float32)}, backend="reference")
    with pytest.raises(ModelError, match=r"memory_limit_bytes"):
        m.run({"x": np.ones((512, 256), np.float32)}, backend="reference")
    with pytest.raises(ValueError, match="memory_limit_bytes must be at least 1"):
        load(proto, memory_limit_bytes=0)


def test_many_threads_through_stages(rng):
    proto = picked()
    m, oracle = load(proto), ReferenceEvaluator(proto)
    inputs = [np.abs(rng.standard_normal((2, 3 + i % 3))).astype(np.float32) for i in range(9)]
    expected = [oracle.run(None, {"x": x}) for x in inputs]
    found: dict[int, list] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: m.run({"x": inputs[i]}, backend="reference")}))
        for i in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, theirs in enumerate(expected):
        for a, b in zip(found[i], theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_command_line_takes_a_file(tmp_path):
    path = tmp_path / "net.onnx"
    cnnkern.onnx.save(cnnkern.models.create("lenet5"), path, batch=1)

    def cli(*words: str) -> subprocess.CompletedProcess:
        code = "import sys; from cnnkern.cli import main; sys.exit(main())"
        return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)

    summary = cli("summary", str(path))
    assert summary.returncode == 0 and "61,706" in summary.stdout, summary.stderr
    verify = cli("verify", str(path), "--backend", "reference")
    assert verify.returncode == 0, verify.stderr + verify.stdout
    missing = cli("flops", str(tmp_path / "absent.onnx"))
    assert missing.returncode == 2 and "No such file" in missing.stderr
    assert anything("y").name == "y"


def test_what_the_evaluator_runs_is_no_fault_of_the_count(rng):
    """Its operations are unknown, so nothing is said of them; the layers around it are counted as ever."""
    from cnnkern.measure.accounting import account

    if cnnkern.backends.available()["cpu"]:
        pytest.skip("the cpu backend counts")
    m = load(model([node("Relu", "x", "r"), node("Acosh", "r", "a"), node("Relu", "a", "y")], [X], ["y"]))
    x = 1 + rng.random((2, 16)).astype(np.float32)
    found = account(m.compile((2, 16), backend="cpu"), x)
    assert found.agrees is True
    assert [layer.executed is None for layer in found.layers if layer.kernel == "foreign"] == [True]


def test_what_onnx_would_turn_over_for_ever():
    m = load(model([node("Einsum", "x", "y", equation="...ii\u04bb->...i")], [port("x", (3, 5, 5))], ["y"]))
    with pytest.raises(ModelError, match=r"node 'Einsum_of_y' \(Einsum\): equation"):
        m.run({"x": np.ones((3, 5, 5), np.float32)}, backend="reference")
