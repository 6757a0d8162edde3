"""Over every architecture: does the ONNX file that we write say what we compute, to onnxruntime and to ourselves?

    python benchmarks/round_trip.py                     # every network, the largest on smaller pictures
    python benchmarks/round_trip.py resnet50 vgg16      # these, at their published sizes

Each network is saved (`onnx.checker` looks at it then), answered by onnxruntime, and loaded back. What comes back must
have the same multiply-accumulates and parameters (but for what ONNX wants `beside` them), run without a step on onnx's
evaluator, and answer as before; all answers are held against ours, as a share of their range, within the tolerance of
`cnnkern verify`. One line per network; exit codes: 0 all of it holds, 1 something does not, 2 bad usage.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cnnkern
from cnnkern import models
from cnnkern.cli.common import GOOD, USAGE, WRONG, UsageError, model_names
from cnnkern.graph.ir import Graph
from cnnkern.measure.accuracy import bound, range_error, tolerances
from cnnkern.measure.pictures import inputs, smaller


def in_onnxruntime(path: Path, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Not its last level: that answers keras_efficientnet_b5 thirty times less exactly, whoever wrote the file.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, dict(feeds))


def largest(mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    return max(range_error(a, b) for a, b in zip(mine, theirs))


def beside(graph: Graph) -> tuple[int, int]:
    """(multiply-accumulates, parameters) that a file has beside the network's own, as ONNX wants to be told: the ones
    and zeros of a batch norm without scale or shift, the weights of layers that a network's definition fixes, and
    pooling into unequal windows as two products with matrices."""
    macs = count = 0
    for node in graph.nodes:
        spec = node.spec
        if spec.op == "batch_norm":
            count += node.inputs[3:5].count("") * math.prod(graph.shape(node.inputs[1]))
        elif spec.op == "linear":
            fixed = (name for name in node.inputs[1:] if name and graph.params[name].kind == "constant")
            count += sum(math.prod(graph.shape(name)) for name in fixed)
        elif spec.op == "adaptive_avg_pool2d":
            n, c, h, w = graph.shape(node.inputs[0])
            p, q = spec.output_size
            if h % p or w % q:
                macs += n * c * (p * h * w + p * w * q)
                count += w * q  # the matrix on the left is an operand, that on the right a layer's weight
    return macs, count


def round_trip(name: str, whole: bool, folder: Path) -> tuple[str, list[str]]:
    """A line about one network, and what is wrong with it."""
    model = models.create(name, input_shape=None if whole else smaller(models.get(name)))
    x = inputs(name, model, 1)
    arrays = x if isinstance(x, tuple) else (x,)
    feeds = dict(zip(model.graph.inputs, arrays))
    path = folder / "model.onnx"
    sizes = {value: array.shape[0] for value, array in zip(("N", "R"), arrays)}
    cnnkern.onnx.save(model, path, batch=None if len(arrays) > 1 else 1)
    expected: Any = model(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    theirs = largest(in_onnxruntime(path, feeds), expected)
    loaded = cnnkern.onnx.load(path)
    ours = largest(loaded.run(feeds), expected)
    graph, faults = bound(model, x), []
    allowed = tolerances(graph)[graph.outputs[0]]
    if not theirs <= allowed or not ours <= allowed:
        faults.append(f"errors beyond {allowed:.1e}")
    if loaded.fallbacks():
        faults.append(f"steps on onnx's evaluator: {loaded.fallbacks()}")
    untied = any(node.spec.op == "locally_connected2d" for node in graph.nodes)  # comes back as a product
    if len(arrays) == 1:
        macs, parameters = (own + more for own, more in zip((model.macs, model.param_count), beside(graph)))
        if loaded.macs != macs:
            faults.append(f"MACs {loaded.macs:,} for {macs:,}")
        if loaded.param_count != parameters and not untied:
            faults.append(f"parameters {loaded.param_count:,} for {parameters:,}")
    size = "x".join(map(str, arrays[0].shape)) + (f", {sizes['R']} regions" if len(arrays) > 1 else "")
    return f"{name:<30} {size:<18} onnxruntime {theirs:.1e}  loaded back {ours:.1e}", faults


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("round_trip.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all, the largest on smaller pictures")
    args = parser.parse_args(argv)
    try:
        names = model_names(args.models or ["all"])
    except (UsageError, ValueError) as error:
        print(f"round_trip.py: {error}", file=sys.stderr)
        return USAGE
    begin, wrong = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="cnnkern-") as folder:
        for name in names:
            try:
                line, faults = round_trip(name, bool(args.models), Path(folder))
            except cnnkern.UnsupportedError as error:  # ONNX cannot say it
                line, faults = f"{name:<30} {error}", ["no ONNX form"]
            print(f"{'WRONG' if faults else 'ok':<5} {line}", *faults, sep="\n      ", flush=True)
            wrong += [name] * bool(faults)
    print(f"{len(names) - len(wrong)} of {len(names)} hold, in {time.perf_counter() - begin:.0f} s"
          + (f"; wrong: {', '.join(wrong)}" if wrong else ""))  # fmt: skip
    return WRONG if wrong else GOOD


if __name__ == "__main__":
    sys.exit(main())
