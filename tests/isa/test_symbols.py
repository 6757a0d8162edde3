"""Code compiled for one instruction set stays inside it: nothing of it can be reached, or picked by the linker, on a
CPU that lacks it."""

from __future__ import annotations

import platform
import re
from collections import Counter
from pathlib import Path

import pytest

x86_only = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="VEX and EVEX are x86 encodings")

FUNCTION = re.compile(r"^[0-9a-f]+ <(\S+)>:$")
# Legacy prefixes that may precede; then the byte that opens a VEX (c4, c5) or EVEX (62) instruction in 64-bit code.
ENCODED = re.compile(r"^\s*[0-9a-f]+:\t(?:(?:26|2e|36|3e|64|65|67) )*(c4|c5|62) ")
OWNER = re.compile(r"^_Z+N?K?7cnnkern(?:6vec128|4avx2|6avx512)")


def test_one_external_symbol_and_no_weak_one(isa_objects, binutils):
    for isa, path in isa_objects.items():
        symbols = [line.split()[-2:] for line in binutils("nm", "--defined-only", str(path)).splitlines()]
        weak = [name for kind, name in symbols if kind in "wWvVu"]
        external = [name for kind, name in symbols if kind.isupper() and kind not in "WV"]
        assert weak == [], f"{isa}: weak symbols, which the linker may pick for the baseline"
        assert len(external) == 1, f"{isa}: one external symbol (the table getter) expected, got {external}"
        assert isa in external[0] and "table" in external[0]


def test_no_code_runs_when_the_module_is_loaded(isa_objects, binutils):
    """A static constructor of an ISA object would run before any CPUID check."""
    for isa, path in isa_objects.items():
        sections = binutils("objdump", "-h", str(path))
        assert not re.search(r"\.(init_array|ctors)", sections), f"{isa}: has static constructors"


def test_no_writable_data_but_tables_and_counters(isa_objects, binutils):
    for isa, path in isa_objects.items():
        symbols = [line.split()[-2:] for line in binutils("nm", "--defined-only", str(path)).splitlines()]
        globals_ = [name for kind, name in symbols if kind in "bBdD" and not re.search("table|counters|^_ZT", name)]
        assert globals_ == [], f"{isa}: leaves must be reentrant"


def vector_instructions(disassembly: str) -> Counter:
    """(function, "VEX" or "EVEX") -> how many such instructions it holds; a line must hold a whole instruction."""
    counts: Counter = Counter()
    function = "?"
    for line in disassembly.splitlines():
        if header := FUNCTION.match(line):
            function = header.group(1)
        elif encoded := ENCODED.match(line):
            counts[function, "EVEX" if encoded.group(1) == "62" else "VEX"] += 1
    return counts


@pytest.fixture(scope="module")
def counts(core_path: Path, binutils) -> Counter:
    return vector_instructions(binutils("objdump", "-d", "--insn-width=16", str(core_path)))


@x86_only
def test_vector_code_only_in_the_isa_namespaces(counts):
    astray = sorted({function for function, _ in counts if not OWNER.match(function)})
    assert astray == [], "VEX or EVEX instructions outside cnnkern::<isa>"


@x86_only
def test_each_namespace_keeps_to_its_own_encoding(counts):
    totals: Counter = Counter()
    for (function, encoding), number in counts.items():
        if owner := OWNER.match(function):
            totals[owner.group().split("cnnkern")[1].lstrip("0123456789"), encoding] += number
    assert totals["vec128", "VEX"] == totals["vec128", "EVEX"] == 0
    assert totals["avx2", "EVEX"] == 0
    if totals:  # a build with the x86 sets: the reader of this test can trust that it sees them
        assert totals["avx2", "VEX"] > 100
        assert totals["avx512", "EVEX"] > 100


def test_the_checks_see_what_they_look_for():
    disassembly = (
        "0000000000001000 <_ZN7cnnkern4avx2L4leafEv>:\n"
        "    1000:\tc5 fc 58 c1          \tvaddps %ymm1,%ymm0,%ymm0\n"
        "0000000000002000 <_ZSt3maxIfERKT_S2_S2_>:\n"
        "    2000:\t62 f1 7c 48 58 c1    \tvaddps %zmm1,%zmm0,%zmm0\n"
        "    2006:\t0f 58 c1             \taddps  %xmm1,%xmm0\n"
    )
    found = vector_instructions(disassembly)
    assert found == {("_ZN7cnnkern4avx2L4leafEv", "VEX"): 1, ("_ZSt3maxIfERKT_S2_S2_", "EVEX"): 1}
    assert [bool(OWNER.match(function)) for function, _ in found] == [True, False]
    assert OWNER.match("_ZZN7cnnkern6avx512L4tileEvENKUlvE_clEv") and not OWNER.match("_ZN7cnnkern3ops3runEv")
