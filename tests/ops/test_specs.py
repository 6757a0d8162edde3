"""Shapes, theory and reductions of the Specs, against numbers worked out by hand and against each other."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import PROBLEMS, cases, examples

from cnnkern import ops
from cnnkern.ops import Counts, normalise_padding
from cnnkern.ops.checks import MAX_ELEMENTS


@pytest.mark.parametrize("op", ops.SPECS)
@examples(20)
@given(data=st.data())
def test_specs_are_values(op, data):
    """Hashable, equal by value, picklable, rebuilt from their own fields; integers of any kind make the same Spec."""
    spec = data.draw(PROBLEMS[op])[0]
    again = type(spec)(**{f.name: getattr(spec, f.name) for f in fields(spec)})
    assert spec == again == pickle.loads(pickle.dumps(spec)) == replace(spec) and hash(spec) == hash(again)
    assert ops.SPECS[spec.op] is type(spec)


@pytest.mark.parametrize("op", PROBLEMS)
@examples(20)
@given(data=st.data())
def test_theory_counts_bytes_and_reductions(op, data):
    case = data.draw(cases(PROBLEMS[op]))
    shapes, outputs = case.shapes, case.spec.infer(*case.shapes)
    counts = case.spec.theory(*shapes)
    assert all(isinstance(v, int) and v >= 0 for v in counts.astuple())
    assert counts.bytes_read == 4 * sum(int(np.prod(s)) for s in shapes if s is not None)
    sizes = [4] + [8] * (len(outputs) - 1)
    assert counts.bytes_written == sum(size * int(np.prod(s)) for size, s in zip(sizes, outputs))
    assert case.spec.reduction(*shapes) >= 1


@pytest.mark.parametrize("op", sorted(set(PROBLEMS) - {"add", "mul", "binary", "matmul"}))  # whose batch may be missing
@examples(20)
@given(data=st.data())
def test_symbolic_batch_gives_the_same_shapes(op, data):
    case = data.draw(cases(PROBLEMS[op]))
    spec, shapes = case.spec, case.shapes
    if op in ("softmax", "slice", "transpose", "concat", "activation", "reorder") and (
        not shapes[0] or getattr(spec, "axis", 1) % len(shapes[0]) == 0 or getattr(spec, "axes", (0,))[0] != 0
    ):
        return
    if op in ("stride", "resample") and spec.axis % len(shapes[0]) == 0:
        return
    if op == "expand" or (op == "tile" and spec.repeats[:1] != (1,)) or (op == "pad_nd" and any(spec.pads[0])):
        return
    if op in ("unary", "reduce") and (not shapes[0] or (op == "reduce" and 0 in spec.over(len(shapes[0])))):
        return
    if op == "reshape" and (spec.shape[0] != 0 or -1 in spec.shape):
        return
    batch = shapes[0][0]
    data_inputs = {"concat": len(shapes), "conv2d": 1}.get(op, 1)
    symbolic = [("N", *s[1:]) if i < data_inputs else s for i, s in enumerate(shapes)]
    residual = {"conv2d": 3, "fused_block": 7}.get(op)
    if residual and shapes[residual] is not None:
        symbolic[residual] = ("N", *shapes[residual][1:])
    bound = [tuple(batch if d == "N" else d for d in s) for s in spec.infer(*symbolic)]
    assert tuple(bound) == spec.infer(*shapes)


def test_conv2d_theory_is_the_textbooks():
    spec = ops.Conv2dSpec(2, 3, activation="relu")
    assert spec.infer((1, 3, 224, 224), (64, 3, 7, 7)) == ((1, 64, 112, 112),)
    outputs = 64 * 112 * 112
    counts = spec.theory((1, 3, 224, 224), (64, 3, 7, 7), (64,))
    assert counts == Counts(
        fma=118_013_952,
        add=outputs,
        max=outputs,
        bytes_read=4 * (3 * 224**2 + 64 * 147 + 64),
        bytes_written=4 * outputs,
    )
    assert counts.flops == 2 * 118_013_952 + 2 * outputs
    assert spec.reduction((1, 3, 224, 224), (64, 3, 7, 7)) == 147
    grouped = ops.Conv2dSpec(1, 1, groups=4)
    residual = grouped.theory((2, 8, 5, 5), (12, 2, 3, 3), None, (2, 12, 5, 5))
    assert (residual.fma, residual.add) == (2 * 12 * 25 * 2 * 9, 2 * 12 * 25)


def test_a_prologue_costs_what_the_batch_norm_did():
    image, weight, c = (2, 8, 5, 5), (12, 8, 1, 1), (8,)
    fused = ops.Conv2dSpec(prologue="relu").theory(image, weight, None, None, c, c)
    apart = ops.Conv2dSpec().theory(image, weight) + ops.BatchNormSpec(activation="relu").theory(image, c, c)
    once = Counts(fma=8, add=8, special=16)  # scale and shift, known before anything runs
    for kind in ("fma", "mul", "add", "max", "special"):
        assert getattr(fused, kind) == getattr(apart - once, kind)


@pytest.mark.parametrize(
    ("prologue", "scale", "shift", "message"),
    [
        ("relu", None, None, "prologue 'relu' needs scale"),
        (None, (8,), None, "come together"),
        (None, (7,), (7,), r"scale must have shape \(8,\)"),
        ("silu", (8,), (8,), "prologue must be one of 'relu', 'relu6', got 'silu'"),
    ],
)
def test_prologues_that_are_none(prologue, scale, shift, message):
    with pytest.raises(ValueError, match=message):
        ops.Conv2dSpec(prologue=prologue).infer((1, 8, 5, 5), (12, 8, 1, 1), None, None, scale, shift)


@pytest.mark.parametrize(
    ("spec", "shapes", "counts"),
    [
        (ops.LinearSpec(), ((2, 100), (10, 100), (10,)), {"fma": 2000, "add": 20}),
        (ops.Pool2dSpec("max", 3, 2), ((1, 4, 7, 7),), {"max": 4 * 9 * 8}),
        (ops.Pool2dSpec("avg", 2), ((1, 4, 8, 8),), {"add": 4 * 16 * 3, "mul": 4 * 16}),
        (ops.Pool2dSpec("sum", (1, 2), 1), ((1, 4, 8, 8),), {"add": 4 * 8 * 7}),
        (ops.GlobalPool2dSpec(), ((2, 5, 7, 7),), {"add": 10 * 48, "mul": 10}),
        (ops.GlobalPool2dSpec("max"), ((2, 5, 7, 7),), {"max": 10 * 48}),
        (ops.AdaptiveAvgPool2dSpec((2, 1)), ((1, 1, 3, 4),), {"add": 2 * 8 - 2, "mul": 2}),
        (ops.BatchNormSpec(), ((1, 3, 4, 4), (3,), (3,), (3,)), {"fma": 48 + 3, "mul": 3, "add": 3, "special": 6}),
        (ops.LocalResponseNormSpec(5), ((1, 8, 2, 2),), {"mul": 64, "add": 128, "fma": 32, "special": 32}),
        (ops.LocalContrastNormSpec(3), ((1, 2, 2, 2),), {"fma": 144, "mul": 16, "add": 12, "max": 8, "special": 12}),
        (ops.SoftmaxSpec(), ((2, 10),), {"max": 18, "add": 38, "special": 22, "mul": 20}),
        (ops.SoftmaxSpec(0, log=True), ((10, 2),), {"max": 18, "add": 58, "special": 22}),
        (ops.ActivationSpec("silu"), ((3, 4),), {"mul": 12, "add": 12, "special": 24}),
        (ops.AddSpec("relu"), ((1, 3, 2, 2), (1, 3, 1, 1)), {"add": 12, "max": 12}),
        (ops.MulSpec(), ((1, 3, 2, 2), (3, 1, 1)), {"mul": 12}),
        (
            ops.LocallyConnected2dSpec(),
            ((2, 3, 4, 4), (2, 2, 5, 3, 3, 3), (5, 2, 2)),
            {"fma": 2 * 5 * 4 * 27, "add": 40},
        ),
        (ops.Im2colSpec(3), ((1, 2, 4, 4),), {}),
        (ops.ConcatSpec(), ((1, 2, 4, 4), (1, 3, 4, 4)), {}),
    ],
    ids=lambda v: getattr(v, "op", ""),
)
def test_theory_by_hand(spec, shapes, counts):
    theory = spec.theory(*shapes)
    operations = {name: getattr(theory, name) for name in ("fma", "mul", "add", "max", "special")}
    assert operations == {"fma": 0, "mul": 0, "add": 0, "max": 0, "special": 0, **counts}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [(112, 3, 2, 0, 55, 56), (112, 3, 2, 1, 56, 57), (224, 7, 2, 3, 112, 113), (5, 2, 3, 1, 2, 2), (1, 1, 1, 0, 1, 1),
     (3, 2, 5, 0, 1, 1), (110, 3, 2, 0, 54, 55), (7, 2, 2, 1, 4, 4)],
)  # fmt: skip
def test_pool_sizes(size, kernel, stride, padding, floor, ceil):
    for mode, expected in ((False, floor), (True, ceil)):
        spec = ops.Pool2dSpec("max", (kernel, 1), (stride, 1), ((padding, padding), (0, 0)), ceil_mode=mode)
        assert spec.infer((1, 1, size, 1)) == ((1, 1, expected, 1),)


@pytest.mark.parametrize(("size", "kernel", "stride", "fits"), [(2, 3, 2, True), (1, 3, 2, False), (1, 4, 4, True)])
def test_ceil_mode_takes_an_only_window_that_hangs_over(size, kernel, stride, fits):
    """By less than the stride, as in torch: what the last pool of SqueezeNet does to 17x17 pictures."""
    for ceil_mode in (False, True):
        spec = ops.Pool2dSpec("max", kernel, stride, ceil_mode=ceil_mode)
        if fits and ceil_mode:
            assert spec.infer((1, 1, size, size)) == ((1, 1, 1, 1),)
            continue
        with pytest.raises(ValueError, match="larger than the padded input"):
            spec.infer((1, 1, size, size))


def test_pool_defaults():
    assert ops.Pool2dSpec("max", 3).stride == (3, 3)
    assert ops.Pool2dSpec("max", 2, return_indices=True).infer((1, 1, 4, 4)) == ((1, 1, 2, 2),) * 2
    with pytest.raises(ValueError, match="return_indices"):
        ops.Pool2dSpec("avg", 2, return_indices=True)


@examples(100)
@given(data=st.data())
def test_windows_without_input_are_found(data):
    """The closed form against looking at every window."""
    size, kernel, stride = (data.draw(st.integers(1, most)) for most in (6, 4, 5))
    dilation, before, after = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    if dilation * (kernel - 1) + 1 > size + before + after:
        return
    spec = ops.Pool2dSpec("max", (kernel, 1), (stride, 1), ((before, after), (0, 0)), (dilation, 1))
    count = ops.Pool2dSpec(**{**vars(spec), "kind": "sum"}).infer((1, 1, size, 1))[0][2]
    taps = [[w * stride - before + t * dilation for t in range(kernel)] for w in range(count)]
    if all(any(0 <= tap < size for tap in window) for window in taps):
        assert spec.infer((1, 1, size, 1))[0][2] == count
    else:
        with pytest.raises(ValueError, match="without input"):
            spec.infer((1, 1, size, 1))


@examples(100)
@given(
    size=st.integers(1, 300), kernel=st.integers(1, 11), stride=st.integers(1, 5), dilation=st.integers(1, 3),
    lower=st.booleans(),
)  # fmt: skip
def test_same_padding(size, kernel, stride, dilation, lower):
    word = "same_lower" if lower else "same"
    (top, bottom), sides = normalise_padding(word, (size, 1), (kernel, 1), (stride, 1), (dilation, 1))
    assert sides == (0, 0) and (0 <= top - bottom <= 1 if lower else 0 <= bottom - top <= 1)
    spec = ops.Conv2dSpec((stride, 1), ((top, bottom), sides), (dilation, 1))
    assert spec.infer((1, 1, size, 1), (1, 1, kernel, 1))[0][2] == -(-size // stride)


def test_paddings():
    for given_, expected in [(2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))), (((1, 2), (3, 4)), ((1, 2), (3, 4))),
                             ("valid", ((0, 0), (0, 0))), ([[0, 1], [0, 1]], ((0, 1), (0, 1)))]:  # fmt: skip
        assert normalise_padding(given_, (9, 9), (3, 3), (1, 1)) == expected
    assert ops.Conv2dSpec(padding=np.int64(1)) == ops.Conv2dSpec(padding=((1, 1), (1, 1)))


def test_overflow_is_refused_before_anything_is_allocated():
    big = 2**31
    with pytest.raises(ValueError, match="x of shape"):
        ops.ActivationSpec().infer((big, big, 2))
    with pytest.raises(ValueError, match="the output"):
        ops.Conv2dSpec().infer((1, 1, big, 1), (big, 1, 1, 1)) and ops.Conv2dSpec().infer(
            (2, 1, big, 1), (big, 1, 1, 1)
        )
    with pytest.raises(ValueError, match="the output"):
        ops.AddSpec().infer((big, 1), (1, 2 * big))
    assert ops.AddSpec().infer((2**31, 1), (1, 2**31)) == ((2**31, 2**31),) and MAX_ELEMENTS == 2**62
    with pytest.raises(ValueError, match="the output"):
        ops.ConcatSpec(0).infer((2**61, 2), (1, 2))


@pytest.mark.parametrize(
    ("target", "x", "expected"),
    [((0, -1), ("N", 3, 4), ("N", 12)), ((-1, 12), ("N", 3, 4), ("N", 12)), ((0, 2, 6), ("N", 3, 4), ("N", 2, 6)),
     ((-1,), (2, 3), (6,)), ((3, 2), (2, 3), (3, 2)), ((0, -1), (0, 5, 5), (0, 25)), ((1, 0), (1, 7), (1, 7))],
)  # fmt: skip
def test_reshape(target, x, expected):
    assert ops.ReshapeSpec(target).infer(x) == (expected,)


@pytest.mark.parametrize(
    ("target", "x"), [((5,), (2, 3)), ((-1, 4), (2, 3)), ((2, 3), ("N", 3)), ((-1,), ("N", 3)), ((0, 0, 0), (2, 3))]
)
def test_reshape_refuses(target, x):
    with pytest.raises(ValueError, match="does not reshape"):
        ops.ReshapeSpec(target).infer(x)


def test_slice_and_transpose():
    assert ops.SliceSpec(1, -3, 4).bounds((2, 5)) == (1, 2, 4)
    with pytest.raises(ValueError, match="empty"):
        ops.SliceSpec(1, 3, 3).infer((2, 5))
    with pytest.raises(ValueError, match="symbolic"):
        ops.SliceSpec(0, 0, 1).infer(("N", 5))
    with pytest.raises(ValueError, match="permutation"):
        ops.TransposeSpec((0, 2))
    assert ops.TransposeSpec((0, 2, 3, 1)).infer(("N", 3, 4, 5)) == (("N", 4, 5, 3),)


def test_broadcasting_with_a_symbol():
    assert ops.AddSpec().infer(("N", 3, 4, 4), (3, 1, 1)) == (("N", 3, 4, 4),)
    with pytest.raises(ValueError, match="do not broadcast"):
        ops.AddSpec().infer(("N", 3), (2, 3))
