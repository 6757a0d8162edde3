"""The table of a run, from its document: all of it for the file, its essence for a reply of 12,000 characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .convs import LEAST_RATIO

MOST_CHARACTERS = 11_000  # of the essence
MOST_ROWS = 15  # of a kind, in the essence


def whole(document: dict[str, Any]) -> str:
    return "\n".join(_lines(document, everything=True)) + "\n"


def essence(document: dict[str, Any]) -> str:
    text = "\n".join(_lines(document, everything=False))
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 40] + "\n... the rest is in gpu.txt"


def _lines(document: dict[str, Any], everything: bool) -> Iterator[str]:
    yield f"cnnkern {document['cnnkern']} on a GPU, {document['date']}, commit {document['commit'] or 'unknown'}"
    yield from _stages(document["stages"], everything)
    for name, lines in SECTIONS.items():
        if document[name] is not None:
            yield ""
            yield from lines(document[name], everything)


def _stages(stages: Sequence[dict[str, Any]], everything: bool) -> Iterator[str]:
    for stage in stages:
        failed, skipped = len(stage["failures"]), len(stage["skipped"])
        said = f"{stage['outcome']}, {stage['items']} items in {stage['seconds']:.0f} of {stage['budget_s']:.0f} s"
        said += f", {failed} failed" * bool(failed) + f", {skipped} skipped" * bool(skipped)
        yield f"{stage['name']:<12} {said}" + f", begun {stage['restarts'] + 1} times" * bool(stage["restarts"])
        for failure in stage["failures"][: None if everything else 4]:
            yield f"    failed: {failure['what']}: {_cut(failure['why'], None if everything else 200)}"
        if everything:
            for skip in stage["skipped"]:
                yield f"    skipped: {skip['what']}: {skip['why']}"


def _info(found: dict[str, Any], everything: bool) -> Iterator[str]:
    machine = found["machine"]
    if machine:
        cuda = machine["cuda"]
        for gpu in cuda["devices"]:
            yield f"GPU {gpu['name']}, {gpu['target']}, {gpu['multiprocessors']} multiprocessors"
        yield f"driver {machine['nvidia_smi'].get('driver_version', '?')} (CUDA {cuda['driver']}), {machine['peer']}"
        yield "versions " + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    rates = [f"{precision} {_number(rate)}" for precision, rate in found["ceilings_tflops"].items()]
    yield f"ceilings: copy {_number(found['copy_gbs'])} GB/s, products (TFLOP/s) " + ", ".join(rates)
    seconds = f"{found['compile_s']:.1f} s, loaded in {found['load_s']:.1f} s"
    yield f"kernels: {found['kernels']} compiled in {seconds}, {len(found['failures'])} failed"
    yield from (f"    {failure}" for failure in found["failures"][: None if everything else 6])


def _fixtures(found: dict[str, Any], everything: bool) -> Iterator[str]:
    wrong = [row for row in found["rows"] if row["wrong"]]
    yield f"primitives: {len(found['rows'])} cases, {len(wrong)} otherwise than NumPy; {found['file'] or 'not written'}"
    yield from (f"    {row['wrong']}" for row in wrong)


def _correctness(found: dict[str, Any], everything: bool) -> Iterator[str]:
    rows = found["rows"]
    for precision in dict.fromkeys(row["precision"] for row in rows):
        mine = [row for row in rows if row["precision"] == precision]
        bad = [row for row in mine if not row["good"]]
        cases = sum(row["cases"] - row["skipped"] for row in mine)
        used = max((_used(row) for row in mine), default=0.0)
        said = f"{cases} cases of {len(mine)} kinds, worst {used:.2f} of its tolerance, {len(bad)} bad"
        yield f"correct {precision:<9} {said}"
    for row in rows if everything else [row for row in rows if row["failures"]][:MOST_ROWS]:
        verdict = "good" if row["good"] else "BAD" if row["failures"] else "not served"
        yield f"    {row['what']:<28} {row['precision']:<9} {row['cases']:>4} {_used(row):6.2f} {verdict}"
        yield from (
            f"        {_cut(text, None if everything else 160)}"
            for text in row["failures"][: None if everything else 2]
        )


def _used(row: dict[str, Any]) -> float:
    error = math.inf if row["error"] is None else row["error"]
    return error / row["tolerance"] if row["tolerance"] else math.inf if error else 0.0


def _sanitizers(found: dict[str, Any], everything: bool) -> Iterator[str]:
    for row in found["rows"]:
        last = row["findings"][-1] if row["findings"] else ""
        yield f"{row['tool']:<12} {row['outcome']} ({row['seconds']:.0f} s) {last}"
        if everything:
            yield from (f"    {line}" for line in row["findings"])


def _convs(found: dict[str, Any], everything: bool) -> Iterator[str]:
    yield "convolutions: cuDNN's time over ours (above 1 we are faster); in brackets by the best candidate tried"
    for mean in found["means"]:
        batch = "all batches" if mean["batch"] is None else f"batch {mean['batch']}"
        ratios = f"{_number(mean['ratio'])} ({_number(mean['best_ratio'])})"
        tail = f"{mean['below']} under {LEAST_RATIO}" + f", {mean['wrong']} WRONG" * bool(mean["wrong"])
        yield f"    {mean['kind']:<9} {mean['precision']:<8} {batch:<12} {ratios:<14} {mean['timed']:>3} layers, {tail}"
    rows = sorted(found["rows"], key=lambda row: math.inf if row["ratio"] is None else row["ratio"])
    chosen = rows if everything else [r for r in rows if r["wrong"] or (r["ratio"] or 1.0) < LEAST_RATIO][:MOST_ROWS]
    if chosen:
        yield "     ratio   ours us  cuDNN us   TFLOP/s  problem"
    for row in chosen:
        figures = "".join(f"{_number(row[name]):>10}" for name in ("ratio", "us", "cudnn_us", "tflops"))
        notes = f"{row['kernel']} {row['wrong'] or row['left_out']}"
        yield f"{figures}  {row['precision']} {row['problem']} {notes}".rstrip()


def _nets(found: dict[str, Any], everything: bool) -> Iterator[str]:
    yield "networks: microseconds of a call (of the bare replay); then another's time over ours"
    yield f"    {'':<32}{'ours':>17} {'eager':>9} {'graph':>9} {'compiled':>9}   eager graph compiled"
    for row in found["rows"]:
        engines = row["engines"]
        mine = engines.get("ours", {})
        own = f"{_number(mine.get('us'))} ({_number(mine.get('replay_us'))})"
        theirs = " ".join(f"{_number(engines.get(name, {}).get('us')):>9}" for name in ("eager", "graph", "compiled"))
        ratios = " ".join(f"{_number(row['ratios'][name]):>5}" for name in ("eager", "graph", "compiled"))
        wrong = [name for name, engine in engines.items() if not engine["correct"]]
        name = f"{row['net']} b{row['batch']} {row['precision']}"
        yield f"    {name:<32}{own:>17} {theirs}   {ratios}" + f"  WRONG: {', '.join(wrong)}" * bool(wrong)
    for mean in found["means"]:
        ratios = ", ".join(f"{name} {_number(mean[name])}" for name in ("eager", "graph", "compiled"))
        yield f"    mean of {mean['nets']} networks, batch {mean['batch']} {mean['precision']}: {ratios}"


def _profile(found: dict[str, Any], everything: bool) -> Iterator[str]:
    yield "profile: executed multiply-adds over predicted; busiest unit"
    for row in found["rows"]:
        shares = {
            name.partition(".")[0]: value
            for kernel in row["kernels"]
            for name, value in kernel["counters"].items()
            if "pct" in name and "throughput" in name
        }
        top = max(shares, key=shares.get, default="")
        ratios = f"ffma {_number(row['ffma_ratio'])}, tensor {_number(row['tensor_ratio'])}"
        busy = f"{top} {shares[top]:.0f} %" if top else "no counters"
        yield f"    {row['precision']} {row['problem']}: {ratios}; {busy}"


def _number(value: float | None) -> str:
    """Three digits; a dash where nothing was measured."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{2 - max(0, math.floor(math.log10(abs(value) or 1)))}f}"


def _cut(text: str, most: int | None) -> str:
    text = " ".join(text.split())
    return text if most is None or len(text) <= most else text[:most] + "..."


SECTIONS: dict[str, Callable[[dict[str, Any], bool], Iterator[str]]] = {
    "info": _info,
    "fixtures": _fixtures,
    "correctness": _correctness,
    "sanitizers": _sanitizers,
    "convs": _convs,
    "nets": _nets,
    "profile": _profile,
}
