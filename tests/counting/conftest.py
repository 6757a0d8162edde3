"""Counting one operation on one instruction set, as `cnnkern flops` counts a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cnnkern.backends.cpu.backend import CpuBackend
from cnnkern.backends.one_node import layout, one_node
from cnnkern.measure.accounting import BYTES, OPERATIONS
from cnnkern.ops.base import Counts, Spec

core = pytest.importorskip("cnnkern._core", reason="no native module: nothing counts")
ISAS = core.available_isas()


@pytest.fixture(params=ISAS)
def isa(request) -> str:
    return request.param


def compiled(spec: Spec, arrays: Sequence[np.ndarray | None], isa: str, threads: int = 1, **options: Any):
    """(executable, inputs by name) of one operation. `memory`: how a rank 4 output lies ("NCHW" or "NHWC");
    `decisions`: for the operation's plan."""
    graph, weights, inputs = one_node(spec, arrays)
    layouts = {name: layout(array) for name, array in zip(graph.inputs, inputs)}
    layouts[graph.outputs[0]] = options.get("memory", "NCHW")
    decisions = {graph.nodes[0].name: options["decisions"]} if options.get("decisions") else None
    executable = CpuBackend(isa)._compile(graph, weights, "float32", threads, layouts, decisions)
    return executable, dict(zip(graph.inputs, inputs))


@pytest.fixture
def count() -> Callable[..., list[dict[str, Any]]]:
    """`count(spec, arrays, isa, threads, memory=, decisions=)`: the counted steps of one operation."""

    def rows(*args, **options):
        executable, inputs = compiled(*args, **options)
        return executable.count(inputs)

    return rows


@pytest.fixture
def agree() -> Callable[[dict[str, Any]], None]:
    """Asserts of a counted step that it executed what was predicted, and that its items add up, bytes included."""

    def check(row: dict[str, Any]) -> None:
        assert row["predicted"] == row["executed"], row["name"]
        gap, items = row["theory"] - row["executed"], sum(row["itemised"].values(), Counts())
        for kind in OPERATIONS + BYTES:
            assert getattr(gap, kind) == getattr(items, kind), (row["name"], kind, row["itemised"])
        assert Counts() not in row["itemised"].values(), "an item that says nothing"

    return check
