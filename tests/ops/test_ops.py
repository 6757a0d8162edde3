"""One suite for every backend: each operation on random problems against the float64 oracle."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from engines import engines
from hypothesis import given
from hypothesis import strategies as st
from opcases import CONV_ALGOS, PARAMETERS, PROBLEMS, Case, cases, conv2d, examples, laid_out

from cnnkern import UnsupportedError, config, ops, testing


def check(engine, case: Case, out_memory: str = "none", precision: str = "float32") -> None:
    """Run one case and compare: values, types, untouched inputs, memory of its own."""
    arrays = case.arrays()
    before = [None if a is None else a.copy() for a in arrays]
    shapes = case.spec.infer(*case.shapes)
    out = None
    if out_memory != "none" and len(shapes) == 1:
        out = laid_out(np.full(shapes[0], np.nan, np.float32), out_memory)
    if refuses(engine, case.spec):
        with pytest.raises(UnsupportedError, match="winograd.*direct"):
            engine.call(case.spec, arrays, out=out, precision=precision)
        return
    results = engine.call(case.spec, arrays, out=out, precision=precision)
    assert isinstance(results, tuple) and [y.shape for y in results] == list(shapes)
    assert [y.dtype for y in results] == [np.float32, np.int64][: len(results)]
    theirs = testing.reference(case.spec, *before)
    for mine, expected in zip(results, theirs if len(results) > 1 else (theirs,)):
        testing.assert_close(mine, expected, case.spec, before, precision=precision)
    assert all(a is None or np.array_equal(a, b) for a, b in zip(arrays, before)), "an input was written to"
    if out is None:
        assert not any(np.shares_memory(y, a) for y in results for a in arrays if a is not None and y.size)
    else:
        assert np.shares_memory(results[0], out) or not out.size


def refuses(engine, spec) -> bool:
    """Numba has no Winograd, and says what serves."""
    return engine.name == "numba" and getattr(spec, "algo", "") == "winograd"


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("op", PROBLEMS)
@examples(15)
@given(data=st.data())
def test_equals_oracle(engine, op, data):
    case = data.draw(cases(PROBLEMS[op]))
    check(engine, case, data.draw(st.sampled_from(["none", "plain", "channels_last", "strided"])))


MUST_SERVE = {
    "direct": conv2d(prologue=True),
    "im2col": conv2d(prologue=True),
    "pointwise": conv2d(kernel=(1, 1), plain=True, padded=False, kinds=["dense"], prologue=True),
    "depthwise": conv2d(kinds=["depthwise"]),
    "grouped": conv2d(kinds=["narrow"]),
    "winograd": st.sampled_from([(3, 3), (5, 5)]).flatmap(lambda k: conv2d(kernel=k, plain=True, kinds=["dense"])),
}
MAY_REFUSE = {
    "pointwise": conv2d(kernel=(1, 1), prologue=True),
    "depthwise": conv2d(prologue=True),
    "grouped": conv2d(kinds=["narrow", "grouped"], prologue=True),
    "winograd": st.sampled_from([(3, 3), (5, 5)]).flatmap(lambda k: conv2d(kernel=k, prologue=True)),
}


def forced(algo: str, case: Case) -> Case:
    return Case(ops.Conv2dSpec(**{**vars(case.spec), "algo": algo}), case.shapes, case.seed, case.memory)


@pytest.mark.parametrize("engine", engines(native_only=True))
@pytest.mark.parametrize("algo", CONV_ALGOS)
@examples(20)
@given(data=st.data())
def test_forced_algorithm_equals_oracle(engine, algo, data):
    check(engine, forced(algo, data.draw(cases(MUST_SERVE[algo], memory=("plain", "channels_last")))))


@pytest.mark.parametrize("engine", engines(native_only=True))
@pytest.mark.parametrize("algo", MAY_REFUSE)
@examples(10)
@given(data=st.data())
def test_forced_algorithm_is_right_or_refuses(engine, algo, data):
    case = forced(algo, data.draw(cases(MAY_REFUSE[algo], memory=("plain",))))
    try:
        check(engine, case)
    except UnsupportedError as error:
        assert algo in str(error) and "direct" in str(error)


@pytest.mark.parametrize("engine", engines(native_only=True))
@pytest.mark.parametrize(
    ("algo", "weight", "spec"),
    [
        ("winograd", (4, 3, 3, 5), {}),
        ("winograd", (4, 3, 7, 7), {}),
        ("winograd", (4, 3, 3, 3), {"stride": 2}),
        ("winograd", (4, 3, 3, 3), {"dilation": 2}),
        ("pointwise", (4, 3, 3, 3), {}),
        ("depthwise", (4, 3, 3, 3), {}),
        ("grouped", (4, 3, 3, 3), {}),
        ("grouped", (6, 1, 3, 3), {"groups": 3}),
    ],
)
def test_algorithm_that_cannot_serve_says_what_can(engine, algo, weight, spec):
    arrays = [np.ones((1, 3, 9, 9), np.float32), np.ones(weight, np.float32), None, None]
    with pytest.raises(UnsupportedError, match=f"{algo}.*direct"):
        engine.call(ops.Conv2dSpec(algo=algo, **spec), arrays)


# --- larger problems: blocks, tails and splits that small ones do not reach

LARGER = [
    ops.Conv2dSpec(padding=1), ((1, 64, 28, 28), (96, 64, 3, 3), (96,), (1, 96, 28, 28)),
    ops.Conv2dSpec(padding=1, activation="relu"), ((3, 67, 15, 13), (45, 67, 3, 3), None, None),
    ops.Conv2dSpec(2, 3), ((1, 3, 67, 61), (64, 3, 7, 7), (64,), None),
    ops.Conv2dSpec(2, ((0, 1), (0, 1))), ((2, 3, 64, 64), (32, 3, 3, 3), (32,), None),
    ops.Conv2dSpec(), ((1, 256, 14, 14), (100, 256, 1, 1), (100,), None),
    ops.Conv2dSpec(2), ((2, 130, 15, 15), (64, 130, 1, 1), None, None),
    ops.Conv2dSpec(prologue="relu"), ((1, 1024, 7, 7), (128, 1024, 1, 1), None, None, (1024,), (1024,)),
    ops.Conv2dSpec(prologue="relu6"), ((3, 65, 31, 29), (130, 65, 1, 1), (130,), (3, 130, 31, 29), (65,), (65,)),
    ops.Conv2dSpec(2, prologue="relu"), ((2, 130, 15, 15), (64, 130, 1, 1), None, None, (130,), (130,)),
    ops.Conv2dSpec(2, 1, prologue="relu"), ((2, 67, 15, 13), (45, 67, 3, 3), None, None, (67,), (67,)),
    ops.Conv2dSpec(1, 2, groups=72, activation="silu"), ((1, 72, 29, 30), (72, 1, 5, 5), (72,), None),
    ops.Conv2dSpec(2, 1, groups=40, activation="relu6"), ((1, 40, 57, 57), (80, 1, 3, 3), (80,), None),
    ops.Conv2dSpec(1, 1, groups=8), ((1, 64, 14, 14), (128, 8, 3, 3), None, None),
    ops.Conv2dSpec(1, 1, groups=32, activation="relu"), ((1, 128, 57, 55), (128, 4, 3, 3), (128,), (1, 128, 57, 55)),
    ops.Conv2dSpec(2, 1, groups=17), ((2, 136, 29, 57), (136, 8, 3, 3), (136,), None),
    ops.Conv2dSpec(1, 2, groups=33, activation="silu"), ((1, 66, 31, 17), (66, 2, 5, 5), None, None),
    ops.Conv2dSpec(groups=15), ((2, 60, 14, 15), (60, 4, 1, 1), (60,), None),
    ops.Conv2dSpec((1, 1), ((0, 0), (3, 3))), ((1, 48, 17, 17), (33, 48, 1, 7), None, None),
    ops.Conv2dSpec(1, 1, algo="winograd"), ((1, 512, 14, 14), (40, 512, 3, 3), None, None),
    ops.Conv2dSpec(1, 1, algo="winograd"), ((2, 20, 57, 55), (30, 20, 3, 3), (30,), None),
    ops.Conv2dSpec(1, 2, algo="winograd"), ((1, 512, 13, 14), (40, 512, 5, 5), None, None),
    ops.Conv2dSpec(4, 2), ((1, 3, 224, 224), (16, 3, 11, 11), (16,), None),
    ops.LinearSpec("relu"), ((5, 1025), (333, 1025), (333,)),
    ops.LinearSpec(), ((1, 2048), (1000, 2048), None),
    ops.Pool2dSpec("max", 3, 2, 1), ((1, 70, 57, 57),),
    ops.Pool2dSpec("avg", 3, 1, 1, count_include_pad=False), ((2, 33, 35, 35),),
    ops.GlobalPool2dSpec(), ((2, 130, 33, 31),),
    ops.AdaptiveAvgPool2dSpec(7), ((1, 65, 4, 4),),
    ops.LocalResponseNormSpec(5, 1e-4, 0.75, 2.0, True), ((1, 96, 27, 27),),
    ops.LocalContrastNormSpec(), ((1, 20, 33, 31),),
    ops.SoftmaxSpec(), ((4, 1000),),
    ops.SoftmaxSpec(1, log=True), ((2, 100, 9, 9),),
    ops.BatchNormSpec(1e-3), ((2, 83, 21, 20), (83,), (83,), (83,), (83,)),
    ops.AddSpec("relu"), ((1, 100, 28, 28), (1, 100, 28, 28)),
    ops.MulSpec(), ((2, 96, 14, 14), (2, 96, 1, 1)),
    ops.ConcatSpec(), ((1, 64, 14, 14), (1, 33, 14, 14), (1, 17, 14, 14)),
    ops.ChannelShuffleSpec(2), ((1, 116, 14, 14),),
    ops.UnarySpec("erf"), ((3, 5, 1009),),
    ops.BinarySpec("pow"), ((2, 70, 1, 33), (70, 50, 1)),
    ops.BinarySpec("sub"), ((7, 900, 5), (900, 1)),
    ops.MulSpec("gelu"), ((40, 1, 200), (1, 30, 200)),
    ops.ReduceSpec("mean", (2, 3)), ((2, 83, 31, 33),),
    ops.ReduceSpec("sum", (0, 1)), ((130, 517),),
    ops.ReduceSpec("log_sum_exp", (0, 2), False), ((70, 20, 90),),
    ops.ReduceSpec("l2", (1,)), ((900, 40),),
    ops.ReduceSpec("max", (1,)), ((4, 3000, 17),),
    ops.MatMulSpec(), ((2, 3, 65, 130), (3, 130, 71)),
    ops.MatMulSpec(), ((4, 300, 67), (67, 33)),
    ops.SoftmaxSpec(1), ((3, 700, 40),),
    ops.BatchNormSpec(activation="silu"), ((2, 33, 5000), (33,), (33,), (33,), (33,)),
]  # fmt: skip
LARGER = list(zip(LARGER[::2], LARGER[1::2]))
STRICT = [(spec, shapes) for spec, shapes in LARGER if getattr(spec, "algo", "") == "auto"]  # where precision matters


@pytest.mark.parametrize("engine", engines(native_only=True))
@pytest.mark.parametrize(
    ("precision", "spec", "shapes"),
    [*(("float32", *problem) for problem in LARGER), *(("strict", *problem) for problem in STRICT)],
    ids=lambda v: getattr(v, "op", v if isinstance(v, str) else ""),
)
def test_larger(engine, precision, spec, shapes, rng):
    seed = int(rng.integers(2**32))
    check(engine, Case(spec, shapes, seed, "channels_last" if seed % 2 else "plain"), precision=precision)


@pytest.mark.parametrize("engine", engines(native_only=True))
@pytest.mark.parametrize(("spec", "shapes"), LARGER, ids=lambda v: getattr(v, "op", ""))
def test_thread_count_does_not_change_a_bit(engine, spec, shapes, rng):
    if refuses(engine, spec):
        pytest.skip("no such kernel")
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    results = []
    for threads in (1, 2, 3):
        with config(num_threads=threads):
            results.append(engine.call(spec, arrays)[0])
    assert all(np.array_equal(results[0].view(np.int32), y.view(np.int32)) for y in results[1:])


@pytest.mark.parametrize("engine", engines(native_only=True))
def test_concurrent_callers(engine, rng):
    problems = [(spec, Case(spec, shapes, int(rng.integers(2**32))).arrays()) for spec, shapes in LARGER[:6]]
    expected = [engine.call(spec, arrays)[0] for spec, arrays in problems]
    failures = []

    def work():
        for (spec, arrays), y in zip(problems, expected):
            if not np.array_equal(engine.call(spec, arrays)[0], y):
                failures.append(spec)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


# --- NaN, infinities, denormals


def poisoned(rng, shape, *values) -> np.ndarray:
    """Random numbers with `values` strewn in."""
    x = rng.standard_normal(shape).astype(np.float32)
    for value in values:
        x.flat[rng.integers(x.size)] = value
    return x


NONFINITE = [
    (ops.Conv2dSpec(1, 1), ((2, 5, 9, 9), (20, 5, 3, 3))),
    (ops.Conv2dSpec(2, 2, algo="direct", activation="relu"), ((1, 3, 12, 12), (8, 3, 5, 5))),
    (ops.Conv2dSpec(), ((1, 33, 5, 5), (17, 33, 1, 1))),
    (ops.Conv2dSpec(1, 1, groups=9), ((1, 9, 8, 8), (9, 1, 3, 3))),
    (ops.Conv2dSpec(1, 1, groups=5), ((1, 20, 8, 9), (20, 4, 3, 3))),
    (ops.LinearSpec(), ((3, 50), (20, 50))),
    (ops.Pool2dSpec("max", 3, 2, 1), ((1, 19, 9, 9),)),
    (ops.Pool2dSpec("max", 2, return_indices=True), ((1, 3, 9, 9),)),
    (ops.Pool2dSpec("avg", 3, 2, 1), ((1, 19, 9, 9),)),
    (ops.Pool2dSpec("sum", 2), ((1, 3, 8, 8),)),
    (ops.GlobalPool2dSpec("avg"), ((2, 19, 5, 5),)),
    (ops.GlobalPool2dSpec("max"), ((2, 19, 5, 5),)),
    (ops.AdaptiveAvgPool2dSpec(3), ((1, 5, 7, 7),)),
    (ops.BatchNormSpec(), ((1, 7, 5, 5), (7,), (7,), (7,), (7,))),
    (ops.AddSpec("relu"), ((2, 3, 5, 5), (2, 3, 5, 5))),
    (ops.MulSpec(), ((2, 3, 5, 5), (2, 3, 1, 1))),
    (ops.SoftmaxSpec(), ((6, 10),)),
    (ops.ConcatSpec(), ((1, 3, 4, 4), (1, 5, 4, 4))),
    (ops.ChannelShuffleSpec(2), ((1, 6, 4, 4),)),
    *((ops.ActivationSpec(kind), ((5, 33),)) for kind in ops.ACTIVATIONS),
    *((ops.UnarySpec(kind, *PARAMETERS.get(kind, ())), ((5, 33),)) for kind in ops.UNARY),
    *((ops.BinarySpec(kind), ((5, 33), (33,))) for kind in ops.BINARY),
    *((ops.ReduceSpec(kind, (1,)), ((9, 33),)) for kind in ops.REDUCTIONS),
    *((ops.ReduceSpec(kind, (0,)), ((9, 33),)) for kind in ops.REDUCTIONS),
    (ops.MatMulSpec(), ((2, 5, 33), (33, 18))),
    (ops.SoftmaxSpec(0), ((6, 10),)),
]
NO_LIMIT_AT_MINUS_INFINITY = ("silu", "hardswish", "gelu")  # -inf * 0


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize(("spec", "shapes"), NONFINITE, ids=lambda v: getattr(v, "kind", getattr(v, "op", "")))
def test_nan_and_inf_pass_as_ieee_says(engine, spec, shapes, rng):
    case = Case(spec, shapes, int(rng.integers(2**32)))
    values = [np.nan, np.inf] + [-np.inf] * (getattr(spec, "kind", "") not in NO_LIMIT_AT_MINUS_INFINITY)
    arrays = [poisoned(rng, shapes[0], *values), *case.arrays()[1:]]
    arrays += [None] * (len(spec.inputs) - len(arrays))
    results = engine.call(spec, arrays, precision="strict")
    theirs = testing.reference(spec, *arrays)
    if getattr(spec, "return_indices", False):
        results, theirs = results[:1], theirs[:1]
    for mine, expected in zip(results, theirs if isinstance(theirs, tuple) else (theirs,)):
        testing.assert_close(mine, expected, spec, arrays, precision="strict")


@pytest.mark.parametrize("engine", engines())
def test_nan_is_not_lost_by_any_algorithm(engine, rng):
    """Winograd may spread a NaN over its tile, but it must not lose one."""
    x = poisoned(rng, (1, 16, 14, 14), np.nan)
    arrays = [x, rng.standard_normal((16, 16, 3, 3)).astype(np.float32), None, None]
    (mine,) = engine.call(ops.Conv2dSpec(1, 1), arrays)
    assert np.isnan(mine[np.isnan(testing.reference(ops.Conv2dSpec(1, 1), *arrays))]).all()


@pytest.mark.parametrize("engine", engines())
def test_all_lanes_nan_stay_in_their_image(engine, rng):
    """A broken image must not reach its neighbours in the batch, nor padding lanes the other channels."""
    x = rng.standard_normal((3, 17, 6, 6)).astype(np.float32)
    x[1] = np.nan
    w = rng.standard_normal((19, 17, 3, 3)).astype(np.float32)
    (y,) = engine.call(ops.Conv2dSpec(1, 1), [x, w, None, None])
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (ops.ActivationSpec("relu"), ((40,),)),
        (ops.AddSpec(), ((2, 20), (2, 20))),
        (ops.Pool2dSpec("max", 2), ((1, 17, 4, 4),)),
        (ops.Pool2dSpec("sum", 2), ((1, 17, 4, 4),)),
        (ops.Conv2dSpec(), ((1, 4, 3, 3), (5, 4, 1, 1), None, None)),
    ],
    ids=lambda v: getattr(v, "op", ""),
)
def test_denormals_are_not_flushed(engine, spec, shapes, rng):
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    arrays[0] *= np.float32(1e-40)
    if spec.op == "add":
        arrays[1] *= np.float32(1e-40)
    (mine,) = engine.call(spec, arrays, precision="strict")
    assert np.count_nonzero(mine)
    testing.assert_close(mine, testing.reference(spec, *arrays), spec, arrays, precision="strict")
