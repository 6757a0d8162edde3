"""Problems of what takes whole axes together: linear layers, matrix products, reductions."""

from __future__ import annotations

from hypothesis import strategies as st

from cnnkern import ops

from .draws import ACTIVATIONS, BATCH, any_shape, image


@st.composite
def linear(draw):
    f, o = draw(st.sampled_from([1, 3, 16, 17, 31, 100, 257])), draw(st.sampled_from([1, 2, 10, 16, 17, 33, 65]))
    activation = draw(ACTIVATIONS)
    return ops.LinearSpec(activation), ((draw(BATCH), f), (o, f), (o,) if draw(st.booleans()) else None)


@st.composite
def matmul(draw):
    m, n = draw(st.sampled_from([0, 1, 3, 17, 40])), draw(st.sampled_from([1, 2, 16, 33, 65]))
    k = draw(st.sampled_from([0, 1, 3, 17, 64]))
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    a, b = ((*(draw(st.sampled_from([size, size, 1])) for size in lead), *end) for end in ((m, k), (k, n)))
    a, b = draw(st.sampled_from([(a, b), (a, b[len(lead) :]), (a[len(lead) :], b), ((k,), b), (a, (k,)), ((k,), (k,))]))
    return ops.MatMulSpec(), (a, b)


@st.composite
def reduce(draw):
    x = draw(st.one_of(any_shape(), image(), st.tuples(st.sampled_from([1, 3, 300]), st.sampled_from([1, 17, 700]))))
    axes = draw(st.lists(st.integers(0, len(x) - 1), unique=True, max_size=len(x)))
    axes = tuple(axis - draw(st.sampled_from([0, len(x)])) for axis in axes)
    return ops.ReduceSpec(draw(st.sampled_from([*ops.REDUCTIONS])), axes, draw(st.booleans())), (x,)
