"""The types of a tensor's elements: NumPy's name, ONNX's number, and what onnxruntime prints.

Numbers: `TensorProto.DataType` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; a table, for onnx itself is
not imported here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# NumPy's name (ml_dtypes' where NumPy has none) -> (ONNX's number, onnxruntime's word)
TYPES: dict[str, tuple[int, str]] = {
    "float32": (1, "float"),
    "uint8": (2, "uint8"),
    "int8": (3, "int8"),
    "uint16": (4, "uint16"),
    "int16": (5, "int16"),
    "int32": (6, "int32"),
    "int64": (7, "int64"),
    "object": (8, "string"),
    "bool": (9, "bool"),
    "float16": (10, "float16"),
    "float64": (11, "double"),
    "uint32": (12, "uint32"),
    "uint64": (13, "uint64"),
    "complex64": (14, "complex64"),
    "complex128": (15, "complex128"),
    "bfloat16": (16, "bfloat16"),
    "float8_e4m3fn": (17, "float8e4m3fn"),
    "float8_e4m3fnuz": (18, "float8e4m3fnuz"),
    "float8_e5m2": (19, "float8e5m2"),
    "float8_e5m2fnuz": (20, "float8e5m2fnuz"),
    "uint4": (21, "uint4"),
    "int4": (22, "int4"),
    "float4_e2m1fn": (23, "float4e2m1"),
}
_BY_NUMBER = {number: name for name, (number, _) in TYPES.items()}


def type_text(dtype: str) -> str:
    """ "tensor(float)" for "float32"; what is no tensor is spelt by the model already ("seq(tensor(float))")."""
    return dtype if "(" in dtype else f"tensor({_entry(dtype)[1]})"


def type_number(dtype: str) -> int:
    """ONNX's number of a NumPy type's name."""
    return _entry(dtype)[0]


def as_dtype(argument: str, value: Any) -> np.dtype:
    """A NumPy type from one, from its name or from ONNX's number.

    Raises:
        TypeError: what is none of these, or a number whose type this NumPy does not have.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        name = _BY_NUMBER.get(value)
        try:
            return np.dtype(name) if name else _refused(argument, value)
        except TypeError:  # ml_dtypes names its types to NumPy when it is imported
            return _refused(argument, value)
    try:
        return np.dtype(value) if value is not None else _refused(argument, value)
    except TypeError:
        return _refused(argument, value)


def _refused(argument: str, value: Any) -> np.dtype:
    raise TypeError(f"{argument}: a NumPy type or the number of an ONNX type is accepted, got {value!r}") from None


def _entry(dtype: str) -> tuple[int, str]:
    name = "object" if dtype.startswith(("str", "<U", "|S", "bytes")) else dtype
    return TYPES.get(name, (0, name))
