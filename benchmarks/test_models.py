"""A dozen networks, one image, on the best instruction set: the packaged photograph, checked against the float64
reference, counted, then timed as a caller sees it."""

from __future__ import annotations

import time

import pytest
from timed import MIN_ROUNDS, backend_name, isas

from cnnkern import cpu_info, models
from cnnkern.cli.common import forced
from cnnkern.measure import accuracy
from cnnkern.measure.accounting import account
from cnnkern.measure.limit import Machine, limits
from cnnkern.measure.network import rate, share
from cnnkern.measure.pictures import Course

NETWORKS = (
    "lenet5", "alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "densenet121", "squeezenet1_1",
    "mobilenet_v1_100", "mobilenet_v2", "shufflenet_v2_x1_0", "efficientnet_b0",
)  # fmt: skip
SECONDS, MAX_ROUNDS = 1.0, 200


@pytest.mark.benchmark(group="models")
@pytest.mark.parametrize("name", NETWORKS)
def test_model(name, benchmark, threads):
    isa, course = isas()[-1], Course(name, models.create(name))
    x = course.pictures(1)
    with forced(isa):
        executable = course.model.compile(input_shape=accuracy.shapes(x), backend=backend_name(), threads=threads)
        answers = {course.output: course.answers(1)}
        errors = accuracy.compare_network(
            accuracy.bound(course.model, x), {course.output: executable(x)}, answers, course.varies
        )
        assert errors.ok, f"error {errors.largest:.2e}, allowed {errors.worst.tolerance:.2e}, varies {errors.varies}"
        counts = account(executable, x)
        assert counts.agrees is not False, counts.faults
        begin = time.perf_counter()
        executable(x)
        rounds = int(min(MAX_ROUNDS, max(MIN_ROUNDS, SECONDS / (time.perf_counter() - begin))))
        benchmark.pedantic(executable, (x,), rounds=rounds, warmup_rounds=2)
    machine = Machine.measured(isa, threads, cpu_info()["cache_bytes"])
    found = limits(machine, executable.plan, (layer.executed for layer in counts.layers))
    limit_ms = sum(limit.ms for limit in found) if all(found) else None
    time_ms = 1e3 * benchmark.stats.stats.median if benchmark.enabled else None
    benchmark.extra_info.update(
        backend=backend_name(),
        isa=isa,
        threads=threads,
        theory_flops=counts.theory.flops,
        executed_flops=counts.executed.flops if counts.executed else None,
        rate_gflops=rate(counts.theory, time_ms),
        share_of_peak=share(rate(counts.executed, time_ms), machine.fma_gflops),
        limit_ms=limit_ms,
        share_of_limit=share(limit_ms, time_ms),
        error=errors.largest,
        tolerance=errors.worst.tolerance,
        counts_agree=counts.agrees,
    )
