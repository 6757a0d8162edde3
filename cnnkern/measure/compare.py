"""Two documents of measured networks, before and after: what became slower beyond the noise that both measured.

Rows are matched by model, batch, threads, ISA and backend. The noise of a row is the root of the squared sum of the two
spreads (interquartile range over median), at least LEAST_NOISE: a median moves less than its spread, so what is
reported is worth a look. A row that had a time and now has none (its answer is wrong) is a regression as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

LEAST_NOISE = 0.01  # where a spread is smaller, or there was one round only
KEY = ("model", "batch", "threads", "isa", "backend")
Key = tuple[Any, ...]
Time = Mapping[str, float] | None


@dataclass(frozen=True)
class Row:
    """One network in both documents. `after_ms` is None where its new answer is wrong."""

    model: str
    batch: int
    threads: int
    isa: str | None
    backend: str
    before_ms: float
    after_ms: float | None
    noise: float

    @property
    def ratio(self) -> float | None:
        """Time after over time before: above 1 it became slower."""
        return None if self.after_ms is None else self.after_ms / self.before_ms

    @property
    def regression(self) -> bool:
        return self.ratio is None or self.ratio > 1.0 + self.noise

    @property
    def improvement(self) -> bool:
        return self.ratio is not None and 1.0 / self.ratio > 1.0 + self.noise

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "regression": self.regression}


@dataclass(frozen=True)
class Comparison:
    """The rows that both have, and what only one has, as text."""

    rows: tuple[Row, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not any(row.regression for row in self.rows)


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Compare two documents of `cnnkern bench --json` or benchmarks/race.py.

    Raises: ValueError where one is no such document, or nothing can be matched.
    """
    before, after = dict(timed(old, "OLD")), dict(timed(new, "NEW"))
    rows = [
        Row(*key, before_ms=time["median_ms"], after_ms=_median(after[key]), noise=noise(time, after[key]))
        for key, time in before.items()
        if key in after and time is not None
    ]
    if not rows:
        raise ValueError(f"nothing to compare: no {', '.join(KEY)} is timed in OLD and present in NEW")
    only_old, only_new = ([text(key) for key in a if key not in b] for a, b in ((before, after), (after, before)))
    return Comparison(tuple(rows), tuple(only_old), tuple(only_new))


def timed(document: Mapping[str, Any], label: str) -> Iterator[tuple[Key, Time]]:
    """(model, batch, threads, isa, backend) and the time of each network of a document."""
    kind = document.get("schema") if isinstance(document, Mapping) else None
    try:
        if kind == "cnnkern.bench/1":
            for row in document["results"]:
                yield tuple(row[key] for key in KEY), _checked(row["time"])
        elif kind == "cnnkern.race/1":
            for heat in document["heats"]:
                ours = heat["engines"][0]
                backend = "reference" if ours["engine"] == "reference" else "cpu"
                isa = heat["isa"] or document["machine"]["isa"]
                yield (heat["model"], heat["batch"], heat["threads"], isa, backend), _checked(ours["time"])
        else:
            raise ValueError(f"{label}: expected a document of `cnnkern bench --json`, its schema is {kind!r}")
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{label}: a {kind} document without its {error}") from error


def noise(before: Mapping[str, float], after: Time) -> float:
    spreads = [time["spread"] for time in (before, after) if time is not None]
    return max(LEAST_NOISE, math.hypot(*spreads))


def text(key: Key) -> str:
    model, batch, threads, isa, backend = key
    return f"{model} batch {batch}, {threads} threads, {backend}" + (f" ({isa})" if isa else "")


def _median(time: Time) -> float | None:
    return None if time is None else time["median_ms"]


def _checked(time: Any) -> Time:
    if time is None:
        return None
    return {name: float(time[name]) for name in ("median_ms", "spread")}
