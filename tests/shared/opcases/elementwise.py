"""Problems of functions of one element, or of two from shapes that broadcast."""

from __future__ import annotations

from hypothesis import strategies as st

from cnnkern import ops

from .draws import ACTIVATIONS, any_shape, image

PARAMETERS = {
    "affine": (1.5, -0.25), "clip": (-0.7, 1.2), "hardsigmoid": (0.2, 0.5), "elu": (1.3,), "selu": (1.67, 1.05),
    "celu": (0.8,), "thresholded_relu": (0.3,), "swish": (1.7,),
}  # fmt: skip


@st.composite
def broadcast(draw):
    """add or mul: two shapes that broadcast, with images and SE gates among them."""
    a = draw(st.one_of(image(), any_shape()))
    b = tuple(1 if draw(st.integers(0, 3)) == 0 else size for size in a)[draw(st.integers(0, len(a) - 1)) :]
    b = draw(st.sampled_from([a, b]))
    if draw(st.booleans()):
        a, b = b, a
    return draw(st.sampled_from([ops.AddSpec, ops.MulSpec]))(draw(ACTIVATIONS)), (a, b)


@st.composite
def unary(draw):
    kind = draw(st.sampled_from([*ops.UNARY]))
    return ops.UnarySpec(kind, *PARAMETERS.get(kind, ())), (draw(st.one_of(any_shape(), image(), st.just(()))),)


@st.composite
def binary(draw):
    _, shapes = draw(broadcast())
    return ops.BinarySpec(draw(st.sampled_from([*ops.BINARY]))), shapes
