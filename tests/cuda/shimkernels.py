"""The kernels of tests/cuda/fixtures on the host shim, called with arrays: what the tests of the shim itself share."""

from __future__ import annotations

from pathlib import Path

import host
import numpy as np
import pytest

FIXTURES = Path(__file__).resolve().parent / "fixtures"
CORRECT = ["arithmetic", "round_tf32", "spread", "fragments<false>", "fragments<true>", "matmul<f16>", "matmul<bf16>"]
CORRECT += [
    "matmul<Tf32>",
    *(f"{name}<float>" for name in ("number", "reverse", "warp_sum", "swap_pairs", "sum_tiles")),
]
CORRECT += [f"{name}<{type_}>" for name in ("widen", "narrow") for type_ in ("f16", "bf16")]
SANITIZED = ["shared_store", "shared_load", "store_beyond", "load_beyond", "local_store", "no_barrier<false>"]
SANITIZED += ["shared_vector"]

ARGS = {
    "correct.cu": np.dtype({"names": [*"xwcyn"], "formats": ["<u8"] * 4 + ["<i4"]}, align=True),
    "planted.cu": np.dtype({"names": [*"xyn"], "formats": ["<u8"] * 2 + ["<i4"]}, align=True),
}

# `pytestmark` of the shim's tests. What other tests have registered does not forbid these their arrays: `apart`.
on_the_shim = [
    pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler"),
    pytest.mark.usefixtures("apart"),
]
orders = pytest.mark.parametrize("order", host.ORDERS)
floats = np.float32


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


def as_float(bits, type_):
    """What 16 bits, or the 19 upper bits of a tf32, stand for."""
    if type_ == "f16":
        return bits.view(np.float16).astype(floats)
    if type_ == "bf16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(floats)
    return (bits & np.uint32(0xFFFFE000)).view(floats)


def sanitized(argv):
    try:
        return host.run_sanitized(argv, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))
