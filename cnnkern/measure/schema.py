"""The stable machine format: what `--json` writes, one document per command.

A document is {"schema": "cnnkern.<verb>/1", "cnnkern": version, ...body}; `contract.KEYS` says what a body holds, and
`validate` checks a document against it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contract import KEYS, VERSION


def document(verb: str, **body: Any) -> dict[str, Any]:
    """A document of `verb` with this body, in plain JSON values, checked; raises ValueError where it breaks KEYS."""
    from .. import __version__

    made = _plain({"schema": f"cnnkern.{verb}/{VERSION}", "cnnkern": __version__, **body})
    validate(made)
    return made


def validate(doc: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the place, when `doc` lacks a key of its schema or holds the wrong kind of value."""
    name, _, version = str(doc.get("schema", "")).removeprefix("cnnkern.").partition("/")
    if name not in KEYS or version != str(VERSION):
        known = ", ".join(f"cnnkern.{verb}/{VERSION}" for verb in KEYS)
        raise ValueError(f"schema: received {doc.get('schema')!r}, accepted are {known}")
    _check(doc, {"cnnkern": str, **KEYS[name]}, name)


def write(doc: Mapping[str, Any], target: str) -> None:
    """Write `doc` to the file `target`, or to standard output when it is "-"."""
    text = json.dumps(doc, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Tuples become lists, NumPy scalars Python numbers, and what is no finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check(value: Any, schema: Any, place: str) -> None:
    if isinstance(schema, dict):
        if not isinstance(value, Mapping):
            raise ValueError(f"{place}: expected an object, received {value!r}")
        for key, inner in schema.items():
            if key not in value:
                raise ValueError(f"{place}: the key {key!r} is missing")
            _check(value[key], inner, f"{place}.{key}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise ValueError(f"{place}: expected an array, received {value!r}")
        for i, item in enumerate(value):
            _check(item, schema[0], f"{place}[{i}]")
    elif isinstance(schema, tuple):
        inner = next((s for s in schema if isinstance(s, dict)), None)
        if inner is not None and isinstance(value, Mapping):
            _check(value, inner, place)
        elif not isinstance(value, tuple(s for s in schema if isinstance(s, type))) or _bool_for_number(value, schema):
            raise ValueError(f"{place}: received {value!r}")
    elif not isinstance(value, schema) or _bool_for_number(value, (schema,)):
        raise ValueError(f"{place}: expected {schema.__name__}, received {value!r}")


def _bool_for_number(value: Any, schema: tuple) -> bool:
    return isinstance(value, bool) and bool not in schema
