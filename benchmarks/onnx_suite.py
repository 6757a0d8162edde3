"""The whole ONNX backend test suite (its CPU half) on cnnkern, and beside it on onnxruntime.

    python benchmarks/onnx_suite.py                          # both, all tests of the installed onnx
    python benchmarks/onnx_suite.py --engines cnnkern --match "conv|pool"
    python benchmarks/onnx_suite.py --json FILE.json --failures 500

Every test runs as onnx.backend.test has it, its inputs, outputs and tolerances included; onnxruntime gets each model
through an InferenceSession, opsets that are no release yet allowed, as onnx's newest may be. "evaluator", by name
alone, is the onnx package's own. Workers are forked and watched: a test that crashes, hangs or takes too much memory
fails, and the run goes on. A test is "passed"; "refused" where the engine says that it cannot run the model (for
onnxruntime: no session can be made); "failed" else. The nine networks with constant weights ("Real") are left out but
for --real, since their stored outputs prove nothing (tests/onnx/test_light_models.py compares these).
Exit codes: 0, or 1 where cnnkern passes fewer than another engine, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import unittest
import warnings
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

ENGINES = ("cnnkern", "onnxruntime", "evaluator")
MEMORY_BYTES = 12 << 30  # of address space, which a runtime's thread pools and arenas take generously
PASSED, REFUSED, FAILED = "passed", "refused", "failed"


class Refused(Exception):
    """The engine cannot run this model, and says so."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("onnx_suite.py", description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="cnnkern,onnxruntime", help=f"of {', '.join(ENGINES)}, with commas")
    parser.add_argument("--match", default="", metavar="REGEX", help="tests whose name it finds (all)")
    parser.add_argument("--backend", default=None, help="one of cnnkern's backends (the fastest on a CPU)")
    parser.add_argument("--jobs", default=os.cpu_count() or 1, type=int, metavar="N", help="workers (one per CPU)")
    parser.add_argument("--timeout", default=120.0, type=float, metavar="S", help="seconds per test (120)")
    parser.add_argument("--failures", default=40, type=int, metavar="N", help="of cnnkern's to print (40)")
    parser.add_argument("--real", action="store_true", help="the nine networks with constant weights too")
    parser.add_argument("--json", default=None, metavar="FILE", help="every test's outcome on every engine")
    args = parser.parse_args(argv)
    args.engines = args.engines.split(",")
    if unknown := set(args.engines) - set(ENGINES):
        parser.error(f"--engines: {', '.join(sorted(unknown))} is none of {', '.join(ENGINES)}")
    return args


def engine_backend(engine: str, backend: str | None) -> type:
    """The engine as onnx.backend.test wants one; what it refuses becomes Refused."""
    if engine == "cnnkern":
        return _cnnkern_backend(backend)
    return _onnxruntime_backend() if engine == "onnxruntime" else _evaluator_backend()


def _cnnkern_backend(backend: str | None) -> type:
    import cnnkern

    class Ours(cnnkern.onnx.backend.CnnkernBackend):
        last: Any = None

        @classmethod
        def is_compatible(cls, model, device="CPU", **options):
            return True  # else the suite would skip what does not load

        @classmethod
        def prepare(cls, model, device="CPU", **options):
            try:
                cls.last = super().prepare(model, device, backend=backend, **options)
            except (cnnkern.ModelError, cnnkern.UnsupportedError) as error:
                raise Refused(str(error)) from error
            return cls.last

    return Ours


def _onnxruntime_backend() -> type:
    import numpy as np
    import onnxruntime
    from onnx.backend.base import Backend, BackendRep

    class Session(BackendRep):
        def __init__(self, model):
            options = onnxruntime.SessionOptions()
            options.log_severity_level, options.intra_op_num_threads = 4, 1
            try:
                self.session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise Refused(str(error)) from error
            known = {t.name for t in model.graph.initializer}
            values = [value for value in model.graph.input if value.name not in known]
            self.elements = {value.name: value.type.tensor_type.elem_type for value in values}

        def run(self, inputs, **options):
            return self.session.run(None, {n: self._value(n, value) for n, value in zip(self.elements, inputs)})

        def _value(self, name, value):
            """Arrays for NumPy's scalars; types that NumPy does not know need onnxruntime's own."""
            value = np.asarray(value) if isinstance(value, np.generic) else value
            if not isinstance(value, np.ndarray) or value.dtype.kind != "V":
                return value
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(value, self.elements[name])

    class Theirs(Backend):
        @classmethod
        def prepare(cls, model, device="CPU", **options):
            return Session(model)

        @classmethod
        def supports_device(cls, device):
            return device == "CPU"

    return Theirs


def _evaluator_backend() -> type:
    from onnx.backend.base import Backend, BackendRep
    from onnx.reference import ReferenceEvaluator

    class Evaluator(BackendRep):
        def __init__(self, model):
            self.evaluator = ReferenceEvaluator(model)

        def run(self, inputs, **options):
            known = {t.name for t in self.evaluator.proto_.graph.initializer}
            names = [value.name for value in self.evaluator.proto_.graph.input if value.name not in known]
            return self.evaluator.run(None, dict(zip(names, inputs)))

    class Theirs(Backend):
        @classmethod
        def prepare(cls, model, device="CPU", **options):
            return Evaluator(model)

        @classmethod
        def supports_device(cls, device):
            return device == "CPU"

    return Theirs


class Suite:
    """The tests of onnx.backend.test on one engine, by (category, name); made before workers are forked from it."""

    def __init__(self, engine: str, backend: str | None, real: bool):
        from onnx.backend.test import BackendTest

        self.backend = engine_backend(engine, backend)
        with warnings.catch_warnings():  # of making the expected outputs
            warnings.simplefilter("ignore")
            classes = BackendTest(self.backend, __name__).test_cases
        self.classes = {name.removeprefix("OnnxBackend").removesuffix("ModelTest"): c for name, c in classes.items()}
        self.names = [
            (category, name)
            for category, cls in self.classes.items()
            for name in sorted(vars(cls))
            if name.startswith("test_") and name.endswith("_cpu") and (real or category != "Real")
        ]

    def run(self, category: str, name: str) -> dict[str, Any]:
        """{"status", "reason", "seconds", "fallbacks": steps without a kernel, or None where that is not known,
        "reference": operations that the cpu backend left to the reference}."""
        begin, result = time.perf_counter(), unittest.TestResult()
        self.backend.last = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.classes[category](name).run(result)
        found = [*result.errors, *result.failures, *result.skipped]
        reason = _last_words(found[0][1]) if found else ""
        status = PASSED if not found else REFUSED if f"{Refused.__name__}:" in found[0][1] else FAILED
        last = self.backend.last
        steps = [list(map(str, f)) for f in last.model.fallbacks()] if last is not None and status == PASSED else None
        found = {"status": status, "reason": reason, "seconds": time.perf_counter() - begin, "fallbacks": steps}
        return found | {"reference": None if steps is None else _on_reference(last.model.plans())}


def _on_reference(plans: Sequence[Any]) -> list[str]:
    """The operations that a backend had no kernel for; steps on onnx's evaluator are counted elsewhere."""
    steps = [step for plan in plans for step in plan.steps]
    return sorted({step.spec.op for step in steps if step.kernel == "numpy"})


def _last_words(text: str) -> str:
    """The exception of a traceback, without the frames."""
    lines = text.strip().splitlines()
    names = [i for i, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception|Refused|Fail)\b", line)]
    at = names[-1] if names else -1
    return " ".join(line.strip() for line in lines[at:] if line.strip())[:400]


def work(suite: Suite, pipe: Connection) -> None:
    """A worker's loop: a test's key in, its outcome out."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # engines print
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while (key := pipe.recv()) is not None:
        try:
            outcome = suite.run(*key)
        except Exception as error:  # beside the test itself
            outcome = _lost(repr(error)) | {"seconds": 0.0}
        pipe.send(outcome)


class Worker:
    """One forked process and the test that it is at."""

    def __init__(self, suite: Suite):
        fork = multiprocessing.get_context("fork")  # the suite takes seconds to make: it is made once
        self.pipe, theirs = fork.Pipe()
        self.process = fork.Process(target=work, args=(suite, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.key: tuple[str, str] | None = None
        self.deadline = 0.0

    def give(self, key: tuple[str, str], timeout: float) -> None:
        self.key, self.deadline = key, time.monotonic() + timeout
        self.pipe.send(key)

    def outcome(self) -> dict[str, Any] | None:
        """The answer; a failure where the process has died or is too slow; None: it is still at it."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            return _lost(f"the process died, exit code {self.process.exitcode}")
        if time.monotonic() < self.deadline:
            return None
        self.process.kill()
        return _lost("no answer in time")

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _lost(reason: str) -> dict[str, Any]:
    return {"status": FAILED, "reason": reason, "seconds": None, "fallbacks": None, "reference": None}


def run_all(suite: Suite, names: Sequence[tuple[str, str]], jobs: int, timeout: float) -> dict[tuple, dict]:
    """Every test's outcome."""
    left, outcomes = list(reversed(names)), {}
    workers = [Worker(suite) for _ in range(min(jobs, len(names)))]
    while len(outcomes) < len(names):
        for i, worker in enumerate(workers):
            if worker.key is not None:
                found = worker.outcome()
                if found is None:
                    continue
                outcomes[worker.key], worker.key = found, None
                if found["seconds"] is None:  # it is gone
                    worker.end()
                    workers[i] = worker = Worker(suite)
            if left:
                worker.give(left.pop(), timeout)
        wait([w.pipe for w in workers if w.key is not None], timeout=0.2)
        if sys.stderr.isatty():
            print(f"\r{len(outcomes)} of {len(names)}", end="", file=sys.stderr)
    for worker in workers:
        worker.end()
    return outcomes


def table(results: dict[str, dict[tuple, dict]]) -> list[str]:
    """A row per category: how each engine fared."""
    engines, rows = list(results), []
    categories = list(dict.fromkeys(category for category, _ in next(iter(results.values()))))
    rows.append(f"{'':<20}" + "".join(f"{engine + ': passed, refused, failed':>42}" for engine in engines))
    for category in [*categories, "all"]:
        cells = []
        for engine in engines:
            of = Counter(o["status"] for key, o in results[engine].items() if category in (key[0], "all"))
            cells.append(f"{of[PASSED]} of {of.total()}, {of[REFUSED]}, {of[FAILED]}")
        rows.append(f"{category:<20}" + "".join(f"{cell:>42}" for cell in cells))
    return rows


def report(results: dict[str, dict[tuple, dict]], shown: int) -> list[str]:
    lines = table(results)
    ours = results.get("cnnkern")
    if ours is None:
        return lines
    kernels = sum(o["fallbacks"] == [] for o in ours.values())
    native = sum(o["fallbacks"] == [] and o["reference"] == [] for o in ours.values())
    lines.append(
        f"cnnkern: {kernels} of those it passes without a step of the onnx package's evaluator, {native} of these "
        "without one that the backend leaves to the reference"
    )
    left = Counter(op for o in ours.values() for op in o["reference"] or ())
    if left:
        lines.append(
            "cnnkern: left to the reference: " + ", ".join(f"{op} in {n} tests" for op, n in left.most_common())
        )
    missed = [(key, o) for key, o in ours.items() if o["status"] != PASSED]
    for (category, name), outcome in missed[:shown]:
        others = [e for e in results if e != "cnnkern" and results[e][category, name]["status"] == PASSED]
        also = f"   ({', '.join(others)} passes)" if others else ""
        lines.append(f"  {outcome['status']:<8} {name.removesuffix('_cpu')}: {outcome['reason'][:200]}{also}")
    if len(missed) > shown:
        lines.append(f"  ... and {len(missed) - shown} more (--failures {len(missed)}, --json)")
    return lines


def document(results: dict[str, dict[tuple, dict]]) -> dict[str, Any]:
    import onnx

    import cnnkern

    versions = {"onnx": onnx.__version__, "cnnkern": cnnkern.__version__}
    if "onnxruntime" in results:
        import onnxruntime

        versions["onnxruntime"] = onnxruntime.__version__
    tests = [
        {"category": c, "name": n.removesuffix("_cpu"), **{e: results[e][c, n] for e in results}}
        for c, n in next(iter(results.values()))
    ]
    counts = {e: dict(Counter(o["status"] for o in results[e].values())) for e in results}
    return {"schema": "cnnkern.onnx_suite/1", "versions": versions, "counts": counts, "tests": tests}


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests are tiny; there is a worker per CPU
    os.environ.setdefault("CNNKERN_NUM_THREADS", "1")
    os.environ.setdefault("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")  # onnxruntime's: it then tries the newest opset too
    results: dict[str, dict[tuple, dict]] = {}
    with tempfile.TemporaryDirectory() as home:
        os.environ["ONNX_HOME"] = home  # where the suite puts the light models' inputs
        for engine in args.engines:
            begin, suite = time.perf_counter(), Suite(engine, args.backend, args.real)
            names = [key for key in suite.names if re.search(args.match, key[1])]
            if not names:
                print(f"onnx_suite.py: no test is called like {args.match!r}", file=sys.stderr)
                return 2
            results[engine] = run_all(suite, names, args.jobs, args.timeout)
            results[engine] = {key: results[engine][key] for key in names}
            print(f"{engine}: {len(names)} tests in {time.perf_counter() - begin:.0f} s", flush=True)
    print(*report(results, args.failures), sep="\n")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(document(results), file, indent=1)
    passed = {e: sum(o["status"] == PASSED for o in results[e].values()) for e in results}
    return int(passed.get("cnnkern", max(passed.values())) < max(passed.values()))


if __name__ == "__main__":
    sys.exit(main())
