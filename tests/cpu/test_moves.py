"""Moves, resampling and transposed convolution on the cpu backend: what plans make of them, alone and in graphs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from cnnkern import ops, testing
from cnnkern.graph.ir import Graph, Node, Param, Value
from cnnkern.graph.passes.dead_code import dead_code
from cnnkern.graph.views import is_free, plan_views

pytest.importorskip("cnnkern._core", reason="no native module")
from cnnkern.backends.cpu import CpuBackend, schedule
from cnnkern.backends.cpu import lower_moves as moves
from cnnkern.backends.cpu.buffers import Nd
from cnnkern.backends.cpu.lower_transposed import phases


def seen(buffer: np.ndarray, t: Nd) -> np.ndarray:
    return as_strided(buffer[t.offset :], t.sizes, [4 * s for s in t.strides])


def permuted_dense(rng, sizes, hole=0) -> Nd:
    """Axes in a random order in memory, rows with a hole at their end."""
    strides, reach = [0] * len(sizes), 1
    for axis in rng.permutation(len(sizes)):
        strides[axis], reach = reach, reach * sizes[axis] + hole
    return Nd(1, 0, tuple(sizes), tuple(strides))


def floats(t: Nd) -> int:
    """The least buffer that holds the view."""
    return 1 + sum((size - 1) * stride for size, stride in zip(t.sizes, t.strides))


def refactored(rng, sizes) -> list[int]:
    """Other sizes with the same product."""
    primes = [p for size in sizes for p in {4: (2, 2), 6: (2, 3), 12: (2, 2, 3)}.get(size, (size,))]
    made = [1] * int(rng.integers(1, 6))
    for prime in rng.permutation(primes):
        made[int(rng.integers(len(made)))] *= int(prime)
    return made


def test_reshapes_between_any_layouts(rng):
    parts = []
    for _ in range(300):
        sizes = rng.choice([1, 2, 3, 4, 5, 6, 7, 12], int(rng.integers(0, 5))).tolist()
        x = permuted_dense(rng, sizes, int(rng.integers(2)))
        y = permuted_dense(rng, refactored(rng, sizes), int(rng.integers(2)))
        data, made = rng.standard_normal(floats(x)).astype(np.float32), np.zeros(floats(y), np.float32)
        pairs = moves.in_order(x, y)
        for a, b in pairs:
            seen(made, b)[...] = seen(data, a)
        assert np.array_equal(seen(made, y), seen(data, x).reshape(y.sizes)), (x, y)
        assert sum(int(np.prod(b.sizes)) for _, b in pairs) == np.prod(sizes)
        parts.append(len(pairs))
    assert max(parts) > 1, "no case without common axes"


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_along_an_axis_is_numpys(mode, rng):
    for _ in range(50):
        size, before, after = (int(v) for v in rng.integers((2, 0, 0), (7, 20, 20)))
        x, y = np.arange(size), np.full(size + before + after, -1)
        for first, source, step, count in moves._RUNS[mode](size, before, after):
            y[first : first + count] = x[[source + i * step for i in range(count)]]
        assert np.array_equal(y, np.pad(x, (before, after), mode))


def test_phases_hold_every_product_once(rng):
    for _ in range(300):
        size, kernel, stride, dilation = (int(v) for v in rng.integers(1, 7, 4))
        whole = (size - 1) * stride + dilation * (kernel - 1) + 1
        before = int(rng.integers(0, min(9, whole)))
        outputs = int(rng.integers(1, whole - before + 5))
        wanted = {(h * stride - before + r * dilation, h, r) for h in range(size) for r in range(kernel)}
        found = set()
        for phase in phases(size, outputs, kernel, stride, before, dilation):
            for j in range(phase.begin, phase.end):
                for m, r in enumerate(phase.taps):
                    h = j - phase.begin - phase.before + m * phase.dilation
                    if 0 <= h < phase.size:
                        found.add((phase.first + j * stride, phase.source + h, r))
            assert phase.before >= 0 and phase.after >= 0 and phase.end <= phase.count
        assert found == {(p, h, r) for p, h, r in wanted if 0 <= p < outputs}


def network(nodes, inputs, params, outputs=None) -> Graph:
    """A graph of (spec, inputs, output) nodes whose shapes are inferred."""
    graph = Graph("moves", inputs=list(inputs), outputs=list(outputs or [nodes[-1][2]]))
    graph.values = {name: Value(name, shape) for name, shape in inputs.items()}
    graph.params = {name: Param(name, array.shape, "constant") for name, array in params.items()}
    for spec, names, out in nodes:
        graph.values[out] = Value(out, spec.infer(*(graph.shape(name) for name in names))[0])
        graph.nodes.append(Node(out, spec, tuple(names), (out,)))
    return graph


def everything(n: int, rng):
    """Every move, in a network that begins image by image where the batch is large."""
    constant = rng.standard_normal((n, 5, 8, 8)).astype(np.float32)
    weights = {
        "w": rng.standard_normal((16, 3, 3, 3)).astype(np.float32),
        "t": rng.standard_normal((16, 4, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
        "k": constant,
    }
    up = [(i // 2, min(7, i // 2 + 1)) for i in range(16)]
    nodes = [
        (ops.Conv2dSpec(padding=1), ("x", "w"), "conv"),
        (ops.ResampleSpec(2, up, [(0.75, 0.25)] * 16), ("conv",), "rows"),
        (ops.ResampleSpec(3, [(i // 2,) for i in range(16)]), ("rows",), "up"),
        (ops.SpaceToDepthSpec(2), ("up",), "depth"),
        (ops.DepthToSpaceSpec(2, "CRD"), ("depth",), "space"),
        (ops.ConvTranspose2dSpec(2, 1, 1), ("space", "t", "b"), "wide"),
        (ops.StrideSpec(2, 30, -2, 8), ("wide",), "some"),
        (ops.SliceSpec(3, 3, 11), ("some",), "square"),
        (ops.ConcatSpec(1), ("k", "square", "conv"), "joined"),
        (ops.PadNdSpec(((0, 0), (1, 0), (2, 2), (0, 3)), "reflect"), ("joined",), "padded"),
        (ops.TransposeSpec((0, 2, 3, 1)), ("padded",), "turned"),
        (ops.ReshapeSpec((0, -1, 13)), ("turned",), "lines"),
        (ops.SliceSpec(0, 0, 1), ("lines",), "first"),
        (ops.ExpandSpec((n, 1, 13)), ("first",), "again"),
        (ops.TileSpec((1, 2, 1)), ("again",), "tiled"),
        (ops.ConcatSpec(-1), ("tiled", "tiled"), "ends"),
        (ops.FlattenSpec(), ("ends",), "flat"),
    ]
    return network(nodes, {"x": (n, 3, 8, 8)}, weights, ["flat", "joined", "padded"]), weights


@pytest.mark.parametrize(("n", "by_image"), [(1, False), (7, False), (7, True)])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_network_of_moves_has_no_step_on_the_reference(n, by_image, threads, rng, monkeypatch):
    if by_image:  # whatever can
        every = lambda low, decisions: frozenset(node.name for node in schedule._candidates(low))  # noqa: E731
        monkeypatch.setattr("cnnkern.backends.cpu.backend.image_by_image", every)
    graph, weights = everything(n, rng)
    x = rng.standard_normal((n, 3, 8, 8)).astype(np.float32)
    values = {"x": x.astype(np.float64), **weights}
    for node in graph.nodes:
        values[node.outputs[0]] = testing.reference(node.spec, *(values[name] for name in node.inputs))
    executable = CpuBackend().compile(graph, weights, threads=threads)
    assert not [step.name for step in executable.plan.steps if step.run is not None]
    if by_image:
        alone = [step.name for step in executable.plan.steps if step.plan.get("images") == 1]
        assert {"up", "wide", "some", "square", "joined", "padded", "turned"} <= set(alone), alone
    for mine, name in zip(executable([x]), graph.outputs):
        np.testing.assert_allclose(mine, values[name], atol=2e-5 * np.abs(values[name]).max(), err_msg=name)
    for row in executable.count({"x": x}):
        assert row["predicted"] == row["executed"], row["name"]


@pytest.mark.parametrize(
    ("spec", "x", "weight"),
    [
        (ops.ConvTranspose2dSpec(3), (2, 5, 4, 3), (5, 7, 2, 1)),  # pixels that no tap reaches
        (ops.ConvTranspose2dSpec(2, dilation=2), (1, 16, 5, 5), (16, 33, 3, 3)),  # phases without taps
        (ops.ConvTranspose2dSpec(1, extra=4), (1, 3, 1, 1), (3, 4, 1, 1)),
        (ops.ConvTranspose2dSpec(8, 4), (1, 3, 5, 6), (3, 3, 16, 16)),
        (ops.ConvTranspose2dSpec(2, 1, groups=32), (1, 32, 9, 9), (32, 1, 4, 4)),
        (ops.ConvTranspose2dSpec(2, ((7, 0), (0, 7))), (1, 8, 9, 9), (8, 8, 3, 3)),  # inputs that are cut off
        (ops.ConvTranspose2dSpec(1, 1, dilation=3), (1, 8, 2, 2), (8, 8, 3, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolution_is_native(spec, x, weight, bias, rng):
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, weight, (weight[1] * spec.groups,))]
    arrays[2] = arrays[2] if bias else None
    names = ("x", "weight", "bias")[: 2 + bias]
    params = dict(zip(names[1:], arrays[1:]))
    graph = network([(spec, names, "y")], {"x": x}, params)
    executable = CpuBackend().compile(graph, params)
    assert all(step.native for step in executable.plan.steps)
    y = executable([arrays[0]])
    testing.assert_close(y, testing.reference(spec, *arrays), spec, arrays)


@pytest.mark.filterwarnings("ignore:.*runs on the reference")
def test_more_phases_than_a_plan_may_hold_run_on_the_reference(rng):
    x, w = rng.standard_normal((1, 1, 2, 2)).astype(np.float32), rng.standard_normal((1, 1, 1, 1)).astype(np.float32)
    spec = ops.ConvTranspose2dSpec(90)
    (y,) = CpuBackend().call(spec, [x, w, None])
    testing.assert_close(y, testing.reference(spec, x, w, None), spec, (x, w, None))


def test_a_reshape_that_changes_nothing_is_copied_beside_its_source():
    """Both lie in the concat: the same root, other channels."""
    nodes = [
        (ops.ActivationSpec("relu"), ("x",), "a"),
        (ops.ReshapeSpec((1, 4, 3, 3)), ("a",), "r"),
        (ops.ConcatSpec(1), ("a", "r"), "y"),
    ]
    graph = network(nodes, {"x": (1, 4, 3, 3)}, {})
    assert not is_free(graph, plan_views(graph), graph.nodes[1])
    x = np.linspace(0, 1, 36, dtype=np.float32).reshape(1, 4, 3, 3)
    y = CpuBackend().compile(graph, {})([x])
    assert np.array_equal(y, np.concatenate([x, x], 1))


@pytest.mark.parametrize(
    "spec",
    [
        ops.ExpandSpec((2, 1, 5)),
        ops.TileSpec((1, 1, 1)),
        ops.PadNdSpec(((0, 0),) * 3, "wrap"),
        ops.StrideSpec(1, 0, 1, 4),
        ops.ResampleSpec(1, [(i,) for i in range(4)]),
    ],
    ids=lambda spec: spec.op,
)
def test_what_changes_nothing_is_left_out(spec):
    nodes = [(spec, ("x",), "same"), (ops.ActivationSpec("relu"), ("same",), "y")]
    graph, _ = dead_code(network(nodes, {"x": (2, 4, 5)}, {}), {})
    assert [node.name for node in graph.nodes] == ["y"]
