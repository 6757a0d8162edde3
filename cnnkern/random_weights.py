"""Seeded random weights with which a network still tells its inputs apart.

Convolutions and linear layers are He-normal (He et al., https://arxiv.org/abs/1502.01852). Batch norms get about the
statistics their inputs have, and biases centre their layer: were they 0 and 1, a deep network would answer every
picture alike, and a test of it would test nothing. No forward pass is needed: the mean and variance of every channel
are propagated through the graph, as if its values were independent and normal.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from .graph.ir import Graph, Node, Param

# Statistics that are met exactly leave a deep network unstable: where a picture's differ, ReLU makes the difference
# grow, layer by layer. A variance this much too large makes it shrink, and still lets two inputs drift apart: 1.0 ends
# resnet152 at 1e5, 1.2 gives efficientnet_b0's outputs for two photographs within 2 % of each other.
VARIANCE_MARGIN = np.float32(1.12)
# Batch norms one after the other on the shortest path from the input, and on the longest: behind so many that margin
# is too small. It leaves plain110_cifar 1e-2 away from float64, and preact_resnet1001_cifar twice what is allowed; 1.4
# ends plain110_cifar's two photographs within 1 % of each other.
DEEP = (24, 400)
DEEP_MARGIN = np.float32(1.32)
# SiLU of twice as much is more than twice as much, except where it is steep: with a plain batch norm before it whatever
# is a little too large grows, and efficientnet_b4's values reach 5000. Behind this much it is nearly a ReLU.
STEEP = np.float32(4)
Moments = tuple[np.ndarray, np.ndarray]  # mean and variance per channel, float64
SIGNIFICANT = 4  # digits of the statistics: sums differ in their last bits between machines, weights must not


def random_weights(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """float32 arrays for every param; the same seed gives the same arrays whatever the graph's order and machine."""
    weights = {param.name: _draw(param, seed) for param in graph.params.values()}
    for node in _before_silu(graph):
        weights[node.inputs[3]] *= STEEP
    moments: dict[str, Moments] = {}
    depth: dict[str, tuple[int, int]] = {}  # batch norms on the path that has fewest, and most
    for name in graph.inputs:
        channels = graph.shape(name)[1]
        moments[name] = np.zeros(channels), np.ones(channels)
    for node in graph.nodes:
        learnt = node.spec.op == "batch_norm" and graph.params[node.inputs[1]].statistic
        if learnt:
            _set_statistics(node, moments[node.inputs[0]], weights, seed)
        propagate = PROPAGATE.get(node.spec.op, _unknown)
        result = propagate(graph, node, weights, *(moments.get(name) for name in node.inputs))
        paths = [depth.get(name, (0, 0)) for name in node.inputs if name in moments] or [(0, 0)]
        depth[node.outputs[0]] = min(p[0] for p in paths) + learnt, max(p[1] for p in paths) + learnt
        if learnt:
            deep = any(d > limit for d, limit in zip(depth[node.outputs[0]], DEEP))
            weights[node.inputs[2]] *= DEEP_MARGIN if deep else VARIANCE_MARGIN
        elif node.spec.op in ("conv2d", "linear") and node.inputs[2] and graph.params[node.inputs[2]].trainable:
            _set_bias(node, result, weights, seed)
        moments[node.outputs[0]] = result
    return weights


def generator(name: str, seed: int) -> np.random.Generator:
    """A stream of its own for every name, so that adding a layer changes no other's weights."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def _draw(param: Param, seed: int) -> np.ndarray:
    if param.value is not None:
        return np.full(param.shape, param.value, np.float32)
    random = generator(param.name, seed)
    if param.kind == "bn_weight":
        return random.uniform(0.8, 1.2, param.shape).astype(np.float32)
    if param.kind == "bn_var":
        return np.ones(param.shape, np.float32)
    scale = 0.1
    if param.kind in ("conv_weight", "linear_weight"):
        taps = param.shape[-3:] if param.kind == "conv_weight" else param.shape[1:]  # behind one output
        scale = np.sqrt(2 / np.prod(taps))
    values = random.standard_normal(param.shape, np.float32)
    values *= np.float32(scale)
    return values


def _before_silu(graph: Graph) -> list[Node]:
    """The batch norms with a scale of their own that a SiLU reads."""
    read = {node.inputs[0] for node in graph.nodes if getattr(node.spec, "kind", None) == "silu"}
    return [n for n in graph.nodes if n.spec.op == "batch_norm" and n.outputs[0] in read and n.inputs[3]]


def _set_statistics(node: Node, moments: Moments, weights: dict, seed: int) -> None:
    """Mean and variance of the node's input, each a little off, as a trained network's are on a new picture."""
    (mean, var), (_, mean_name, var_name, *_) = moments, node.inputs
    random = generator(mean_name, seed)
    mean = mean + 0.1 * np.sqrt(var) * random.standard_normal(mean.shape)
    var = var * random.uniform(0.8, 1.25, var.shape) + 1e-3
    weights[mean_name], weights[var_name] = _rounded(mean), _rounded(var)


def _set_bias(node: Node, moments: Moments, weights: dict, seed: int) -> None:
    """A bias that centres the layer's output, a little off: else what all inputs share grows from layer to layer."""
    mean, var = moments
    bias = node.inputs[2]
    weights[bias] = _rounded(0.1 * np.sqrt(var) * generator(bias, seed).standard_normal(mean.shape) - mean)
    moments[0][:] = mean + weights[bias]


def _rounded(values: np.ndarray) -> np.ndarray:
    digits = 10.0 ** (SIGNIFICANT - 1 - np.floor(np.log10(np.maximum(np.abs(values), 1e-30))))
    return (np.round(values * digits) / digits).astype(np.float32)


# --- how mean and variance pass through an operation

# Activations at these standard normal points, with these weights, stand for their mean over a normal input.
POINTS = np.linspace(-4, 4, 65)
MASS = np.exp(-(POINTS**2) / 2) / np.exp(-(POINTS**2) / 2).sum()
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def _weighted(graph, node, weights, x, *_):
    """A weighted sum of independent values, without its bias: means add up by weight, variances by its square."""
    weight, groups = weights[node.inputs[1]], getattr(node.spec, "groups", 1)
    taps = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    mean, var = (m.reshape(groups, -1) for m in x)
    return np.einsum("gkct,gc->gk", taps, mean).reshape(-1), np.einsum("gkct,gkct,gc->gk", taps, taps, var).reshape(-1)


def _batch_norm(graph, node, weights, x, *_):
    (mean, var), (_, m, v, gamma, beta) = x, node.inputs
    scale = weights.get(gamma, 1) / np.sqrt(weights[v].astype(np.float64) + node.spec.eps)
    return (mean - weights[m]) * scale + weights.get(beta, 0), var * scale**2


def _activation(graph, node, weights, x):
    mean, var = x
    values = FUNCTIONS.get(node.spec.kind, FUNCTIONS["relu"])(mean[:, None] + np.sqrt(var)[:, None] * POINTS)
    mean = values @ MASS
    return mean, np.maximum((values**2) @ MASS - mean**2, 0)


def _pool(graph, node, weights, x):
    """The largest of neighbours lies above their mean and varies as much as they; an average varies less."""
    mean, var = x
    return (mean + np.sqrt(var), var * 1.2) if node.spec.kind == "max" else (mean, var * 0.7)


def _mul(graph, node, weights, a, b):
    if b is None:  # a constant
        b = weights[node.inputs[1]].reshape(-1).astype(np.float64), np.zeros(1)
    return a[0] * b[0], a[1] * b[1] + a[1] * b[0] ** 2 + b[1] * a[0] ** 2


def _shuffle(graph, node, weights, x):
    return tuple(m.reshape(node.spec.groups, -1).T.reshape(-1) for m in x)


def _slice(graph, node, weights, x):
    axis, start, stop = node.spec.bounds(graph.shape(node.inputs[0]))
    return tuple(m[start:stop] for m in x) if axis == 1 else x


def _flatten(graph, node, weights, x):
    _, _, h, w = graph.shape(node.inputs[0])
    return tuple(np.repeat(m, h * w) if node.spec.order == "CHW" else np.tile(m, h * w) for m in x)


def _same(graph, node, weights, x):
    return x


def _unknown(graph, node, weights, *_):
    channels = graph.shape(node.outputs[0])[1]
    return np.zeros(channels), np.ones(channels)


PROPAGATE: dict[str, Callable[..., Moments]] = {
    "conv2d": _weighted,
    "linear": _weighted,
    "batch_norm": _batch_norm,
    "activation": _activation,
    "pool2d": _pool,
    "global_pool2d": _pool,
    "adaptive_avg_pool2d": _same,
    "roi_max_pool": lambda graph, node, weights, x, rois: (x[0] + np.sqrt(x[1]), x[1] * 1.2),  # as `_pool`
    "local_response_norm": _same,
    "softmax": _same,
    "pad": _same,
    "add": lambda graph, node, weights, a, b: (a[0] + b[0], a[1] + b[1]),
    "mul": _mul,
    "concat": lambda graph, node, weights, *xs: tuple(np.concatenate(m) for m in zip(*xs)),
    "slice": _slice,
    "channel_shuffle": _shuffle,
    "flatten": _flatten,
}
