"""Documents of `cnnkern bench` that were written before a key was added: what can be derived is, the rest is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ops.base import Counts
from . import contract, counters, schema
from .network import operations, rate, share

UNKNOWN = {"command": "", "date": "", "commit": None}
FIGURES = ("caches", "bandwidths_gbs", "copying_gbs", "peaks_fma_gflops")
OLDER = counters.Hardware("this document is older than they are")
UNMEASURED = {"copying_gbs": {}, "peaks_fma_gflops": {}}


def completed(document: Any) -> dict[str, Any]:
    """A document of `cnnkern bench --json` with all keys that one has now; `document` is not changed.

    Raises ValueError where it is no such document, naming the place.
    """
    kind = document.get("schema") if isinstance(document, Mapping) else None
    if kind != f"cnnkern.bench/{contract.VERSION}":
        raise ValueError(f"expected a document of `cnnkern bench --json`, its schema is {kind!r}")
    try:
        rows = [_result(row, document["machine"]) for row in document["results"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a {kind} document that lacks or misplaces {error}") from error
    made = {**UNKNOWN, **document, "machine": {**UNMEASURED, **document["machine"]}, "results": rows}
    schema.validate(made)
    for place, found in (("machine", made["machine"]), *((row["model"], row) for row in rows)):
        _check_figures(place, found)
    return made


def _check_figures(place: str, found: Mapping[str, Any]) -> None:
    """What the schema leaves open: objects whose keys hang on the machine hold figures."""
    for key in FIGURES:
        for name, value in found.get(key, {}).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{place}.{key}.{name}: expected a number, received {value!r}")


def _result(row: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    same = row["isa"] is not None and row["isa"] == machine["isa"]
    distance = share(row["time"] and row["time"]["median_ms"], row["limit_ms"])
    roofs = {"bandwidths_gbs": machine["bandwidths_gbs"] if same else {}, "hardware": OLDER.as_dict()}
    layers_ms = sum(layer["time_ms"] or 0.0 for layer in row["layers"])
    layers = [_layer(layer, layers_ms) for layer in row["layers"]]
    return {
        **_nulls(contract.NETWORK_RESULT),
        **_operations(row),
        **roofs,
        "distance": distance,
        **row,
        "layers": layers,
    }


def _layer(layer: Mapping[str, Any], layers_ms: float) -> dict[str, Any]:
    theory, executed = _counts(layer)
    derived = {
        "bytes": theory.bytes,
        "intensity": executed.flops / theory.bytes if executed and theory.bytes else None,
        "executed_gflops": rate(executed, layer["time_ms"]),
        "share_of_time": share(layer["time_ms"], layers_ms),
        "distance": share(layer["time_ms"], layer["limit_ms"]),
    }
    return {**_nulls(contract.LAYER_RESULT), **_operations(layer), **derived, **layer}


def _operations(row: Mapping[str, Any]) -> dict[str, Any]:
    return operations(*_counts(row))


def _counts(row: Mapping[str, Any]) -> tuple[Counts, Counts | None]:
    return Counts(**row["theory"]), Counts(**row["executed"]) if row["executed"] else None


def _nulls(keys: Mapping[str, Any]) -> dict[str, None]:
    """The keys that may be null."""
    return {key: None for key, kind in keys.items() if isinstance(kind, tuple) and type(None) in kind}
