"""Taking layers out of a graph, or putting some in; what stands behind is fitted to the new widths.

Ablation as Zeiler and Fergus (2014) did it: a layer goes with its activation, and the next takes the width before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..ops import BatchNormSpec, Conv2dSpec, LinearSpec
from .builder import GraphBuilder
from .ir import Graph, Node, Value


def remove(graph: Graph, layers: Sequence[str]) -> Graph:
    """The graph without these layers, one after the other.

    Args:
        layers: names of layers, each taken out with the activation that alone reads it, or of blocks ("layer1.1" is
            all of "layer1.1.conv1", "layer1.1.bn1", ...). Each must read one value and give one, which its readers
            then read instead.
    Returns:
        A graph whose params have the new shapes; names stay.
    Raises:
        ValueError: no such layer, one with several inputs or outputs, or widths that cannot be fitted.
    Example:
        >>> import cnnkern
        >>> graph = remove(cnnkern.models.get("alexnet_227").graph(), ["fc7"])
        >>> graph.params["fc8.weight"].shape
        (1000, 4096)
    """
    for layer in layers:
        graph = _without(graph, layer)
    return refit(graph)


def insert(graph: Graph, after: str, build: Callable[[GraphBuilder, str], str]) -> Graph:
    """The graph with more layers behind a value.

    Args:
        after: a value's name; whoever read it reads the new layers' output, an output of the graph moves on as well.
        build: (builder, value) -> value, adding the new layers.
    Raises:
        ValueError: no such value, a name that is taken, or widths that cannot be fitted.
    Example:
        >>> import cnnkern
        >>> graph = insert(cnnkern.models.get("lenet5").graph(), "c1", lambda g, x: g.relu(x, "extra"))
        >>> [node.name for node in graph.nodes][:2]
        ['c1', 'extra']
    """
    if after not in graph.values:
        raise ValueError(f"after: a value of {graph.name} is accepted, got {after!r}")
    g = GraphBuilder.on(graph)
    found = build(g, after)
    made = g.graph
    old, new = made.nodes[: len(graph.nodes)], made.nodes[len(graph.nodes) :]
    place = next((i + 1 for i, node in enumerate(old) if after in node.outputs), 0)
    old = [_reading(node, after, found) for node in old]
    made.nodes = [*old[:place], *new, *old[place:]]
    made.outputs = [found if name == after else name for name in made.outputs]
    return refit(made)


def refit(graph: Graph) -> Graph:
    """Every shape anew from the inputs on; weights take the widths that their layers now read."""
    made = graph.copy()
    made.values = {name: graph.values[name] for name in graph.inputs}
    made.params, made.nodes = {}, []
    for node in graph.nodes:
        spec, shapes = _fitted(graph, node, [made.values[n].shape if n in made.values else None for n in node.inputs])
        try:
            outputs = spec.infer(*shapes)
        except ValueError as error:
            raise ValueError(f"{graph.name}, layer {node.name!r}: {error}") from None
        for name, shape in zip(node.inputs, shapes):
            if name in graph.params:
                made.params[name] = replace(graph.params[name], shape=tuple(shape))
        made.nodes.append(node.with_(spec=spec))
        for name, shape in zip(node.outputs, outputs):
            made.values[name] = replace(graph.values.get(name, Value(name, shape)), shape=shape)
    made.dropped = {name: rate for name, rate in graph.dropped.items() if name in made.values}
    return made


def _without(graph: Graph, layer: str) -> Graph:
    gone = _nodes_of(graph, layer)
    inside = {name for node in gone for name in node.outputs}
    sources = dict.fromkeys(n for node in gone for n in node.inputs if n in graph.values and n not in inside)
    kept = [node for node in graph.nodes if node not in gone]
    read = {name for node in kept for name in node.inputs} | set(graph.outputs)
    results = [name for node in gone for name in node.outputs if name in read]
    if len(sources) != 1 or len(results) != 1:
        raise ValueError(
            f"{graph.name}: {layer!r} reads {len(sources)} values and gives {len(results)}; "
            "a layer or block with one of each can be taken out"
        )
    (source,), (result,) = sources, results
    made = graph.copy()
    made.nodes = [_reading(node, result, source) for node in kept]
    made.outputs = [source if name == result else name for name in graph.outputs]
    return made


def _nodes_of(graph: Graph, layer: str) -> list[Node]:
    """The layer with the activation that alone reads it, or the block's layers."""
    readers = graph.consumers()
    for node in graph.nodes:
        if node.name == layer:
            behind = readers[node.outputs[0]]
            alone = len(behind) == 1 and behind[0].spec.op == "activation" and node.outputs[0] not in graph.outputs
            return [node, *behind] if alone and node.spec.op != "activation" else [node]
    block = [node for node in graph.nodes if node.name.startswith((f"{layer}.", f"{layer}/"))]
    if not block:
        raise ValueError(f"{graph.name} has no layer or block {layer!r}")
    return block


def _reading(node: Node, old: str, new: str) -> Node:
    return node.with_(inputs=tuple(new if name == old else name for name in node.inputs))


def _fitted(graph: Graph, node: Node, known: list) -> tuple:
    """The node's Spec and its inputs' shapes, those of its weights made to fit what it reads (`known`, else None)."""
    spec = node.spec
    shapes = [graph.params[n].shape if n in graph.params else shape for n, shape in zip(node.inputs, known)]
    x = known[0]
    if isinstance(spec, Conv2dSpec):
        k, old, *kernel = shapes[1]
        channels = x[1]
        if old == 1 and spec.groups > 1 and channels != spec.groups:  # depthwise: as many filters as before, each
            k, spec = k // spec.groups * channels, replace(spec, groups=channels)
            shapes = [shapes[0], None, *((k,) if shape else shape for shape in shapes[2:3]), *shapes[3:]]
        if channels % spec.groups:
            raise ValueError(f"{graph.name}, layer {node.name!r}: {spec.groups} groups do not divide {channels}")
        shapes[1] = (k, channels // spec.groups, *kernel)
    elif isinstance(spec, LinearSpec):
        shapes[1] = (shapes[1][0], x[1])
    elif isinstance(spec, BatchNormSpec):
        shapes[1:] = [shape and (x[1],) for shape in shapes[1:]]
    return spec, shapes
