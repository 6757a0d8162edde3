"""The native border: whatever Python hands over is checked before any memory is touched."""

from __future__ import annotations

import numpy as np
import pytest

core = pytest.importorskip("cnnkern._core", reason="no native module")
SHAPE = {
    "n": 1, "c": 16, "h": 8, "w": 8, "k": 16, "r": 3, "s": 3, "stride_h": 1, "stride_w": 1,
    "pad_t": 1, "pad_b": 1, "pad_l": 1, "pad_r": 1, "dil_h": 1, "dil_w": 1, "groups": 1,
}  # fmt: skip
FLOATS = 16 * 64
TENSOR = (1, 0, (1, 8, 8, 16), (1024, 128, 16, 1))
OUTPUT = (2, 0, (1, 8, 8, 16), (1024, 128, 16, 1))
WEIGHT = np.zeros((16, 16, 3, 3), np.float32)


def program(**changes):
    options = {"isa": "", "threads": 2, "arena_floats": 0, "external_floats": [FLOATS, FLOATS], "inputs": 1}
    return core.Program(**{**options, **changes})


def plan(algo="direct", **changes):
    return {**core.conv_select("", SHAPE, algo, False, True, 16, True), **changes}


def add(shape=None, decision=None, x=TENSOR, y=OUTPUT, weight=WEIGHT, **options):
    made = program()
    made.add_conv(x, y, {**SHAPE, **(shape or {})}, decision or plan(), weight, **options)
    return made


def test_the_good_case_is_good():
    made = add()
    made.run(made.new_context(), [np.zeros(FLOATS, np.float32), np.zeros(FLOATS, np.float32)])


@pytest.mark.parametrize(
    "shape",
    [{"c": 0}, {"n": -1}, {"groups": 3}, {"groups": 0}, {"stride_h": 0}, {"stride_w": -1}, {"dil_h": 0}, {"r": 99}]
    + [{"h": 2**40}, {"pad_t": -1}, {"pad_l": 2**33}, {"k": 2**31}, {"h": 2**30, "w": 2**30}, {"k": 32}, {"w": 9}],
    ids=str,
)
def test_impossible_convolutions(shape):
    with pytest.raises(ValueError, match="conv"):
        add(shape)


@pytest.mark.parametrize(
    "change",
    [{"ob": 0}, {"ob": 9}, {"px": 0}, {"px": 99}, {"merge": 0}, {"merge": 5}, {"band_rows": 0}, {"band_images": 0}]
    + [{"scratch_px": 1}, {"scratch_px": 2**40}, {"algo": "magic"}, {"algo": "pointwise"}],
    ids=str,
)
def test_impossible_plans(change):
    with pytest.raises(ValueError):
        add(decision=plan(**change))


@pytest.mark.parametrize("change", [{"m": 3}, {"m": 0}, {"tile_block": 0}, {"scratch_px": 0}], ids=str)
def test_impossible_winograd_plans(change):
    with pytest.raises(ValueError, match="Winograd"):
        add(decision=plan("winograd", **change))


@pytest.mark.parametrize(
    "tensor",
    [
        (7, *TENSOR[1:]),  # no such slot
        (-1, *TENSOR[1:]),
        (1, 1, *TENSOR[2:]),  # one float too far
        (1, -1, *TENSOR[2:]),
        (1, 0, (1, 8, 8, 16), (1024, 129, 16, 1)),
        (1, 0, (1, 8, 8, 16), (1024, -128, 16, 1)),
        (1, 0, (1, 8, 8, 16), (2**62, 2**62, 2**62, 1)),
        (1, 0, (1, 8, 8, 15), (1024, 128, 16, 1)),  # not the convolution's shape
    ],
    ids=range(8),
)
@pytest.mark.parametrize("which", ["x", "y"])
def test_tensors_outside_their_buffers(which, tensor):
    if which == "y":
        tensor = (2 if tensor[0] == 1 else tensor[0], *tensor[1:])
    with pytest.raises(ValueError):
        add(**{which: tensor})


@pytest.mark.parametrize("weight", [WEIGHT.astype(np.float64), WEIGHT[:8], WEIGHT[:, ::-1], None, "no"], ids=range(5))
def test_weights_of_another_kind(weight):
    with pytest.raises(ValueError, match="weight"):
        add(weight=weight)


def test_a_bias_of_another_length():
    with pytest.raises(ValueError, match="bias"):
        add(bias=np.zeros(15, np.float32))


VECTOR = np.ones(16, np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": VECTOR}, "together"),
        ({"shift": VECTOR}, "together"),
        ({"scale": VECTOR, "shift": VECTOR[:15].copy()}, "shift"),
        ({"scale": VECTOR.astype(np.float64), "shift": VECTOR}, "scale"),
        ({"scale": VECTOR, "shift": VECTOR, "prologue": "silu"}, "clamp"),
        ({"scale": VECTOR, "shift": VECTOR, "prologue": "swishy"}, "swishy"),
        ({"prologue": "relu"}, "needs scale"),
        ({"scale": VECTOR, "shift": VECTOR, "decision": {**plan("winograd"), "scratch_px": 16}}, "winograd.*direct"),
    ],
    ids=range(8),
)
def test_impossible_prologues(options, message):
    with pytest.raises(ValueError, match=message):
        add(**options)


@pytest.mark.parametrize("scratch_px", [0, 15, 2**40])
def test_scaled_pixels_need_room(scratch_px):
    square = {"r": 1, "s": 1, "pad_t": 0, "pad_b": 0, "pad_l": 0, "pad_r": 0}
    made = core.conv_select("", {**SHAPE, **square}, "pointwise", False, True, 16, True, True)
    options = {"weight": np.zeros((16, 16, 1, 1), np.float32), "scale": VECTOR, "shift": VECTOR}
    add(square, made, **options)
    with pytest.raises(ValueError, match="scratch"):
        add(square, {**made, "scratch_px": scratch_px}, **options)


def test_unknown_activations_and_instruction_sets():
    with pytest.raises(ValueError, match="magic"):
        add(act="magic")
    with pytest.raises(ValueError, match="vec128"):
        program(isa="sse9")


@pytest.mark.parametrize("change", [{"threads": 0}, {"threads": 10**6}, {"arena_floats": -1}, {"inputs": 3}], ids=str)
def test_impossible_programs(change):
    with pytest.raises(ValueError):
        program(**change)


def read_only() -> np.ndarray:
    array = np.zeros(FLOATS, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "buffers",
    [
        [],
        [np.zeros(FLOATS, np.float32)],
        [np.zeros(FLOATS, np.float32), np.zeros(FLOATS - 1, np.float32)],
        [np.zeros(FLOATS), np.zeros(FLOATS, np.float32)],
        [np.zeros(2 * FLOATS, np.float32)[::2], np.zeros(FLOATS, np.float32)],
        [np.zeros(FLOATS, np.float32), read_only()],
        [np.frombuffer(bytearray(4 * FLOATS + 1), np.uint8)[1:].view(np.float32), np.zeros(FLOATS, np.float32)],
        [None, None],
    ],
    ids=["none", "one", "short", "float64", "strided", "read-only", "misaligned", "None"],
)
def test_buffers_that_do_not_fit(buffers):
    made = add()
    with pytest.raises(ValueError):
        made.run(made.new_context(), buffers)


def test_contexts_and_steps_of_another_program():
    made, other = add(), program()
    buffers = [np.zeros(FLOATS, np.float32), np.zeros(FLOATS, np.float32)]
    with pytest.raises(ValueError, match="context"):
        made.run(other.new_context(), buffers)
    for begin, end in ((0, 2), (2, 2), (1, 0)):
        with pytest.raises(ValueError, match="steps"):
            made.run(made.new_context(), buffers, begin, end)
