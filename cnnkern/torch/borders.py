"""Where PyTorch's tensors become arrays of cnnkern's and back: the same memory, seen twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from ..graph.executor import Executable


def layout(tensor: torch.Tensor) -> str:
    """How a traced tensor of rank 4 lies in memory, as far as it lies densely."""
    if tensor.dim() != 4 or tensor.is_contiguous():
        return "NCHW"
    return "NHWC" if tensor.is_contiguous(memory_format=torch.channels_last) else "NCHW"


def to_numpy(tensor: torch.Tensor) -> Any:
    try:
        return tensor.numpy()
    except RuntimeError:  # one that wants a gradient, or has one of PyTorch's lazy bits
        return tensor.numpy(force=True)


def to_cupy(tensor: torch.Tensor) -> Any:
    import cupy

    return cupy.from_dlpack(tensor.detach())


class Piece:
    """A part of a graph that runs on cnnkern.

    Args:
        executable: None where all its outputs are its inputs.
        inputs, outputs: ATen nodes.
        given, names: what these are called in the executable; outputs may repeat, and may be inputs.
        computed: the executable's outputs.
    """

    def __init__(
        self,
        executable: Executable | None,
        inputs: list[fx.Node],
        outputs: list[fx.Node],
        given: list[str],
        names: list[str],
        computed: list[str],
    ):
        self.executable, self.inputs, self.outputs = executable, inputs, outputs
        on_gpu = any(node.meta["val"].device.type == "cuda" for node in inputs)
        self._enter: Callable = to_cupy if on_gpu else to_numpy
        self._leave: Callable = torch.from_dlpack if on_gpu else torch.from_numpy
        self._run = self._on_stream if on_gpu else executable
        self._wanted = None if names == computed else [self._place(name, given, computed) for name in names]
        self._repeats = [name in given or name in names[:i] for i, name in enumerate(names)]

    @staticmethod
    def _place(name: str, given: list[str], computed: list[str]) -> tuple[bool, int]:
        return (True, computed.index(name)) if name in computed else (False, given.index(name))

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        results: Any = ()
        if self.executable is not None:
            results = self._run([self._enter(tensor) for tensor in tensors])
            results = results if isinstance(results, tuple) else (results,)
        made = [self._leave(result) for result in results]
        if self._wanted is None:
            return made
        picked = [made[at] if ours else tensors[at] for ours, at in self._wanted]
        return [tensor.clone() if again else tensor for tensor, again in zip(picked, self._repeats)]

    def _on_stream(self, arrays: Sequence[Any]) -> Any:
        """On the stream that PyTorch works on, so that neither has to wait for the other."""
        import cupy

        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return self.executable(arrays)
