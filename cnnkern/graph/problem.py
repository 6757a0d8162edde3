"""A step's problem as one line of text, and back: what the verbose lines print and the op benchmarks accept.

    conv2d 1x64x56x56 64x64x3x3 64 padding=((1,1),(1,1)) activation=relu

The op, the input shapes by position ("-" where an optional one is absent, trailing ones left out, "scalar" for rank 0),
then the attributes that differ from their defaults.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import MISSING, fields

from ..ops import SPECS, Shape, Spec


def format_problem(spec: Spec, shapes: Sequence[Shape | None]) -> str:
    """`spec` on inputs of `shapes` as one line. Example: "linear 1x512 1000x512 1000"."""
    words = [spec.op, *(_shape_word(shape) for shape in shapes)]
    while words[-1] == "-":
        words.pop()
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.default is MISSING or value != field.default:
            words.append(f"{field.name}={value if isinstance(value, str) else repr(value).replace(' ', '')}")
    return " ".join(words)


def parse_problem(text: str) -> tuple[Spec, tuple[Shape | None, ...]]:
    """(spec, input shapes) of a line that `format_problem` wrote; the shapes are checked by the Spec's `infer`.

    Raises ValueError naming the word that is not understood.
    """
    op, *words = text.split() or [""]
    if op not in SPECS:
        raise ValueError(f"problem: the first word is an op, got {op!r}; known are {', '.join(sorted(SPECS))}")
    shapes = tuple(_shape(word) for word in words if "=" not in word)
    attributes = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = set(attributes) - {field.name for field in fields(SPECS[op])}
    if unknown:
        raise ValueError(f"problem: {op} has no attribute {', '.join(sorted(unknown))}")
    spec = SPECS[op](**{name: _literal(word) for name, word in attributes.items()})
    shapes += (None,) * (len(spec.inputs) - len(shapes))
    spec.infer(*shapes)
    return spec, shapes


def _shape_word(shape: Shape | None) -> str:
    if shape is None:
        return "-"
    return "x".join(map(str, shape)) or "scalar"


def _shape(word: str) -> Shape | None:
    if word in ("-", "scalar"):
        return None if word == "-" else ()
    try:
        return tuple(int(size) for size in word.split("x"))
    except ValueError:
        raise ValueError(f"problem: {word!r} is no shape; accepted are 1x64x56x56, - and scalar") from None


def _literal(word: str):
    for read in (ast.literal_eval, float):  # float reads inf, which is no literal
        try:
            return read(word)
        except (ValueError, SyntaxError):
            pass
    return word
