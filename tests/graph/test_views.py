"""Views: what lies inside what, and that running through them gives the same numbers."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.memory import nhwc_bytes, plan_memory, round_up
from cnnkern.graph.views import View, concat_copies, is_free, plan_views
from cnnkern.models import ARCHITECTURES
from cnnkern.ops import ChannelShuffleSpec, ConcatSpec, FlattenSpec, ReshapeSpec, SliceSpec

NETWORKS = ["densenet121", "googlenet", "inception_v3", "shufflenet_v2_x1_0", "squeezenet1_1", "vgg16", "resnet18"]


def value_of(node, arrays, shape):
    """Data movers as they are; any other op as integers that depend on its name and its inputs."""
    spec = node.spec
    if isinstance(spec, ConcatSpec):
        return np.concatenate(arrays, spec.axis)
    if isinstance(spec, SliceSpec):
        axis, start, stop = spec.bounds(arrays[0].shape)
        return np.take(arrays[0], range(start, stop), axis)
    if isinstance(spec, FlattenSpec):
        return (arrays[0] if spec.order == "CHW" else np.moveaxis(arrays[0], 1, -1)).reshape(shape)
    if isinstance(spec, ReshapeSpec):
        return arrays[0].reshape(shape)
    if isinstance(spec, ChannelShuffleSpec):
        n, c, h, w = shape
        return arrays[0].reshape(n, spec.groups, c // spec.groups, h, w).swapaxes(1, 2).reshape(shape)
    own = np.random.default_rng(zlib.crc32(node.name.encode())).integers(0, 1000, shape)
    return (own + sum(int(a.sum(dtype=np.float64)) % 7 for a in arrays)).astype(np.float32)


class Buffers:
    """One real arena, NHWC with padded pixels, addressed by the formulas of `plan_views`'s docstring."""

    def __init__(self, graph, views, lanes=16):
        self.graph, self.views, self.lanes = graph, views, lanes
        plan = plan_memory(graph, views, lambda name: nhwc_bytes(graph.shape(name), lanes=lanes))
        self.offsets = plan.offsets
        self.arena = np.full(plan.arena_bytes // 4, np.nan, np.float32)

    def view(self, name):
        """A writeable NCHW- or NF-shaped NumPy view of a value's place."""
        root, offset, channels = self.views[name]
        shape = self.graph.shape(name)
        n, _, h, w = (*self.graph.shape(root), 1, 1)[:4]
        stride = round_up(channels, self.lanes)
        begin = self.offsets[root] // 4
        room = self.arena[begin : begin + n * h * w * stride]
        strides = (h * w * stride, 1, w * stride, stride) if len(shape) == 4 else (h * w * stride, 1)
        return np.lib.stride_tricks.as_strided(room[offset:], shape, [4 * s for s in strides])


def run_both(graph, views=None, lanes=16):
    """Every value computed plainly and through the views must agree when its readers read it."""
    views = plan_views(graph, lanes=lanes) if views is None else views
    buffers = Buffers(graph, views, lanes)
    plain = {name: np.random.default_rng(1).integers(0, 9, graph.shape(name)) for name in graph.inputs}

    def read(name):
        return plain[name] if name in graph.inputs else buffers.view(name)

    for node in graph.nodes:
        names = [name for name in node.inputs if name in graph.values]
        for name in names:
            np.testing.assert_array_equal(read(name), plain[name], err_msg=f"{node.name} reads {name}")
        out, shape = node.outputs[0], graph.shape(node.outputs[0])
        plain[out] = value_of(node, [plain[name] for name in names], shape)
        if is_free(graph, views, node):
            continue
        if isinstance(node.spec, ConcatSpec) and len(shape) == 4 and node.spec.axis == 1:
            for name, first in concat_copies(graph, views, node):
                buffers.view(out)[:, first : first + graph.shape(name)[1]] = read(name)
        else:
            buffers.view(out)[...] = value_of(node, [read(name) for name in names], shape)
    for name in graph.outputs:
        np.testing.assert_array_equal(read(name), plain[name])
    return views


def random_graph(seed: int):
    """A graph of computed values, concats of concats, slices and shuffles at one resolution, flattened at the end."""
    rng = random.Random(seed)
    g = GraphBuilder(f"random{seed}")
    size = rng.choice([1, 1, 2, 3])
    pool = [g.input((rng.randint(2, 20), size, size))]
    for i in range(rng.randint(3, 14)):
        kind = rng.choice(["conv", "conv", "relu", "concat", "concat", "concat", "slice", "shuffle", "grow"])
        x = rng.choice(pool[-4:])
        if kind == "conv":
            pool.append(g.conv(x, f"conv{i}", rng.choice([3, 8, 16, 32]), 1))
        elif kind == "relu":
            pool.append(g.relu(x, f"relu{i}"))
        elif kind == "concat":
            pool.append(g.concat(rng.choices(pool, k=rng.randint(1, 4)), f"concat{i}"))
        elif kind == "grow":
            pool.append(g.concat(pool[1:] or pool, f"grow{i}"))
        elif kind == "slice":
            start = rng.randrange(g.channels(x))
            pool.append(g.slice(x, start, rng.randint(start + 1, g.channels(x)), f"slice{i}"))
        elif kind == "shuffle" and g.channels(x) % 2 == 0:
            pool.append(g.channel_shuffle(x, 2, f"shuffle{i}"))
    flat = g.flatten(rng.choice(pool[1:] or pool), rng.choice(["CHW", "HWC"]), "flat")
    outputs = {flat, pool[-1], rng.choice(pool)} - {"input"}
    return g.finish(sorted(outputs)).bind(rng.choice([1, 2]))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**9), st.sampled_from([1, 8, 16]))
def test_random_graphs_agree(seed, lanes):
    run_both(random_graph(seed), lanes=lanes)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_refused_placements_are_copied(seed, rng):
    graph = random_graph(seed)
    refused = {node.name for node in graph.nodes if rng.random() < 0.5}
    views = run_both(graph, plan_views(graph, accept=lambda node: node.name not in refused))
    concats = {n.outputs[0] for n in graph.nodes if isinstance(n.spec, ConcatSpec)}
    for node in graph.nodes:
        if node.name in refused and not is_free(graph, views, node):
            assert views[node.outputs[0]].root not in concats - {node.outputs[0]}


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_agree(name):
    size = 75 if name == "inception_v3" else 64
    graph = ARCHITECTURES[name].graph(input_shape=(3, size, size)).bind(1)
    views = run_both(graph)
    concats = [node for node in graph.nodes if isinstance(node.spec, ConcatSpec)]
    copies = [name for node in concats for name, _ in concat_copies(graph, views, node)]
    if name == "shufflenet_v2_x1_0":
        assert len(copies) == 13  # the half that passes by, once per unit that does not downsample
    else:
        assert copies == []


def test_densenet_grows_in_one_buffer_per_block():
    graph = ARCHITECTURES["densenet121"].graph(input_shape=(3, 64, 64)).bind(1)
    views = plan_views(graph)
    first, last = "features.denseblock1.concat1", "features.denseblock1.concat6"
    assert views[first] == View(last, 0, 256)
    assert views["features.pool0"] == View(last, 0, 256)
    assert views["features.denseblock1.denselayer6.conv2"] == View(last, 224, 256)


def test_prefixes_of_a_growing_list_share_the_longest_buffer():
    """torchvision's form of DenseNet: every concat is of the whole list."""
    g = GraphBuilder("list")
    x = g.input((3, 4, 4))
    values = [g.conv(x, "stem", 8, 3, padding=1)]
    for i in range(4):
        seen = g.concat(values, f"cat{i}")
        values.append(g.conv(g.relu(seen), f"conv{i}", 5, 3, padding=1))
    graph = g.finish(g.concat(values, "cat")).bind(1)
    views = run_both(graph)
    assert all(views[f"cat{i}"] == View("cat", 0, 28) for i in range(4))
    assert [views[v].offset for v in values] == [0, 8, 13, 18, 23]
    assert all(is_free(graph, views, node) for node in graph.nodes if isinstance(node.spec, ConcatSpec))


def test_nested_concats_follow_their_parent():
    g = GraphBuilder("nested")
    x = g.input((3, 4, 4))
    a, b, c = (g.conv(x, name, 4, 1) for name in "abc")
    graph = g.finish(g.concat([c, g.concat([a, b], "inner")], "outer")).bind(1)
    views = run_both(graph)
    assert views["inner"] == View("outer", 4, 12)
    assert (views["a"].offset, views["b"].offset) == (4, 8)


def test_a_value_lies_in_one_concat_and_is_copied_to_the_other():
    g = GraphBuilder("shared")
    x = g.input((3, 4, 4))
    a, b, c = (g.conv(x, name, 4, 1) for name in "abc")
    one, two = g.concat([a, b], "one"), g.concat([c, a, b], "two")
    graph = g.finish(g.concat([g.relu(one), two], "end")).bind(1)
    views = run_both(graph)
    assert views["one"] == View("end", 12, 20)  # a and b lie side by side in "two" already
    g = GraphBuilder("shared")
    x = g.input((3, 4, 4))
    a, b = (g.conv(x, name, 4, 1) for name in "ab")
    graph = g.finish([g.concat([a, b], "one"), g.concat([b, a, a], "two")]).bind(1)
    views = run_both(graph)
    nodes = {node.name: node for node in graph.nodes}
    assert concat_copies(graph, views, nodes["two"]) == [("a", 8)]
    assert concat_copies(graph, views, nodes["one"]) == [("a", 0), ("b", 4)]


def test_inputs_and_slices_of_inputs_are_not_placed():
    g = GraphBuilder("inputs")
    x = g.input((6, 4, 4))
    half = g.slice(x, 0, 3, "half")
    graph = g.finish(g.concat([x, half], "cat")).bind(1)
    views = run_both(graph)
    assert views["input"] == View("input", 0, 6)
    assert views["half"] == View("cat", 6, 9)  # it is computed (copied) anyway: straight to its place
    assert concat_copies(graph, views, graph.nodes[1]) == [("input", 0)]


def test_split_halves_are_views_and_joined_again_are_the_whole():
    g = GraphBuilder("split")
    x = g.conv(g.input((3, 4, 4)), "conv", 10, 1)
    a, b = g.slice(x, 0, 4, "a"), g.slice(x, -6, 10, "b")
    graph = g.finish([g.relu(a, "ra"), g.concat([a, b], "same"), g.concat([b, a], "swapped")]).bind(1)
    views = run_both(graph)
    assert views["b"] == View("conv", 4, 10)
    assert views["same"] == View("conv", 0, 10)
    assert views["swapped"].root == "swapped"


@pytest.mark.parametrize(
    "channels, size, order, is_view",
    [(20, 1, "CHW", True), (20, 1, "HWC", True), (32, 3, "HWC", True), (20, 3, "HWC", False), (32, 3, "CHW", False)],
)
def test_flatten(channels, size, order, is_view):
    g = GraphBuilder("flatten")
    x = g.conv(g.input((3, size, size)), "conv", channels, 1)
    graph = g.finish(g.linear(g.flatten(x, order, "flat"), "fc", 4)).bind(2)
    views = run_both(graph)
    assert (views["flat"].root == "conv") is is_view
    assert is_free(graph, views, graph.nodes[1]) is is_view


def test_flatten_of_a_placed_value_is_no_view():
    g = GraphBuilder("placed")
    x = g.input((3, 2, 2))
    a = g.conv(x, "a", 16, 1)
    graph = g.finish([g.flatten(a, "HWC", "flat"), g.concat([a, g.relu(a)], "cat")]).bind(1)
    assert run_both(graph)["flat"].root == "flat"


def test_reshape_to_one_pixel_and_back():
    g = GraphBuilder("gate")
    x = g.conv(g.input((3, 1, 1)), "conv", 6, 1)
    flat = g.emit(ReshapeSpec((0, 6)), (x,), "flat")
    graph = g.finish(g.relu(g.emit(ReshapeSpec((0, 6, 1, 1)), (flat,), "image"))).bind(3)
    views = run_both(graph)
    assert views["image"] == View("conv", 0, 6)
    graph.nodes[1] = graph.nodes[1].with_(spec=ReshapeSpec((6, 3)))
    graph.values["flat"] = graph.values["flat"].__class__("flat", (6, 3))
    assert plan_views(graph)["flat"].root == "flat"  # images run into each other: no view
