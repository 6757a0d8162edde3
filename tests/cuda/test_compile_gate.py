"""Every kernel the backend may launch, compiled for every target it serves, held against the hardware's limits and
against the table in golden.json. No GPU is needed: NVRTC and nvdisasm come as wheels.

    python tests/cuda/test_compile_gate.py --write     writes the table anew, after a look at what changed

The first run compiles for some minutes. What it made stays in pytest's cache (--cache-clear removes it), where a later
run finds all that no edit has touched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnnkern import config
from cnnkern.backends.cuda import cache, compiler, manifest
from cnnkern.backends.cuda.compiler import Compiled
from cnnkern.backends.cuda.launch import Kernel, struct
from cnnkern.errors import CompileError, UnsupportedError

GOLDEN = Path(__file__).with_name("golden.json")
FIELDS = ("registers", "shared_bytes", "spill_bytes")  # of a row, in this order

REGISTERS = 65536  # of a multiprocessor, and the most that a block may have
WARP_REGISTERS = 256  # a warp's are handed out in pieces of this size
# Where arguments begin in constant bank 0, on the targets whose ptxas tells the bank's size.
ARGUMENTS_AT = 0x160

# template -> how many bytes its registers may spill, stores and loads together, and why
MAY_SPILL = {
    "conv_fp32": (
        140,
        "two blocks share a multiprocessor where a thread has 8 x 8 sums: addresses spill, once a step",
    ),
    "conv_mma": (72, "around the call of an activation, once an output"),
    "conv_depthwise": (16, "likewise"),
    "winograd_out": (36, "likewise"),
}

# template -> why it computes in double, which is up to 64 times slower
MAY_USE_DOUBLE = {"winograd_filter": "once, when weights are packed: its error would be in every output"}

# What a kernel multiplies with, and the instruction that says so.
TENSOR_CORES = {"conv_mma.cu": "HMMA", "conv_wgmma.cu": "HGMMA"}

INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")
# The slow paths of division and square root: NVIDIA's, and right although they flush in places.
LIBRARY = re.compile(r"^\$__internal_\d+_\$__cuda\w*:")
# Right as well: a square root's first steps, in line, and integer division, which goes through float.
FLUSHING = re.compile(r"(?!U?F2I)\w+\.(\w+\.)*FTZ\b")
FLUSHING_ROOT = "FMUL.FTZ"
DOUBLE = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX|MMA)\b|\w+\.F64\b")


def version() -> str:
    try:
        return compiler.version()
    except UnsupportedError:
        return ""


pytestmark = pytest.mark.skipif(not version(), reason="NVRTC is not installed")


# --- what is wrong with a compiled kernel


def complaints(kernel: Kernel, target: str, made: Compiled) -> Iterator[str]:
    if not made.registers:
        yield "ptxas says nothing of it"
    threads = kernel.block[0] * kernel.block[1] * kernel.block[2]
    if not 1 <= threads <= 1024:
        yield f"{threads} threads in a block"
    warps = -(-threads // 32)
    needed = warps * -(-made.registers * 32 // WARP_REGISTERS) * WARP_REGISTERS
    if needed > REGISTERS:
        yield f"{made.registers} registers x {threads} threads: {needed} of {REGISTERS}"
    shared, limit = made.shared_bytes + kernel.shared_bytes, compiler.shared_limit_bytes(target)
    if shared > limit:
        yield f"{shared} bytes of shared memory of {limit}"
    allowed, _ = MAY_SPILL.get(kernel.template, (0, ""))
    if made.spill_bytes > allowed:
        yield f"{made.spill_bytes} bytes of spills, {allowed} are allowed"
    elif made.stack_bytes and not made.spill_bytes:
        yield f"{made.stack_bytes} bytes of local memory: an array that is indexed at run time?"
    if bank := re.search(r"(\d+) bytes cmem\[0\]", entry(made)):
        takes, given = int(bank[1]) - ARGUMENTS_AT, struct(kernel.args).itemsize
        if takes != given:
            yield f"its argument has {takes} bytes, the struct that Python packs {given}"
    for line in made.log.splitlines():
        if "warning" in line.lower() or "Performance Loss" in line:
            yield line.strip()


def entry(made: Compiled) -> str:
    """The part of the log about the kernel itself: its source may have others, compiled on the way."""
    _, _, rest = made.log.partition(f"entry function '{made.lowered_name}'")
    return rest.partition("Compiling entry function")[0]


def sass_complaints(kernel: Kernel, sass: str) -> Iterator[str]:
    found = list(instructions(sass))
    kinds = {name.split(".")[0] for name in found}
    wanted = TENSOR_CORES.get(kernel.source)
    if not found:
        yield "no instruction was found"
    elif wanted and wanted not in kinds:
        yield f"no {wanted}: it does not reach the tensor cores"
    if not wanted and (extra := kinds & {"HMMA", "HGMMA", "IMMA", "DMMA"}):
        yield f"{', '.join(extra)} in a kernel without tensor cores"
    double = sorted({name for name in found if DOUBLE.match(name)})
    if double and kernel.template not in MAY_USE_DOUBLE:
        yield f"arithmetic in double: {', '.join(double)}"
    expected = {FLUSHING_ROOT} if "_sqrt_rn_f32" in sass else set()
    if flushing := sorted({name for name in found if FLUSHING.match(name)} - expected):
        yield f"denormals are flushed: {', '.join(flushing)}"


def instructions(sass: str) -> Iterator[str]:
    """With their modifiers: "FFMA.FTZ". Those of NVIDIA's own functions are left out."""
    ours = True
    for line in sass.splitlines():
        if LIBRARY.match(line):
            ours = False
        elif line.startswith("//-----"):
            ours = True
        elif ours and (found := INSTRUCTION.search(line)):
            yield found[1]


def read_for(kernel: Kernel) -> list[str]:
    """Where there are no tensor cores, nothing that is looked for hangs on the target, and one is enough: a disassembly
    takes longer than the compilation."""
    every = compiler.targets(kernel)
    return every if kernel.source in TENSOR_CORES else every[:1]


def disassemble(made: Compiled) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.cubin)
        file.flush()
        return subprocess.run([nvdisasm(), "-c", file.name], capture_output=True, text=True, check=True).stdout


def nvdisasm() -> str | None:
    """From NVIDIA's wheel, or the system's."""
    spec = importlib.util.find_spec("nvidia")
    found = [tool for folder in (spec.submodule_search_locations if spec else ()) for tool in
             Path(folder).glob("*/bin/nvdisasm")]  # fmt: skip
    return str(found[0]) if found else shutil.which("nvdisasm")


# --- the gate


def compile_everything() -> dict[tuple[Kernel, str], Compiled | CompileError]:
    pairs = [(kernel, target) for kernel in manifest.kernels() for target in compiler.targets(kernel)]

    def attempt(pair):
        try:
            return cache.load(*pair)
        except CompileError as error:
            return error

    with ThreadPoolExecutor(config.usable_cpus()) as pool:
        return dict(zip(pairs, pool.map(attempt, pairs)))


@pytest.fixture(scope="module")
def everything(request, tmp_path_factory) -> Iterator[Mapping[tuple[Kernel, str], Compiled | CompileError]]:
    kept = getattr(request.config, "cache", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNKERN_CACHE", str(kept.mkdir("cnnkern") if kept else tmp_path_factory.mktemp("cnnkern")))
        made = compile_everything()
        used = {cache.file(*pair) for pair in made}
        for old in set(cache.folder().glob("*")) - used:
            old.unlink()
        yield made


def test_every_kernel_compiles_within_the_limits(everything):
    wrong = []
    for (kernel, target), made in everything.items():
        said = [str(made)] if isinstance(made, CompileError) else complaints(kernel, target, made)
        wrong += [f"{kernel.source} {kernel.name} {target}: {line}" for line in said]
    assert not wrong, report(wrong)


def test_machine_code(everything, request):
    if not nvdisasm():
        pytest.skip("nvdisasm is not installed")
    read = {
        cache.file(kernel, target).name: (kernel, made)
        for (kernel, target), made in everything.items()
        if target in read_for(kernel) and isinstance(made, Compiled)
    }
    kept, rules = getattr(request.config, "cache", None), hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    earlier = kept.get("cnnkern/machine_code", {}) if kept else {}
    clean = set(earlier["clean"]) if earlier.get("rules") == rules else set()
    unread = sorted(read.keys() - clean)
    with ThreadPoolExecutor(config.usable_cpus()) as pool:
        listings = pool.map(lambda name: disassemble(read[name][1]), unread)
        said = {name: list(sass_complaints(read[name][0], sass)) for name, sass in zip(unread, listings)}
    if kept:
        clean = clean & read.keys() | {name for name in unread if not said[name]}
        kept.set("cnnkern/machine_code", {"rules": rules, "clean": sorted(clean)})
    wrong = [f"{read[name][0].source} {read[name][0].name}: {line}" for name in unread for line in said[name]]
    assert not wrong, report(wrong)


def test_golden_table(everything):
    golden = json.loads(GOLDEN.read_text())
    wrong = differences(golden["kernels"], table(everything))
    if wrong and golden["nvrtc"] != version():
        warnings.warn(f"NVRTC {version()} differs from {golden['nvrtc']} in {len(wrong)} kernels", stacklevel=1)
    else:
        assert not wrong, f"{report(wrong)}\n`python tests/cuda/{Path(__file__).name} --write` writes the table anew"


def table(made: Mapping[tuple[Kernel, str], Compiled | CompileError]) -> dict[str, dict[str, list[int]]]:
    """ "source kernel" -> target -> the figures named in FIELDS."""
    rows: dict[str, dict[str, list[int]]] = {}
    for (kernel, target), compiled in made.items():
        if isinstance(compiled, Compiled):
            row = rows.setdefault(f"{kernel.source} {kernel.name}", {})
            row[target] = [getattr(compiled, field) for field in FIELDS]
    return dict(sorted(rows.items()))


def differences(golden: Mapping[str, Mapping], now: Mapping[str, Mapping]) -> list[str]:
    flat = [{(name, target): row for name, of in rows.items() for target, row in of.items()} for rows in (golden, now)]
    return [
        f"{' '.join(key)}: {flat[0].get(key, 'none')} -> {flat[1].get(key, 'none')} ({', '.join(FIELDS)})"
        for key in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(key) != flat[1].get(key)
    ]


def report(lines: list[str], most: int = 40) -> str:
    return "\n".join(["", *lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])])


def write() -> None:
    os.environ["CNNKERN_CACHE"] = str(Path(__file__).parents[2] / ".pytest_cache" / "d" / "cnnkern")  # what pytest uses
    made = compile_everything()
    if failed := [str(error) for error in made.values() if isinstance(error, CompileError)]:
        sys.exit(report(failed))
    rows = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table(made).items()]
    head = f'{{\n "nvrtc": {json.dumps(version())},\n "fields": {json.dumps(FIELDS)},\n "kernels": {{\n'
    GOLDEN.write_text(head + ",\n".join(rows) + "\n }\n}\n")
    print(f"{GOLDEN}: {len(rows)} kernels, {len(made)} cubins")


# --- that the gate sees what it looks for

PLANTED = r"""
struct Args { const float* x; float* y; int n; };

template <int N> __global__ void __launch_bounds__(1024) spills(Args a) {
    float v[N];
    for (int i = 0; i < N; i++) v[i] = a.x[i * threadIdx.x];
    for (int k = 0; k < a.n; k++) {
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = __fmaf_rn(v[i], v[(i * 7 + 3) % N], a.x[k]);
    }
#pragma unroll
    for (int i = 0; i < N; i++) a.y[i * threadIdx.x] = v[i];
}
template <int N> __global__ void indexed(Args a) {
    float v[N];
    for (int i = 0; i < a.n; i++) v[i * i % N] = a.x[i];
    a.y[threadIdx.x] = v[a.n];
}
template <int N> __global__ void big(Args a) {
    __shared__ float v[N];
    v[threadIdx.x] = a.x[threadIdx.x];
    __syncthreads();
    a.y[threadIdx.x] = v[a.n];
}
template <class T> __global__ void winograd_filter(Args a) { a.y[threadIdx.x] = a.x[threadIdx.x] * T(0.3) + 1; }
template <class T> __global__ void half(Args a) { a.y[threadIdx.x] = a.x[threadIdx.x] * T(0.3) + 1; }
template <int N> __global__ void flushes(Args a) {
    asm("mul.ftz.f32 %0, %1, %1;" : "=f"(a.y[0]) : "f"(a.x[0]));
}
template <int N> __global__ void divides(Args a) { a.y[threadIdx.x] = sqrtf(a.x[threadIdx.x]) / a.x[N]; }
template <int N> __global__ void shares(Args a) {
    a.y[threadIdx.x] = a.x[threadIdx.x / a.n] + a.x[N * blockIdx.x % a.n];
}
template <int N> __global__ void multiplies(Args a) {
    float d[4] = {0.f, 0.f, 0.f, 0.f};
    unsigned v[6];
    for (int i = 0; i < 6; i++) v[i] = __float_as_uint(a.x[threadIdx.x + i]);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]), "r"(v[4]), "r"(v[5]));
    for (int i = 0; i < 4; i++) a.y[threadIdx.x * 4 + i] = d[i];
}
template <int N> __global__ void warns(Args a) {
    float unset;
    a.y[0] = unset * N;
}
"""
ARGS = "x:p y:p n:i"


@pytest.fixture
def planted(tmp_path, monkeypatch):
    for name in ("planted.cu", "conv_mma.cu"):
        (tmp_path / name).write_text(PLANTED)
    monkeypatch.setattr(compiler, "kernels_folder", lambda: tmp_path)

    def compiled(name: str, target: str, threads: int = 256, source: str = "planted.cu", **more):
        kernel = Kernel(source, name, **{"args": ARGS, "threads": threads, **more})
        return kernel, compiler.compile_kernel(kernel, target)

    return compiled


@pytest.mark.parametrize(
    ("name", "more", "word"),
    [
        ("spills<100>", {"threads": 1024}, "bytes of spills"),
        ("spills<8>", {"threads": 1024}, None),
        ("indexed<64>", {}, "local memory"),
        ("big<1024>", {}, None),
        ("big<1024>", {"shared_bytes": 60 * 1024}, None),
        ("big<1024>", {"shared_bytes": 61 * 1024}, "of shared memory of 65536"),
        ("half<float>", {}, None),
        ("half<float>", {"threads": 2048}, "2048 threads"),
        ("half<float>", {"args": "x:p y:p n:i m:i k:i"}, "has 24 bytes, the struct that Python packs 32"),
        ("warns<1>", {}, "warning"),
    ],
)
def test_complaints(planted, name, more, word):
    kernel, made = planted(name, "sm_75", **more)
    said = " / ".join(complaints(kernel, "sm_75", made))
    assert (word in said) if word else not said


def test_complaints_count_registers_as_the_hardware_hands_them_out():
    kernel = Kernel("a.cu", "a", "x:p", 1024)
    fits, not_quite = (Compiled(b"", "a", registers, 0, 0, 0, "") for registers in (64, 65))
    assert list(complaints(kernel, "sm_80", fits)) == []
    assert "72" not in kernel.name and "73728 of 65536" in " ".join(complaints(kernel, "sm_80", not_quite))


@pytest.mark.parametrize(
    "line",
    [
        "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ...",
        "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain minimum registers ...",
    ],
)
def test_complaints_pass_on_what_ptxas_says_of_hopper(line):
    kernel = Kernel("conv_wgmma.cu", "a", "x:p", 384, sm=90, arch="a")
    assert list(complaints(kernel, "sm_90a", Compiled(b"", "a", 168, 0, 0, 0, line))) == [line]


@pytest.mark.parametrize("target", ["sm_80", "sm_90a", "sm_120"])
@pytest.mark.parametrize(
    ("name", "source", "word"),
    [
        ("half<float>", "planted.cu", None),
        ("half<double>", "planted.cu", "in double: D"),
        ("winograd_filter<double>", "planted.cu", None),
        ("flushes<1>", "planted.cu", "flushed: FMUL.FTZ"),
        ("divides<1>", "planted.cu", None),
        ("shares<1>", "planted.cu", None),
        ("half<float>", "conv_mma.cu", "no HMMA"),
        ("multiplies<1>", "conv_mma.cu", None),
        ("multiplies<1>", "planted.cu", "HMMA in a kernel without"),
    ],
)
def test_sass_complaints(planted, name, source, word, target):
    if not nvdisasm():
        pytest.skip("nvdisasm is not installed")
    kernel, made = planted(name, target, source=source)
    said = " / ".join(sass_complaints(kernel, disassemble(made)))
    assert (word in said) if word else not said


def test_differences():
    golden = {"a.cu a": {"sm_80": [10, 0, 0]}, "b.cu b": {"sm_80": [5, 0, 0]}}
    now = {"a.cu a": {"sm_80": [11, 0, 0], "sm_75": [9, 0, 0]}}
    said = differences(golden, now)
    assert [line.split(": ")[0] for line in said] == ["a.cu a sm_75", "a.cu a sm_80", "b.cu b sm_80"]
    assert "[10, 0, 0] -> [11, 0, 0]" in said[1] and not differences(golden, golden)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    write()
