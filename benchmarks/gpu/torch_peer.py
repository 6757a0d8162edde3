"""PyTorch on the same GPU: cuDNN's convolutions, whole networks three ways, and a float64 referee.

Nothing here runs before `best_peer` is called, and torch is imported in the process of a stage alone.
"""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import cnnkern
from cnnkern import testing
from cnnkern.ops.base import Spec

from .harness import Skip
from .ours import Times, copies_beyond, measure, steady_us
from .place import Place

MOST_NUMBERS = 1 << 26  # that are drawn without torch
MUCH_BYTES = 40 << 30


def best_peer(cupy: Any) -> Any:
    """PyTorch; where it is not there, a peer that can do nothing but make data."""
    try:
        import torch
    except ImportError as error:
        return NoPeer(f"PyTorch: {error}", cupy.asarray, cupy.asnumpy)
    if not torch.cuda.is_available():
        return NoPeer("PyTorch finds no GPU", cupy.asarray, cupy.asnumpy)
    return TorchPeer(torch, cupy)


class NoPeer:
    """Nobody to be timed against; results are checked on the CPU."""

    version = ""

    def __init__(self, reason: str, put: Callable[[np.ndarray], Any], get: Callable[[Any], np.ndarray]):
        self.reason, self._put, self._get = reason, put, get

    def data(self, shape: tuple[int, ...], seed: int) -> Any:
        """Normal numbers on the device."""
        if int(np.prod(shape)) > MOST_NUMBERS:
            raise Skip(f"too much data without PyTorch ({self.reason})")
        return self._put(np.random.default_rng(seed).standard_normal(shape, np.float32))

    def check(self, spec: Spec, arrays: list[Any], y: Any, precision: str) -> tuple[float, float]:
        """(error, tolerance) of a convolution, a share of the scale; the first and the last image are checked."""
        x, *weights = (a if a is None or isinstance(a, np.ndarray) else self._get(a) for a in arrays)
        some = sorted({0, len(x) - 1})
        given = [x[some], *weights]
        found = testing.compare(self._get(y)[some], testing.reference(spec, *given), spec, given, precision=precision)
        return found.error, found.tolerance

    def conv(self, spec: Spec, arrays: list[Any], precision: str, place: Place) -> Times:
        raise Skip(self.reason)

    def answers(self, model: Any, x: np.ndarray) -> np.ndarray:
        raise Skip(self.reason)

    def eager(self, model: Any, x: np.ndarray, precision: str, place: Place) -> tuple[np.ndarray, float]:
        raise Skip(self.reason)

    graph = compiled = eager

    def forget(self) -> None:
        pass


class TorchPeer:
    """PyTorch with channels_last data, cuDNN's own choice of algorithm by trial, TF32 only where it is asked for."""

    reason = ""

    def __init__(self, torch: Any, cupy: Any, device: str = "cuda"):
        self.torch, self._cupy, self._device = torch, cupy, device
        self.version = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
        self._modules: dict[str, Any] = {}
        self._seed = torch.Generator(device=device)

    def data(self, shape: tuple[int, ...], seed: int) -> Any:
        made = self.torch.randn(shape, generator=self._seed.manual_seed(seed), device=self._device)
        return self.given(made)

    def given(self, tensor: Any) -> Any:
        """A tensor as the array that our side takes: the same memory."""
        return self._cupy.asarray(tensor)

    def tensor(self, array: Any) -> Any:
        if isinstance(array, np.ndarray):
            return self.torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        return self.torch.as_tensor(array, device=self._device)

    @contextlib.contextmanager
    def arithmetic(self, precision: str, trial: bool = True) -> Iterator[Any]:
        """PyTorch's switches for a precision of ours; the type that its tensors have."""
        torch = self.torch
        tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = trial
        with torch.inference_mode():
            yield {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision, torch.float32)

    # --- a convolution

    def check(self, spec: Spec, arrays: list[Any], y: Any, precision: str) -> tuple[float, float]:
        """(error, tolerance), shares of the scale: two images against float64, and all of them, ten times as
        generously, against PyTorch's float32, which has errors of its own."""
        x, w, b = (self.tensor(a) if a is not None else None for a in arrays[:3])
        mine, some = self.tensor(y), sorted({0, len(x) - 1})
        allowed = testing.tolerance(spec, *(None if a is None else tuple(a.shape) for a in arrays), precision=precision)
        with self.arithmetic("float32", trial=False):
            exact = self._conv(spec, x[some].double(), w.double(), None if b is None else b.double())
            terms = self._conv(spec, x[some].double() ** 2, w.double() ** 2, None, plain=True)
            scale = max(float(exact.abs().max()), float(terms.max()) ** 0.5)
            error = self._gap(mine[some], exact) / scale
            beside = self._gap(mine, self._conv(spec, x, w, b)) / scale / 10
        return max(error, beside), allowed

    def _gap(self, mine: Any, theirs: Any) -> float:
        gap = float((mine - theirs).abs().max())
        return float("inf") if gap != gap else gap

    def _conv(self, spec: Spec, x: Any, w: Any, b: Any, plain: bool = False) -> Any:
        """With the activation, unless it is to be `plain`; on data as it lies."""
        functional = self.torch.nn.functional
        x, padding = self._padded(spec, x)
        y = functional.conv2d(x, w, b, spec.stride, padding, spec.dilation, spec.groups)
        if plain or spec.activation is None:
            return y
        return getattr(functional, spec.activation)(y)

    def _padded(self, spec: Spec, x: Any) -> tuple[Any, tuple[int, int]]:
        (top, bottom), (left, right) = spec.padding
        if (top, left) == (bottom, right):
            return x, (top, left)
        return self.torch.nn.functional.pad(x, [left, right, top, bottom]), (0, 0)

    def conv(self, spec: Spec, arrays: list[Any], precision: str, place: Place) -> Times:
        """cuDNN's convolution alone, without bias and activation, which ours has: as favourable as can be."""
        torch = self.torch
        with self.arithmetic(precision) as dtype:
            last = torch.channels_last
            x, w = (self.tensor(a).to(dtype).contiguous(memory_format=last) for a in arrays[:2])
            x, padding = self._padded(spec, x)
            y = torch.nn.functional.conv2d(x, w, None, spec.stride, padding, spec.dilation, spec.groups)  # the trial
            size_bytes = sum(t.numel() * t.element_size() for t in (x, w, y))
            count = copies_beyond(place.l2_bytes, size_bytes)
            inputs = [(x, w), *((x.clone(), w.clone()) for _ in range(count - 1))]
            outputs: list[Any] = [None] * count  # kept, so that they rotate as well

            def call(i: int) -> None:
                given, weights = inputs[i % count]
                outputs[i % count] = torch.nn.functional.conv2d(
                    given, weights, None, spec.stride, padding, spec.dilation, spec.groups
                )

            return measure(self.record, self.time, call, count, place)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """As torch.cuda.graph does it, without the collection of garbage, which would take most of the time here."""
        torch = self.torch
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            run()  # what a first call sets up may not be captured
            torch.cuda.synchronize()
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                run()
            finally:
                graph.capture_end()
        torch.cuda.synchronize()
        return graph.replay

    def time(self, run: Callable[[], None]) -> float:
        start, stop = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop)

    def forget(self) -> None:
        """Memory that is kept for later goes back where it is much."""
        pool = self._cupy.get_default_memory_pool()
        if self.torch.cuda.memory_reserved() + pool.total_bytes() > MUCH_BYTES:
            self.torch.cuda.empty_cache()
            pool.free_all_blocks()

    # --- a network

    def module(self, model: Any) -> Any:
        """A network of ours as a module with the same weights, batch norms folded, float32, channels_last."""
        if model.name not in self._modules:
            from cnnkern.measure.peers.torch_graph import from_onnx

            with tempfile.TemporaryDirectory() as folder:
                file = os.path.join(folder, "network.onnx")
                cnnkern.onnx.save(model, file, batch=None)
                module, _ = from_onnx(file)
            self._modules |= {model.name: module.to(self._device).to(memory_format=self.torch.channels_last)}
        return self._modules[model.name]

    def answers(self, model: Any, x: np.ndarray) -> np.ndarray:
        """In float64."""
        with self.arithmetic("float32", trial=False):
            return copy.deepcopy(self.module(model)).double()(self.tensor(x).double()).cpu().numpy()

    @contextlib.contextmanager
    def network(self, model: Any, x: np.ndarray, precision: str) -> Iterator[tuple[Any, Any]]:
        """(the module, its input) in a precision's type."""
        with self.arithmetic(precision) as dtype:
            given = self.tensor(x).to(dtype).contiguous(memory_format=self.torch.channels_last)
            yield copy.deepcopy(self.module(model)).to(dtype), given

    def eager(self, model: Any, x: np.ndarray, precision: str, place: Place) -> tuple[np.ndarray, float]:
        """(the answer, microseconds of a call)."""
        with self.network(model, x, precision) as (module, given):
            return self._timed(lambda: module(given), place)

    def graph(self, model: Any, x: np.ndarray, precision: str, place: Place) -> tuple[np.ndarray, float]:
        """The same, replayed as a CUDA graph; its input is in place."""
        with self.network(model, x, precision) as (module, given):
            held: list[Any] = [None]

            def run() -> None:
                held[0] = module(given)

            replay = self.record(run)
            return self._timed(lambda: (replay(), held[0])[1], place)

    def compiled(self, model: Any, x: np.ndarray, precision: str, place: Place) -> tuple[np.ndarray, float]:
        """torch.compile(mode="max-autotune"), its own CUDA graphs included."""
        self.torch._dynamo.reset()
        with self.network(model, x, precision) as (module, given):
            function = self.torch.compile(module, mode="max-autotune", fullgraph=True, dynamic=False)
            return self._timed(lambda: function(given), place)

    def _timed(self, call: Callable[[], Any], place: Place) -> tuple[np.ndarray, float]:
        for _ in range(3):
            y = call()
        answer = y.float().cpu().numpy()
        return answer, steady_us(self.time, call, place)
