"""Executable: right results, right errors, concurrent callers, and what can be watched."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnkern
from cnnkern import config
from cnnkern.backends.reference import ReferenceBackend
from cnnkern.errors import UnsupportedError
from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.executor import ContextPool, Executable, StepRunner, compile_steps
from cnnkern.models import ARCHITECTURES
from cnnkern.ops import AddSpec
from cnnkern.ops.base import Counts
from cnnkern.random_weights import random_weights


def compiled(batch=2, call=None, **options) -> tuple[Executable, np.ndarray]:
    """LeNet-5 and an input for it."""
    graph = ARCHITECTURES["lenet5"].graph()
    weights = random_weights(graph)
    exe = compile_steps(call or ReferenceBackend().call, graph.bind(batch), weights, backend="reference", **options)
    x = np.random.default_rng(0).standard_normal(exe.plan.inputs[0].shape).astype(np.float32)
    return exe, x


def two_by_two() -> Executable:
    """Two inputs, two outputs, one of them an input's reshaped self."""
    g = GraphBuilder("two")
    a, b = g.input((2, 3, 3), "a"), g.input((2, 3, 3), "b")
    graph = g.finish([g.emit(AddSpec(), (a, b), "sum"), g.flatten(a, name="flat")])
    return ReferenceBackend().compile(graph.bind(1), {})


# --- results


def test_steps_one_by_one_give_the_same():
    exe, x = compiled()
    graph = ARCHITECTURES["lenet5"].graph().bind(2)
    values = {"input": x, **random_weights(graph)}
    for node in graph.nodes:
        arrays = [values[name] if name else None for name in node.inputs]
        values.update(zip(node.outputs, ReferenceBackend().call(node.spec, arrays)))
    np.testing.assert_array_equal(exe(x), values[graph.outputs[0]])


def test_out_is_filled_and_returned():
    exe, x = compiled()
    out = np.empty((2, 10), np.float32)
    assert exe(x, out=out) is out
    np.testing.assert_array_equal(out, exe(x))
    wide = np.zeros((2, 20), np.float32)
    exe(x, out=wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], out)
    assert not wide[:, 1::2].any()


def test_several_inputs_and_outputs():
    exe = two_by_two()
    a, b = np.ones((1, 2, 3, 3), np.float32), np.full((1, 2, 3, 3), 2, np.float32)
    for x in ({"b": b, "a": a}, [a, b], (a, b)):
        total, flat = exe(x)
        assert (total == 3).all() and flat.shape == (1, 18)
    outs = [np.empty((1, 2, 3, 3), np.float32), np.empty((1, 18), np.float32)]
    assert exe([a, b], out=outs)[1] is outs[1] and (outs[0] == 3).all()


def test_out_may_be_the_input():
    g = GraphBuilder("in_place")
    graph = g.finish(g.relu(g.relu(g.input((2, 3, 3))))).bind(1)
    x = np.linspace(-1, 1, 18, dtype=np.float32).reshape(1, 2, 3, 3)
    expected = np.maximum(x, 0)
    assert ReferenceBackend().compile(graph, {})(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_results_are_the_callers_own():
    g = GraphBuilder("pass")
    x = g.input((2, 3, 3))
    graph = g.finish([x, g.relu(x, "relu"), "relu"]).bind(1)
    exe = compile_steps(lambda spec, arrays: (arrays[0],), graph, {}, backend="views")
    x = np.ones((1, 2, 3, 3), np.float32)
    results = exe(x)
    for result in results:
        result += 1
    assert (x == 1).all() and all((r == 2).all() for r in results)


@pytest.mark.parametrize(
    "make", [np.asfortranarray, lambda x: np.flip(np.flip(x).copy()), lambda x: np.repeat(x, 2, 3)[..., ::2]]
)
def test_strides_do_not_matter(make):
    exe, x = compiled()
    strided = make(x)
    strided.setflags(write=False)
    np.testing.assert_array_equal(exe(strided), exe(x))


def test_batch_zero():
    exe, x = compiled(batch=0)
    assert exe(x).shape == (0, 10)
    assert len(exe.profile(x)) == len(exe.steps)


def test_nan_passes_through():
    exe, x = compiled()
    x[1] = np.nan
    y = exe(x)
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


def test_float64_is_an_oracle_and_takes_float32():
    exe, x = compiled(dtype="float64")
    y = exe(x)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(exe(x.astype(np.float64)), y)
    np.testing.assert_allclose(compiled()[0](x), y, rtol=1e-4, atol=1e-5)
    assert exe.arena_bytes == 2 * compiled()[0].arena_bytes


# --- errors come before anything runs


def never(spec, arrays):
    raise AssertionError("a step ran")


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda x: x.astype(np.float64), TypeError, "x: dtype float32 is accepted, got float64"),
        (lambda x: x.tolist(), ValueError, "x: 1 arrays"),
        (lambda x: "picture", TypeError, "x: a NumPy array is accepted, got str"),
        (lambda x: x[:1], ValueError, "x: the compiled shape 2x1x28x28 is accepted, got 1x1x28x28"),
        (lambda x: x[..., None], ValueError, "got 2x1x28x28x1"),
        (lambda x: x.astype(">f4"), TypeError, "dtype"),
        (lambda x: {"picture": x}, ValueError, "x: arrays named input are accepted, got picture"),
    ],
)
def test_bad_inputs(change, error, words):
    exe, x = compiled(call=never)
    if x.shape != (2, 1, 28, 28):
        words = words.replace("1x28x28", "x".join(map(str, x.shape[1:])))
    with pytest.raises(error, match=words.replace("(", r"\(")):
        exe(change(x))


def test_bad_outputs():
    exe, x = compiled(call=never)
    frozen = np.empty((2, 10), np.float32)
    frozen.setflags(write=False)
    for out, error, words in [
        (frozen, ValueError, "out: the array is read-only"),
        (np.empty((2, 9), np.float32), ValueError, "out: the compiled shape 2x10"),
        (np.empty((2, 10)), TypeError, "out: dtype float32"),
        ([], ValueError, "out: 1 arrays"),
    ]:
        with pytest.raises(error, match=words):
            exe(x, out=out)


def test_several_inputs_are_asked_for_by_name():
    a = np.ones((1, 2, 3, 3), np.float32)
    with pytest.raises(TypeError, match=r"x: 2 arrays \(a, b\) are accepted, got one ndarray"):
        two_by_two()(a)
    with pytest.raises(ValueError, match=r"x\['b'\]: the compiled shape"):
        two_by_two()([a, a[0]])


# --- concurrency


def test_concurrent_callers_do_not_meet():
    exe, x = compiled(batch=1, max_contexts=3)
    xs = [x * (i + 1) for i in range(12)]
    expected = [exe(x) for x in xs]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(exe, xs), expected):
                np.testing.assert_array_equal(got, want)


def test_contexts_are_reused_bounded_and_never_shared():
    made, lock, inside = [], threading.Lock(), []

    def make():
        made.append(object())
        return made[-1]

    pool = ContextPool(make, limit=2)

    def use(_):
        with pool.borrow() as context:
            with lock:
                inside.append(context)
                assert len(inside) <= 2 and len(set(map(id, inside))) == len(inside)
            gate.wait(0.002)
            with lock:
                inside.remove(context)

    gate = threading.Event()
    with ThreadPoolExecutor(6) as workers:
        list(workers.map(use, range(30)))
    assert len(made) <= 2
    with pool.borrow() as first:
        pass
    with pool.borrow() as second:
        assert second is first


def test_no_caller_waits_for_ever():
    """More threads than contexts, some of which fail: everyone gets one, and no context is lent twice."""
    pool, lent, failed = ContextPool(object, limit=2), set(), []

    def use(which):
        for i in range(400):
            context = pool.take()
            if context in lent:
                failed.append(which)
            lent.add(context)
            lent.discard(context)
            if (i + which) % 50:
                pool.give(context)
            else:
                pool.drop()

    threads = [threading.Thread(target=use, args=(which,), daemon=True) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and not any(thread.is_alive() for thread in threads)


def test_watching_is_asked_for_at_the_first_call_and_by_a_with_at_each(monkeypatch, capfd):
    exe, x = compiled(batch=1)
    exe(x)
    assert not capfd.readouterr().err
    with cnnkern.config(verbose=1):
        exe(x)
    assert capfd.readouterr().err
    exe(x)
    assert not capfd.readouterr().err
    monkeypatch.setenv("CNNKERN_VERBOSE", "1")
    compiled(batch=1)[0](x)
    assert capfd.readouterr().err


def test_a_context_whose_run_failed_is_dropped_and_its_place_freed():
    pool = ContextPool(object, limit=1)
    with pytest.raises(ZeroDivisionError), pool.borrow() as broken:
        raise ZeroDivisionError
    with pool.borrow() as fresh:
        assert fresh is not broken


def test_a_pool_holds_at_least_one():
    with pytest.raises(ValueError, match="max_contexts"):
        ContextPool(object, 0)


def test_values_are_dropped_after_their_last_read():
    alive, most = [], []

    def call(spec, arrays):
        gc.collect(0)
        y = np.array(arrays[0])
        alive.append(weakref.ref(y))
        most.append(sum(ref() is not None for ref in alive))
        return (y,)

    g = GraphBuilder("chain")
    x = g.input((2, 3, 3))
    for _ in range(8):
        x = g.relu(x)
    exe = compile_steps(call, g.finish(x).bind(1), {}, backend="chain")
    exe(np.ones((1, 2, 3, 3), np.float32))
    assert max(most) == 2
    assert exe.arena_bytes == 2 * 128 and exe.activation_bytes == 8 * 72


# --- what can be watched


def test_watching_hears_every_step_and_may_fetch():
    exe, x = compiled()
    taps, order = {}, []

    def watch(step, ms, fetch):
        order.append(step.name)
        taps.update((name, fetch(name).copy()) for name in step.outputs)
        assert fetch(step.inputs[0]).shape == step.in_shapes[0] and fetch("") is None and ms >= 0

    y = exe.watch(x, watch)
    assert order == [step.name for step in exe.steps]
    np.testing.assert_array_equal(taps[exe.plan.outputs[0].name], y)
    np.testing.assert_array_equal(y, exe(x))


def test_profile_has_a_row_per_step():
    exe, x = compiled()
    rows = exe.profile(x, rounds=3)
    assert [row["name"] for row in rows] == [step.name for step in exe.steps]
    first = rows[0]
    assert first["op"] == "conv2d" and first["kernel"] == "numpy" and first["shape"] == exe.steps[0].out_shapes[0]
    assert first["ms"] > 0 and first["gflops"] == pytest.approx(first["theory"].flops / first["ms"] / 1e6)
    with pytest.raises(ValueError, match="rounds"):
        exe.profile(x, rounds=0)


def test_a_runner_may_time_its_steps_itself():
    exe, x = compiled()

    class Timed(StepRunner):
        rounds = 0

        def profile(self, context, inputs):
            self.rounds += 1
            return [float(i + 10 * self.rounds) for i in range(len(exe.steps))]

    rows = Executable(exe.plan, Timed(exe.plan, {})).profile(x, rounds=3)
    assert [row["ms"] for row in rows] == [20.0 + i for i in range(len(exe.steps))]


def test_counting_is_the_runners():
    exe, x = compiled()
    with pytest.raises(UnsupportedError, match="'reference' does not count"):
        exe.count(x)

    class Counting(StepRunner):
        def count(self, context, inputs, steps):
            return [{"name": s.name, "op": s.spec.op, "executed": s.theory} for s in exe.steps]

    counting = Executable(exe.plan, Counting(exe.plan, {}))
    assert sum((row["executed"] for row in counting.count(x)), Counts()) == exe.plan.theory


def test_verbose_prints_a_line_per_step(capsys):
    exe, x = compiled()
    exe(x)
    assert capsys.readouterr().err == ""
    with config(verbose=1):
        exe(x)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(exe.steps)
    for line, step in zip(lines, exe.steps):
        assert "reference" in line and step.name in line and step.spec.op in line and "GFLOP/s" in line


def broken(spec, arrays):
    """A backend whose linear layers are one percent off."""
    (y,) = ReferenceBackend().call(spec, arrays)
    return (y * np.float32(1.01),) if spec.op == "linear" else (y,)


def test_check_passes_what_is_right_and_names_the_layer_that_is_not():
    exe, x = compiled()
    with config(check=True):
        exe(x)
    wrong, _ = compiled(call=broken)
    wrong(x)
    first = next(step.name for step in wrong.steps if step.spec.op == "linear")
    with config(check=True), pytest.raises(AssertionError, match=f"layer '{first}'"):
        wrong(x)


def test_the_reference_compiles_a_whole_network():
    graph = ARCHITECTURES["squeezenet1_1"].graph(input_shape=(3, 33, 33), num_classes=10)
    exe = cnnkern.backends.get("reference").compile(graph.bind(1), random_weights(graph))
    assert exe(np.ones((1, 3, 33, 33), np.float32)).shape == (1, 10)
    assert exe.arena_bytes < exe.activation_bytes
    assert exe.plan.theory.fma == sum(step.theory.fma for step in exe.steps)
    assert "squeezenet1_1 on reference" in str(exe.plan)
