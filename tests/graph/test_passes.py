"""Every pass, on and off: the outputs agree, and what should be fused is."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnkern import config
from cnnkern.graph import passes
from cnnkern.graph.builder import GraphBuilder
from cnnkern.models import ARCHITECTURES
from cnnkern.ops import AddSpec, ConcatSpec, Conv2dSpec, ReshapeSpec, TransposeSpec
from cnnkern.random_weights import random_weights

EVERY = [*passes.STANDARD, passes.fuse_blocks, passes.fuse_prologue]
KINDS = ["conv", "conv", "norm", "norm", "act", "act", "add", "add", "mul", "pad", "concat", "slice", "reshape"]
ACTIVATIONS = ["relu", "relu6", "leaky_relu", "silu", "hardswish", "tanh"]


def finish(g, outputs, batch=2):
    return g.finish(outputs).bind(batch)


# --- one pass at a time


class TestFoldBatchNorm:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("scale, shift", [(True, True), (False, True), (True, False), (False, False)])
    def test_after_a_convolution(self, graphs, ops_of, bias, scale, shift):
        g = GraphBuilder("conv_norm")
        x = g.conv(g.input((4, 5, 6)), "conv", 6, 3, groups=2, bias=bias)
        graph = finish(g, g.relu(g.batch_norm(x, "norm", 1e-3, scale, shift)))
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert ops_of(folded) == ["conv2d", "activation"]
        assert set(folded.params) == {"conv.weight+norm", "conv.bias+norm"}

    def test_after_a_depthwise_convolution_and_a_linear_layer(self, graphs, ops_of):
        g = GraphBuilder("both")
        x = g.batch_norm(g.conv(g.input((4, 5, 6)), "dw", 8, 3, groups=4, bias=False), "n1")
        x = g.batch_norm(g.linear(g.flatten(x), "fc", 7), "n2")
        graph = finish(g, x)
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert ops_of(folded) == ["conv2d", "flatten", "linear"]

    def test_two_in_a_row(self, graphs, ops_of):
        g = GraphBuilder("twice")
        x = g.batch_norm(g.batch_norm(g.conv(g.input((3, 4, 4)), "conv", 5, 1), "n1"), "n2")
        graph = finish(g, x)
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert ops_of(folded) == ["conv2d"]

    def test_stays_where_it_cannot_go(self, graphs, ops_of):
        g = GraphBuilder("preactivation")
        x = g.input((3, 4, 4))
        a, b = g.conv(x, "a", 4, 1), g.conv(x, "b", 4, 1)
        normed = [
            g.batch_norm(g.concat([a, b]), "after_concat"),
            g.batch_norm(a, "read_twice"),
            g.batch_norm(g.relu(g.conv(x, "c", 4, 1)), "after_relu"),
            g.batch_norm(x, "after_input"),
        ]
        d = g.conv(x, "d", 4, 1)
        graph = finish(g, [*normed, d, g.batch_norm(d, "after_output")])
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert folded == graph

    def test_not_through_a_fused_activation_or_residual(self, graphs):
        g = GraphBuilder("fused")
        x = g.input((4, 4, 4))
        a = g.emit(Conv2dSpec(activation="relu"), (x, g._param("a.w", (4, 4, 1, 1), "conv_weight")), "a")
        b = g.emit(Conv2dSpec(), (x, g._param("b.w", (4, 4, 1, 1), "conv_weight"), "", x), "b")
        graph = finish(g, [g.batch_norm(a, "na"), g.batch_norm(b, "nb")])
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert folded == graph

    def test_a_shared_weight_is_folded_apart(self, graphs):
        g = GraphBuilder("shared")
        x = g.input((4, 4, 4))
        w = g._param("w", (4, 4, 1, 1), "conv_weight")
        a, b, c = (g.emit(Conv2dSpec(), (x, w), name) for name in "abc")
        graph = finish(g, [g.batch_norm(a, "na"), g.batch_norm(b, "nb"), g.relu(c)])
        folded, _ = graphs.apply(passes.fold_batch_norm, graph, graphs.weights_of(graph))
        assert {n.inputs[1] for n in folded.nodes if n.spec.op == "conv2d"} == {"w+na", "w+nb", "w"}

    def test_rounds_once_to_float32(self, graphs):
        g = GraphBuilder("float32")
        graph = finish(g, g.batch_norm(g.conv(g.input((3, 4, 4)), "conv", 5, 3), "norm"))
        weights = graphs.weights_of(graph, dtype=np.float32)
        _, folded = passes.fold_batch_norm(graph, weights)
        _, exact = passes.fold_batch_norm(graph, {n: w.astype(np.float64) for n, w in weights.items()})
        for name, array in folded.items():
            assert array.dtype == np.float32 and array.flags.c_contiguous
            np.testing.assert_array_equal(array, exact[name].astype(np.float32))


class TestFuseActivation:
    @pytest.mark.parametrize("kind", ACTIVATIONS)
    def test_into_conv_linear_add_and_mul(self, graphs, ops_of, kind):
        g = GraphBuilder("all")
        x = g.activation(g.conv(g.input((3, 4, 4)), "conv", 5, 3), kind)
        x = g.activation(g.add(x, g.activation(g.mul(x, x), kind)), kind)
        x = g.activation(g.linear(g.flatten(x), "fc", 7), kind, param=0.2 if kind == "leaky_relu" else None)
        graph = finish(g, x)
        fused, _ = graphs.apply(passes.fuse_activation, graph, graphs.weights_of(graph))
        assert ops_of(fused) == ["conv2d", "mul", "add", "flatten", "linear"]
        assert [n.spec.activation for n in fused.nodes if hasattr(n.spec, "activation")] == [kind] * 4

    def test_stays_where_it_cannot_go(self, graphs, ops_of):
        g = GraphBuilder("stays")
        x = g.input((3, 4, 4))
        read_twice = g.conv(x, "read_twice", 4, 1)
        output = g.conv(x, "output", 4, 1)
        pooled = g.relu(g.max_pool(x, 2), "after_pool")
        twice = g.activation(g.relu(g.conv(x, "twice", 4, 1)), "tanh")
        outs = [g.relu(read_twice), g.add(read_twice, read_twice), g.relu(output), output, pooled, twice]
        graph = finish(g, outs)
        fused, _ = graphs.apply(passes.fuse_activation, graph, graphs.weights_of(graph))
        assert ops_of(fused).count("activation") == 4  # only the first of `twice` is fused


class TestFuseResidual:
    def test_of_two_convolutions_the_later_one_takes_the_sum(self, graphs, ops_of):
        g = GraphBuilder("block")
        x = g.input((4, 6, 6))
        a, b = g.conv(x, "conv2", 4, 3, padding=1), g.conv(x, "downsample", 4, 1)
        graph = finish(g, g.add(a, b, "sum"))
        fused, _ = graphs.apply(passes.fuse_residual, graph, graphs.weights_of(graph))
        assert ops_of(fused) == ["conv2d", "conv2d"]
        assert fused.nodes[1].name == "downsample" and fused.nodes[1].inputs[3] == "conv2"
        assert fused.nodes[1].outputs == ("sum",)

    @pytest.mark.parametrize("swapped", [False, True])
    def test_the_convolution_waits_for_the_other_term(self, graphs, ops_of, swapped):
        g = GraphBuilder("waits")
        x = g.input((4, 6, 6))
        terms = [g.conv(x, "conv", 4, 3, padding=1), g.max_pool(g.relu(x), 3, 1, 1)]
        graph = finish(g, g.relu(g.add(*(terms[::-1] if swapped else terms))))
        for chain in ([passes.fuse_residual, passes.fuse_activation], [passes.fuse_activation, passes.fuse_residual]):
            fused, _ = graphs.apply(
                lambda g, w, chain=chain: passes.apply(g, w, chain), graph, graphs.weights_of(graph)
            )
            assert ops_of(fused) == ["activation", "pool2d", "conv2d"]
            assert fused.nodes[-1].spec.activation == "relu"

    def test_a_convolution_read_elsewhere_leaves_it_to_the_other(self, graphs, ops_of):
        g = GraphBuilder("elsewhere")
        x = g.input((4, 4, 4))
        a, b = g.conv(x, "a", 4, 1), g.conv(x, "b", 4, 1)
        graph = finish(g, [g.add(a, b), g.relu(b)])
        fused, _ = graphs.apply(passes.fuse_residual, graph, graphs.weights_of(graph))
        assert [n.inputs[3] for n in fused.nodes if n.spec.op == "conv2d" and n.inputs[3]] == ["b"]

    def test_stays_where_it_cannot_go(self, graphs):
        g = GraphBuilder("stays")
        x = g.input((4, 4, 4))
        a = g.relu(g.conv(x, "a", 4, 1))
        gate = g.conv(g.global_avg_pool(x), "gate", 4, 1)
        c = g.conv(x, "c", 4, 1)
        d = g.conv(x, "d", 4, 1)
        graph = finish(g, [g.add(a, x, "activated"), g.add(gate, x, "broadcast"), g.add(c, c, "twice"), g.add(d, x), d])
        fused, _ = graphs.apply(passes.fuse_residual, graph, graphs.weights_of(graph))
        assert fused == graph

    def test_a_chain_of_sums_takes_one_each(self, graphs, ops_of):
        g = GraphBuilder("chain")
        x = g.input((4, 4, 4))
        one = g.add(g.conv(x, "a", 4, 1), x)
        graph = finish(g, g.add(one, g.conv(one, "b", 4, 1)))
        fused, _ = graphs.apply(passes.fuse_residual, graph, graphs.weights_of(graph))
        assert ops_of(fused) == ["conv2d", "conv2d"]


class TestFusePrologue:
    @pytest.mark.parametrize("act", [None, "relu", "relu6"])
    def test_into_a_one_by_one_convolution(self, graphs, ops_of, act):
        g = GraphBuilder("preactivation")
        x = g.input((4, 5, 6))
        y = g.batch_norm(g.concat([x, g.max_pool(x, 3, 1, 1)]), "norm", 1e-3)
        y = g.conv(g.activation(y, act) if act else y, "conv", 7, 1, stride=2)
        graph = finish(g, g.relu(g.add(y, g.conv(x, "down", 7, 1, stride=2))))
        for chain in ([], [passes.fuse_residual], [passes.fuse_residual, passes.fuse_activation]):
            fused, _ = graphs.apply(
                lambda g, w, chain=chain: passes.apply(g, w, [passes.fuse_activation, passes.fuse_prologue, *chain]),
                graph,
                graphs.weights_of(graph),
            )
            assert "batch_norm" not in ops_of(fused)
            conv = next(node for node in fused.nodes if node.name == "conv")
            assert conv.spec.prologue == act and conv.inputs[4:6] == ("norm.scale", "norm.shift")
        assert fused.nodes[-1].spec.activation == "relu"

    def test_stays_where_it_cannot_go(self, graphs):
        g = GraphBuilder("stays")
        x = g.relu(g.input((4, 5, 5)))
        read_twice = g.batch_norm(x, "read_twice")
        smooth = g.activation(g.batch_norm(x, "smooth"), "silu")
        output = g.batch_norm(x, "output")
        outs = [
            g.conv(read_twice, "a", 4, 1), g.conv(read_twice, "b", 4, 1),
            g.conv(g.batch_norm(x, "wide"), "c", 4, 3), g.conv(g.batch_norm(x, "grouped"), "d", 4, 1, groups=2),
            g.conv(g.batch_norm(x, "padded"), "e", 4, 1, padding=1), g.conv(smooth, "f", 4, 1),
            output, g.conv(output, "g", 4, 1), g.conv(x, "h", 4, 1),
        ]  # fmt: skip
        residual = g.emit(Conv2dSpec(), (x, g._param("r.w", (4, 4, 1, 1), "conv_weight"), "", g.batch_norm(x, "res")))
        graph = finish(g, [*outs, residual])
        graph, weights = passes.apply(graph, graphs.weights_of(graph), [passes.fuse_activation])
        fused, _ = graphs.apply(passes.fuse_prologue, graph, weights)
        assert fused == graph

    def test_what_comes_later_minds_it(self, graphs, ops_of):
        """A pad before a prologue is no padding behind it; a norm behind the convolution folds as ever."""
        g = GraphBuilder("later")
        x = g.batch_norm(g.pad(g.input((4, 5, 5)), ((1, 0), (0, 2))), "norm")
        graph = finish(g, g.batch_norm(g.conv(x, "conv", 6, 1), "after"))
        chain = [passes.fuse_prologue, passes.fold_pad, passes.fold_batch_norm]
        fused, _ = graphs.apply(lambda g, w: passes.apply(g, w, chain), graph, graphs.weights_of(graph))
        assert ops_of(fused) == ["pad", "conv2d"]


class TestFlattenToHwc:
    def test_permutes_the_columns(self, graphs):
        g = GraphBuilder("head")
        flat = g.flatten(g.relu(g.input((5, 3, 4))))
        graph = finish(g, [g.linear(flat, "fc1", 6), g.linear(flat, "fc2", 7)])
        turned, _ = graphs.apply(passes.flatten_to_hwc, graph, graphs.weights_of(graph))
        assert [n.spec.order for n in turned.nodes if n.spec.op == "flatten"] == ["HWC"]
        assert set(turned.params) == {"fc1.weight+hwc", "fc1.bias", "fc2.weight+hwc", "fc2.bias"}

    @pytest.mark.parametrize("reader", ["relu", "output", "one_pixel"])
    def test_stays_where_the_order_is_seen_or_does_not_matter(self, graphs, reader):
        g = GraphBuilder("stays")
        x = g.relu(g.input((5, 3, 3)))
        flat = g.flatten(g.global_avg_pool(x) if reader == "one_pixel" else x, name="flat")
        outputs = [g.linear(flat, "fc", 6)]
        if reader == "relu":
            outputs.append(g.relu(flat))
        if reader == "output":
            outputs.append(flat)
        graph = finish(g, outputs)
        turned, _ = graphs.apply(passes.flatten_to_hwc, graph, graphs.weights_of(graph))
        assert turned == graph


class TestFoldPad:
    def test_into_every_convolution_that_reads_it(self, graphs, ops_of):
        g = GraphBuilder("pad")
        padded = g.pad(g.pad(g.input((3, 5, 5)), ((1, 0), (0, 2))), ((0, 1), (1, 0)), name="padded")
        graph = finish(g, [g.conv(padded, "a", 4, 3, padding=1), g.conv(padded, "b", 4, 3, stride=2)])
        folded, _ = graphs.apply(passes.fold_pad, graph, graphs.weights_of(graph))
        assert ops_of(folded) == ["conv2d", "conv2d"]
        assert [n.spec.padding for n in folded.nodes] == [((2, 2), (2, 3)), ((1, 1), (1, 2))]

    def test_stays_for_other_readers_and_other_values(self, graphs, ops_of):
        g = GraphBuilder("stays")
        x = g.input((3, 5, 5))
        shared = g.pad(x, ((1, 1), (1, 1)))
        ones = g.conv(g.pad(x, ((1, 1), (1, 1)), value=1.0), "ones", 4, 3)
        out = g.pad(x, ((0, 1), (0, 1)), name="out")
        graph = finish(g, [g.conv(shared, "a", 4, 3), g.max_pool(shared, 2), ones, out, g.conv(out, "b", 4, 2)])
        folded, _ = graphs.apply(passes.fold_pad, graph, graphs.weights_of(graph))
        assert ops_of(folded).count("pad") == 3
        assert folded.producer()["a"].inputs[0] == folded.producer()["b"].inputs[0] == "input"


class TestDeadCode:
    def test_drops_what_nobody_reads(self, graphs, ops_of):
        g = GraphBuilder("aux")
        x = g.conv(g.input((3, 5, 5)), "conv", 4, 3)
        g.linear(g.flatten(x), "aux", 9)
        graph = finish(g, g.relu(x))
        pruned, weights = graphs.apply(passes.dead_code, graph, graphs.weights_of(graph))
        assert ops_of(pruned) == ["conv2d", "activation"]
        assert set(weights) == {"conv.weight", "conv.bias"}

    def test_drops_what_does_nothing(self, graphs, ops_of):
        g = GraphBuilder("no_ops")
        x = g.relu(g.input((4, 5, 5)))
        x = g.slice(g.concat([x]), 0, 4)
        x = g.channel_shuffle(g.channel_shuffle(x, 1), 4)
        x = g.emit(TransposeSpec((0, 1, 2, 3)), (g.pad(x, ((0, 0), (0, 0))),))
        x = g.emit(ReshapeSpec((0, 0, 5, 5)), (x,))
        graph = finish(g, g.activation(g.dropout(x, 0.5), "tanh"))
        pruned, _ = graphs.apply(passes.dead_code, graph, graphs.weights_of(graph))
        assert ops_of(pruned) == ["activation", "activation"]

    def test_outputs_keep_their_names(self, graphs):
        g = GraphBuilder("named")
        x = g.relu(g.input((4, 5, 5)))
        graph = finish(g, g.emit(ConcatSpec(1), (x,), "named"))
        pruned, _ = graphs.apply(passes.dead_code, graph, graphs.weights_of(graph))
        assert pruned.outputs == ["named"]


# --- all of them


def random_graph(seed: int):
    """Convolutions, norms, activations, sums, pads, concats and a linear head in random order; several outputs."""
    rng = random.Random(seed)
    g = GraphBuilder(f"random{seed}")
    pool = [g.input((4, 4, 4))]
    for i in range(rng.randint(4, 12)):
        x = rng.choice(pool[-3:])
        kind = rng.choice(KINDS)
        if kind == "conv":
            groups = rng.choice([1, 1, 2, 4])
            x = g.conv(x, f"conv{i}", 4, rng.choice([1, 3]), padding="same", groups=groups, bias=rng.random() < 0.5)
        elif kind == "norm":
            x = g.batch_norm(x, f"norm{i}", scale=rng.random() < 0.8)
        elif kind == "act":
            x = g.activation(x, rng.choice(ACTIVATIONS), f"act{i}")
        elif kind in ("add", "mul"):
            x = g.emit(AddSpec(), (x, rng.choice(pool)), f"add{i}") if kind == "add" else g.mul(x, x, f"mul{i}")
        elif kind == "pad":
            x = g.conv(g.pad(x, ((1, 0), (0, 1)), rng.choice([0.0, 0.0, 1.0]), f"pad{i}"), f"padded{i}", 4, 2)
        elif kind == "concat":
            x = g.slice(g.concat([x, rng.choice(pool)], f"cat{i}"), 2, 6, f"part{i}")
        elif kind == "slice":
            x = g.slice(x, 0, 4, f"whole{i}")
        else:
            x = g.emit(ReshapeSpec((0, 4, 4, 4)), (x,), f"reshape{i}")
        pool.append(x)
    head = g.linear(g.flatten(rng.choice(pool[1:])), "fc", 5)
    head = g.batch_norm(head, "fc_norm") if rng.random() < 0.5 else head
    outputs = [head, *{rng.choice(pool[1:]) for _ in range(rng.randint(0, 2))}]
    return g.finish(outputs).bind(rng.choice([1, 2]))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9), st.lists(st.sampled_from(EVERY), max_size=9))
def test_any_subset_in_any_order_agrees(graphs, seed, chosen):
    graph = random_graph(seed)
    graphs.apply(lambda g, w: passes.apply(g, w, chosen), graph, graphs.weights_of(graph, seed))


@pytest.mark.parametrize(
    "name, size", [("resnet18", 32), ("mobilenet_v2", 32), ("squeezenet1_1", 33), ("googlenet", 32)]
)
def test_real_networks_agree(graphs, name, size):
    graph = ARCHITECTURES[name].graph(input_shape=(3, size, size), num_classes=10)
    weights = {n: w.astype(np.float64) for n, w in random_weights(graph).items()}
    fused, _ = graphs.apply(lambda g, w: passes.apply(g, w), graph.bind(1), weights)
    left = {node.spec.op for node in fused.nodes}
    assert not left & {"batch_norm", "activation", "add", "pad"}


@pytest.mark.parametrize("name", ["alexnet", "keras_mnist_convnet"])
def test_linear_heads_need_no_transpose(name):
    graph = ARCHITECTURES[name].graph()
    weights = {p.name: np.zeros(p.shape, np.float32) for p in graph.params.values()}
    turned, _ = passes.apply(graph.bind(1), weights)
    assert {n.spec.order for n in turned.nodes if n.spec.op == "flatten"} == {"HWC"}


@pytest.mark.parametrize("prologues", [False, True])
def test_densenet_keeps_its_leading_norms_or_fuses_them_forwards(prologues):
    graph = ARCHITECTURES["densenet121"].graph(input_shape=(3, 32, 32)).bind(1)
    weights = {p.name: np.ones(p.shape, np.float32) for p in graph.params.values()}
    fused, _ = passes.apply(graph, weights, EVERY if prologues else passes.STANDARD)
    ops = [node.spec.op for node in fused.nodes]
    leading = 58 + 3  # norm1 of each layer and the transitions'
    assert ops.count("batch_norm") == 1 + (0 if prologues else leading) and "activation" not in ops
    assert sum(n.spec.prologue == "relu" for n in fused.nodes if n.spec.op == "conv2d") == leading * prologues
    assert all(n.spec.activation == "relu" for n in fused.nodes if n.name.endswith("conv1"))


def test_verbose_names_the_passes(capsys):
    graph = ARCHITECTURES["lenet5"].graph().bind(1)
    weights = {p.name: np.zeros(p.shape, np.float32) for p in graph.params.values()}
    with config(verbose=3):
        passes.apply(graph, weights)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2].rstrip(":") for line in lines] == [run.__name__ for run in passes.STANDARD]


class TestFuseBlocks:
    @staticmethod
    def block(g, x, name, wide, out, kernel=3, stride=1, residual=False):
        with g.scope(name):
            y = g.relu(g.conv(x, "expand", wide, 1))
            y = g.relu(g.conv(y, "depthwise", wide, kernel, stride=stride, padding=kernel // 2, groups=wide))
            y = g.conv(y, "project", out, 1)
        return g.add(y, x) if residual else y

    def test_expand_depthwise_project_become_one_step(self, graphs, ops_of):
        g = GraphBuilder("blocks")
        x = self.block(g, g.input((6, 30, 30)), "one", 24, 9, stride=2)
        x = self.block(g, x, "two", 40, 9, kernel=5, residual=True)
        graph = finish(g, x)
        graph, weights = graphs.apply(passes.fuse_activation, graph, graphs.weights_of(graph))
        graph, weights = graphs.apply(passes.fuse_residual, graph, weights)
        fused, _ = graphs.apply(passes.fuse_blocks, graph, weights)
        assert ops_of(fused) == ["fused_block"] * 2
        assert [node.name for node in fused.nodes] == ["one.project", "two.project"]

    def test_one_convolution_is_in_one_block(self, graphs, ops_of):
        g = GraphBuilder("separable")
        x = g.input((6, 30, 30))
        for i in range(5):
            x = g.conv(g.conv(x, f"pointwise{i}", 24, 1), f"depthwise{i}", 24, 3, padding=1, groups=24)
        graph = finish(g, x)
        fused, _ = graphs.apply(passes.fuse_blocks, graph, graphs.weights_of(graph))
        # Each block ends with the next one's pointwise, whose own depthwise stays.
        assert ops_of(fused) == ["fused_block", "conv2d", "fused_block", "conv2d", "fused_block"]

    def test_without_a_project_that_follows_the_first_two_do(self, graphs, ops_of):
        g = GraphBuilder("gated")
        y = self.block(g, g.input((6, 16, 16)), "narrow", 24, 8)
        with g.scope("gate"):
            y = g.relu(g.conv(y, "expand", 32, 1))
            y = g.relu(g.conv(y, "depthwise", 32, 3, padding=1, groups=32))
        y = g.mul(y, g.activation(g.conv(g.global_avg_pool(y), "fc", 32, 1), "sigmoid"))
        graph = finish(g, y)
        graph, weights = graphs.apply(passes.fuse_activation, graph, graphs.weights_of(graph))
        fused, _ = graphs.apply(passes.fuse_blocks, graph, weights)
        assert ops_of(fused) == ["fused_block", "fused_block", "global_pool2d", "conv2d", "mul"]

    def test_stays_where_it_cannot_go_or_does_not_pay(self, graphs, ops_of):
        g = GraphBuilder("stays")
        x = g.input((6, 16, 16))
        wide = g.conv(x, "read_twice", 24, 1)
        outs = [g.conv(wide, "depthwise", 24, 3, padding=1, groups=24), wide]
        strided = g.conv(x, "strided", 24, 1, stride=2)
        outs.append(g.conv(strided, "depthwise2", 24, 3, padding=1, groups=24))
        padded = g.conv(x, "plain", 24, 1)
        outs.append(g.conv(padded, "overpadded", 24, 3, padding=3, groups=24))
        heavy = g.conv(x, "heavy", 24_000, 1)
        outs.append(g.conv(heavy, "depthwise3", 24_000, 3, groups=24_000))
        small = g.conv(g.max_pool(x, 2), "small", 24, 1)
        outs.append(g.conv(small, "depthwise4", 24, 3, groups=24))
        graph = finish(g, outs)
        fused, _ = passes.fuse_blocks(graph, {})
        assert ops_of(fused) == ops_of(graph)
