"""The plan: a graph lowered to Steps by a backend, once; afterwards running only obeys.

`make_plan` is the same loop for every backend. What differs is `prepare`, which turns one node into a Step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..backends.base import Step
from ..ops.base import Counts, Shape
from .ir import Graph, Node, Value
from .memory import MemoryPlan, plan_memory
from .problem import format_problem
from .views import View, own_buffers

Prepare = Callable[..., "Step | Sequence[Step] | None"]

FORMAT = 1  # of the JSON


@dataclass
class Plan:
    """What will run, in order. `str(plan)` is a table; `to_json` and `load_decisions` carry the choices elsewhere."""

    name: str  # the graph's
    backend: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    steps: list[Step]
    memory: MemoryPlan = field(default_factory=MemoryPlan)
    views: Mapping[str, View] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"plan of {self.name}: several steps are called {', '.join(twice)}; names are unique")

    @property
    def theory(self) -> Counts:
        return sum((step.theory for step in self.steps), Counts())

    def offset_bytes(self, value: str) -> int | None:
        """Where in the arena the buffer begins that holds `value`; None when it does not lie there (an output, say)."""
        return self.memory.offsets.get(self.views[value].root if value in self.views else value)

    def rows(self) -> list[dict[str, Any]]:
        """A dict per step: layer, op, kernel, shape, macs, arena_bytes (the offset), decision, why."""
        return [
            {
                "layer": step.name,
                "op": step.spec.op,
                "kernel": step.kernel,
                "shape": step.out_shapes[0],
                "macs": step.theory.fma,
                "arena_bytes": self.offset_bytes(step.outputs[0]),
                "decision": dict(step.plan),
                "why": step.why,
            }
            for step in self.steps
        ]

    def __str__(self) -> str:
        head = ("layer", "op", "kernel", "output", "MACs (theory)", "arena offset", "decision")
        body = [
            (row["layer"], row["op"], row["kernel"], shape_text(row["shape"]), f"{row['macs']:,}",
             "-" if row["arena_bytes"] is None else f"{row['arena_bytes']:,}",
             " ".join(f"{key}={value}" for key, value in row["decision"].items()))
            for row in self.rows()
        ]  # fmt: skip
        arena = f"{self.memory.arena_bytes:,}"
        total = ("total", "", f"{len(self.steps)} steps", "", f"{self.theory.fma:,}", arena, "")
        note = (
            f"{self.name} on {self.backend}: arena {arena} bytes at its peak, "
            f"{self.memory.activation_bytes:,} bytes of activations without reuse"
        )
        if not any(row[-1] for row in body):
            head, body, total = head[:-1], [row[:-1] for row in body], total[:-1]
        return table(head, [*body, total], right=(4, 5)) + "\n" + note

    def decisions(self) -> dict[str, dict[str, Any]]:
        """Layer name -> the choices made for it (`Step.plan`): give them to `make_plan` to make the same plan again."""
        return {step.name: dict(step.plan) for step in self.steps}

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready data."""
        return {
            "format": FORMAT,
            "graph": self.name,
            "backend": self.backend,
            "inputs": {value.name: list(value.shape) for value in self.inputs},
            "outputs": {value.name: list(value.shape) for value in self.outputs},
            "arena_bytes": self.memory.arena_bytes,
            "activation_bytes": self.memory.activation_bytes,
            "steps": [
                {
                    "layer": step.name,
                    "kernel": step.kernel,
                    "problem": format_problem(step.spec, step.in_shapes),
                    "output_shapes": [list(shape) for shape in step.out_shapes],
                    "arena_offset_bytes": self.offset_bytes(step.outputs[0]),
                    "theory": asdict(step.theory),
                    "predicted": asdict(step.predicted) if step.predicted else None,
                    "decision": dict(step.plan),
                    "why": step.why,
                }
                for step in self.steps
            ],
        }

    def to_json(self, **options: Any) -> str:
        """`to_dict` as text; `options` as for `json.dumps`."""
        return json.dumps(self.to_dict(), **{"indent": 2, **options})


def load_decisions(source: str | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The decisions of a plan from its JSON text or `to_dict`. Raises ValueError when it is no plan."""
    try:
        data = json.loads(source) if isinstance(source, str) else source
        if data["format"] != FORMAT:
            raise ValueError(f"plan: format {data['format']} received, {FORMAT} accepted")
        return {step["layer"]: dict(step["decision"]) for step in data["steps"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"plan: this is no plan's JSON ({type(error).__name__}: {error})") from error


def make_plan(
    graph: Graph,
    weights: Mapping[str, Any],
    prepare: Prepare,
    *,
    backend: str,
    decisions: Mapping[str, Mapping[str, Any]] | None = None,
    views: Mapping[str, View] | None = None,
    memory: MemoryPlan | None = None,
) -> Plan:
    """Lower every node of a batch-bound graph, in order.

    Args:
        graph, weights: after the backend's passes.
        prepare: `prepare(node, graph, weights, decision)` -> a Step, several, or None for a node that needs no step
            (a view; a node swallowed by another's fused step). `decision` is the layer's entry of `decisions`, else
            None: a prepare obeys it or raises ValueError.
        backend: its name, for people.
        decisions: as `load_decisions` returns them.
        views: where values lie inside others, as `plan_views` says; by default every value has its own buffer.
        memory: the arena; by default planned here from the lifetimes in node order.
    Raises:
        ValueError: an unbound batch, or decisions for layers that the graph does not have.
    """
    unbound = [value.name for value in graph.values.values() if any(isinstance(d, str) for d in value.shape)]
    if unbound:
        raise ValueError(f"graph: the batch of {unbound[0]} is a symbol; bind it first (graph.bind(batch))")
    views = views or own_buffers(graph)
    steps: list[Step] = []
    for node in graph.nodes:
        made = prepare(node, graph, weights, (decisions or {}).get(node.name))
        steps += [made] if isinstance(made, Step) else made or ()
    unknown = set(decisions or ()) - {named.name for named in (*graph.nodes, *steps)}
    if unknown:
        raise ValueError(f"decisions: {graph.name} has no layer {', '.join(sorted(unknown))}")
    return Plan(
        name=graph.name,
        backend=backend,
        inputs=tuple(graph.values[name] for name in graph.inputs),
        outputs=tuple(graph.values[name] for name in graph.outputs),
        steps=steps,
        memory=memory or plan_memory(graph, views),
        views=views,
    )


def new_step(node: Node, graph: Graph, kernel: str, **changes: Any) -> Step:
    """The Step of one node, filled in with what the graph knows; `changes` are further fields (run, native ...)."""
    in_shapes = tuple(graph.shape(name) for name in node.inputs)
    return Step(
        name=node.name,
        spec=node.spec,
        kernel=kernel,
        inputs=node.inputs,
        outputs=node.outputs,
        in_shapes=in_shapes,
        out_shapes=tuple(graph.shape(name) for name in node.outputs),
        theory=node.spec.theory(*in_shapes),
        **changes,
    )


def shape_text(shape: Shape) -> str:
    """(1, 64, 56, 56) as "1x64x56x56"."""
    return "x".join(map(str, shape)) or "scalar"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns as plain text, a rule under the head and over the last row; `right`: right-aligned columns."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([line(head), rule, *map(line, rows[:-1]), rule, line(rows[-1])])
