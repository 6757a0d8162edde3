"""Batch norm at inference is an affine map per channel, and so are a constant factor and a constant term: fold them
into the weights of the layer before."""

from __future__ import annotations

import numpy as np

from ...ops import AddSpec, BatchNormSpec, Conv2dSpec, LinearSpec, MulSpec, UnarySpec
from ..ir import Graph, Node
from .rewrite import Reads, add_param, operands, prune


def fold_batch_norm(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Fold batch_norm, or a product or sum with a constant number or vector over the channels, into the conv2d or
    linear node that alone feeds it.

    With s = gamma / sqrt(var + eps): weight' = s * weight and bias' = beta + s * (bias - mean), per output channel, in
    float64 and rounded once to the weight's dtype. The node keeps its name and yields the batch norm's value. A batch
    norm after anything else (DenseNet's and pre-activation ResNet's, after a concat or an add) stays.
    """
    reads = Reads(graph)
    result, folded_weights = graph.copy(), dict(weights)
    folded: dict[str, Node] = {}  # by the layer's name
    gone = set()
    for node in graph.nodes:
        layer = _foldable(node, reads, weights)
        if layer is not None:
            # A second batch norm right after the first finds the layer as the first left it.
            before = folded.get(layer.name, layer)
            folded[layer.name] = _fold(before, node, result, folded_weights)
            reads.producer[node.outputs[0]] = layer
            gone.add(node.name)
    result.nodes = [folded.get(node.name, node) for node in graph.nodes if node.name not in gone]
    return prune(result, folded_weights)


def _foldable(node: Node, reads: Reads, weights: dict) -> Node | None:
    """The layer that `node` folds into, or None."""
    if not is_affine(node, reads.graph, weights) or getattr(node.spec, "activation", None) is not None:
        return None
    (x,), _ = operands(node.inputs, weights)
    layer = reads.producer.get(x)
    if layer is None or not isinstance(layer.spec, (Conv2dSpec, LinearSpec)) or layer.spec.activation is not None:
        return None
    computed, _ = operands(layer.inputs[1:3], weights)
    if computed or any(layer.inputs[3:4]):  # a weight or a bias that is no constant, a residual
        return None
    return layer if reads.feeds_only(x, node) else None


def is_affine(node: Node, graph: Graph, weights: dict) -> bool:
    """Whether it is y = scale * x + shift with known vectors over the channels, or numbers."""
    values, constants = operands(node.inputs, weights)
    if len(values) != 1:
        return False
    if isinstance(node.spec, UnarySpec):
        return node.spec.kind == "affine"
    if isinstance(node.spec, BatchNormSpec):
        return values[0] == node.inputs[0]
    if not isinstance(node.spec, (AddSpec, MulSpec)):
        return False
    shape, along = graph.shape(values[0]), weights[constants[0]].shape
    if len(along) > len(shape) or len(shape) < 2 or graph.shape(node.outputs[0]) != shape:
        return False
    along = (1,) * (len(shape) - len(along)) + along
    return all(size == 1 for axis, size in enumerate(along) if axis != 1)


def affine(node: Node, weights: dict) -> tuple[np.ndarray, np.ndarray]:
    """An affine node as (scale, shift), float64, per channel or for all: y = scale * x + shift.

    A batch_norm's absent gamma is 1, beta 0; a product has no shift, a sum no scale.
    """
    if isinstance(node.spec, UnarySpec):
        return np.array([node.spec.alpha]), np.array([node.spec.beta])
    if isinstance(node.spec, (AddSpec, MulSpec)):
        _, (name,) = operands(node.inputs, weights)
        constant = np.asarray(weights[name], np.float64).reshape(-1)
        return (constant, np.zeros(1)) if isinstance(node.spec, MulSpec) else (np.ones(1), constant)
    mean, var, gamma, beta = (
        np.asarray(weights[name], np.float64) if name else None for name in (*node.inputs[1:], "", "")[:4]
    )
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + node.spec.eps)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _fold(layer: Node, norm: Node, graph: Graph, weights: dict) -> Node:
    weight, bias = layer.inputs[1], layer.inputs[2] if len(layer.inputs) > 2 else ""
    scale, shift = affine(norm, weights)
    w = np.asarray(weights[weight], np.float64)
    b = np.asarray(weights[bias], np.float64) if bias else 0.0
    w = w * scale.reshape(-1, *[1] * (w.ndim - 1))
    b = np.broadcast_to(b * scale + shift, w.shape[:1])
    dtype, kind = weights[weight].dtype, graph.params[weight].kind
    new_weight = add_param(graph, weights, f"{weight}+{norm.name}", w.astype(dtype), kind)
    new_bias = add_param(graph, weights, f"{bias or layer.name + '.bias'}+{norm.name}", b.astype(dtype), "bias")
    return layer.with_(inputs=(layer.inputs[0], new_weight, new_bias, *layer.inputs[3:]), outputs=norm.outputs)
