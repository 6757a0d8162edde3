from __future__ import annotations

import numpy as np

from cnnkern.measure import opcases


def shapes(case):
    return [None if a is None else a.shape for a in case.arrays]


def test_every_case_is_one_its_spec_accepts():
    for case in opcases.cases(seed=3):
        case.spec.infer(*shapes(case))
        assert all(a is None or a.dtype == np.float32 for a in case.arrays), case.label


def test_the_seed_decides_everything():
    first, again, other = ([(c.label, c.spec, shapes(c)) for c in opcases.cases(seed)] for seed in (1, 1, 2))
    assert first == again != other


def test_every_op_is_there():
    from cnnkern import ops

    assert {case.spec.op for case in opcases.cases(seed=0, per_op=1)} == set(ops.SPECS)


def test_every_algorithm_of_convolution_is_forced():
    from cnnkern.ops.conv import CONV_ALGOS

    assert {c.spec.algo for c in opcases.cases(seed=0) if c.spec.op == "conv2d"} == set(CONV_ALGOS)
