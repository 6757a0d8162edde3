"""Problems of pooling: windows, and regions of images."""

from __future__ import annotations

from hypothesis import strategies as st

from cnnkern import ops

from .draws import BATCH, CHANNELS, image, window


@st.composite
def pool2d(draw):
    kind, count_pad = draw(st.sampled_from(["max", "avg", "sum"])), draw(st.booleans())
    w = draw(window(window_needs_input=kind == "max" or not count_pad))
    spec = ops.Pool2dSpec(
        kind, w["kernel"], w["stride"], w["padding"], w["dilation"], draw(st.booleans()), count_pad,
        kind == "max" and draw(st.booleans()),
    )  # fmt: skip
    x = (draw(BATCH), draw(CHANNELS), *w["hw"])
    if spec.ceil_mode:  # also windows that are larger than the input and its padding
        smaller = (*x[:2], *(draw(st.integers(max(1, size - s + 1), size)) for size, s in zip(w["hw"], w["stride"])))
        try:
            spec.infer(smaller)
        except ValueError:  # one would hold padding alone
            smaller = x
        x = smaller
    return spec, (x,)


@st.composite
def roi_max_pool(draw):
    x, size = draw(image()), draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    count = draw(st.sampled_from([0, 1, 2, 5])) if x[0] else 0
    return ops.RoiMaxPoolSpec(size, draw(st.sampled_from([1.0, 1 / 16, 0.3, 2.5]))), (x, (count, 5))
