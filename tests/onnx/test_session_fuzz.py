"""Feeds at random: a session takes what onnxruntime's takes, with its answer, and refuses the rest in its classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st
from sessionmodels import ours, theirs, two_in_two_out

SESSIONS: list = []
DTYPES = ["float32"] * 4 + ["float64", "float16", "int32", "int64", "uint8", "bool", "U1"]
ANY = st.sampled_from(DTYPES)
SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 3, 5]), max_size=4)


def sessions():
    if not SESSIONS:
        SESSIONS.extend((ours(two_in_two_out()), theirs(two_in_two_out())))
    return SESSIONS


@st.composite
def arrays(draw, shapes, dtypes=ANY):
    shape, dtype = tuple(draw(shapes)), draw(dtypes)
    array = np.arange(int(np.prod(shape, dtype=np.int64)), dtype="int64").reshape(shape).astype(dtype)
    form = draw(st.sampled_from(["as it is"] * 3 + ["fortran", "strided", "list"]))
    if form == "fortran":
        return np.asfortranarray(array)
    if form == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array.tolist() if form == "list" and array.ndim and dtype != "U1" and array.size else array


WILD = st.fixed_dictionaries({}, optional={"x": arrays(SIZES), "v": arrays(SIZES), "w": arrays(SIZES)})
FIT = {"x": st.tuples(st.integers(0, 3), st.just(3), st.integers(0, 4)), "v": st.just((2,))}
GOOD = st.fixed_dictionaries({name: arrays(shapes, st.just("float32")) for name, shapes in FIT.items()})
NEARLY = st.fixed_dictionaries({name: arrays(shapes) for name, shapes in FIT.items()})
FEEDS = st.one_of(GOOD, GOOD, NEARLY, WILD)
NAMES = st.one_of(st.none(), st.lists(st.sampled_from(["y", "z", "y", "z", "y", "s"]), max_size=3))


def outcome(session, names, feeds):
    try:
        return session.run(names, feeds)
    except Exception as error:
        return error


@given(FEEDS, NAMES)
def test_what_is_taken_and_what_is_not(feeds, names):
    mine, other = (outcome(session, names, feeds) for session in sessions())
    note(f"{mine!r}\n{other!r}")
    if isinstance(other, Exception):
        assert isinstance(mine, ValueError) and type(other).__name__ in {kind.__name__ for kind in type(mine).__mro__}
        return
    assert isinstance(mine, list) and len(mine) == len(other)
    for a, b in zip(mine, other):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-6)
