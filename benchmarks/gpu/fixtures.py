"""Every primitive of prims.cuh on the device, kept for the host shim's test: tests/cuda/fixtures has the cases."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from cnnkern.backends.cuda import compiler

from .harness import Item
from .place import Place

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "cuda" / "fixtures"
RESULTS = "primitives.npz"


@cache
def primitives() -> Any:
    """tests/cuda/fixtures/primitives.py: it is no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("primitives")
    finally:
        sys.path.remove(str(FOLDER))


def items(place: Place) -> Iterator[Item]:
    """Each case by itself, held against NumPy, then all results as one file. What a case made is run again for it: that
    costs nothing, and a case that takes the device down is in no other's way."""
    cases = [case for case in primitives().CASES if compiler.serves(place.runtime.target, case.instance)]
    yield Item("compile", partial(place.runtime.compile, [case.instance for case in cases]))
    for case in cases:
        yield Item(case.name, partial(check, place, case), limit_s=15.0)
    yield Item("write", partial(write, place))


def check(place: Place, case: Any) -> dict[str, Any]:
    made = primitives().run(case, place.runtime)
    return {
        "case": case.name,
        "kernel": case.kernel,
        "wrong": primitives().wrong(case, made, case.expected(case.inputs)),
    }


def write(place: Place) -> dict[str, Any]:
    """Results of every case that ran, right or wrong: the file says what the hardware does."""
    ran = {row["case"] for rows in place.earlier("fixtures").values() for row in rows if "case" in row}
    cases = [case for case in primitives().CASES if case.name in ran]
    about = {"device": getattr(place.runtime, "name", "no GPU"), "target": place.runtime.target}
    file = place.out / RESULTS
    primitives().save(file, {case: primitives().run(case, place.runtime) for case in cases}, about)
    return {"file": RESULTS, "size_bytes": file.stat().st_size}


def section(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    rows = [row for found in records.values() for row in found]
    written = next((row for row in rows if "file" in row), {"file": "", "size_bytes": 0})
    return {**written, "rows": [row for row in rows if "case" in row]}
