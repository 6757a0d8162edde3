"""What does it cost to come in by another door? The same network and weights by each, in turns, in one process.

    python benchmarks/doors.py                                  # resnet50 and mobilenet_v2, batch 1
    python benchmarks/doors.py densenet121 --threads 1 --rounds 40 --json FILE.json

Doors: the built-in model's executable; `cnnkern.onnx.load` and `InferenceSession.run` of the file that
`cnnkern.onnx.save` writes; `torch.compile(backend="cnnkern")` and `cnnkern.torch.from_module` of torchvision's module
with the same weights. "lean" is torch.compile without TorchDynamo's guards on layers and without the check for changed
weights; "dynamo" is torch.compile with a backend that computes nothing, called after the built-in model has run each
time, as a network leaves the caches: what every backend pays. A door whose library is missing is left out and named.
The answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import cnnkern
from cnnkern.measure.accuracy import range_error
from cnnkern.measure.provenance import provenance

CALLS = 4  # of a door's turn; the first is not counted, it meets the caches as the door before left them
AGREE = 1e-4  # of the output's range
LIMIT = (0.03, 0.05)  # a door may cost so much of the built-in model's time, or so many ms

Door = Callable[[], np.ndarray]


def onnx_doors(model, x: np.ndarray, threads: int, folder: str) -> dict[str, Door]:
    path = str(Path(folder) / "model.onnx")
    cnnkern.onnx.save(model, path, batch=len(x))
    loaded = cnnkern.onnx.load(path)
    options = cnnkern.SessionOptions()
    options.intra_op_num_threads = threads
    session = cnnkern.InferenceSession(path, options)
    name = session.get_inputs()[0].name
    return {"onnx.load": lambda: loaded(x), "InferenceSession.run": lambda: session.run(None, {name: x})[0]}


def torchvision_models():
    """torchvision.models; empty operators stand in where its own do not fit this build of torch: no network has one."""
    import torch

    try:
        import torchvision.models as models
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for op in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
            for name in (op, f"_{op}_backward"):
                library.define(f"{name}(Tensor x) -> Tensor")
        import torchvision.models as models

        models.empty_operators = library
    return models


def torch_doors(model, x: np.ndarray, threads: int) -> dict[str, Door]:
    import torch

    import cnnkern.torch as door

    net = torchvision_models().get_model(model.name, weights=None).eval()
    net.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in model.weights.items()}, strict=False)
    given, expected = torch.from_numpy(x), []

    def nothing(gm, example_inputs):
        return lambda *arguments: expected

    lean = {
        "threads": threads,
        "check_weights": False,
        "guard_filter_fn": torch.compiler.skip_guard_on_inbuilt_nn_modules_unsafe,
    }
    executable = door.from_module(net, given, threads=threads)
    compiled = {
        "torch.compile": torch.compile(net, backend=door.backend, options={"threads": threads}),
        "torch.compile, lean": torch.compile(net, backend=lambda *a, **b: door.backend(*a, **b), options=lean),
        "dynamo": torch.compile(net, backend=nothing),
    }
    expected.append(executable(given))

    def as_door(call) -> Door:
        def run():
            with torch.inference_mode():
                return call(given)

        return run

    return {"from_module": lambda: executable(given), **{name: as_door(call) for name, call in compiled.items()}}


def doors(name: str, batch: int, threads: int, folder: str) -> tuple[dict[str, Door], dict[str, str]]:
    """The doors of a network, and those that are shut with the reason."""
    model = cnnkern.models.create(name)
    x = np.random.default_rng(0).standard_normal((batch, *model.input_shape), np.float32)
    built_in = model.compile(x.shape, threads=threads)
    found: dict[str, Door] = {"built-in": lambda: built_in(x)}
    shut: dict[str, str] = {}
    for group, make in (
        ("ONNX", lambda: onnx_doors(model, x, threads, folder)),
        ("PyTorch", lambda: torch_doors(model, x, threads)),
    ):
        try:
            found |= make()
        except (ImportError, AttributeError, ValueError, NotImplementedError) as error:
            shut[group] = f"{type(error).__name__}: {error}"
    expected = built_in(x)
    for door in list(found):
        if not range_error(np.asarray(found[door]()), expected) < AGREE:
            shut[door] = "another answer than the built-in model's; no time for a wrong one"
            del found[door]
    return found, shut


def time_doors(found: dict[str, Door], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call, door by door in turns whose order turns round."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for i in range(rounds):
        for name in list(found)[:: 1 if i % 2 else -1]:
            call = found[name]
            call()
            for _ in range(CALLS - 1):
                if name == "dynamo":
                    found["built-in"]()
                begin = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - begin))
    return times


def rows(times: dict[str, list[float]]) -> list[dict]:
    median, least = statistics.median(times["built-in"]), min(times["built-in"])
    allowed = max(LIMIT[0] * median, LIMIT[1])
    found = []
    for name, ms in times.items():
        over = statistics.median(ms) - (median if name != "dynamo" else 0)  # which has no network in it
        row = {"door": name, "median_ms": statistics.median(ms), "minimum_ms": min(ms), "over_median_us": 1e3 * over}
        row["over_minimum_us"] = 1e3 * (min(ms) - (least if name != "dynamo" else 0))
        found.append(row | {"within": over <= allowed})
    return found


def show(name: str, found: list[dict], shut: dict[str, str]) -> None:
    print(f"\n{name:24} {'median ms':>10} {'minimum':>10} {'over, us':>10} {'of minima':>10}  within 3 % or 50 us")
    for row in found:
        over = "".join(f" {row[key]:10.1f}" for key in ("over_median_us", "over_minimum_us"))
        mark = "" if row["door"] == "built-in" else "yes" if row["within"] else "NO"
        print(f"{row['door']:24} {row['median_ms']:10.3f} {row['minimum_ms']:10.3f}{over}  {mark}")
    for door, why in shut.items():
        print(f"{door} is left out: {why}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("doors.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["resnet50", "mobilenet_v2"], metavar="MODEL")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images a call (1)")
    parser.add_argument("--threads", type=int, default=cnnkern.get_num_threads(), metavar="N")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="turns of every door (30)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    cnnkern.set_num_threads(args.threads)
    print(f"batch {args.batch}, {args.threads} threads, load before {os.getloadavg()[0]:.2f}")
    words = sys.argv[1:] if argv is None else argv
    where = provenance("python", "benchmarks/doors.py", *words, file=Path(__file__))
    document = {"schema": "cnnkern.doors/1", **where, "batch": args.batch, "threads": args.threads}
    document |= {"load_before": os.getloadavg()[0], "networks": {}}
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            found, shut = doors(name, args.batch, args.threads, folder)
            measured = rows(time_doors(found, args.rounds))
        show(name, measured, shut)
        document["networks"][name] = {"doors": measured, "left_out": shut}
        if args.json:
            args.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
