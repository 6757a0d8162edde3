"""The host shim does what a GPU does, and finds what a kernel forgets.

Its reading of the PTX ISA is written down here a second time, in NumPy.
"""

from __future__ import annotations

import itertools
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from cnnkern.ops.base import Counts

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import host  # noqa: E402

if host.compiler() is None:
    pytest.skip("no C++ compiler", allow_module_level=True)

FIXTURES = HERE / "fixtures"
TYPES = {"f16": np.uint16, "bf16": np.uint16, "float": np.float32}
CORRECT = ["arithmetic", "round_tf32", "spread", "fragments<false>", "fragments<true>", "matmul<f16>", "matmul<bf16>"]
CORRECT += [
    "matmul<Tf32>",
    *(f"{name}<float>" for name in ("number", "reverse", "warp_sum", "swap_pairs", "sum_tiles")),
]
CORRECT += [f"{name}<{type_}>" for name in ("widen", "narrow") for type_ in ("f16", "bf16")]
SWITCHED = ("no_barrier", "no_second_barrier", "no_warp_barrier", "early_refill")  # <false> is correct
NUMBERED = {"no_wait": 5, "diverge": 6}  # <0> is correct
PLANTED = ["shared_store", "shared_load", "shared_copy", "load_beyond", "store_beyond", "leave_out", "load_vector"]
PLANTED += ["wild_pointer", "divide", "load_stored", "store_loaded"]
PLANTED += [f"{name}<{mistake}>" for name in SWITCHED for mistake in ("false", "true")]
PLANTED += [f"{name}<{mistake}>" for name, number in NUMBERED.items() for mistake in range(number)]
SANITIZED = ["shared_store", "shared_load", "store_beyond", "load_beyond", "local_store", "no_barrier<false>"]
SANITIZED += ["shared_vector"]

ARGS = {
    "correct.cu": np.dtype({"names": [*"xwcyn"], "formats": ["<u8"] * 4 + ["<i4"]}, align=True),
    "planted.cu": np.dtype({"names": [*"xyn"], "formats": ["<u8"] * 2 + ["<i4"]}, align=True),
}


class Kernels:
    """The kernels of a fixture, called with arrays, in any order of their threads."""

    def __init__(self, source: str, names: list[str], **options):
        self.module = host.HostModule(source, names, folder=FIXTURES, **options)
        self.dtype = ARGS[source]

    def __call__(self, name: str, grid, block, *, shared=0, order=0, **values) -> None:
        args = np.zeros(1, self.dtype)
        for key, value in values.items():
            args[key] = value.ctypes.data if isinstance(value, np.ndarray) else value
        self.module.order = order
        self.module.get_function(name)(grid, block, (args,), shared_mem=shared)


@pytest.fixture(autouse=True)
def _apart():
    """What other tests have registered does not forbid these their arrays."""
    with host.apart():
        yield


@pytest.fixture(scope="module")
def correct():
    return Kernels("correct.cu", CORRECT)


@pytest.fixture(scope="module")
def planted():
    return Kernels("planted.cu", PLANTED)


@pytest.fixture
def memory():
    """Registers arrays for as long as the test lasts; returns its last argument."""
    registered = []

    def register(*arrays):
        for array in arrays:
            host.register_memory(array.ctypes.data, array.nbytes)
            registered.append(array.ctypes.data)
        return arrays[-1]

    yield register
    for address in registered:
        host.unregister_memory(address)


orders = pytest.mark.parametrize("order", host.ORDERS)
floats = np.float32


# --- what is right stays right, in every order; these run again under the sanitizers


@orders
def test_correct_indices(correct, order):
    y = np.full(4 * 3 * 2 * 24, np.nan, floats)
    correct("number<float>", (4, 3, 2), (2, 3, 4), y=y, order=order)
    assert (y == np.arange(y.size)).all()


@orders
@pytest.mark.parametrize("block, n", [(256, 256), (256, 200), (1024, 1024), (33, 1), (7, 7)])
def test_correct_barrier(correct, memory, rng, order, block, n):
    """Threads that have returned hold up nobody."""
    x = rng.standard_normal((3, n), floats)
    y = memory(x, np.full_like(x, np.nan))
    correct("reverse<float>", (3,), (block,), x=x, y=y, n=n, shared=4 * n, order=order)
    assert (y == x[:, ::-1]).all()


@orders
def test_correct_warps(correct, rng, order):
    x = rng.integers(-99, 99, 96).astype(floats)
    y, swapped = np.full(3, np.nan, floats), np.full(96, np.nan, floats)
    correct("warp_sum<float>", (1,), (96,), x=x, y=y, order=order)
    correct("swap_pairs<float>", (1,), (96,), x=x, y=swapped, shared=4 * 96, order=order)
    assert (y == x.reshape(3, 32).sum(1)).all()
    assert (swapped == x.reshape(-1, 2)[:, ::-1].ravel()).all()


@orders
@pytest.mark.parametrize("tiles", [0, 1, 2, 5])
def test_correct_copies(correct, memory, rng, order, tiles):
    x = rng.integers(-99, 99, (max(tiles, 1), 256)).astype(floats)
    y = memory(x, np.full(256, np.nan, floats))
    correct.module.reset()
    correct("sum_tiles<float>", (1,), (64,), x=x, y=y, n=tiles, shared=2 * 1024, order=order)
    assert (y == x[:tiles].sum(0)[::-1]).all()
    assert correct.module.counts() == Counts(add=256 * tiles, bytes_read=1024 * tiles, bytes_written=1024)


def pairs(x):
    """16-bit values -> registers of two, the first in the lower half."""
    low, high = x[..., 0::2].astype(np.uint32), x[..., 1::2].astype(np.uint32)
    return low | high << np.uint32(16)


@orders
@pytest.mark.parametrize("transposed", [False, True])
def test_correct_load_matrix(correct, rng, order, transposed):
    x = rng.integers(0, 1 << 16, (4, 8, 8), np.uint16)  # matrix, row, column: row r of matrix m is lane 8 m + r's
    y = np.zeros((32, 4), np.uint32)
    correct(f"fragments<{str(transposed).lower()}>", (1,), (32,), x=x, y=y, shared=512, order=order)
    seen = x.transpose(0, 2, 1) if transposed else x
    for lane, i in itertools.product(range(32), range(4)):
        g, t = divmod(lane, 4)
        assert y[lane, i] == seen[i, g, 2 * t] | np.uint32(seen[i, g, 2 * t + 1]) << np.uint32(16)


def fragments(a, b, c):
    """A (16xK) and B (Kx8) of what a register holds (16-bit values or tf32), C (16x8) -> each lane's registers.

    The tables of the PTX ISA for mma.m16n8k16 and mma.m16n8k8: lane = 4 g + t.
    """
    lanes = [divmod(lane, 4) for lane in range(32)]
    if a.dtype == np.uint16:
        where_a = [[(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)] for g, t in lanes]
        where_b = [[(2 * t, g), (2 * t + 8, g)] for g, t in lanes]
        left = [pairs(np.array([a[i, j : j + 2] for i, j in r]))[:, 0] for r in where_a]
        right = [pairs(np.array([b[i : i + 2, j] for i, j in r]))[:, 0] for r in where_b]
    else:
        left = [[a[i, j] for i, j in [(g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)]] for g, t in lanes]
        right = [[b[i, j] for i, j in [(t, g), (t + 4, g)]] for g, t in lanes]
    return np.array(left, np.uint32), np.array(right, np.uint32), accumulators(c)


def accumulators(c):
    lanes = [divmod(lane, 4) for lane in range(32)]
    where = [[(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)] for g, t in lanes]
    return np.array([[c[i, j] for i, j in r] for r in where])


def as_float(bits, type_):
    """What 16 bits, or the 19 upper bits of a tf32, stand for."""
    if type_ == "f16":
        return bits.view(np.float16).astype(floats)
    if type_ == "bf16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(floats)
    return (bits & np.uint32(0xFFFFE000)).view(floats)


@orders
@pytest.mark.parametrize("type_", ["f16", "bf16", "Tf32"])
def test_correct_matmul(correct, rng, order, type_):
    k = 8 if type_ == "Tf32" else 16
    a, b = rng.standard_normal((16, k), floats), rng.standard_normal((k, 8), floats)
    c = rng.standard_normal((16, 8), floats)
    if type_ == "f16":
        a, b = a.astype(np.float16).view(np.uint16), b.astype(np.float16).view(np.uint16)
    elif type_ == "bf16":
        a, b = (x.view(np.uint16)[..., 1::2].copy() for x in (a, b))
    else:
        a, b = a.view(np.uint32), b.view(np.uint32)  # with lower bits, which tensor cores do not look at
    left, right, sums = fragments(a, b, c)
    y = np.full((32, 4), np.nan, floats)
    correct.module.reset()
    correct(f"matmul<{type_}>", (1,), (32,), x=left, w=right, c=sums, y=y, order=order)
    a, b = (as_float(x, type_).astype(np.float64) for x in (a, b))
    bound = (k + 1) * 2.0**-24 * (abs(a) @ abs(b) + abs(c))  # a rounding per term
    assert (abs(y - accumulators(a @ b + c)) <= accumulators(bound)).all()
    assert correct.module.counts() == Counts(fma=16 * 8 * k, bytes_read=32 * 40, bytes_written=32 * 16)


# --- values


@pytest.mark.parametrize("type_", ["f16", "bf16"])
def test_every_value_widens(correct, type_):
    x = np.arange(1 << 16, dtype=np.uint16)
    y = np.zeros(x.size, floats)
    correct(f"widen<{type_}>", (256,), (256,), x=x, y=y)
    want = as_float(x, type_)
    number = ~np.isnan(want)
    assert (y.view(np.uint32)[number] == want.view(np.uint32)[number]).all()
    assert np.isnan(y[~number]).all()


def values_to_round(rng, type_):
    """Every value of the type, what lies half way to the next, both neighbours of that, and any bits at all."""
    x = as_float(np.arange(1 << 16, dtype=np.uint16), type_)
    finite = x[np.isfinite(x)]
    half = ((np.sort(finite)[1:].astype(np.float64) + np.sort(finite)[:-1]) / 2).astype(floats)
    beyond = floats([65519.998, 65520, 65536, 3.4e38, 1e-45, np.inf, np.nan])
    any_ = rng.integers(0, 1 << 32, 1 << 16, np.uint32).view(floats)
    around = (np.nextafter(half, floats(np.inf)), half, np.nextafter(half, floats(-np.inf)))
    with np.errstate(over="ignore"):
        every = np.concatenate([x, *around, beyond, -beyond, any_])
    return np.resize(every, -(-every.size // 256) * 256)


def test_float16_rounds_to_even(correct, rng):
    x = values_to_round(rng, "f16")
    y = np.zeros(x.size, np.uint16)
    correct("narrow<f16>", (x.size // 256,), (256,), x=x, y=y)
    with np.errstate(over="ignore", invalid="ignore"):
        want = x.astype(np.float16).view(np.uint16)
    assert (y == np.where(np.isnan(x), 0x7FFF, want)).all()


def test_bfloat16_rounds_to_even(correct, rng):
    x = values_to_round(rng, "bf16")
    y = np.zeros(x.size, np.uint16)
    correct("narrow<bf16>", (x.size // 256,), (256,), x=x, y=y)
    bits = x.view(np.uint32).astype(np.uint64)
    rest, down = bits & np.uint64(0xFFFF), bits >> np.uint64(16)
    up = (rest > 0x8000) | ((rest == 0x8000) & (down % np.uint64(2) == 1))  # the next pattern, whatever the exponent
    assert (y == np.where(np.isnan(x), 0x7FFF, down + up)).all()


def test_tf32_rounds_half_away(correct, rng):
    x = rng.integers(0, 1 << 32, 1 << 14, np.uint32)
    x[::4] = x[::4] & np.uint32(0xFFFFE000) | np.uint32(0x1000)
    x = x.view(floats)
    x[:4] = 0.0, -0.0, np.inf, -np.inf
    y = np.zeros(x.size, floats)
    correct("round_tf32", (x.size // 256,), (256,), x=x, y=y)
    assert (np.isnan(y) == np.isnan(x)).all()
    normal = (abs(x) >= np.finfo(floats).tiny) & (abs(x) < 3e38)
    mantissa, exponent = np.frexp(x[normal].astype(np.float64))
    assert (y[normal] == np.ldexp(np.trunc(abs(mantissa) * 2**11 + 0.5) * np.sign(mantissa), exponent - 11)).all()
    assert (y[:4] == x[:4]).all()


def test_arithmetic_is_exact_and_counted(correct):
    index = np.zeros(1, np.int64)
    y = np.full(14, np.nan, floats)
    p, q, r = x = floats([1 + 2**-13, 1 - 2**-13, -1])
    correct.module.reset()
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    assert y[0] == floats(np.float64(p) * q + r) != floats(p * q) + r, "one rounding"
    assert y[1:9].tolist() == [p + q, p - q, p * q, p, q, 1, p / q, np.sqrt(p)]
    np.testing.assert_allclose(y[9:13], [2.71861, 2**-13, 0.761645, 0.842751], rtol=1e-4)
    assert y[13] == floats(np.float64(p) ** q) and index == -5000000000
    once = Counts(fma=1, mul=1, add=2, max=3, special=7, bytes_read=12, bytes_written=4 * 14 + 8)
    assert correct.module.counts() == once
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    assert correct.module.counts() == once * 2


@pytest.mark.parametrize("a, b", [(np.nan, 1), (1, np.nan), (0.0, -0.0), (-0.0, 0.0), (-np.inf, 3)])
def test_max_and_min_of_what_is_special(correct, a, b):
    x, y, index = floats([a, b, 0]), np.zeros(14, floats), np.zeros(1, np.int64)
    correct("arithmetic", (1,), (1,), x=x, w=index, y=y)
    nan = bool(np.isnan(x).any())
    assert (np.isnan(y[4]), np.isnan(y[5])) == (nan, nan)
    if not nan:
        ordered = sorted([a, b], key=lambda v: (v, np.copysign(1, v)))
        assert [*y[4:6]] == ordered[::-1] and [*np.signbit(y[4:6])] == [*np.signbit(ordered[::-1])]


# --- what is wrong is found


def outcomes(kernels, name, *, block=64, n=0, shared=None):
    """What becomes of y in each order: "right", "wrong" (NaN where nothing was stored) or the error."""
    x = np.arange(1, block + 1, dtype=floats)
    want = {"no_second_barrier": 3 * x[::-1] + 3, "early_refill": (x + np.roll(x, -1))[::-1], "diverge": x - 1}
    want |= {"no_warp_barrier": x.reshape(-1, 2)[:, ::-1].ravel(), "leave_out": x}
    found = []
    for order in host.ORDERS:
        y = np.full(block, np.nan, floats)
        try:
            shared_bytes = 4 * block if shared is None else shared
            kernels(name, (1,), (block,), x=x, y=y, n=n, shared=shared_bytes, order=order)
        except RuntimeError as error:
            found.append(str(error))
        else:
            found.append("right" if (y == want.get(name.partition("<")[0], x[::-1])).all() else "wrong")
    return found


@pytest.mark.parametrize("name", [f"{name}<false>" for name in SWITCHED] + ["no_wait<0>", "diverge<0>"])
def test_without_the_mistake_nothing_is_found(planted, name):
    assert outcomes(planted, name) == ["right"] * 4


@pytest.mark.parametrize(
    "name", [f"{name}<true>" for name in SWITCHED] + ["no_wait<1>", "no_wait<2>", "no_wait<3>", "leave_out"]
)
def test_wrong_values(planted, name):
    assert "wrong" in outcomes(planted, name, n=1)


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_wait<4>", r"thread \(\d+, 0, 0\): returned with copies under way"),
        ("diverge<1>", r"shuffle_xor at .*planted.cu:\d+, while other lanes .* wait in __syncwarp|"
                       r"__syncwarp at .*planted.cu:\d+, while other lanes .* wait in shuffle_xor"),
        ("diverge<2>", "all 32 lanes of a warp, but some have returned|returned, while lanes .* wait in __syncwarp"),
        ("diverge<3>", "all 32 lanes of a warp, but some have returned|returned, while lanes .* wait in __syncwarp"),
        ("diverge<4>", r"deadlock(; 32 as thread \(\d+, 0, 0\) wait in (__syncthreads|shuffle_xor) at .*:\d+){2}"),
        ("diverge<5>", r"__syncthreads at .*:\d+, while other threads wait at .*:\d+"),
    ],
)  # fmt: skip
def test_errors_of_waiting(planted, name, message):
    for found in outcomes(planted, name):
        assert found.startswith(f"{name}: block (0, 0, 0), thread (")
        assert re.search(message, found), found
    assert outcomes(planted, "no_barrier<false>") == ["right"] * 4, "an error leaves something behind"


def test_a_warp_that_is_not_whole(planted):
    assert "some are beyond the block" in outcomes(planted, "diverge<2>", block=6)[0]


@pytest.mark.parametrize("n, message", [(64, "byte 256 of 256"), (-1, "byte -4 of 256"), (63, None)])
def test_stores_beyond_shared_memory(planted, n, message):
    found = outcomes(planted, "shared_store", n=n)
    assert all(message in f if message else f == "wrong" for f in found), found


def test_loads_beyond_shared_memory(planted):
    x, y = np.ones(64, floats), np.ones(64, floats)
    planted("shared_load", (1,), (64,), x=x, y=y, n=1, shared=256)
    assert [*y[:63]] == [0] * 63 and np.isnan(y[63])


@pytest.mark.parametrize(
    "n, message",
    [(64, "copy_async of 16 bytes at byte 256 of 256"), (61, "aligned"), (-4, "byte -16 of 256"), (60, None)],
)
def test_copies_beyond_shared_memory(planted, n, message):
    found = outcomes(planted, "shared_copy", n=n)
    assert all(message in f if message else f == "wrong" for f in found), found


def test_accesses_beyond_global_memory(planted, memory):
    """Nothing is touched: what lies next to it stays as it is."""
    around = np.zeros((3, 64), floats)
    x, y, _ = around
    memory(x, y)
    for name, array in (("load_beyond", y), ("store_beyond", y)):
        for n in (1, -64):
            with pytest.raises(
                RuntimeError, match=rf"{name}: block \(0, 0, 0\), thread \(\d+, 0, 0\): (load|store) of 4"
            ):
                planted(name, (1,), (64,), x=array, y=array if name == "store_beyond" else x, n=n * 65)
    assert (around == 0).all()
    with pytest.raises(RuntimeError, match="load of 4 bytes at 0x.*: byte 256 of the 256 at 0x"):
        planted("load_beyond", (1,), (1,), x=y, y=x, n=64)


def test_what_a_launch_loads_it_does_not_store(planted, memory):
    x, y = np.zeros((2, 64), floats)
    memory(x, y)
    for name, message in (("load_stored", "has stored"), ("store_loaded", "has loaded")):
        for order in host.ORDERS:
            with pytest.raises(RuntimeError, match=message):
                planted(name, (1,), (64,), y=y, order=order)
    planted("leave_out", (1,), (64,), x=x, y=y)  # the next launch may


def test_halves_of_a_word_are_apart(correct, memory):
    """A thread may load the float16 next to the one that another stores."""
    values = np.arange(64, dtype=np.uint16)
    memory(values)
    correct("spread", (1,), (32,), x=values, y=values, n=1)
    assert (values[1::2] == values[::2]).all()
    with pytest.raises(RuntimeError, match="which this launch has"):
        correct("spread", (1,), (31,), x=values, y=values, n=2)


def test_misaligned_vectors(planted):
    assert all("load of 16 bytes" in f and "not aligned" in f for f in outcomes(planted, "load_vector", n=1))
    assert all("not aligned" in f or f == "wrong" for f in outcomes(planted, "load_vector", n=4))


@pytest.mark.parametrize(
    "name, message", [("wild_pointer", "fault at 0x8: a wild pointer"), ("divide", "division by zero")]
)
def test_faults(planted, name, message):
    y = np.zeros(1, floats)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            planted(name, (1,), (1,), x=y, y=y, n=8 * (name == "wild_pointer"))


@pytest.mark.parametrize(
    "grid, block, shared, message",
    [
        ((1,), (1025,), 0, "blocks of"),
        ((1,), (0,), 0, "blocks of"),
        ((1,), (1, 1, 65), 0, "blocks of"),
        ((0,), (32,), 0, "a grid of"),
        ((1, 65536), (32,), 0, "a grid of"),
        ((1,), (32,), 228 << 10, "shared memory"),
    ],
)
def test_launches_no_gpu_takes(planted, grid, block, shared, message):
    with pytest.raises(RuntimeError, match=f"^leave_out: .*{message}"):
        planted("leave_out", grid, block, shared=shared)


def test_arguments_of_another_size(planted):
    function = planted.module.get_function("leave_out")
    with pytest.raises(RuntimeError, match="arguments of 16 bytes, but the kernel takes 24"):
        function((1,), (1,), (np.zeros(2, np.uint64),))


def test_memory_is_registered_once(memory):
    x = memory(np.zeros(64, floats))
    for part in (x, x[:1], x[8:], np.lib.stride_tricks.as_strided(x, (128,))):
        with pytest.raises(ValueError, match="registered"):
            host.register_memory(part.ctypes.data, part.nbytes)


# --- the libraries


def test_other_switch_same_results(rng):
    """What serves on other CPUs."""
    kernels = Kernels("correct.cu", ["reverse<float>", "warp_sum<float>"], flags=["-DCNNKERN_UCONTEXT"])
    x = rng.standard_normal((2, 100), floats)
    for order in host.ORDERS:
        y = np.full_like(x, np.nan)
        kernels("reverse<float>", (2,), (128,), x=x, y=y, n=100, shared=400, order=order)
        assert (y == x[:, ::-1]).all()
        with pytest.raises(RuntimeError, match="takes all 32 lanes"):
            kernels("warp_sum<float>", (1,), (8,), x=x, y=y, order=order)


def test_libraries_are_kept_by_what_they_are_made_of(tmp_path):
    (tmp_path / "one.cu").write_text('#include "two.cuh"\nstruct Args { float* y; };\n'
                                     "__global__ void f(const Args a) { store(a.y, VALUE); }\n")  # fmt: skip
    made = set()
    for value in (1, 2, 1):
        (tmp_path / "two.cuh").write_text(f'#include "prims.cuh"\n#define VALUE {value}.f\n')
        module = host.HostModule("one.cu", ["f"], folder=tmp_path)
        y = np.zeros(1, floats)
        module.get_function("f")((1,), (1,), (np.array([y.ctypes.data], np.uint64),))
        assert y == value
        made.add(module.library)
    assert len(made) == 2
    (tmp_path / "two.cuh").write_text("#error no more")
    with pytest.raises(RuntimeError, match="one.cu does not compile for the host:(?s:.)*no more"):
        host.HostModule("one.cu", ["f"], folder=tmp_path)


def test_frames_beyond_a_stack_do_not_compile(tmp_path):
    (tmp_path / "large.cu").write_text(
        '#include "prims.cuh"\nstruct Args { int n; };\n'
        "__global__ void f(const Args a) { volatile float all[1 << 13]; all[a.n] = 0.f; }\n"
    )
    with pytest.raises(RuntimeError, match="frame size"):
        host.HostModule("large.cu", ["f"], folder=tmp_path)


def test_the_host_has_every_name_of_the_device():
    declared = re.compile(r"^(?:DEVICE [^(=;]*?|#define )(\w+)\(", re.MULTILINE)
    device = (host.kernels_folder() / "prims.cuh").read_text().partition("#else")[2]
    shim = "".join(path.read_text() for path in host.SHIM.glob("*.h"))
    names = set(declared.findall(device))
    assert {"fma", "load", "mma_m16n8k16", "SHARED_MEMORY"} <= names
    assert names <= set(declared.findall(shim))


# --- under the sanitizers, in a process that begins with them


def sanitized(argv):
    try:
        return host.run_sanitized(argv, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.skipif(host.sanitized(), reason="this is that process")
def test_correct_kernels_under_sanitizers():
    done = sanitized(["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "test_correct_ and not kernels"])
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(host.sanitized(), reason="this is that process")
@pytest.mark.parametrize(
    "name, n, report",
    [
        ("shared_store", 1024, "AddressSanitizer: use-after-poison"),
        ("shared_load", 1, "AddressSanitizer: use-after-poison"),
        ("load_beyond", 1, "AddressSanitizer: heap-buffer-overflow"),
        ("store_beyond", 1, "AddressSanitizer: heap-buffer-overflow"),
        ("local_store", 4, "index 4 out of bounds|AddressSanitizer: stack-buffer-overflow"),
        ("shared_vector", 1, "misaligned address"),
        ("no_barrier<false>", 0, None),
    ],
)
def test_sanitizers_find_overruns(name, n, report):
    script = f"""
        import sys
        sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}
        import numpy as np
        from test_shim import Kernels, SANITIZED
        x, y = np.ones(1024, np.float32), np.zeros(1024, np.float32)
        Kernels("planted.cu", SANITIZED)({name!r}, (1,), (1024,), x=x, y=y, n={n}, shared=4096)
        print("went well")
    """
    done = sanitized(["-c", textwrap.dedent(script)])
    if report is None:
        assert done.returncode == 0 and "went well" in done.stdout, done.stderr
    else:
        assert done.returncode != 0 and re.search(report, done.stderr), done.stderr
