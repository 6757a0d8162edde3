"""Running a CUDA plan: addresses bound once, launches replayed as a CUDA graph, steps without a kernel between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...backends.base import Step
from ...errors import UnsupportedError
from ...graph.plan import Plan
from ...graph.watch import Watch
from ...ops.base import Counts, product
from .launch import Launch, Pointer
from .lowering import Lowering
from .predict import predict
from .runtime import Function, Memory, Runtime
from .tensors import Buffers, Tensor, size_bytes

NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
NUMPY = {"float": np.float32, "f16": np.float16, "bf16": np.uint16, "i64": np.int64}


@dataclass
class Context:
    """What one concurrent caller needs for itself: memory, launches bound to it, and the recorded graphs."""

    memory: dict[str, Memory]  # by slot
    addresses: dict[str, int]
    weights: Mapping[str, Any]  # as the user gave them, for steps without a kernel
    replays: list[Callable[[], None] | None] = field(default_factory=list)  # of each stretch of launches
    mark: Any = None  # where its last work ends: whoever takes the memory next, on another stream perhaps, waits for it
    wait: Callable[[Any], None] = lambda mark: None

    def __del__(self):
        self.wait(self.mark)  # memory that goes back is taken by others at once


class CudaRunner:
    """A `graph.executor.Runner` over a Runtime.

    Args:
        setup: launches that pack the weights.
        weights: by name; None where they come with every call (`run_eager`).
        layouts: of the caller's rank 4 inputs and outputs, by name.
        replay: record stretches of launches as graphs.
    """

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        buffers: Buffers,
        low: Lowering,
        setup: Sequence[Launch],
        weights: Mapping[str, Any] | None,
        layouts: Mapping[str, str],
        replay: bool,
    ):
        self._plan, self._runtime, self._buffers, self._graph = plan, runtime, buffers, low.graph
        self._setup, self._layouts, self._replay = list(setup), layouts, replay
        self._sizes = {
            "arena": plan.memory.arena_bytes,
            "workspace": low.workspace.size_bytes,
            **{f"input:{name}": size_bytes(buffers.external(name)) for name in low.graph.inputs},
            **{f"output:{name}": size_bytes(buffers.external(name)) for name in low.graph.outputs},
        }
        self._packed_bytes = low.weights.size_bytes
        self._stretches = [
            (native, list(steps)) for native, steps in groupby(plan.steps, key=lambda step: step.run is None)
        ]
        launches = [*self._setup, *(launch for step in plan.steps for launch in step.native or ())]
        self._read = {p.slot for step in plan.steps for launch in step.native or () for p in launch.pointers()}
        self._all_params = {p.slot for launch in launches for p in launch.pointers() if p.slot.startswith("param:")}
        self._functions: dict[str, Function] = {}
        sizes = {**self._sizes, "weights": self._packed_bytes}
        sizes |= {slot: 4 * product(low.graph.shape(slot.partition(":")[2])) for slot in self._all_params}
        for launch in launches:
            check_pointers(launch, sizes)
        self._weights: dict[str, Any] = {}
        self._shared: dict[str, Memory] = {}  # weights, of all contexts
        runtime.compile(list({launch.kernel.name: launch.kernel for launch in launches}.values()))
        for launch in launches:
            if launch.kernel.name not in self._functions:
                self._functions[launch.kernel.name] = runtime.function(launch.kernel)
        if weights is not None:
            self._weights = dict(weights)
            self._pack(weights)

    # --- memory

    def _allocate(self, slot: str, size_bytes: int) -> Memory:
        need = sum(self._sizes.values()) + self._packed_bytes
        return self._runtime.allocate(
            max(size_bytes, 1), f"the {slot} of {self._plan.name} (its plan needs {need} bytes)"
        )

    def _pack(self, weights: Mapping[str, Any]) -> None:
        """Weights to the device, packed there; those that only packing reads are given back."""
        held = {slot: self._upload(slot, weights[slot.partition(":")[2]]) for slot in sorted(self._all_params)}
        held["weights"] = self._packed_memory()
        workspace = self._allocate("workspace", self._sizes["workspace"])
        addresses = {slot: memory.address for slot, memory in held.items()} | {"workspace": workspace.address}
        self._launch(self._setup, addresses)
        self._runtime.synchronize()
        self._shared = {slot: memory for slot, memory in held.items() if slot in self._read}

    def _packed_memory(self) -> Memory:
        """For packed weights: zeros where packing writes none."""
        memory = self._allocate("weights", self._packed_bytes)
        self._runtime.write(memory.address, np.zeros(self._packed_bytes, np.uint8))
        return memory

    def _upload(self, slot: str, array: Any) -> Memory:
        memory = self._allocate(slot, 4 * product(array.shape))
        self._runtime.write(memory.address, array)
        return memory

    def new_context(self) -> Context:
        memory = {slot: self._allocate(slot, size) for slot, size in self._sizes.items()}
        memory |= self._shared
        addresses = {slot: held.address for slot, held in memory.items()}
        return Context(memory, addresses, self._weights, [None] * len(self._stretches), wait=self._runtime.wait)

    # --- running

    def takes(self, array: Any) -> bool:
        """Whether it is an array of the device."""
        return self._runtime.on_device(array)

    def _launch(self, launches: Sequence[Launch], addresses: Mapping[str, int]) -> None:
        def address(pointer: Pointer) -> int:
            return addresses[pointer.slot] + pointer.offset_bytes

        for launch in launches:
            function = self._functions[launch.kernel.name]
            function(launch.grid, launch.kernel.block, (launch.pack(address),), shared_mem=launch.shared)

    def run(self, context: Context, inputs: Sequence, outputs: Sequence | None, watch: Watch | None) -> list[Any]:
        on_device = any(self._runtime.on_device(array) for array in inputs)
        self._runtime.follow(context.mark)
        self._take(context, inputs)
        if watch is not None:
            self._watched(context, watch, context.addresses)
        else:
            for i, (native, steps) in enumerate(self._stretches):
                if native:
                    self._run_stretch(context, i, [launch for step in steps for launch in step.native])
                else:
                    for step in steps:
                        self._fall_back(step, context, context.addresses)
        return self._results(context, context.addresses, outputs, on_device)

    def _take(self, context: Context, inputs: Sequence) -> None:
        for value, array in zip(self._plan.inputs, inputs):
            self._runtime.write(context.addresses[f"input:{value.name}"], self._turned(value.name, array))

    def _results(self, context: Context, addresses, outputs: Sequence | None, on_device: bool) -> list[Any]:
        results = [
            self._result(addresses, value.name, None if outputs is None else outputs[i], on_device)
            for i, value in enumerate(self._plan.outputs)
        ]
        context.mark = self._runtime.mark(context.mark)
        return results

    def _run_stretch(self, context: Context, i: int, launches: Sequence[Launch]) -> None:
        if not self._replay:
            self._launch(launches, context.addresses)
            return
        if context.replays[i] is None:
            context.replays[i] = self._runtime.record(lambda: self._launch(launches, context.addresses))
        context.replays[i]()

    def run_eager(
        self,
        context: Context,
        inputs: Sequence,
        weights: Mapping[str, Any],
        outputs: Sequence | None,
        watch: Watch | None,
    ) -> list[Any]:
        """One call with its own weights: device arrays that lie as planned are used where they are."""
        runtime, addresses = self._runtime, dict(context.addresses)
        on_device = any(runtime.on_device(a) for a in (*inputs, *weights.values()))
        runtime.follow(context.mark)
        for value, array in zip(self._plan.inputs, inputs):
            addresses[f"input:{value.name}"] = self._place(
                self._turned(value.name, array), addresses[f"input:{value.name}"]
            )
        for slot in sorted(self._all_params):
            array = weights[slot.partition(":")[2]]
            if not self._usable(array):
                memory = context.memory.get(slot) or self._allocate(slot, 4 * product(array.shape))
                context.memory[slot] = memory
                runtime.write(memory.address, array)
                addresses[slot] = memory.address
            else:
                addresses[slot] = runtime.address(array)
        if self._packed_bytes and "weights" not in context.memory:
            context.memory["weights"] = self._packed_memory()
        if "weights" in context.memory:
            addresses["weights"] = context.addresses["weights"] = context.memory["weights"].address
        self._launch(self._setup, addresses)
        context.weights = weights
        if watch is not None:
            self._watched(context, watch, addresses)
        else:
            for step in self._plan.steps:
                self._run_step(step, context, addresses)
        return self._results(context, addresses, outputs, on_device)

    def _usable(self, array: Any) -> bool:
        """Whether kernels can read a caller's array where it is."""
        if not self._runtime.on_device(array) or not array.flags.c_contiguous:
            return False
        return self._runtime.address(array) % 16 == 0 and product(array.shape) > 0

    def _place(self, array: Any, staging: int) -> int:
        if self._usable(array):
            return self._runtime.address(array)
        self._runtime.write(staging, array)
        return staging

    def _turned(self, name: str, array: Any) -> Any:
        """The caller's NCHW view as it lies in the input's slot."""
        return array.transpose(NHWC) if array.ndim == 4 and self._layouts.get(name) == "NHWC" else array

    def _result(self, addresses: Mapping[str, int], name: str, target: Any, on_device: bool) -> Any:
        """An output, in `target` or fresh, of the caller's kind and NCHW-shaped."""
        tensor = self._buffers.external(name)
        turned = tensor.rank == 4 and self._layouts.get(name) == "NHWC"
        shape = tuple(tensor.sizes[a] for a in NHWC) if turned else tensor.sizes
        dtype = NUMPY[tensor.ctype]
        if on_device:
            made = self._runtime.empty(shape, dtype)
            if product(shape):
                self._runtime.copy(self._runtime.address(made), addresses[f"output:{name}"], size_bytes(tensor))
        else:
            made = np.empty(shape, dtype)
            if product(shape):
                self._runtime.read(addresses[f"output:{name}"], made)
        made = made.transpose(NCHW) if turned else made
        if target is None:
            return made
        target[...] = made
        return target

    # --- step by step

    def _run_step(self, step: Step, context: Context, addresses: Mapping[str, int]) -> None:
        if step.run is None:
            self._launch(step.native, addresses)
        else:
            self._fall_back(step, context, addresses)

    def _watched(self, context: Context, watch: Watch, addresses: Mapping[str, int]) -> None:
        for step in self._plan.steps:
            if step.run is None:
                ms = self._runtime.time(lambda step=step: self._launch(step.native, addresses))
            else:
                start = time.perf_counter()
                self._fall_back(step, context, addresses)
                ms = 1e3 * (time.perf_counter() - start)
            watch(step, ms, lambda name: self._fetch(name, context, addresses))

    def profile(self, context: Context, inputs: Sequence) -> list[float]:
        """Milliseconds of every step, by the device's own clock."""
        times: list[float] = []
        self.run(context, inputs, None, lambda step, ms, fetch: times.append(ms))
        return times

    def known(self, step: Step, values: Mapping[str, np.ndarray]) -> Step:
        """The step with what these values, which decide what it does, say of its operations."""
        launches = [replace(launch, args={**launch.args, **values}) for launch in step.native or ()]
        return replace(step, predicted=predict(launches) if launches else step.predicted)

    def count(self, context: Context, inputs: Sequence, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """What each step executes, where the runtime counts (the tests' host runtime does)."""
        counting = getattr(self._runtime, "counting", None)
        if counting is None:
            raise UnsupportedError(
                "a GPU does not count its operations while it runs: the tests count them on the kernels' own sources"
            )
        rows = []

        def row(step, executed):
            rows.append({"name": step.name, "op": step.spec.op, "kernel": step.kernel, "shape": step.out_shapes[0],
                         "theory": step.theory, "predicted": step.predicted, "executed": executed,
                         "itemised": None})  # fmt: skip

        self._take(context, inputs)
        for step in steps:
            if step.run is not None:
                self._fall_back(step, context, context.addresses)
                row(step, None)
                continue
            executed: Counts = counting(lambda step=step: self._launch(step.native, context.addresses))
            row(step, executed)
        return rows

    def _fall_back(self, step: Step, context: Context, addresses: Mapping[str, int]) -> None:
        made = step.run(*(self._fetch(name, context, addresses) for name in step.inputs))
        for name, array in zip(step.outputs, made):
            self._put(name, addresses, array)

    def _fetch(self, name: str, context: Context, addresses: Mapping[str, int]) -> np.ndarray | None:
        """A value as a NumPy array, in its logical shape, widened to float32."""
        if not name:
            return None
        if name in self._graph.params:
            array = context.weights[name]
            return array if isinstance(array, np.ndarray) else self._host(array)
        tensor = self._buffers.tensor(name)
        if not product(tensor.sizes):
            return np.zeros(tensor.sizes, np.float32)
        flat = self._span(tensor, addresses)
        view = as_strided(flat, tensor.sizes, [s * tensor.item_bytes for s in tensor.strides])
        if tensor.ctype == "bf16":
            return (view.astype(np.uint32) << 16).view(np.float32)
        return view.astype(np.float32) if tensor.ctype == "f16" else view.copy()

    def _span(self, tensor: Tensor, addresses: Mapping[str, int]) -> np.ndarray:
        """The memory that a tensor reaches across."""
        flat = np.empty(size_bytes(tensor) // tensor.item_bytes, NUMPY[tensor.ctype])
        self._runtime.read(addresses[tensor.pointer.slot] + tensor.pointer.offset_bytes, flat)
        return flat

    def _put(self, name: str, addresses: Mapping[str, int], array: np.ndarray) -> None:
        tensor = self._buffers.tensor(name)
        if not product(tensor.sizes):
            return
        flat = self._span(tensor, addresses)
        view = as_strided(flat, tensor.sizes, [s * tensor.item_bytes for s in tensor.strides])
        view[...] = _to_bf16(array) if tensor.ctype == "bf16" else array
        self._runtime.write(addresses[tensor.pointer.slot] + tensor.pointer.offset_bytes, flat)

    def _host(self, array: Any) -> np.ndarray:
        made = np.empty(array.shape, np.float32)
        self._runtime.read(self._runtime.address(array), made)
        return made


def _to_bf16(array: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FFF, rounded).astype(np.uint16)


def check_pointers(launch: Launch, sizes: Mapping[str, int]) -> None:
    """Raises ValueError where a launch points outside of its slots: a plan that is wrong goes no further."""
    for name, value in launch.args.items():
        if isinstance(value, Pointer) and not 0 <= value.offset_bytes < max(1, sizes[value.slot]):
            raise ValueError(f"{launch.kernel.name}: {name} points to byte {value.offset_bytes} of {value.slot}")
