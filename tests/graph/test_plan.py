"""The plan: a table, JSON, decisions that come back, and problems as text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cnnkern.graph.builder import GraphBuilder
from cnnkern.graph.memory import MemoryPlan
from cnnkern.graph.plan import Plan, load_decisions, make_plan, new_step, table
from cnnkern.graph.problem import format_problem, parse_problem
from cnnkern.graph.views import is_free, plan_views
from cnnkern.models import ARCHITECTURES
from cnnkern.ops import (
    AddSpec,
    BatchNormSpec,
    ConcatSpec,
    Conv2dSpec,
    LinearSpec,
    PadSpec,
    Pool2dSpec,
    ReshapeSpec,
)


def small_graph():
    g = GraphBuilder("small")
    x = g.input((3, 6, 6))
    a, b = g.conv(x, "a", 16, 3, padding=1), g.conv(x, "b", 16, 1)
    x = g.relu(g.concat([a, b], "cat"), "relu")
    return g.finish(g.linear(g.flatten(g.global_avg_pool(x, "pool"), name="flat"), "fc", 10)).bind(1)


def prepare(node, graph, weights, decision):
    """A backend that can choose between two algorithms for a convolution and needs no step for a view."""
    if is_free(graph, plan_views(graph), node):
        return None
    algo = (decision or {"algo": "direct"})["algo"] if node.spec.op == "conv2d" else None
    return new_step(node, graph, f"f32_{algo or node.spec.op}", why="told so", plan={"algo": algo} if algo else {})


def small_plan(**options) -> Plan:
    graph = small_graph()
    return make_plan(graph, {}, prepare, backend="toy", views=plan_views(graph), **options)


def test_the_table_names_every_step_and_adds_up():
    text = str(small_plan())
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["layer", "op", "kernel", "output"]
    assert [line.split()[0] for line in lines[2:7]] == ["a", "b", "relu", "pool", "fc"]
    macs = 16 * 3 * 9 * 36 + 16 * 3 * 36 + 32 * 10
    assert f"{macs:,}" in lines[-2] and "5 steps" in lines[-2]
    assert "without reuse" in lines[-1]
    assert "1x16x6x6" in lines[2] and "algo=direct" in lines[2]


def test_offsets_of_views_are_their_roots():
    plan = small_plan()
    assert plan.views["a"].root == plan.views["b"].root == "cat"
    assert plan.offset_bytes("a") == plan.offset_bytes("cat") == plan.memory.offsets["cat"]
    assert plan.offset_bytes("input") is None
    assert plan.memory.arena_bytes < plan.memory.activation_bytes


def test_decisions_come_back_through_json():
    chosen = {"a": {"algo": "winograd"}}
    plan = small_plan(decisions=chosen)
    assert plan.steps[0].kernel == "f32_winograd"
    again = small_plan(decisions=load_decisions(plan.to_json()))
    assert again.to_dict() == plan.to_dict()
    assert load_decisions(plan.to_dict())["a"] == {"algo": "winograd"}
    step = json.loads(plan.to_json(indent=None))["steps"][0]
    assert step["problem"] == "conv2d 1x3x6x6 16x3x3x3 16 padding=((1,1),(1,1))"
    assert step["theory"]["fma"] == 16 * 3 * 9 * 36 and step["output_shapes"] == [[1, 16, 6, 6]]


@pytest.mark.parametrize(
    "source", ["{", "[]", '{"format": 1}', '{"format": 99, "steps": []}', '{"format": 1, "steps": [3]}']
)
def test_what_is_no_plan_is_refused(source):
    with pytest.raises(ValueError, match="plan"):
        load_decisions(source)


def test_decisions_for_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="no layer conv7"):
        small_plan(decisions={"conv7": {}})


def test_a_symbolic_batch_is_refused():
    with pytest.raises(ValueError, match="bind"):
        make_plan(ARCHITECTURES["lenet5"].graph(), {}, prepare, backend="toy")


def test_step_names_are_unique():
    step = small_plan().steps[0]
    with pytest.raises(ValueError, match="called a"):
        Plan("g", "toy", (), (), [step, step])


def test_a_prepare_may_make_several_steps():
    def two(node, graph, weights, decision):
        step = new_step(node, graph, "main")
        return [replace(step, name=f"{node.name}/pack"), step]

    plan = make_plan(small_graph(), {}, two, backend="toy", memory=MemoryPlan())
    assert [s.name for s in plan.steps[:4]] == ["a/pack", "a", "b/pack", "b"]
    assert make_plan(small_graph(), {}, two, backend="toy", decisions=plan.decisions()).decisions() == plan.decisions()


def test_table_aligns():
    text = table(("name", "n"), [("a", "1"), ("long", "1,000"), ("total", "1,001")], right=(1,))
    assert text.splitlines() == [
        "name       n",
        "-----  -----",
        "a          1",
        "long   1,000",
        "-----  -----",
        "total  1,001",
    ]


@pytest.mark.parametrize(
    "spec, shapes, text",
    [
        (Conv2dSpec(), ((1, 3, 8, 8), (4, 3, 3, 3), *[None] * 4), "conv2d 1x3x8x8 4x3x3x3"),
        (Conv2dSpec(activation="silu", groups=3), ((1, 3, 8, 8), (3, 1, 1, 1), None, (1, 3, 8, 8), None, None), None),
        (
            Conv2dSpec(prologue="relu"),
            ((1, 3, 8, 8), (4, 3, 1, 1), None, None, (3,), (3,)),
            "conv2d 1x3x8x8 4x3x1x1 - - 3 3 prologue=relu",
        ),
        (AddSpec(), ((2, 8), ()), "add 2x8 scalar"),
        (LinearSpec(activation="relu"), ((2, 8), (4, 8), (4,)), "linear 2x8 4x8 4 activation=relu"),
        (Pool2dSpec("max", (2, 2), (2, 2), ((0, 0), (0, 0)), ceil_mode=True), ((1, 3, 8, 8),), None),
        (PadSpec(((1, 0), (0, 2)), float("-inf")), ((1, 3, 8, 8),), None),
        (BatchNormSpec(1e-3), ((1, 3, 8, 8), (3,), (3,), None, (3,)), "batch_norm 1x3x8x8 3 3 - 3 eps=0.001"),
        (ConcatSpec(1), ((1, 3, 8, 8), (1, 5, 8, 8), (1, 1, 8, 8)), "concat 1x3x8x8 1x5x8x8 1x1x8x8"),
        (ReshapeSpec((0, -1)), ((1, 3, 8, 8),), "reshape 1x3x8x8 shape=(0,-1)"),
    ],
)
def test_problems_survive_the_way_through_text(spec, shapes, text):
    line = format_problem(spec, shapes)
    assert text is None or line == text
    again, again_shapes = parse_problem(line)
    assert again == spec and again_shapes == shapes


def test_every_problem_of_the_zoo_survives():
    for architecture in ARCHITECTURES.values():
        graph = architecture.graph().bind(1)
        for node in graph.nodes:
            shapes = tuple(graph.shape(name) for name in node.inputs)
            spec, again = parse_problem(format_problem(node.spec, shapes))
            assert spec == node.spec and again[: len(shapes)] == shapes


@pytest.mark.parametrize("line", ["", "convolve 1x2", "linear 1xtwo 3x2", "linear 1x2 3x2 stride=2", "linear 1x2 3x5"])
def test_what_is_no_problem_is_refused(line):
    with pytest.raises(ValueError):
        parse_problem(line)
