"""The host shim, or else the sanitizers, find what a kernel forgets: the planted mistakes of fixtures/planted.cu."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import host
import numpy as np
import pytest
from shimkernels import Kernels, floats, on_the_shim, sanitized

pytestmark = on_the_shim
HERE = Path(__file__).resolve().parent
SWITCHED = ("no_barrier", "no_second_barrier", "no_warp_barrier", "early_refill")  # <false> is correct
NUMBERED = {"no_wait": 5, "diverge": 6}  # <0> is correct
PLANTED = ["shared_store", "shared_load", "shared_copy", "load_beyond", "store_beyond", "leave_out", "load_vector"]
PLANTED += ["wild_pointer", "divide", "load_stored", "store_loaded"]
PLANTED += [f"{name}<{mistake}>" for name in SWITCHED for mistake in ("false", "true")]
PLANTED += [f"{name}<{mistake}>" for name, number in NUMBERED.items() for mistake in range(number)]


@pytest.fixture(scope="module")
def planted():
    return Kernels("planted.cu", PLANTED)


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
        from shimkernels import Kernels, SANITIZED
        x, y = np.ones(1024, np.float32), np.zeros(1024, np.float32)
        Kernels("planted.cu", SANITIZED)({name!r}, (1,), (1024,), x=x, y=y, n={n}, shared=4096)
        print("went well")
    """
    done = sanitized(["-c", textwrap.dedent(script)])
    if report is None:
        assert done.returncode == 0 and "went well" in done.stdout, done.stderr
    else:
        assert done.returncode != 0 and re.search(report, done.stderr), done.stderr
