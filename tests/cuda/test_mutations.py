"""Planted bugs in the real kernels: each barrier and each wait, taken away alone, must be found by the host runs.

That is a test of the tests: what the shim would not see in a kernel it would not see when somebody edits one.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import host
import hostruntime
import pytest
from opcases import Case

from cnnkern import ops, testing
from cnnkern.backends.cuda import CudaBackend

GUARDS = re.compile(r"__syncthreads\(\);|copy_async_wait<[^>]*>\(\);")

# Source -> problems that between them run every barrier in it: (spec, shapes, precision).
PROBLEMS = {
    "conv_fp32.cu": [(ops.Conv2dSpec(1, 1, algo="im2col"), ((1, 20, 13, 12), (70, 20, 3, 3), None, None), "float32")],
    "conv_mma.cu": [(ops.Conv2dSpec(), ((1, 256, 14, 14), (100, 256, 1, 1), None, None), "float16")],
    "conv_wgmma.cu": [(ops.Conv2dSpec(1, 1), ((1, 128, 12, 12), (128, 128, 3, 3), None, None), "float16")],
    "moves.cu": [(ops.TransposeSpec((0, 2, 3, 1)), ((2, 17, 9, 8),), "float32")],
    "im2col.cu": [(ops.Im2colSpec(3, 1, 1), ((2, 33, 9, 8),), "float32")],
    "pool.cu": [
        (ops.GlobalPool2dSpec("avg"), ((1, 8, 40, 40),), "float32"),
        (ops.GlobalPool2dSpec("max"), ((2, 130, 9, 9),), "float32"),
        (ops.GlobalPool2dSpec("avg"), ((1, 3, 64, 64),), "float32"),
    ],
    "norm.cu": [
        (ops.LocalContrastNormSpec(3), ((2, 70, 9, 8),), "float32"),
        (ops.LocalContrastNormSpec(7), ((1, 3, 33, 31),), "float32"),
        (ops.LocalResponseNormSpec(5), ((1, 64, 5, 6),), "float32"),
    ],
    "softmax.cu": [
        (ops.SoftmaxSpec(), ((3, 1000),), "float32"),
        (ops.SoftmaxSpec(), ((3, 9000),), "float32"),
        (ops.SoftmaxSpec(2), ((1, 8, 300, 4),), "float32"),  # along an axis whose elements lie apart
    ],
}


@dataclass(frozen=True)
class Mutant:
    source: str
    number: int  # of the guard, from the file's beginning

    def __str__(self) -> str:
        return f"{self.source}-{self.number}"

    def write(self, folder: Path) -> None:
        """The kernels into a folder, one of them without its guard."""
        shutil.copytree(host.kernels_folder(), folder, dirs_exist_ok=True)
        text = (folder / self.source).read_text()
        found = list(GUARDS.finditer(text))[self.number]
        (folder / self.source).write_text(text[: found.start()] + ";" + text[found.end() :])


def mutants() -> list[Mutant]:
    found = []
    for path in sorted(host.kernels_folder().glob("*.cu")):
        found += [Mutant(path.name, i) for i in range(len(GUARDS.findall(path.read_text())))]
    return found


class MutantRuntime(hostruntime.HostRuntime):
    """A host runtime whose kernels of one source come from another folder."""

    def __init__(self, source: str, folder: Path, names: list[str], order: int):
        super().__init__(order=order)
        self._source, self._mutant = source, host.HostModule(source, names, folder=folder)

    def module(self, source: str) -> host.HostModule:
        return self._mutant if source == self._source else super().module(source)


def wrong(runtime, spec, shapes, precision, seed) -> bool:
    """Whether a run raises or its result is not the oracle's."""
    arrays = Case(spec, shapes, seed).arrays()
    try:
        results = CudaBackend(runtime).call(spec, arrays, precision=precision)
    except RuntimeError:
        return True
    theirs = testing.reference(spec, *arrays)
    return not testing.compare(results[0], theirs, spec, arrays, precision=precision).ok


def test_every_source_with_a_guard_has_a_problem():
    missing = {mutant.source for mutant in mutants()} - set(PROBLEMS)
    assert not missing, f"add a problem for {missing}"


@pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")
@pytest.mark.skipif(host.sanitized(), reason="of the shim's own checks")
@pytest.mark.parametrize("mutant", mutants(), ids=str)
def test_a_guard_that_is_missing_is_found(mutant, tmp_path, rng):
    mutant.write(tmp_path)
    seed = int(rng.integers(2**32))
    for spec, shapes, precision in PROBLEMS[mutant.source]:
        names = used_kernels(mutant.source, spec, shapes, precision, seed)
        if names and any(
            wrong(MutantRuntime(mutant.source, tmp_path, names, order), spec, shapes, precision, seed)
            for order in host.ORDERS
        ):
            return
    pytest.fail(f"{mutant}: no thread order and no problem shows that the guard is gone")


def used_kernels(source: str, spec, shapes, precision, seed) -> list[str]:
    """The instances of a source that a problem launches; without a mutation the result is right."""
    seen: set[str] = set()

    class Listening(hostruntime.HostRuntime):
        def function(self, kernel):
            if kernel.source == source:
                seen.add(kernel.name)
            return super().function(kernel)

    assert not wrong(Listening(), spec, shapes, precision, seed)
    return sorted(seen)


def test_the_unchanged_kernels_pass(tmp_path, rng):
    """The folder alone is not what makes a mutant fail."""
    shutil.copytree(host.kernels_folder(), tmp_path, dirs_exist_ok=True)
    spec, shapes, precision = PROBLEMS["moves.cu"][0]
    seed = int(rng.integers(2**32))
    names = used_kernels("moves.cu", spec, shapes, precision, seed)
    assert names and not wrong(MutantRuntime("moves.cu", tmp_path, names, 0), spec, shapes, precision, seed)
