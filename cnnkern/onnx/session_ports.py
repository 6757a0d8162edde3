"""What a session tells of its model: inputs and outputs (`NodeArg`), which check what is fed, and `ModelMetadata`.

Source: onnxruntime's Python API, https://onnxruntime.ai/docs/api/python/api_summary.html#nodearg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import backends
from ..errors import InvalidArgument
from .element_types import type_text
from .ort_value import DeviceMemory, OrtValue, held

MAX_SHAPES = 1024  # accepted shapes of an input that are remembered as such; more are checked each time


class NodeArg:
    """An input or output of a model.

    Attributes:
        name: the value's.
        type: "tensor(float)", "tensor(int64)"...
        shape: a list of sizes: ints, symbols (str) where the model names an open one, None where it does not; empty
            for a scalar, and where the model says nothing.
    """

    __slots__ = ("_dims", "_seen", "dtype", "name", "type")

    def __init__(self, name: str, dtype: str, shape: Sequence[int | str | None] | None, sizes: Mapping[str, int]):
        self.name, self.type = name, type_text(dtype)
        self._dims = tuple(sizes.get(d, d) if isinstance(d, str) else d for d in shape or ())
        self.dtype = None if "(" in dtype else np.dtype(dtype)
        self._seen: set[tuple[int, ...]] = set()

    @property
    def shape(self) -> list[int | str | None]:
        return list(self._dims)

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape!r})"

    def accepted(self, value: Any) -> Any:
        """A value that is fed to this input as the array that the model runs on.

        Raises:
            InvalidArgument: another type, rank or size than the model's; sizes are told dimension by dimension.
        """
        if self.dtype is None:  # a sequence: the model looks at it
            return value
        array = value if type(value) is np.ndarray else self._array(value)
        if array.dtype is not self.dtype and array.dtype != self.dtype:
            array = self._converted(array)
        shape = array.shape
        if shape not in self._seen:
            self._check_shape(shape)
            if len(self._seen) < MAX_SHAPES:
                self._seen.add(shape)
        return array

    def _array(self, value: Any) -> Any:
        """Lists become arrays, as onnxruntime has it; a scalar does not."""
        if isinstance(value, OrtValue):
            value = held(value)
        if isinstance(value, np.ndarray):
            return np.asarray(value)  # a subclass, without what it adds
        if isinstance(value, DeviceMemory) or backends.is_device_array(value):
            return value
        if not isinstance(value, list):
            hint = "np.asarray it" if isinstance(value, (int, float, tuple, np.generic)) else "convert it"
            raise InvalidArgument(f"input {self.name!r}: a NumPy array is accepted, got {type(value).__name__}; {hint}")
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise InvalidArgument(f"input {self.name!r}: the list is no array: {error}") from None
        if self.dtype.kind == array.dtype.kind or np.can_cast(array.dtype, self.dtype, "same_kind"):
            return array.astype(self.dtype)
        raise InvalidArgument(f"input {self.name!r}: a list of {self.type}'s values is accepted, got {array.dtype}")

    def _converted(self, array: Any) -> Any:
        """The same type in another order of bytes, and strings, are taken; nothing is rounded or widened."""
        if array.dtype.newbyteorder("=") == self.dtype or (self.dtype == object and array.dtype.kind in "US"):
            return array.astype(self.dtype)
        given = f"{array.dtype} ({type_text(array.dtype.name)})"
        raise InvalidArgument(
            f"input {self.name!r}: dtype {self.dtype} ({self.type}) is accepted, got {given}; convert it with "
            f".astype({self.dtype.name!r})"
        )

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        dims = self._dims
        if not dims:  # of a scalar onnxruntime does not check the rank; the model's own check does
            return
        wanted = f"({', '.join('?' if d is None else str(d) for d in dims)}{',' * (len(dims) == 1)})"
        if len(shape) != len(dims):
            raise InvalidArgument(
                f"input {self.name!r}: {len(dims)} dimensions {wanted} are accepted, got {len(shape)}: {shape}"
            )
        wrong = [
            f"dimension {i} must be {size}, got {given}"
            for i, (size, given) in enumerate(zip(dims, shape))
            if isinstance(size, int) and size != given
        ]
        if wrong:
            raise InvalidArgument(f"input {self.name!r}: shape {wanted} is accepted, got {shape}: {'; '.join(wrong)}")


class ModelMetadata:
    """What a model's file says of itself.

    Attributes: `producer_name`, `graph_name`, `domain`, `description`, `graph_description` (strings, empty where the
    file is silent), `version` (int), `custom_metadata_map` (dict of strings).
    """

    def __init__(self, metadata: Mapping[str, Any]):
        self.producer_name: str = metadata.get("producer_name", "")
        self.graph_name: str = metadata.get("graph_name", "")
        self.domain: str = metadata.get("domain", "")
        self.description: str = metadata.get("description", "")
        self.graph_description: str = metadata.get("graph_description", "")
        self.version: int = metadata.get("version", 0)
        self.custom_metadata_map: dict[str, str] = dict(metadata.get("custom_metadata_map", {}))

    def __repr__(self) -> str:
        return f"ModelMetadata({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
