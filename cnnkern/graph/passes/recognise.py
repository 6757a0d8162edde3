"""What other libraries spell out in several operations, put as the one operation that it is."""

from __future__ import annotations

import math

import numpy as np

from ...ops import ActivationSpec, BinarySpec, ChannelShuffleSpec, MulSpec, ReshapeSpec, TransposeSpec, UnarySpec
from ...ops.base import Spec
from ..ir import Graph, Node
from .rewrite import Reads, prune

GATES = {"sigmoid": "silu", "hardsigmoid": "hardswish"}  # x times its gate
NEAR = 1e-6  # constants of a formula come rounded to float32


def recognise(graph: Graph, weights: dict) -> tuple[Graph, dict]:
    """Find silu = x sigmoid(x), hardswish = x hardsigmoid(x) = x relu6(x + 3) / 6, gelu = x (1 + erf(x / sqrt 2)) / 2,
    and channel shuffle (channels split in two axes, those exchanged, joined again). What is between must have no other
    reader.

    The last node keeps its name and yields the operation's value.
    """
    reads = Reads(graph)
    found: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        for match in (_gate, _product, _shuffle):
            matched = match(node, reads, weights)
            if matched is not None and graph.shape(matched[0]) == graph.shape(node.outputs[0]):
                x, spec, between = matched
                found[node.name] = node.with_(spec=spec, inputs=(x,))
                gone.update(other.name for other in between)
                break
    result = graph.copy()
    result.nodes = [found.get(node.name, node) for node in graph.nodes if node.name not in gone]
    return prune(result, weights)


Match = tuple[str, Spec, list[Node]] | None  # (what it is a function of, the function, nodes that go)


def _gate(node: Node, reads: Reads, weights: dict) -> Match:
    if not isinstance(node.spec, MulSpec) or node.spec.activation is not None:
        return None
    for x, gated in (node.inputs, node.inputs[::-1]):
        gate = reads.producer.get(gated)
        if gate is None or not isinstance(gate.spec, ActivationSpec) or gate.spec.kind not in GATES:
            continue
        if gate.inputs[0] == x and reads.feeds_only(gated, node):
            return x, ActivationSpec(GATES[gate.spec.kind]), [gate]
    return None


def _product(node: Node, reads: Reads, weights: dict) -> Match:
    """A product, in any order, whose last factor the node is: gelu, x (1 + erf(x / sqrt 2)) / 2; hard swish,
    x relu6(x + 3) / 6; hard sigmoid, that without x."""
    if not _is_factor(node, weights):
        return None
    factors, between, ways = [], [], [node]
    while ways:
        reader = ways.pop()
        if isinstance(reader.spec, UnarySpec):
            factors.append(reader.spec.alpha)
        for name in reader.inputs:
            inner = reads.producer.get(name)
            if inner is not None and _is_factor(inner, weights) and reads.feeds_only(name, reader):
                between.append(inner)
                ways.append(inner)
            else:
                factors.append((name, reader))
        if _divides(reader, weights):
            factors[-1] = 1 / _number(reader.inputs[1], weights)
    numbers = [f if isinstance(f, float) else _number(f[0], weights) for f in factors]
    values = [f for f, number in zip(factors, numbers) if number is None]
    number = math.prod(n for n in numbers if n is not None)
    for (x, _), (other, reader) in (values, values[::-1]) if len(values) == 2 else ():
        if _close(number, 0.5) and (tail := _one_plus_erf(other, reader, x, reads, weights)):
            return x, ActivationSpec("gelu"), [*between, *tail]
        if (
            _close(number, 1 / 6)
            and (tail := _six_gate(other, reader, reads, weights))
            and _value(tail[1], weights) == x
        ):
            return x, ActivationSpec("hardswish"), [*between, *tail]
    if len(values) == 1 and _close(number, 1 / 6) and (tail := _six_gate(*values[0], reads, weights)):
        return _value(tail[1], weights), ActivationSpec("hardsigmoid"), [*between, *tail]
    return None


def _six_gate(name: str, reader: Node, reads: Reads, weights: dict) -> list[Node] | None:
    """The nodes of relu6(x + 3) where `name` is that, read by `reader` alone."""
    clamp = reads.producer.get(name)
    if clamp is None or clamp.spec != ActivationSpec("relu6") or not reads.feeds_only(name, reader):
        return None
    plus = reads.producer.get(clamp.inputs[0])
    if plus is None or _affine_numbers(plus, weights) != (1.0, 3.0) or not reads.feeds_only(clamp.inputs[0], clamp):
        return None
    return [clamp, plus]


def _is_factor(node: Node, weights: dict) -> bool:
    """A product, of two values or with a number, or a quotient by one."""
    if isinstance(node.spec, UnarySpec):
        return node.spec.kind == "affine" and node.spec.beta == 0
    return (isinstance(node.spec, MulSpec) and node.spec.activation is None) or _divides(node, weights)


def _divides(node: Node, weights: dict) -> bool:
    """Whether it is something over a number."""
    by = node.inputs[-1] if isinstance(node.spec, BinarySpec) and node.spec.kind == "div" else ""
    return _number(by, weights) not in (None, 0.0)


def _one_plus_erf(name: str, reader: Node, x: str, reads: Reads, weights: dict) -> list[Node] | None:
    """The nodes of 1 + erf(x / sqrt 2) where `name` is that, read by `reader` alone."""
    plus = reads.producer.get(name)
    if plus is None or not reads.feeds_only(name, reader) or _affine_numbers(plus, weights) != (1.0, 1.0):
        return None
    erf = reads.producer.get(_value(plus, weights))
    if erf is None or not isinstance(erf.spec, UnarySpec) or erf.spec.kind != "erf":
        return None
    scaled = reads.producer.get(erf.inputs[0])
    numbers = None if scaled is None else _affine_numbers(scaled, weights)
    if numbers is None or not _close(numbers[0], math.sqrt(0.5)) or numbers[1] != 0 or _value(scaled, weights) != x:
        return None
    alone = reads.feeds_only(erf.outputs[0], plus) and reads.feeds_only(scaled.outputs[0], erf)
    return [plus, erf, scaled] if alone else None


def _affine_numbers(node: Node, weights: dict) -> tuple[float, float] | None:
    """(factor, term) of a node that is one or the other with a number."""
    if isinstance(node.spec, UnarySpec) and node.spec.kind == "affine":
        return node.spec.alpha, node.spec.beta
    numbers = [_number(name, weights) for name in node.inputs]
    known = [number for number in numbers if number is not None]
    if len(known) != 1 or getattr(node.spec, "activation", None) is not None:
        return None
    if isinstance(node.spec, BinarySpec):
        return (1 / numbers[1], 0.0) if _divides(node, weights) else None
    return {"mul": (known[0], 0.0), "add": (1.0, known[0])}.get(node.spec.op)


def _value(node: Node, weights: dict) -> str:
    return next(name for name in node.inputs if _number(name, weights) is None)


def _number(name: str, weights: dict) -> float | None:
    """A constant of one element."""
    array = weights.get(name)
    return float(np.asarray(array).reshape(-1)[0]) if array is not None and array.size == 1 else None


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= NEAR * abs(b)


def _shuffle(node: Node, reads: Reads, weights: dict) -> Match:
    """(N, C, H, W) -> (N, g, C/g, H, W) -> axes 1 and 2 exchanged -> (N, C, H, W)."""
    swap = reads.producer.get(node.inputs[0]) if isinstance(node.spec, ReshapeSpec) else None
    if swap is None or not isinstance(swap.spec, TransposeSpec) or swap.spec.axes != (0, 2, 1, 3, 4):
        return None
    split = reads.producer.get(swap.inputs[0])
    if split is None or not isinstance(split.spec, ReshapeSpec):
        return None
    x, shape = split.inputs[0], reads.graph.shape(split.inputs[0])
    _, groups, *_ = between = reads.graph.shape(split.outputs[0])
    whole = reads.graph.shape(node.outputs[0]) == shape and len(shape) == 4
    if not whole or between != (shape[0], groups, shape[1] // groups, *shape[2:]) or x not in reads.graph.values:
        return None
    alone = reads.feeds_only(split.outputs[0], swap) and reads.feeds_only(swap.outputs[0], node)
    return (x, ChannelShuffleSpec(groups), [split, swap]) if alone else None
