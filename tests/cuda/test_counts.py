"""What the CUDA kernels execute, counted by the host shim, equals what was predicted from shape and plan alone."""

from __future__ import annotations

import numpy as np
import pytest
from engines import WITHOUT_CUDA, cuda_on_host
from hostruntime import HostRuntime
from hypothesis import given
from hypothesis import strategies as st
from opcases import CONV_ALGOS, PROBLEMS, Case, cases, conv2d, examples

from cnnkern import ops
from cnnkern.backends.cuda import CudaBackend
from cnnkern.backends.one_node import one_node

ENGINE = cuda_on_host()


def agree(spec, arrays, precision="float32", target="sm_90a") -> None:
    """Plan one operation, run it and compare each step's counts with its prediction."""
    graph, weights, inputs = one_node(spec, arrays)
    executable = CudaBackend(HostRuntime(target)).compile(graph, weights, precision=precision)
    for row in executable.count(inputs):
        if row["op"] in WITHOUT_CUDA:
            assert row["executed"] is None, f"{row['op']} has a kernel: take it out of the table"
            continue
        assert row["executed"] is not None, f"{row['kernel']} ran on the reference"
        assert row["predicted"] is not None, f"{row['kernel']} has no prediction"
        assert row["predicted"] == row["executed"], row["kernel"]


@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("op", PROBLEMS)
@examples(10)
@given(data=st.data())
def test_every_operation(engine, op, data):
    case = data.draw(cases(PROBLEMS[op]))
    agree(case.spec, case.arrays(), data.draw(st.sampled_from(["float32", "tf32", "float16", "bfloat16"])))


SERVED = {
    "direct": conv2d(),
    "im2col": conv2d(),
    "pointwise": conv2d(kernel=(1, 1), kinds=["dense"]),
    "depthwise": conv2d(kinds=["depthwise"]),
    "grouped": conv2d(kinds=["narrow"]),
    "winograd": st.sampled_from([(3, 3), (5, 5)]).flatmap(lambda k: conv2d(kernel=k, plain=True, kinds=["dense"])),
}


@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize("algo", CONV_ALGOS)
@examples(10)
@given(data=st.data())
def test_every_algorithm(engine, algo, data):
    case = data.draw(cases(SERVED[algo], memory=("plain",)))
    agree(ops.Conv2dSpec(**{**vars(case.spec), "algo": algo}), case.arrays())


LARGER = [  # several tiles of rows and columns, parts of sums, whole tiles of depthwise kernels
    (ops.Conv2dSpec(padding=1), ((1, 64, 14, 14), (96, 64, 3, 3), (96,), (1, 96, 14, 14))),
    (ops.Conv2dSpec(2, 3), ((2, 3, 37, 41), (70, 3, 7, 7), (70,), None)),
    (ops.Conv2dSpec(), ((1, 512, 7, 7), (33, 512, 1, 1), (33,), None)),
    (ops.Conv2dSpec(1, 1, algo="winograd"), ((3, 20, 17, 15), (30, 20, 3, 3), (30,), None)),
    (ops.Conv2dSpec(1, 1, groups=40, activation="relu6"), ((1, 40, 17, 17), (40, 1, 3, 3), (40,), None)),
    (ops.Conv2dSpec(2, 2, groups=40), ((2, 40, 17, 15), (40, 1, 5, 5), None, None)),
    (ops.Conv2dSpec(1, 1, groups=16), ((1, 128, 9, 11), (128, 8, 3, 3), None, None)),
    (ops.LinearSpec("relu"), ((33, 1025), (130, 1025), (130,))),
    (ops.LinearSpec(), ((5, 512), (100, 512), None)),
]


@pytest.mark.parametrize(
    ("precision", "target"),
    [("float32", "sm_90a"), ("tf32", "sm_90a"), ("float16", "sm_90a"), ("tf32", "sm_80"), ("bfloat16", "sm_80")],
)
@pytest.mark.parametrize("engine", [ENGINE])
@pytest.mark.parametrize(("spec", "shapes"), LARGER, ids=lambda v: getattr(v, "op", ""))
def test_larger(engine, precision, target, spec, shapes, rng):
    if getattr(spec, "algo", "") == "winograd" and precision != "float32":
        return  # not below float32
    agree(spec, Case(spec, shapes, int(rng.integers(2**32))).arrays(), precision, target)


def test_a_wrong_prediction_is_seen(monkeypatch):
    from cnnkern.backends.cuda import predict
    from cnnkern.ops.base import Counts

    monkeypatch.setitem(predict.TEMPLATES, "activation", lambda launch: Counts(max=1))
    with pytest.raises(AssertionError):
        agree(ops.ActivationSpec("relu"), [np.ones((2, 3, 4, 5), np.float32)])
