"""What the families draw alike: sizes, activations, windows, shapes."""

from __future__ import annotations

from hypothesis import strategies as st

from cnnkern import ops

CHANNELS = st.sampled_from([1, 2, 3, 4, 8, 16, 17, 31, 33, 48])
BATCH = st.sampled_from([0, 1, 1, 1, 2, 3])
ACTIVATIONS = st.sampled_from([None, None, *ops.ACTIVATIONS])


@st.composite
def axis(draw, dilated: bool = True, same_size_limit: int = 14, window_needs_input: bool = False):
    """(size, kernel, stride, (before, after), dilation) along one axis, in which at least one window fits."""
    kernel = draw(st.integers(1, 5))
    stride = draw(st.integers(1, 4))
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3])) if dilated else 1
    extent = dilation * (kernel - 1) + 1
    most = min(3, (kernel - 1) // 2 + 1 if not window_needs_input else (kernel - 1) // 2)
    padding = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    smallest = max(1, extent - sum(padding), dilation if window_needs_input else 1)
    return draw(st.integers(smallest, smallest + same_size_limit)), kernel, stride, padding, dilation


@st.composite
def window(draw, **options):
    """Two axes as {"hw", "kernel", "stride", "padding", "dilation"}."""
    axes = draw(axis(**options)), draw(axis(**options))
    return dict(zip(("hw", "kernel", "stride", "padding", "dilation"), zip(*axes)))


@st.composite
def image(draw, largest: int = 15):
    return (draw(BATCH), draw(CHANNELS), draw(st.integers(1, largest)), draw(st.integers(1, largest)))


@st.composite
def any_shape(draw, smallest: int = 1):
    rank = draw(st.integers(1, 5))
    return (draw(st.integers(0, 4)), *(draw(st.integers(smallest, 9)) for _ in range(rank - 1)))
