"""Operation accounting: theory, predicted and executed, never mixed, and what lies between them.

`theory` comes from the Spec, `predicted` from shape and plan alone (and where regions lie, from those), `executed` from
running the plan on counting kernels. They must satisfy, for every layer,

    predicted == executed                    (the plan does what it says)
    theory - executed == sum of the items    (and we know where every operation went)

An item is positive where the plan does less than the textbook (skipped padding taps, the saving of an algorithm) and
negative where it does more (block padding, halos).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UnsupportedError
from ..ops.base import Counts

OPERATIONS = ("fma", "mul", "add", "max", "special")
BYTES = ("bytes_read", "bytes_written")


@dataclass(frozen=True)
class LayerAccount:
    """One layer's three numbers. `predicted` and `executed` are None where a backend has none (the reference)."""

    name: str
    kernel: str
    theory: Counts
    predicted: Counts | None = None
    executed: Counts | None = None
    itemised: dict[str, Counts] | None = None  # None where the backend does not itemise; {} says "no difference"

    @property
    def faults(self) -> list[str]:
        """What does not add up, one sentence each; empty when all is well or nothing was counted."""
        if self.executed is None:
            return []
        faults = []
        if self.predicted is None:
            faults.append(f"{self.name}: executed operations were counted, but none were predicted")
        else:
            faults += [f"{self.name}: {text}" for text in _differences(self.predicted, self.executed)]
        if self.itemised is not None:
            items = sum(self.itemised.values(), Counts())
            gap = self.theory - self.executed
            pairs = [(kind, getattr(gap, kind), getattr(items, kind)) for kind in OPERATIONS]
            faults += [
                f"{self.name}: theory - executed is {difference:,} {kind}, its items sum to {total:,}"
                for kind, difference, total in pairs
                if difference != total
            ]
        return faults

    @property
    def agrees(self) -> bool | None:
        """True or False where operations were counted; None where they were not."""
        return None if self.executed is None else not self.faults

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kernel": self.kernel,
            "theory": asdict(self.theory),
            "predicted": asdict(self.predicted) if self.predicted else None,
            "executed": asdict(self.executed) if self.executed else None,
            "itemised": {item: asdict(counts) for item, counts in (self.itemised or {}).items()},
            "agrees": self.agrees,
        }


@dataclass(frozen=True)
class ModelAccount:
    """The accounts of a model's layers, in execution order."""

    layers: tuple[LayerAccount, ...]

    @property
    def theory(self) -> Counts:
        return sum((layer.theory for layer in self.layers), Counts())

    @property
    def predicted(self) -> Counts | None:
        return _total(layer.predicted for layer in self.layers)

    @property
    def executed(self) -> Counts | None:
        return _total(layer.executed for layer in self.layers)

    @property
    def itemised(self) -> dict[str, Counts]:
        totals: dict[str, Counts] = {}
        for layer in self.layers:
            for item, counts in (layer.itemised or {}).items():
                totals[item] = totals.get(item, Counts()) + counts
        return totals

    @property
    def faults(self) -> list[str]:
        """What does not add up in any layer; where layers are counted, one that was left out is a fault as well, unless
        another library computes it."""
        if self.executed is None:
            return []
        faults = []
        for layer in self.layers:
            if layer.kernel == "foreign":
                continue
            left_out = layer.executed is None
            faults += [f"{layer.name}: was not counted ({layer.kernel})"] if left_out else layer.faults
        return faults

    @property
    def agrees(self) -> bool | None:
        """None when not a single layer was counted, else whether everything adds up."""
        return None if self.executed is None else not self.faults


def account(executable: Any, x: Any) -> ModelAccount:
    """Run `executable` on its counting kernels and gather the three numbers of every layer.

    Where the backend cannot count, `executed` stays None; where it does not predict, `predicted` as well.
    """
    rows = _count_rows(executable, x)
    counted = {row["name"]: row for row in rows}
    if len(counted) != len(rows):
        raise RuntimeError("two counted steps carry the same name: a count could not be given to its layer")
    layers = []
    for step in executable.known(x) if hasattr(executable, "known") else executable.steps:
        row = counted.pop(step.name, {})
        layers.append(
            LayerAccount(
                name=step.name,
                kernel=row.get("kernel") or step.kernel,
                theory=step.theory,
                predicted=row.get("predicted", step.predicted),
                executed=row.get("executed"),
                itemised=_items(row.get("itemised")),
            )
        )
    if counted:
        raise RuntimeError(f"counted steps that the plan does not have: {', '.join(counted)}")
    return ModelAccount(tuple(layers))


def _count_rows(executable: Any, x: Any) -> list[Mapping[str, Any]]:
    try:
        return list(executable.count(x))
    except UnsupportedError:
        return []


def _items(itemised: Mapping[str, Any] | None) -> dict[str, Counts] | None:
    """Items as Counts; an item given as a plain number means multiply-accumulates."""
    if itemised is None:
        return None
    return {name: c if isinstance(c, Counts) else Counts(fma=int(c)) for name, c in itemised.items()}


def _kinds(predicted: Counts | None) -> tuple[str, ...]:
    """What is compared. A prediction that leaves bytes at 0 makes no claim about them."""
    return OPERATIONS + (BYTES if predicted is not None and predicted.bytes else ())


def _differences(predicted: Counts, executed: Counts) -> list[str]:
    return [
        f"predicted {getattr(predicted, kind):,} {kind}, executed {getattr(executed, kind):,}"
        for kind in _kinds(predicted)
        if getattr(predicted, kind) != getattr(executed, kind)
    ]


def _total(counts: Iterable[Counts | None]) -> Counts | None:
    present = [c for c in counts if c is not None]
    return sum(present, Counts()) if present else None
