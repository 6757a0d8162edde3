"""Documents of `cnnkern bench` for tests of its report, and the page of one, read as a browser would."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

from cnnkern.measure.older import completed
from cnnkern.report.html import page

HOSTILE = "</script><script>alert(1)</script><!-- \"'&$\\frac{\x1b\ud800 <b onclick=x>"
VOID = {"meta", "wbr"}
FETCHING = {"src", "srcset", "action", "xlink:href", "data", "poster", "background", "ping"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, figures, text, and whether every element ends where it should."""

    def __init__(self, source: str):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.figures, self.words, self.inside = [], [], [], [], {}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), (tag, attributes)
        self.elements.append((tag, dict(attributes)))
        self.figures += [value for name, value in attributes if name in ("data-value", "data-x")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.inside.setdefault(self.open[-1] if self.open else "", []).append(data)

    def document(self) -> dict:
        return next(json.loads(text) for text in self.inside["script"] if text.startswith("{"))

    def text(self) -> str:
        return " ".join(word for tag, found in self.inside.items() if tag not in ("script", "style") for word in found)


def numbers(value) -> set:
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    return {value} if isinstance(value, (int, float)) and not isinstance(value, bool) else set()


def checked(document: dict) -> Page:
    """The page of a document, with everything that holds for every page."""
    document = completed(document)
    source = page(document)
    source.encode("utf-8")
    read = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert read.document() == document
    assert {json.loads(value) for value in read.figures} <= numbers(document)
    fetching = {"link", "img", "iframe", "object", "embed", "base", "form", "audio", "video", "image", "use"}
    assert not fetching & {tag for tag, _ in read.elements}
    for tag, attributes in read.elements:
        assert not {name for name in attributes if name.startswith("on")} | (set(attributes) & FETCHING)
        assert attributes.get("href", "#").startswith("#"), (tag, attributes)
    style = " ".join(read.inside["style"])
    assert "url(" not in style and "@import" not in style
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {attributes["href"][1:] for _, attributes in read.elements if "href" in attributes} <= set(ids)
    for picture in re.findall(r"<svg.*?</svg>", source, re.S):
        root = ElementTree.fromstring(picture)
        hidden, named = root.get("aria-hidden") == "true", root.find("title") is not None and root.get("aria-label")
        assert hidden or named, picture[:200]
        assert "nan" not in picture.lower().split("<title>")[0] and "inf" not in root.get("width", "")
    return read


# --- documents


COUNTS = dict.fromkeys(("mul", "add", "max", "special", "bytes_read", "bytes_written"), 0)
CLOCK = {"probes": 8, "median_gflops": 99.0, "wander": 0.07, "noisy": True}


def result(layers, model="lenet5", isa="avx2", **more) -> dict:
    timed = any(layer["time_ms"] for layer in layers)
    counted = all(layer["executed"] for layer in layers)
    time = {"median_ms": 12.5, "minimum_ms": 12.25, "spread": 0.03125, "drift": 0.0, "rounds": 9}
    return {
        "model": model,
        "backend": "cpu" if isa else "reference",
        "isa": isa,
        "threads": 2,
        "batch": 1,
        "input": "grace_hopper.jpg",
        "time": time if timed else None,
        "images_per_s": 80.0 if timed else None,
        "rate_gflops": 3.5 if timed else None,
        "share_of_peak": 0.125,
        "peak_fma_gflops": 100.0 if isa else None,
        "limit_ms": 2.5,
        "share_of_limit": 0.2,
        "peak_fma": None,
        "error": 1e-6,
        "tolerance": 1e-4,
        "worst_layer": "f6",
        "correct": True,
        "counts_agree": True,
        "faults": [],
        "theory": {**COUNTS, "fma": 7},
        "predicted": None,
        "executed": {**COUNTS, "fma": 6} if counted else None,
        "build_s": 0.5,
        "first_ms": 30.0,
        "arena_bytes": None,
        "activation_bytes": None,
        "layers": layers,
        "race": None,
        "bandwidths_gbs": {"L1": 400.0, "L2": 390.0, "L3": 100.0, "DRAM": 20.0} if isa else {},
        **more,
    }


def document(results, good=True) -> dict:
    machine = {
        "cpu": "a cpu",
        "system": "Linux",
        "python": "3.11",
        "cores": 2,
        "threads": 2,
        "isa": "avx2",
        "isas": ["avx2"],
    }
    machine |= {
        "isa_reason": "",
        "caches": {"l1d": 49152, "l2": 0},
        "peak_fma_gflops": 100.0,
        "peak_bandwidth_gbs": 20.0,
    }
    machine["bandwidths_gbs"] = {"DRAM": 20.0}
    return {"schema": "cnnkern.bench/1", "cnnkern": "0", "machine": machine, "good": good, "results": results}


def engine(name, ratio=None, reason="", **more) -> dict:
    time = {"median_ms": 3.0, "minimum_ms": 2.5, "spread": 0.01, "drift": 0.0, "rounds": 4}
    made = {
        "engine": name,
        "version": "1.2",
        "notes": [],
        "build_s": 1.0,
        "error": 1e-6,
        "reason": reason,
        "correct": not reason,
    }
    made |= {"time": None if reason else time, "iterations": 1, "rounds_ms": [], "spun_ms": 5.0}
    return {**made, "ratio_median": ratio, "ratio_minimum": ratio and 1.1 * ratio, **more}


def race(*peers) -> dict:
    made = {
        "model": "lenet5",
        "batch": 1,
        "size": None,
        "threads": 2,
        "seed": 0,
        "isa": None,
        "correct": True,
        "variation": 0.5,
    }
    made |= {
        "tolerance": 1e-3,
        "rounds": 4,
        "neighbours": 0.5,
        "peak_fma": CLOCK,
        "best_peer": "fast",
        "best_ratio": 0.75,
    }
    return {**made, "engines": [engine("cnnkern"), *peers]}


def hostile(value):
    """The same with HOSTILE in every text that is not a choice, and in every key that hangs on the machine."""
    kept = {"schema", "good", "bound", "op"}
    if isinstance(value, dict):
        return {key: inner if key in kept else hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return HOSTILE + value if isinstance(value, str) else value
