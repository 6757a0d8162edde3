"""The include arrows of the C++ side, and what code compiled with ISA flags may not contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# room -> the rooms and files it may include; bindings -> program -> ops -> ukernels, all over core.
ARROWS = {
    "core": {"core"},
    "ukernels": {"ukernels", "core/isa.h"},
    "ops": {"ops", "ukernels", "core"},
    "program": {"program", "ops", "core", "ukernels/tables.h"},
    "bindings": {"bindings", "program", "ops", "ukernels", "core"},
}
# Compiled with ISA flags: a weak symbol of a standard template would carry that ISA into the baseline.
PER_ISA_HEADERS = {"stddef.h", "stdint.h", "cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
PER_ISA_WORDS = {
    r"\bstd::": "the standard library",
    r"#\s*pragma\s+omp": "OpenMP",
    r"\b(?:throw|try|catch)\b": "exceptions",
    r"\b(?:malloc|calloc|realloc|free|new|delete|alloca)\b": "allocation",
    r"\b(?:typeid|dynamic_cast|virtual)\b": "run-time types",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

pytestmark = pytest.mark.skipif(not CSRC.exists(), reason="csrc/ is not here (not a checkout)")


def without_comments(source: str) -> str:
    """Comments and the insides of strings become spaces; includes keep their names."""

    def blank(match: re.Match) -> str:
        text = match.group()
        return text if text.startswith('"') and "\n" not in text and INCLUDE.match(line_of(source, match)) else " "

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, source, flags=re.DOTALL)


def line_of(source: str, match: re.Match) -> str:
    start = source.rfind("\n", 0, match.start()) + 1
    end = source.find("\n", match.end())
    return source[start : end if end >= 0 else None]


def target(path: Path, name: str) -> str:
    """The included file, relative to csrc/, whether it was named from there or from the including folder."""
    for base in (path.parent, CSRC):
        if (base / name).exists():
            return (base / name).resolve().relative_to(CSRC).as_posix()
    return name


def is_per_isa(relative: str) -> bool:
    """Whether a file of csrc/ is compiled, or included into what is compiled, once per ISA."""
    return relative.startswith("ukernels/") and not relative.startswith("ukernels/tables.")


def complaints(source: str, relative: str) -> list[str]:
    path, source = CSRC / relative, without_comments(source)
    room, found = relative.split("/")[0], []
    for quoted, system in INCLUDE.findall(source):
        name = target(path, quoted) if quoted else system
        if quoted and name not in ARROWS[room] and name.split("/")[0] not in ARROWS[room]:
            found.append(f"{relative}: {room} must not include {name}")
        if system and is_per_isa(relative) and system not in PER_ISA_HEADERS:
            found.append(f"{relative}: <{system}> in code compiled per ISA")
    if is_per_isa(relative):
        found += [
            f"{relative}: {what} in code compiled per ISA"
            for word, what in PER_ISA_WORDS.items()
            if re.search(word, source)
        ]
        if relative != "ukernels/simd/counting.h" and "thread_local" in source:
            found.append(f"{relative}: a thread_local; the one of counting.h is all there is")
    elif re.search(r"\b_mm\d*_|\b__m(?:128|256|512)|immintrin\.h", source):
        found.append(f"{relative}: intrinsics outside ukernels/")
    if is_per_isa(relative) and "/simd/" not in relative and re.search(r"\b_mm\d*_|\b__m(?:128|256|512)", source):
        found.append(f"{relative}: intrinsics outside simd/: a leaf is written on the verbs")
    if relative != "core/team.cpp" and re.search(r"#\s*pragma\s+omp|<omp\.h>", source):
        found.append(f"{relative}: OpenMP outside core/team.cpp")
    return found


FILES = sorted(
    path.relative_to(CSRC).as_posix() for path in CSRC.rglob("*") if path.suffix in (".h", ".cpp", ".inl", ".def")
)


@pytest.mark.parametrize("relative", FILES)
def test_arrows(relative):
    assert complaints((CSRC / relative).read_text(), relative) == []


def test_per_isa_code_lives_in_its_namespace():
    for path in CSRC.glob("ukernels/isa_*.cpp"):
        isa = path.stem.removeprefix("isa_")
        assert re.search(rf"namespace {isa}\b|namespace cnnkern::{isa}\b", path.read_text()), path.name


@pytest.mark.parametrize(
    ("relative", "source", "allowed"),
    [
        ("ukernels/gemm.inl", "// std::max would be wrong\nstatic inline void f() {}", True),
        ("ukernels/gemm.inl", "static inline float f(float a) { return std::max(a, 0.f); }", False),
        ("ukernels/gemm.inl", "#include <algorithm>", False),
        ("ukernels/gemm.inl", "__m256 v;", False),
        ("ukernels/simd/avx2.h", "#include <immintrin.h>\nusing vec = __m256;", True),
        ("ukernels/kernel_table.h", '#include "../core/arch.h"', False),
        ("ukernels/kernel_table.h", '#include "../core/isa.h"', True),
        ("ops/gemm.cpp", '#include "core/team.h"', True),
        ("ops/gemm.cpp", "#pragma omp parallel", False),
        ("ops/gemm.cpp", "auto v = _mm256_setzero_ps();", False),
        ("ops/gemm.cpp", '#include "program/program.h"', False),
        ("core/arena.cpp", '#include "ops/op.h"', False),
    ],
)
def test_the_rules_see_what_they_look_for(relative, source, allowed):
    assert (complaints(source, relative) == []) is allowed
