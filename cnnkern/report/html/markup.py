"""Elements as text: what HTML and SVG have in common, with everything escaped.

A figure carries its exact value, as it stands in the JSON, in a `data-` attribute beside the rounded text.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

# Control characters, surrogates and the like are allowed in JSON, but not in a page.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_EMPTY = ("meta",)


class Markup(str):
    """Text that is markup already: not escaped again."""


def text(value: Any) -> Markup:
    """Any value as text of a page."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(value))))


def join(parts: Iterable[Any], between: str = "") -> Markup:
    return Markup(between.join(text(part) for part in parts))


def tag(element: str, /, *body: Any, **attributes: Any) -> Markup:
    """An element. `class_` is class, `data_value` data-value; an attribute that is None is left out, True stands alone
    in HTML and as name="name" in what both read."""
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        if isinstance(value, float):
            value = f"{value:.2f}".rstrip("0").rstrip(".")
        written.append(f' {key}="{key if value is True else text(value)}"')
    opening = f"<{element}{''.join(written)}>"
    return Markup(opening if element in _EMPTY else f"{opening}{join(body)}</{element}>")


def exact(value: float | int | None) -> str | None:
    """A figure for a `data-` attribute, as the JSON writes it."""
    return None if value is None else json.dumps(value)


def figure(value: float | int | None, shown: str, element: str = "span", **attributes: Any) -> Markup:
    """A rounded figure with its exact value."""
    return tag(element, shown, data_value=exact(value), **attributes)


def embedded(document: Any) -> Markup:
    """A document for a script element: nothing in it can end the element."""
    written = json.dumps(document, allow_nan=False)
    for letter in "<>&":
        written = written.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(written)
