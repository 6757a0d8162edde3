"""Where the stages run: a device and its backend, how arrays get there, and how much is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnnkern.backends.cuda import CudaBackend

PRECISIONS = ("float32", "strict", "tf32", "float16", "bfloat16")
TIMED = ("float16", "tf32", "float32")


@dataclass(frozen=True)
class Extent:
    """How much a run takes on."""

    seeds: tuple[int, ...] = (1, 2, 3)  # of random operations; a case each of every label
    per_op: int = 8
    labels: tuple[str, ...] = ()  # of cnnkern.measure.opcases; () all
    precisions: tuple[str, ...] = PRECISIONS
    larger: int | None = None  # so many of correctness.LARGER; None all
    checked_nets: tuple[tuple[str, int | None], ...] = (
        ("resnet18", 64), ("mobilenet_v2", 64), ("squeezenet1_1", 64), ("densenet121", 64),
    )  # fmt: skip
    conv_nets: tuple[str, ...] = ("resnet50", "mobilenet_v2", "vgg16")
    conv_size: int | None = None  # of the images; None: each network's own
    nets: tuple[str, ...] = ("resnet50", "mobilenet_v2", "vgg16", "densenet121", "googlenet", "efficientnet_b0")
    net_size: int | None = None
    batches: tuple[int, ...] = (32, 1, 256)
    timed: tuple[str, ...] = TIMED
    least_ms: float = 2.0  # of a measurement
    replays: int = 10  # measurements
    most_launches: int = 700  # in one graph
    candidates: int = 10  # of a convolution, beside what the selector takes
    net_ms: float = 25.0  # of a measurement of a network
    net_rounds: int = 5
    compile_limit_s: float = 100.0  # torch.compile of one network
    profiled: int = 5

    def quick(self) -> Extent:
        """A smoke test of every stage."""
        return replace(
            self, seeds=(1,), per_op=2, larger=6, checked_nets=self.checked_nets[:1], conv_nets=("mobilenet_v2",),
            nets=("mobilenet_v2",), batches=(32,), candidates=3, compile_limit_s=90.0, profiled=1,
        )  # fmt: skip


@dataclass(eq=False)
class Place:
    """A device. Tests make one of the host shim; `on_gpu` one of CuPy's current device.

    Attributes:
        put: a NumPy array as the array that users hold on the device; `get` the other way.
        stream: makes a context, which may be entered again, whose work goes to a stream of its own.
        l2_bytes: of the cache that inputs must not lie in.
        make_peer: who is timed against: see torch_peer.TorchPeer; `peer`, made when it is first asked for.
        earlier: rows of an earlier stage of this run, by item.
        out: where files go that are results; `work`, where others do.
    """

    runtime: Any
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    stream: Callable[[], Any]
    l2_bytes: int
    make_peer: Callable[[], Any]
    out: Path
    work: Path
    extent: Extent = field(default_factory=Extent)
    earlier: Callable[[str], dict[str, list[dict[str, Any]]]] = lambda stage: {}
    command: Callable[..., list[str]] = lambda *words: []  # to run this script's hidden parts in a process of their own

    def __post_init__(self):
        self.backend = CudaBackend(self.runtime)

    @cached_property
    def peer(self) -> Any:
        return self.make_peer()

    def broken(self) -> str:
        """What a fault has left of the device: why it is of no use any more, or an empty string."""
        try:
            self.runtime.synchronize()
            self.runtime.allocate(256, "a probe")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""


def on_gpu(out: Path, work: Path, **options: Any) -> Place:
    """The GPU that CuPy uses."""
    import cupy

    from cnnkern.backends.cuda.device import CupyRuntime

    from .torch_peer import best_peer

    runtime = CupyRuntime()

    def stream() -> Any:
        return cupy.cuda.Stream(non_blocking=True)

    l2_bytes = cupy.cuda.runtime.getDeviceProperties(runtime.device)["l2CacheSize"]
    return Place(runtime, cupy.asarray, cupy.asnumpy, stream, l2_bytes, lambda: best_peer(cupy), out, work, **options)
