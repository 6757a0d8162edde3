"""The arena: nothing alive at the same time overlaps, and reuse is real."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.memory import lifetimes, nhwc_bytes, plan_arena, plan_memory
from cnnkern.graph.views import own_buffers

buffers = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 12), st.integers(0, 6)).map(lambda b: (b[0], b[1], b[1] + b[2])),
    max_size=24,
)


@settings(deadline=None)
@given(buffers, st.sampled_from([1, 16, 64]))
def test_buffers_alive_together_never_overlap(spans, align_bytes):
    offsets, total = plan_arena(spans, align_bytes)
    assert len(offsets) == len(spans)
    assert total % align_bytes == 0
    owner = [[None] * total for _ in range(20)]  # byte by byte and step by step: the plainest referee
    for i, ((size, first, last), offset) in enumerate(zip(spans, offsets)):
        assert offset % align_bytes == 0
        for step in range(first, last + 1):
            cells = owner[step][offset : offset + size]
            assert len(cells) == size and not any(c is not None for c in cells)
            owner[step][offset : offset + size] = [i] * size


@given(buffers)
def test_the_total_lies_between_the_peak_and_the_sum(spans):
    _, total = plan_arena(spans, 1)
    peak = max((sum(s for s, first, last in spans if first <= t <= last) for t in range(20)), default=0)
    assert peak <= total <= sum(size for size, _, _ in spans)


def test_a_chain_needs_two_buffers():
    assert plan_arena([(64, 0, 1), (64, 1, 2), (64, 2, 3)]) == ([0, 64, 0], 128)


def test_the_tightest_gap_is_taken():
    # Two buffers of 256 and 128 bytes die at step 1; the newcomers fill their places without growing the arena.
    spans = [(1024, 0, 9), (256, 0, 1), (512, 0, 9), (128, 0, 1), (128, 2, 3), (256, 2, 3)]
    offsets, total = plan_arena(spans)
    assert total == 1024 + 256 + 512 + 128
    assert {offsets[4], offsets[5]} <= {offsets[1], offsets[3], offsets[1] + 128}


@pytest.mark.parametrize("span", [(-1, 0, 1), (8, 2, 1)])
def test_nonsense_is_refused(span):
    with pytest.raises(ValueError, match="lifetimes"):
        plan_arena([span])


def test_a_graph_reports_its_peak_beside_the_sum():
    g = GraphBuilder("chain")
    x = g.input((16, 8, 8))
    for i in range(6):
        x = g.conv(x, f"conv{i}", 16, 3, padding=1)
    graph = g.finish(x).bind(2)
    plan = plan_memory(graph)
    one = 2 * 8 * 8 * 16 * 4
    assert plan.activation_bytes == 6 * one
    assert plan.arena_bytes == 2 * one
    assert "input" not in plan.offsets


def test_outputs_live_to_the_end_and_inputs_are_the_callers():
    g = GraphBuilder("two")
    x = g.input((3, 4, 4))
    a = g.relu(x, "a")
    b = g.relu(a, "b")
    graph = g.finish([a, g.relu(b, "c")]).bind(1)
    spans = lifetimes(graph, own_buffers(graph), lambda name: nhwc_bytes(graph.shape(name)))
    assert spans == {"a": (1024, 0, 3), "b": (1024, 1, 2), "c": (1024, 2, 3)}


def test_batch_zero_needs_no_memory():
    g = GraphBuilder("empty")
    graph = g.finish(g.relu(g.input((3, 4, 4)))).bind(0)
    assert plan_memory(graph).arena_bytes == 0
