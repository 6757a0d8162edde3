"""OrtValue: a tensor in the caller's memory or on a GPU, as sessions and their bindings pass it.

Arrays on a GPU are made and moved by the cuda backend; what it does not own (a pointer that was bound) is copied to and
from, on the GPU. Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#ortvalue.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backends
from ..errors import InvalidArgument, UnsupportedError
from ..ops.checks import as_int
from .element_types import as_dtype, type_number, type_text

_ON_CPU, _ON_GPU = ("cpu", "cuda_pinned"), ("cuda", "gpu")


def cuda_for(device_type: str, device_id: int = 0) -> Any:
    """The cuda backend for a device's name ("cuda", "gpu") and number; None for "cpu".

    Raises:
        InvalidArgument: no such kind of device. UnsupportedError: no such GPU here.
    """
    kind = device_type.lower() if isinstance(device_type, str) else device_type
    if kind in _ON_CPU:
        return None
    if kind not in _ON_GPU:
        raise InvalidArgument(f"device_type must be 'cpu' or 'cuda', got {device_type!r}")
    found = backends.get("cuda")
    device_id = as_int("device_id", device_id, 0)
    if getattr(found.runtime(), "device", 0) == device_id:
        return found
    other = type(found)(device=device_id)
    try:
        other.runtime()
    except Exception as error:  # CuPy has its own classes for a device that is not there
        raise UnsupportedError(f"device_id {device_id}: there is no such GPU here: {error}") from error
    return other


class DeviceMemory:
    """Memory on a GPU that somebody else owns: an address, and what lies there."""

    def __init__(self, cuda: Any, address: int, shape: tuple[int, ...], dtype: np.dtype):
        self.cuda, self.address, self.shape, self.dtype = cuda, address, shape, dtype
        self.nbytes = math.prod(shape) * dtype.itemsize


def at_address(cuda: Any, address: Any, shape: Sequence[int], dtype: np.dtype, what: str) -> np.ndarray | DeviceMemory:
    """What lies at an address that the caller vouches for: an array on the host, else `DeviceMemory`."""
    sizes = tuple(as_int(f"{what}: shape[{i}]", size, 0) for i, size in enumerate(shape))
    address = as_int(f"{what}: buffer_ptr", address, 0)
    if not address and 0 not in sizes:
        raise InvalidArgument(f"{what}: buffer_ptr must be an address, got 0")
    if cuda is not None:
        return DeviceMemory(cuda, address, sizes, dtype)
    if dtype.hasobject:
        raise InvalidArgument(f"{what}: strings have no memory to point at; bind an array")
    if 0 in sizes:
        return np.empty(sizes, dtype)
    buffer = (ctypes.c_char * (math.prod(sizes) * dtype.itemsize)).from_address(address)
    return np.frombuffer(buffer, dtype).reshape(sizes)


class OrtValue:
    """A tensor. Made by the `ortvalue_from_...` functions; what a run returns lies where it was computed.

    Example:
        >>> value = cnnkern.OrtValue.ortvalue_from_numpy(np.zeros((1, 3, 224, 224), np.float32))
        >>> value.shape(), value.data_type(), value.device_name()
        ([1, 3, 224, 224], 'tensor(float)', 'cpu')
    """

    def __init__(self, data: Any):
        self._data = data  # a NumPy array, an array on a GPU, DeviceMemory; None before a run has made it

    # --- making

    @staticmethod
    def ortvalue_from_numpy(numpy_obj: np.ndarray, /, device_type: str = "cpu", device_id: int = 0) -> OrtValue:
        """A tensor of an array's values: on the CPU the C-contiguous array itself, which sees later changes.

        Raises:
            InvalidArgument: what is no NumPy array. UnsupportedError: a GPU that is not here.
        """
        if not isinstance(numpy_obj, np.ndarray):
            raise InvalidArgument(f"numpy_obj must be a NumPy array, got {type(numpy_obj).__name__}")
        cuda = cuda_for(device_type, device_id)
        dense = np.asarray(numpy_obj, order="C")
        return OrtValue(dense if cuda is None else moved(dense, cuda))

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(data: np.ndarray, /, onnx_element_type: int) -> OrtValue:
        """A tensor of the same bytes read as another type of the same size (uint16 as bfloat16, by ONNX's number)."""
        dtype = as_dtype("onnx_element_type", onnx_element_type)
        if not isinstance(data, np.ndarray) or data.dtype.itemsize != dtype.itemsize:
            given = data.dtype if isinstance(data, np.ndarray) else type(data).__name__
            raise InvalidArgument(f"data must be a NumPy array of {dtype.itemsize}-byte elements, got {given}")
        return OrtValue(np.asarray(data, order="C").view(dtype))

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """A tensor to be filled: of zeros on the CPU; on a GPU its values are not defined.

        Args:
            element_type: a NumPy type, or the number of an ONNX type.
        """
        dtype = as_dtype("element_type", element_type)
        sizes = tuple(as_int(f"shape[{i}]", size, 0) for i, size in enumerate(shape))
        cuda = cuda_for(device_type, device_id)
        return OrtValue(np.zeros(sizes, dtype) if cuda is None else cuda.empty(sizes, dtype))

    @staticmethod
    def from_dlpack(data: Any) -> OrtValue:
        """A tensor of another library's, without a copy: what `np.from_dlpack` takes, and arrays of CuPy's."""
        return OrtValue(data if backends.is_device_array(data) else np.from_dlpack(data))

    # --- what it is

    def shape(self) -> list[int]:
        """The sizes of its dimensions."""
        return list(self._held().shape)

    def data_type(self) -> str:
        """As a model's ports say it: "tensor(float)"."""
        return type_text(self._held().dtype.name)

    def element_type(self) -> int:
        """The type's number in ONNX: 1 for float32."""
        return type_number(self._held().dtype.name)

    def device_name(self) -> str:
        """ "cpu" or "cuda"."""
        return "cpu" if isinstance(self._held(), np.ndarray) else "cuda"

    def data_ptr(self) -> int:
        """The address of its first element."""
        data = self._held()
        if isinstance(data, DeviceMemory):
            return data.address
        return data.ctypes.data if isinstance(data, np.ndarray) else data.__cuda_array_interface__["data"][0]

    def tensor_size_in_bytes(self) -> int:
        """Elements times their size."""
        data = self._held()
        return math.prod(data.shape) * data.dtype.itemsize

    def has_value(self) -> bool:
        """False for an output that no run has made yet."""
        return self._data is not None

    def is_tensor(self) -> bool:
        """True: there are no sequences or maps here."""
        return True

    def is_sparse_tensor(self) -> bool:
        """False, as above."""
        return False

    def is_tensor_sequence(self) -> bool:
        """False, as above."""
        return False

    # --- its values

    def numpy(self) -> np.ndarray:
        """Its values: the array itself on the CPU, a copy from a GPU."""
        return on_host(self._held())

    def update_inplace(self, data: np.ndarray) -> None:
        """Put an array's values in its place, where it lies.

        Raises:
            InvalidArgument: another shape or type than the tensor's; it keeps its values.
        """
        fill(self._held(), data, "data")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        fresh = array.astype(dtype or array.dtype, copy=bool(copy))
        if copy is False and fresh is not array and fresh.dtype != array.dtype:
            raise ValueError(f"an array of {array.dtype} cannot be seen as {dtype} without a copy")
        return fresh

    def __dlpack__(self, **options: Any) -> Any:
        return self._held().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._held().__dlpack_device__()

    def __repr__(self) -> str:
        return (
            f"OrtValue({self.data_type()}, {self.shape()}, {self.device_name()})" if self.has_value() else "OrtValue()"
        )

    def _held(self) -> Any:
        if self._data is None:
            raise InvalidArgument("this output has no value yet: no run has made it")
        return self._data


# --- moving values


def held(value: OrtValue) -> Any:
    """What a tensor holds."""
    return value._held()


def on_host(data: Any) -> np.ndarray:
    """The values as a NumPy array: itself where it is one."""
    if isinstance(data, np.ndarray):
        return data
    if not isinstance(data, DeviceMemory):
        return data.get()
    array = np.empty(data.shape, data.dtype)
    data.cuda.runtime().read(data.address, array)
    return array


def moved(data: Any, cuda: Any) -> Any:
    """The values as an array that a session may take: where `cuda` is given on that GPU, else on the host."""
    if cuda is None:
        return on_host(data)
    if backends.is_device_array(data):
        return data
    array = cuda.empty(data.shape, data.dtype)
    fill(array, data, "values", cuda)
    return array


def fill(target: Any, source: Any, what: str, cuda: Any = None) -> None:
    """Copy values into memory that is there, on the host or on a GPU.

    Raises:
        InvalidArgument: another shape or type; nothing is written.
    """
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise InvalidArgument(f"{what}: an array is accepted, got {type(source).__name__}")
    if (tuple(source.shape), source.dtype) != (tuple(target.shape), target.dtype):
        wanted, given = f"{target.dtype} {tuple(target.shape)}", f"{source.dtype} {tuple(source.shape)}"
        raise InvalidArgument(f"{what}: an array of {wanted} is accepted, got {given}")
    if isinstance(target, np.ndarray):
        if not target.flags.writeable:
            raise InvalidArgument(f"{what}: the array to be filled is read-only; a writeable one is accepted")
        np.copyto(target, on_host(source))
        return
    if not isinstance(target, DeviceMemory):
        if not target.flags.c_contiguous:
            raise InvalidArgument(f"{what}: the array to be filled must be C-contiguous on a GPU")
        cuda = cuda or backends.get("cuda").at(target)
        target = DeviceMemory(cuda, cuda.runtime().address(target), tuple(target.shape), target.dtype)
    runtime = target.cuda.runtime()
    if isinstance(source, DeviceMemory):
        runtime.copy(target.address, source.address, source.nbytes)
    else:
        runtime.write(target.address, source)
