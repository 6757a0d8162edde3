"""Single operations: benchmarks/shapes on every instruction set; on the best one by every algorithm that serves.

The answer comes first: one that the float64 oracle refuses fails, and gets no time.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from timed import backend_name, isas, timer

from cnnkern import backends, config
from cnnkern.cli.common import forced
from cnnkern.measure.opbench import OpCourse, OpRun
from cnnkern.measure.opshapes import OpProblem, read_lines
from cnnkern.ops import Conv2dSpec

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.txt"))
SHOWN = (
    "problem", "note", "backend", "isa", "threads", "algo", "caches", "kernel", "theory_flops", "executed_flops",
    "rate_gflops", "share_of_peak", "limit_ms", "bound", "share_of_limit", "best_limit_ms", "error", "tolerance",
    "counts_agree",
)  # fmt: skip


@lru_cache(maxsize=1)  # the cases of a problem follow each other
def course(problem: OpProblem) -> OpCourse:
    return OpCourse(problem)


def others(problem: OpProblem, isa: str | None) -> list[str]:
    """The algorithms that serve a convolution beside the one that the plan takes."""
    if not isinstance(problem.spec, Conv2dSpec) or backend_name() != "cpu":
        return []
    from cnnkern.backends.cpu.candidates import Problem

    asked = Problem(problem.spec, *problem.shapes[:2], config.get("precision"), 1)
    with forced(isa):
        plans = backends.get("cpu").candidates(asked)
    return sorted({plan["algo"] for plan in plans} - {plans[0]["algo"]})


def label(problem: OpProblem) -> str:
    """The op's input and weight shapes, and what tells it from others of these: "1x64x56x56,64x64x3x3"."""
    words = problem.text.split()[1:]
    shapes = [word for word in words if "=" not in word][:2]
    told = [word for word in words if word.startswith(("stride=", "kind=", "groups="))]
    return ",".join([*shapes, *told]).replace(",stride=(1,1)", "")


def cases():
    places = isas()
    for path in SHAPES:
        for problem in read_lines(path.read_text(encoding="utf-8"), str(path)):
            for isa in places:
                for algo in ("auto", *(others(problem, isa) if isa == places[-1] else ())):
                    where = isa or backend_name()
                    yield pytest.param(problem, isa, algo, id=f"{path.stem}-{label(problem)}-{where}-{algo}")


@pytest.mark.benchmark(group="ops", timer=timer)
@pytest.mark.parametrize("problem, isa, algo", list(cases()))
def test_op(problem, isa, algo, benchmark, native, threads):
    with forced(isa):
        run = OpRun(course(problem), backend_name(), isa=isa, algo=algo, threads=threads)
        checked = run.row()
        assert checked.correct, f"error {checked.error:.2e}, allowed {checked.tolerance:.2e}"
        assert checked.counts.agrees is not False, checked.counts.faults
        row = run.row(native(run.round)).as_dict()
    benchmark.extra_info.update({key: row[key] for key in SHOWN})
