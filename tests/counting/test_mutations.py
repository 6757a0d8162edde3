"""Faults planted between prediction and execution: the plan says one thing, the program is built to do another.

Each changes a native call just before it is built into the program; the prediction was made from the call as planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnnkern import config, models, ops
from cnnkern.backends.cpu.buffers import Tensor
from cnnkern.backends.cpu.calls import NativeCall
from cnnkern.cli import main
from cnnkern.measure.accounting import account
from cnnkern.ops.base import Counts


def changed(call: NativeCall, what: str, **numbers) -> NativeCall:
    """A convolution with other numbers in its "shape" or "plan"."""
    return replace(call, options={**call.options, what: {**call.options[what], **numbers}})


def cropped(t: Tensor | None, rows: int, columns: int) -> Tensor | None:
    """Without its first rows and last columns."""
    if t is None:
        return None
    n, h, w, c = t.sizes
    return t._replace(offset=t.offset + rows * t.strides[1], sizes=(n, h - rows, w - columns, c))


def dropped_tail(call: NativeCall) -> NativeCall:
    """The last column of a convolution's output, the last channel of anything else's."""
    if call.method != "add_conv":
        return replace(call, tensors={name: t.channels(0, t.sizes[3] - 1) for name, t in call.tensors.items()})
    shape = call.options["shape"]
    lost = {name: cropped(t, 0, shape["stride_w"] if name == "x" else 1) for name, t in call.tensors.items()}
    return changed(replace(call, tensors=lost), "shape", w=shape["w"] - shape["stride_w"])


def extra_pad(call: NativeCall) -> NativeCall:
    """A row of zeros above, in the place of the image's first row."""
    shape, tensors = call.options["shape"], {**call.tensors, "x": cropped(call.tensors["x"], 1, 0)}
    return changed(replace(call, tensors=tensors), "shape", h=shape["h"] - 1, pad_t=shape["pad_t"] + 1)


def doubled_halo(call: NativeCall) -> NativeCall:
    """Bands of one row, each packing again what it shares with the last; small tiles that overlap more."""
    if call.options["plan"]["algo"] == "winograd":
        return changed(call, "plan", m=2)
    return changed(call, "plan", band_rows=1, band_images=1)


@pytest.fixture
def plant(monkeypatch):
    """`plant(fault, wanted)` puts the fault into every call for which `wanted(call)` is true; returns a list."""

    def install(fault: Callable[[NativeCall], NativeCall], wanted: Callable[[NativeCall], bool]) -> list[NativeCall]:
        build, planted = NativeCall.add_to, []

        def add_to(call: NativeCall, program) -> None:
            if wanted(call):
                planted.append(call)
                call = fault(call)
            build(call, program)

        monkeypatch.setattr(NativeCall, "add_to", add_to)
        return planted

    return install


def is_conv(call: NativeCall) -> bool:
    return call.method == "add_conv" and call.tensors["y"].sizes[2] > 1  # no linear layer, nor what is as good as one


FAULTS = {
    "dropped tail": (dropped_tail, is_conv),
    "dropped tail of a pool": (dropped_tail, lambda call: call.method == "add_pool"),
    "extra pad": (extra_pad, is_conv),
    "doubled halo": (doubled_halo, is_conv),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_command_line_finds_it_and_exits_1(fault, plant, capsys):
    assert main(["flops", "lenet5", "--backend", "cpu"]) == 0
    capsys.readouterr()
    planted = plant(*FAULTS[fault])
    assert main(["flops", "lenet5", "--backend", "cpu"]) == 1
    assert planted
    said = capsys.readouterr().out
    assert "predicted" in said and "executed" in said


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_found_in_the_layer_where_it_lies_and_in_no_other(isa, fault, plant):
    make, wanted = FAULTS[fault]
    seen = []

    def only_the_second(call):
        seen.append(call) if wanted(call) else None
        return len(seen) == 2 and call is seen[-1]

    planted = plant(make, only_the_second)
    with config(isa=isa):
        executable = models.create("lenet5").compile(backend="cpu")
    x = np.zeros((1, 1, 32, 32), np.float32)
    layers = account(executable, x).layers
    [call] = planted
    [hit] = [step.name for step in executable.steps if call.tensors["y"] == step.native[0].tensors["y"]]
    assert [layer.name for layer in layers if not layer.agrees] == [hit]


KERNELS = {
    "direct": (5, 5),
    "im2col": (3, 3),
    "depthwise": (3, 3),
    "grouped": (3, 3),
    "winograd": (3, 3),
    "pointwise": (1, 1),
}
# Pointwise convolution pads nothing; only direct convolution packs halos, and Winograd's tiles have theirs.
WHERE = [(dropped_tail, algo) for algo in KERNELS]
WHERE += [(extra_pad, algo) for algo in KERNELS if algo != "pointwise"]
WHERE += [(doubled_halo, "direct"), (doubled_halo, "winograd")]


@pytest.mark.parametrize(("fault", "algo"), WHERE, ids=[f"{fault.__name__}-{algo}" for fault, algo in WHERE])
def test_in_every_algorithm(isa, algo, fault, plant, count):
    c = k = 20
    groups = {"depthwise": c, "grouped": c // 4}.get(algo, 1)
    pad = ((1, 1), (1, 1)) if algo != "pointwise" else ((0, 0), (0, 0))
    spec = ops.Conv2dSpec((1, 1), pad, (1, 1), groups, "relu", algo=algo)
    x, weight = np.zeros((2, c, 15, 17), np.float32), np.zeros((k, c // groups, *KERNELS[algo]), np.float32)
    planned = {"m": 4, "tile_block": 8} if algo == "winograd" else None
    good = count(spec, (x, weight, None, None), isa, decisions=planned)
    assert all(row["predicted"] == row["executed"] for row in good)
    plant(fault, lambda call: call.method == "add_conv")
    [wrong] = [row for row in count(spec, (x, weight, None, None), isa, decisions=planned) if row["op"] == "conv2d"]
    assert wrong["predicted"] != wrong["executed"]
    assert wrong["theory"] - wrong["executed"] != sum(wrong["itemised"].values(), Counts())
