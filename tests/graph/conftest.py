"""What the graph tests share: weights, the float64 oracle over a whole graph, and the on/off test of passes."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from cnnkern.backends.reference import ReferenceBackend


def weights_of(graph, seed: int = 0, dtype=np.float64) -> dict:
    """Random weights; variances positive, everything else signed."""
    random = np.random.default_rng(seed)
    weights = {}
    for param in graph.params.values():
        array = random.standard_normal(param.shape)
        weights[param.name] = (np.abs(array) + 0.1 if param.kind == "bn_var" else array).astype(dtype)
    return weights


def oracle(graph, weights: dict, seed: int = 0) -> dict:
    """Graph output name -> float64 array, for inputs that depend on the seed alone."""
    random = np.random.default_rng(seed)
    x = {name: random.standard_normal(graph.shape(name)) for name in graph.inputs}
    results = ReferenceBackend(np.float64).compile(graph, weights)(x)
    return dict(zip(graph.outputs, results if isinstance(results, tuple) else (results,)))


def apply(transform, graph, weights: dict):
    """Run a pass and check its promises: pure, same outputs, same numbers, a graph that is whole."""
    before, arrays = copy.deepcopy(graph), {name: array.copy() for name, array in weights.items()}
    after, new_weights = transform(graph, weights)
    assert graph == before, "the pass changed its graph"
    assert weights.keys() == arrays.keys() and all(np.array_equal(weights[n], a) for n, a in arrays.items())
    check_whole(after, new_weights)
    assert (after.inputs, after.outputs) == (graph.inputs, graph.outputs)
    expected, got = oracle(graph, weights), oracle(after, new_weights)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-9, atol=1e-9 * (np.abs(array).max() if array.size else 1))
    return after, new_weights


def check_whole(graph, weights: dict) -> None:
    """Every name is defined before it is read, has the shape its Spec infers, and nothing unused is left."""
    known = {*graph.inputs, *graph.params}
    for node in graph.nodes:
        assert all(name in known for name in node.inputs if name), node
        shapes = [graph.shape(name) for name in node.inputs]
        assert node.spec.infer(*shapes) == tuple(graph.shape(name) for name in node.outputs), node
        known.update(node.outputs)
    used = {name for node in graph.nodes for name in (*node.inputs, *node.outputs)} | {*graph.inputs, *graph.outputs}
    assert set(graph.values) | set(graph.params) <= used and set(graph.outputs) <= known
    assert set(weights) == set(graph.params)
    assert all(weights[name].shape == param.shape for name, param in graph.params.items())
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


@pytest.fixture
def graphs() -> SimpleNamespace:
    """The helpers above (test modules cannot import each other under importlib mode)."""
    return SimpleNamespace(weights_of=weights_of, oracle=oracle, apply=apply, check_whole=check_whole)


@pytest.fixture
def ops_of():
    """The op names of a graph's nodes, in order."""
    return lambda graph: [node.spec.op for node in graph.nodes]
