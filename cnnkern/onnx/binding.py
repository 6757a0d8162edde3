"""IOBinding: inputs and outputs that stay bound to a session from run to run, on the host or on a GPU.

Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#iobinding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backends
from ..errors import InvalidArgument
from .element_types import as_dtype
from .ort_value import DeviceMemory, OrtValue, at_address, cuda_for, fill, held, moved

if TYPE_CHECKING:
    from .session import InferenceSession


class _Output:
    """One bound output: memory to fill, or where what a run makes shall lie."""

    def __init__(self, target: OrtValue | None, cuda: Any):
        self.target, self.cuda, self.made = target, cuda, target or OrtValue(None)


class IOBinding:
    """What a session reads and where its results go; `session.io_binding()` makes one.

    Inputs are read when a run begins: what is written into bound memory before it counts. An output bound to memory is
    written there; one without gets fresh memory with each run. A binding serves one thread at a time; several threads
    take one each, of the same session.

    Example:
        >>> binding = session.io_binding()
        >>> binding.bind_cpu_input("x", x)
        >>> binding.bind_output("y")
        >>> session.run_with_iobinding(binding)
        >>> (y,) = binding.copy_outputs_to_cpu()
    """

    def __init__(self, session: InferenceSession):
        self._session = session
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, _Output] = {}

    # --- inputs

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Read an input from a NumPy array, which may change between runs.

        Raises:
            InvalidArgument: no input of that name, or what is no NumPy array. What does not fit the model is said by
            the run.
        """
        self._known_input(name)
        if not isinstance(arr_on_cpu, np.ndarray):
            raise InvalidArgument(f"input {name!r}: a NumPy array is accepted, got {type(arr_on_cpu).__name__}")
        self._inputs[name] = arr_on_cpu

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Read an input from an address, whose memory must live as long as it is bound.

        Args:
            device_type: "cpu" or "cuda".
            element_type: a NumPy type, or the number of an ONNX type.
            buffer_ptr: of C-contiguous elements: `array.ctypes.data`, or `array.data.ptr` of CuPy's.
        Raises:
            InvalidArgument: no such input, or no address. UnsupportedError: no such GPU here.
        """
        self._known_input(name)
        what, cuda = f"input {name!r}", cuda_for(device_type, device_id)
        dtype = as_dtype(f"{what}: element_type", element_type)
        self._inputs[name] = at_address(cuda, buffer_ptr, shape, dtype, what)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Read an input from a tensor."""
        self._known_input(name)
        self._inputs[name] = held(_as_value(f"input {name!r}", ortvalue))

    def clear_binding_inputs(self) -> None:
        """Forget all inputs."""
        self._inputs.clear()

    def synchronize_inputs(self) -> None:
        """Wait until what was copied to inputs is there (a GPU's work runs behind Python)."""
        self._session._synchronize()

    # --- outputs

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output: in fresh memory on that device, or at an address, with its type and shape.

        Raises:
            InvalidArgument: no output of that name, or an address without type and shape.
            UnsupportedError: no such GPU here.
        """
        self._known_output(name)
        what, cuda = f"output {name!r}", cuda_for(device_type, device_id)
        if buffer_ptr is None:
            self._outputs[name] = _Output(None, cuda)
            return
        if element_type is None or shape is None:
            raise InvalidArgument(f"{what}: element_type and shape are needed beside buffer_ptr")
        dtype = as_dtype(f"{what}: element_type", element_type)
        self._outputs[name] = _Output(OrtValue(at_address(cuda, buffer_ptr, shape, dtype, what)), cuda)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Write an output into a tensor, which must have its type and shape; else the run says so."""
        self._known_output(name)
        held(_as_value(f"output {name!r}", ortvalue))
        self._outputs[name] = _Output(ortvalue, None)

    def clear_binding_outputs(self) -> None:
        """Forget all outputs."""
        self._outputs.clear()

    def synchronize_outputs(self) -> None:
        """Wait until the last run's outputs are there."""
        self._session._synchronize()

    def get_outputs(self) -> list[OrtValue]:
        """The bound outputs' tensors, in the order in which they were bound; without a value before the first run."""
        return [output.made for output in self._outputs.values()]

    def get_outputs_as_ortvaluevector(self) -> list[OrtValue]:
        """As `get_outputs`."""
        return self.get_outputs()

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """The last run's outputs as NumPy arrays of the caller's own.

        Raises:
            InvalidArgument: no run has made them yet.
        """
        return [np.array(output.made.numpy()) for output in self._outputs.values()]

    # --- running

    def feeds(self, cuda: Any) -> dict[str, Any]:
        """The arrays that a run on this GPU (None: on the host) reads."""
        found = self._inputs
        if cuda is None and all(isinstance(data, np.ndarray) for data in found.values()):
            return found
        if cuda is not None and not self._on_gpu():
            return {name: moved(data, None) for name, data in found.items()}  # the plan takes them over itself
        return {name: moved(data, cuda) for name, data in found.items()}

    def _on_gpu(self) -> bool:
        """Whether anything bound lies on a GPU, or shall."""
        return not all(isinstance(data, np.ndarray) for data in self._inputs.values()) or any(
            output.cuda is not None or (output.target is not None and output.target.device_name() == "cuda")
            for output in self._outputs.values()
        )

    @property
    def output_names(self) -> list[str]:
        """What a run must compute.

        Raises:
            InvalidArgument: no output is bound.
        """
        if not self._outputs:
            known = ", ".join(map(repr, self._session._output_names))
            raise InvalidArgument(f"no output is bound: bind_output at least one of {known}")
        return list(self._outputs)

    def take(self, results: Sequence[Any]) -> None:
        """Keep what a run has made, or copy it to where it was asked for."""
        pairs = list(zip(self._outputs.items(), results))
        for (name, output), result in pairs:  # all are checked before any is written
            if output.target is not None:
                _check_target(name, held(output.target), result)
        for (name, output), result in pairs:
            if output.target is not None:
                fill(held(output.target), result, f"output {name!r}", output.cuda)
            else:
                output.made = OrtValue(moved(result, output.cuda))

    def _known_input(self, name: str) -> None:
        if name not in self._session._ports:
            known = ", ".join(map(repr, self._session._ports))
            raise InvalidArgument(f"the model has no input {name!r}; it has {known or 'none'}")

    def _known_output(self, name: str) -> None:
        if name not in self._session._output_names:
            known = ", ".join(map(repr, self._session._output_names))
            raise InvalidArgument(f"the model has no output {name!r}; it has {known}")


def _as_value(what: str, value: Any) -> OrtValue:
    if not isinstance(value, OrtValue):
        given = "an array on a GPU" if backends.is_device_array(value) else type(value).__name__
        raise TypeError(f"{what}: an OrtValue is accepted, got {given}; OrtValue.from_dlpack makes one")
    return value


def _check_target(name: str, target: np.ndarray | DeviceMemory | Any, result: Any) -> None:
    wanted, given = (result.dtype, tuple(result.shape)), (target.dtype, tuple(target.shape))
    if wanted != given:
        bound, made = (f"{dtype} {shape}" for dtype, shape in (given, wanted))
        raise InvalidArgument(f"output {name!r}: it is bound to memory of {bound}, this run makes {made}")
    if isinstance(target, np.ndarray) and not target.flags.writeable:
        raise InvalidArgument(f"output {name!r}: it is bound to a read-only array; a writeable one is accepted")
