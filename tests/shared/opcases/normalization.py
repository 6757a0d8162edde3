"""Problems of normalization: by given statistics, over neighbouring channels, softmax."""

from __future__ import annotations

from hypothesis import strategies as st

from cnnkern import ops

from .draws import ACTIVATIONS, BATCH, CHANNELS, any_shape, image


@st.composite
def batch_norm(draw):
    ranks = (image(), st.tuples(BATCH, CHANNELS), st.tuples(BATCH, CHANNELS, st.integers(1, 9)))
    x = draw(st.one_of(*ranks, st.tuples(BATCH, CHANNELS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))))
    c = (x[1],)
    affine = [draw(st.sampled_from([None, c])) for _ in range(2)]
    return ops.BatchNormSpec(draw(st.sampled_from([1e-5, 1e-3])), draw(ACTIVATIONS)), (x, c, c, *affine)


@st.composite
def local_response_norm(draw):
    size, k = draw(st.integers(1, 7)), draw(st.sampled_from([1.0, 2.0]))
    alpha, beta = draw(st.sampled_from([1e-4, 0.5])), draw(st.sampled_from([0.75, 0.5, 1.0]))
    return ops.LocalResponseNormSpec(size, alpha, beta, k, draw(st.booleans())), (draw(image()),)


@st.composite
def softmax(draw):
    x = draw(st.one_of(any_shape(), image(7), st.tuples(BATCH, st.sampled_from([1, 10, 17, 1000]))))
    return ops.SoftmaxSpec(draw(st.integers(-len(x), len(x) - 1)), draw(st.booleans())), (x,)
