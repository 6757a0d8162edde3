"""The convolution on Hopper's tensor cores (kernels/conv_wgmma.cu) on the host shim: odd shapes that the selector would
give to another kernel, its choice, and each of its guards taken away."""

from __future__ import annotations

import re
import shutil

import host
import hostruntime
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import Case, cases, conv2d, examples

from cnnkern import models, ops, testing
from cnnkern.backends.cuda import CudaBackend, conv_select
from cnnkern.backends.cuda.gemm import Mma, Wgmma
from cnnkern.backends.null import NullBackend
from cnnkern.backends.one_node import one_node

pytestmark = pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")

PRECISIONS = ("float16", "bfloat16", "tf32")
COLUMNS = (64, 128, 256)
TEMPLATE = "conv_wgmma"


def plan(spec, arrays, precision, columns, splits=1, runtime=None):
    """(executable, inputs) of one operation, made by this kernel whatever the selector says."""
    graph, weights, inputs = one_node(spec, arrays)
    decision = {"tile": [128, columns], "splits": splits}
    if isinstance(spec, ops.Conv2dSpec) and spec.algo == "auto":
        decision["algo"] = "implicit_gemm"
    backend = CudaBackend(runtime or hostruntime.HostRuntime())
    made = backend.compile(graph, weights, precision=precision, decisions={graph.nodes[0].name: decision})
    assert not made.launches or TEMPLATE in {launch.kernel.template for launch in made.launches}
    return made, inputs


def compared(spec, arrays, precision, columns, splits=1, runtime=None) -> testing.Comparison:
    made, inputs = plan(spec, arrays, precision, columns, splits, runtime)
    return testing.compare(made(inputs), testing.reference(spec, *arrays), spec, arrays, precision=precision)


CASES = {
    "1x1": (ops.Conv2dSpec(), ((1, 8, 5, 7), (1, 8, 1, 1), None, None)),
    "1x1 K=17": (ops.Conv2dSpec(activation="relu"), ((3, 24, 9, 5), (17, 24, 1, 1), (17,), None)),
    "1x1 stride 2": (ops.Conv2dSpec(2), ((2, 136, 13, 15), (31, 136, 1, 1), None, (2, 31, 7, 8))),
    "3x3": (ops.Conv2dSpec(1, 1, activation="silu"), ((1, 64, 13, 12), (130, 64, 3, 3), (130,), (1, 130, 13, 12))),
    "3x3 two row tiles, 19 steps": (ops.Conv2dSpec(1, 1), ((3, 130, 7, 9), (70, 130, 3, 3), None, None)),
    "asymmetric": (ops.Conv2dSpec((2, 1), ((0, 2), (3, 1)), (1, 2)), ((2, 8, 11, 9), (31, 8, 3, 4), (31,), None)),
    "dilated": (ops.Conv2dSpec(1, 4, 3), ((1, 40, 9, 11), (65, 40, 3, 3), None, None)),
    "groups": (ops.Conv2dSpec(1, 1, groups=3), ((1, 48, 8, 9), (3 * 20, 16, 3, 3), (60,), (1, 60, 8, 9))),
    "channels beside zeros": (ops.Conv2dSpec(2, 3), ((1, 3, 20, 23), (10, 3, 7, 7), (10,), None)),
    "im2col": (ops.Conv2dSpec(1, 1, groups=2, algo="im2col"), ((1, 6, 8, 7), (10, 3, 3, 3), (10,), None)),
    "linear": (ops.LinearSpec("relu"), ((33, 201), (66, 201), (66,))),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_odd_shapes(name, precision, rng):
    spec, shapes = CASES[name]
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    for order, columns in zip(host.ORDERS, (64, 128, 256, 64)):
        found = compared(spec, arrays, precision, columns, runtime=hostruntime.HostRuntime(order=order))
        assert found.ok, (columns, order, found)


@pytest.mark.parametrize("precision", ["float16", "tf32"])
@pytest.mark.parametrize("splits", [2, 5, 32])
@pytest.mark.parametrize("name", ["3x3", "groups", "3x3 two row tiles, 19 steps"])
def test_split_sums(name, splits, precision, rng):
    spec, shapes = CASES[name]
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    assert compared(spec, arrays, precision, 64, splits).ok


@pytest.mark.parametrize("name", CASES)
def test_counts(name, rng):
    """What is executed was predicted, however the sum is split; packing included."""
    spec, shapes = CASES[name]
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    for precision, columns, splits in (("float16", 64, 1), ("bfloat16", 256, 3), ("tf32", 128, 2)):
        made, inputs = plan(spec, arrays, precision, columns, splits)
        for row in made.count(inputs):
            assert row["predicted"] == row["executed"], (row["kernel"], precision)


@examples(12)
@given(data=st.data())
def test_any_convolution(data):
    case = data.draw(cases(conv2d(kinds=["dense"]), memory=("plain",)))
    precision, columns = data.draw(st.sampled_from(PRECISIONS)), data.draw(st.sampled_from(COLUMNS))
    splits = data.draw(st.sampled_from([1, 3]))
    assert compared(case.spec, case.arrays(), precision, columns, splits).ok


def test_the_same_bits_whatever_the_order(rng):
    """Of threads, and of what they wait for."""
    spec, shapes = CASES["3x3"]
    arrays = Case(spec, shapes, int(rng.integers(2**32))).arrays()
    results = []
    for order in host.ORDERS:
        made, inputs = plan(spec, arrays, "bfloat16", 128, runtime=hostruntime.HostRuntime(order=order))
        results.append(made(inputs).tobytes())
    assert len(set(results)) == 1


def test_tf32_cuts_off(rng):
    """An x all of whose 13 lower bits are set is multiplied as if they were not."""
    x = np.full((1, 8, 4, 4), np.uint32(0x3F801FFF), np.uint32).view(np.float32)
    w = np.ones((4, 8, 1, 1), np.float32)
    made, inputs = plan(ops.Conv2dSpec(), [x, w, None, None], "tf32", 64)
    assert (made(inputs) == 8).all()


# --- the selector


def tile_of(problem, precision="float16", target="sm_90a", multiprocessors=132):
    return conv_select.select(problem, "auto", precision, multiprocessors, target).get("tile")


def problem(n, c, h, k, r=3):
    return conv_select.ConvProblem(n, c, h, h, k, h, h, r, r, (1, 1), (r // 2, r // 2), (1, 1), 1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_large_problems_are_chosen(precision):
    assert isinstance(tile_of(problem(32, 256, 28, 256), precision), Wgmma.Tile)
    for target in ("sm_80", "sm_90", "sm_100"):
        assert isinstance(tile_of(problem(32, 512, 14, 512), precision, target), Mma.Tile)
    assert not isinstance(tile_of(problem(1, 64, 14, 64, 1), precision), Wgmma.Tile)


def test_networks_use_it_where_it_can_run():
    m = models.create("resnet50")
    for target, used in (("sm_90a", True), ("sm_86", False)):
        made = m.compile((32, *m.input_shape), backend=NullBackend(target), precision="float16")
        assert (TEMPLATE in {launch.kernel.template for launch in made.launches}) == used


def test_a_tile_that_the_target_does_not_have():
    graph, weights, _ = one_node(ops.Conv2dSpec(), Case(*CASES["1x1"], 0).arrays())
    decisions = {graph.nodes[0].name: {"algo": "implicit_gemm", "tile": [128, 64]}}
    with pytest.raises(ValueError, match=r"\[128, 64\] is no tile of float16"):
        NullBackend("sm_80").compile(graph, weights, precision="float16", decisions=decisions)


# --- what is missing is found

# What a guard, a wait or a number becomes, and what the shim may say of it; "": the numbers are wrong.
MISTAKES = [
    ("  __syncthreads();", ";", "no barrier was begun"),
    ("mbarrier_wait(full + now.stage, now.parity);", ";", "was written before it had ended|"),
    ("mbarrier_wait(empty + filled.stage, filled.parity ^ 1);", ";", "was written before it had|one arrival more|"),
    ("filled.parity ^ 1", "filled.parity", "deadlock"),
    ("wgmma_wait<1>();", ";", "was written before it had ended|"),
    ("wgmma_wait<0>();", ";", "wgmma under way|was written before it had ended|"),
    ("wgmma_commit();", ";", "was written before it had ended|wgmma under way|"),
    ("wgmma_fence();", ";", "wgmma without wgmma_fence"),
    ("copy_async_wait<BEHIND>();", ";", "was written before it had ended|"),
    ("copy_async_wait<BEHIND>();", "copy_async_wait<BEHIND + 1>();", "was written before it had ended|"),
    ("copy_async_wait<0>();", ";", "copies under way|"),
    ("fence_async();\n      mbarrier_arrive(full", "mbarrier_arrive(full", "fence_async is missing"),
    ("BEHIND = STAGES / 2", "BEHIND = STAGES - 1", "deadlock"),
    ("mbarrier_arrive_expect(full + filled.stage, TILE_B)", "mbarrier_arrive_expect(full + filled.stage, TILE_B - 16)",
     r"deadlock.* wait in mbarrier_wait at .*conv_wgmma.cu:\d+ for 0 arrivals and -16 bytes"),
    ("mbarrier_arrive_expect(full + filled.stage, TILE_B)", "mbarrier_arrive_expect(full + filled.stage, TILE_B + 16)",
     "for 0 arrivals and 16 bytes"),
    ("mbarrier_init(full + i, PRODUCERS + 1)", "mbarrier_init(full + i, PRODUCERS)", "one arrival more|announced|"),
    ("mbarrier_init(full + i, PRODUCERS + 1)", "mbarrier_init(full + i, PRODUCERS + 2)", "deadlock"),
    ("step > 0 && lane == 0", "lane == 0", "one arrival more|was written before|"),
    ("(word ^ row) & 7", "word", ""),
    ("(word ^ row) & 7", "(word ^ (row >> 1)) & 7", ""),
    ("STRIDE = 8 * LINE", "STRIDE = 16 * LINE", ""),
    ("SWIZZLE_128 = 1", "SWIZZLE_128 = 2", "is none of 128-byte swizzling"),
    ("right_side + (slice >> 4)", "right_side", ""),
    ("left_side + (slice >> 4)", "left_side + slice", "leaves its pattern|none of 128-byte|"),
    ("own_row * LINE", "own_row", "leaves its pattern|none of 128-byte|"),
    ("slice > 0 || step > 0", "true", ""),
    ("lane / 4) * OUT_LINE", "lane / 8) * OUT_LINE", ""),
    ("TILE_A + TILE_B;", "TILE_A + TILE_B - 1024;", ""),
]  # fmt: skip
# Tiles of 64 columns have eight stages: 18 steps go twice around and into a third.
PLANTED = ops.Conv2dSpec(1, 1), ((1, 128, 12, 11), (70, 128, 3, 3), None, None)


class Mutated(hostruntime.HostRuntime):
    def __init__(self, made: host.HostModule, order: int):
        super().__init__(order=order)
        self._made = made

    def module(self, source: str) -> host.HostModule:
        return self._made if source == "conv_wgmma.cu" else super().module(source)


def outcomes(folder, arrays, orders=host.ORDERS) -> list[str]:
    """What becomes of it in each order: "right", "wrong" or the error."""
    made, found = host.HostModule("conv_wgmma.cu", ["conv_wgmma<f16, 64>"], folder=folder), []
    for order in orders:
        try:
            right = compared(PLANTED[0], arrays, "float16", 64, runtime=Mutated(made, order)).ok
        except RuntimeError as error:
            found.append(str(error))
        else:
            found.append("right" if right else "wrong")
    return found


@pytest.mark.skipif(host.sanitized(), reason="of the shim's own checks")
@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[f"{i}" for i in range(len(MISTAKES))])
def test_mistakes_are_found(old, new, message, tmp_path, rng):
    shutil.copytree(host.kernels_folder(), tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "conv_wgmma.cu").read_text()
    assert text.count(old) == 1, old
    (tmp_path / "conv_wgmma.cu").write_text(text.replace(old, new))
    found = outcomes(tmp_path, Case(*PLANTED, int(rng.integers(2**32))).arrays())
    assert set(found) != {"right"}, "no order shows it"
    said = [text for text in found if text not in ("right", "wrong")]
    assert all(re.search(message, text, re.S) for text in said) and (said or message.endswith("|") or not message), (
        found
    )


def test_without_a_mistake_nothing_is_found(rng):
    assert outcomes(host.kernels_folder(), Case(*PLANTED, int(rng.integers(2**32))).arrays()) == ["right"] * 4
