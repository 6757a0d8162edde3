"""Reading ONNX files: bytes to a checked `Source`, whose nodes are in order and whose initialisers are arrays.

Files are not trusted: every size is checked against the bytes there are before anything is made of it, and every
refusal is a ModelError that names the node or tensor and the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import helper, inliner, numpy_helper, version_converter

from ..errors import ModelError
from ..ops.base import product
from . import external
from .check import checked_nodes, function_calls
from .lowering import Node

OLDEST = 7  # of the ai.onnx opsets; an older one, which broadcasts otherwise, is converted to it by onnx
PACKED = {  # elements in a byte, where it is more than one
    onnx.TensorProto.INT4: 2,
    onnx.TensorProto.UINT4: 2,
    onnx.TensorProto.FLOAT4E2M1: 2,
    **{getattr(onnx.TensorProto, name): 4 for name in ("INT2", "UINT2") if hasattr(onnx.TensorProto, name)},
}
FIELDS = {  # where values lie that are not raw, and how many entries an element has
    onnx.TensorProto.FLOAT: ("float_data", 1),
    onnx.TensorProto.COMPLEX64: ("float_data", 2),
    onnx.TensorProto.DOUBLE: ("double_data", 1),
    onnx.TensorProto.COMPLEX128: ("double_data", 2),
    onnx.TensorProto.INT64: ("int64_data", 1),
    onnx.TensorProto.UINT32: ("uint64_data", 1),
    onnx.TensorProto.UINT64: ("uint64_data", 1),
    onnx.TensorProto.STRING: ("string_data", 1),
}  # all others: int32_data
DENSE_BYTES = 2**28  # the most that a sparse tensor may become
MAX_CALLS = 200_000  # of model-local functions, nested ones counted


@dataclass(frozen=True)
class Port:
    """An input or output as the model declares it.

    Attributes:
        name: the value's.
        dtype: NumPy's name ("float32", "int64", "object" for strings), or ONNX's type where it is no tensor
            ("seq(tensor(float))").
        shape: ints, symbols (str) and None where nothing is said; None alone where not even the rank is.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    @property
    def is_tensor(self) -> bool:
        return "(" not in self.dtype


@dataclass
class Source:
    """A model as it was read: what does not hang on the shapes it will run at."""

    name: str
    opsets: dict[str, int]
    ir_version: int
    inputs: list[Port]  # those that a caller must bring
    defaults: dict[str, Port]  # inputs with an initialiser: a caller may bring others
    outputs: list[Port]
    nodes: list[Node]  # in an order in which they can run, those that no output needs left out
    initializers: dict[str, np.ndarray]
    metadata: dict[str, Any] = field(default_factory=dict)
    legacy: bool = False  # converted from an opset before OLDEST

    @property
    def opset(self) -> int:
        return self.opsets.get("", 0)


def read(source: Any, name: str = "") -> tuple[Source, onnx.ModelProto | bytes | Path]:
    """A model from a path, bytes or a ModelProto, and where its bytes are to be had again.

    Raises: ModelError for what is no model, or none that can be run. FileNotFoundError, OSError: the file.
    """
    folder, label = None, "the model"
    if isinstance(source, onnx.ModelProto):
        proto = source
    elif isinstance(source, (bytes, bytearray, memoryview)):
        source = bytes(source)
        proto = _parsed(source, label)
    elif isinstance(source, (str, os.PathLike)):
        source = Path(source)
        folder, label = source.parent, str(source)
        name = name or source.stem
        proto = _parsed(source.read_bytes(), label)
    else:
        raise TypeError(f"source: a path, bytes or an onnx.ModelProto is accepted, got {type(source).__name__}")
    try:
        return _source(proto, folder, name), source
    except ModelError as error:
        raise ModelError(f"{label}: {error}") from error.__cause__


def _parsed(data: bytes, label: str) -> onnx.ModelProto:
    try:
        return onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{label}: truncated, corrupt or no ONNX model ({error})") from error


def _source(proto: onnx.ModelProto, folder: Path | None, name: str) -> Source:
    if not proto.HasField("graph"):
        raise ModelError("it holds no graph: truncated, corrupt or no ONNX model")
    _check_text(proto)
    opsets = _opsets(proto.opset_import, proto.ir_version)
    if proto.functions:
        proto = _inlined(proto)
    legacy = opsets.get("", OLDEST) < OLDEST
    if legacy:
        proto = _converted(proto, opsets)
        opsets[""] = OLDEST
    graph = proto.graph
    initializers = dict(_initializers(graph, folder))
    ports = [_port(info, "input") for info in graph.input]
    declared = _unique([port.name for port in ports], "graph input")
    nodes = checked_nodes(graph, opsets, declared | initializers.keys(), [info.name for info in graph.output])
    return Source(
        name=name or graph.name or "model",
        opsets=opsets,
        ir_version=proto.ir_version,
        inputs=[port for port in ports if port.name not in initializers],
        defaults={port.name: port for port in ports if port.name in initializers},
        outputs=[_port(info, "output") for info in graph.output],
        nodes=nodes,
        initializers=initializers,
        legacy=legacy,
        metadata={
            "producer_name": proto.producer_name,
            "graph_name": graph.name,
            "domain": proto.domain,
            "description": proto.doc_string,
            "graph_description": graph.doc_string,
            "version": proto.model_version,
            "custom_metadata_map": {entry.key: entry.value for entry in proto.metadata_props},
        },
    )


def _check_text(message: Message) -> None:
    """ModelError for names that are no UTF-8: protobuf hands these out as bytes."""
    for described, content in message.ListFields():
        if described.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in [content] if isinstance(content, Message) else content:
                _check_text(inner)
        elif described.type == FieldDescriptor.TYPE_STRING:
            for text in [content] if isinstance(content, (str, bytes)) else content:
                if isinstance(text, bytes):
                    raise ModelError(
                        f"{message.DESCRIPTOR.name}.{described.name} is {text[:80]!r}, which is no UTF-8 text"
                    )


def _opsets(imports: Sequence[Any], ir_version: int) -> dict[str, int]:
    """Version by domain, ai.onnx's within what is known."""
    opsets: dict[str, int] = {}
    for entry in imports:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise ModelError(f"it imports two versions of the opset {domain or 'ai.onnx'!r}")
        if domain and not 0 <= entry.version < 1 << 31:  # onnx's own checker holds them in 32 bits
            raise ModelError(f"its opset of {domain!r} is {entry.version}; 0 to {(1 << 31) - 1} are read")
    newest, version = onnx.defs.onnx_opset_version(), opsets.get("")
    if version is None:
        if ir_version >= 3 and not opsets:
            raise ModelError("it imports no opset, which says what its operations mean")
    elif not 1 <= version <= newest:
        raise ModelError(
            f"its opset is {version}; 1 to {newest} are read, the newest that onnx {onnx.__version__} knows"
        )
    return opsets


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own: their nodes stand where they were called."""
    calls = function_calls(proto)
    if calls > MAX_CALLS:
        raise ModelError(f"its functions call each other {calls:,} times; at most {MAX_CALLS:,} are accepted")
    try:
        return inliner.inline_local_functions(proto)
    except Exception as error:  # what the C++ inliner throws has no class of its own
        raise ModelError(f"its functions cannot be put where they are called: {_line(error)}") from error


def _converted(proto: onnx.ModelProto, opsets: dict[str, int]) -> onnx.ModelProto:
    """The model at the oldest opset that is read as it stands, by onnx's own converter; checked before it sees it."""
    graph = proto.graph
    defined = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    checked_nodes(graph, opsets, defined, [info.name for info in graph.output])
    try:
        return version_converter.convert_version(proto, OLDEST)
    except Exception as error:  # what the C++ converter throws has no class of its own
        version = opsets[""]
        raise ModelError(
            f"its opset {version} is older than {OLDEST}, and onnx cannot convert it: {_line(error)}"
        ) from error


def _port(info: Any, what: str) -> Port:
    """An input or output as declared; ModelError for sizes below zero and types that ONNX does not have."""
    if not info.name:
        raise ModelError(f"a graph {what} has no name")
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        return Port(info.name, _type_text(info.type) if kind else "object", None)
    tensor_type = info.type.tensor_type
    dtype = dtype_name(tensor_type.elem_type, f"graph {what} {info.name!r}")
    if not tensor_type.HasField("shape"):
        return Port(info.name, dtype, None)
    dims: list[int | str | None] = []
    for dim in tensor_type.shape.dim:
        given = dim.WhichOneof("value")
        dims.append(dim.dim_value if given == "dim_value" else dim.dim_param or None)
        if given == "dim_value" and dim.dim_value < 0:
            raise ModelError(f"graph {what} {info.name!r} has the negative dimension {dim.dim_value}")
    return Port(info.name, dtype, tuple(dims))


def _type_text(kind: Any) -> str:
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return f"seq({_type_text(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({_type_text(kind.optional_type.elem_type)})"
    if which == "tensor_type":
        dtype_name(kind.tensor_type.elem_type, "a graph input or output")  # which refuses what is none
        return f"tensor({onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()})"
    return f"{(which or 'unknown').removesuffix('_type')}(...)"


def dtype_name(elem_type: int, where: str) -> str:
    """NumPy's name of ONNX's element type; ModelError for a number that is none."""
    try:
        return str(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{where} has the element type {elem_type}, which ONNX does not have") from None


# --- tensors


def _initializers(graph: Any, folder: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    met: set[str] = set()
    files = external.Folder(folder)
    for proto in (*graph.initializer, *graph.sparse_initializer):
        sparse = isinstance(proto, onnx.SparseTensorProto)
        name = proto.values.name if sparse else proto.name
        where = f"initialiser {name!r}"
        if not name or name in met:
            raise ModelError(f"{where} is there twice" if name else "an initialiser has no name")
        met.add(name)
        yield name, dense(proto, where) if sparse else tensor(proto, where, files)


def tensor(proto: onnx.TensorProto, where: str, files: external.Folder | None = None) -> np.ndarray:
    """A tensor's values, read-only, its declared size held against the bytes there are.

    Raises: ModelError naming `where` it stands.
    """
    dims, dtype = _dims(proto.dims, where), np.dtype(dtype_name(proto.data_type, where))
    count = product(dims)
    if proto.HasField("segment"):
        raise ModelError(f"{where} is stored in segments, which is not read")
    per_byte = PACKED.get(proto.data_type, 0)
    size = -(-count // per_byte) if per_byte else count * dtype.itemsize
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        if files is None:
            raise ModelError(f"{where} lies in another file, which only initialisers may")
        proto = onnx.TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=files.read(proto, size, where))
    _check_stored(proto, count, size, where)
    try:
        array = np.asarray(numpy_helper.to_array(proto))
        array = array.reshape(dims)
    except Exception as error:  # the checks above leave little; what is left has many classes
        raise ModelError(f"{where} cannot be read: {_line(error)}") from error
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def _dims(dims: Sequence[int], where: str) -> tuple[int, ...]:
    if any(dim < 0 for dim in dims):
        raise ModelError(f"{where} has a negative dimension: {tuple(dims)}")
    if product(dim for dim in dims if dim) > 2**62 or len(dims) > 64:
        raise ModelError(f"{where} has the shape {tuple(dims)}, which is too large for any machine")
    return tuple(dims)


def _check_stored(proto: onnx.TensorProto, count: int, size: int, where: str) -> None:
    if proto.HasField("raw_data"):
        have, want, unit = len(proto.raw_data), size, "bytes"
        if proto.data_type == onnx.TensorProto.STRING:
            raise ModelError(f"{where} holds strings as raw bytes, which ONNX does not allow")
    else:
        name, entries = FIELDS.get(proto.data_type, ("int32_data", 1))
        want = size if proto.data_type in PACKED else count * entries
        have, unit = len(getattr(proto, name)), "values"
    if have != want:
        raise ModelError(f"{where} of shape {tuple(proto.dims)} needs {want:,} {unit}, the file has {have:,}")


def dense(proto: onnx.SparseTensorProto, where: str) -> np.ndarray:
    """A sparse tensor with its zeros."""
    dims = _dims(proto.dims, where)
    values, indices = tensor(proto.values, where), tensor(proto.indices, f"{where}, indices")
    if values.ndim != 1 or values.dtype.kind not in "fiub" or indices.dtype != np.int64:
        raise ModelError(f"{where}: a sparse tensor has a vector of numbers and int64 indices")
    if product(dims) * values.dtype.itemsize > DENSE_BYTES:
        raise ModelError(f"{where} of shape {dims} would take more than {DENSE_BYTES:,} bytes with its zeros")
    if indices.shape not in ((len(values),), (len(values), len(dims))):
        raise ModelError(f"{where}: indices of shape {indices.shape} do not fit {len(values)} values in {dims}")
    limits = np.array(dims if indices.ndim == 2 else [product(dims)])
    if ((indices < 0) | (indices >= limits)).any():
        raise ModelError(f"{where}: an index lies outside of {dims}")
    made = np.zeros(dims, values.dtype)
    made.reshape(-1)[np.ravel_multi_index(tuple(indices.T), dims) if indices.ndim == 2 else indices] = values
    made.flags.writeable = False
    return made


def _unique(names: Sequence[str], what: str) -> set[str]:
    met: set[str] = set()
    for name in names:
        if name in met:
            raise ModelError(f"{what} {name!r} is there twice")
        met.add(name)
    return met


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def symbols(ports: Sequence[Port], sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """A concrete shape for every input: declared sizes, `sizes` by symbol (or "x[2]" for a nameless one), 1 for a first
    dimension that is open.

    Raises: ValueError naming what needs a size.
    """
    found, open_ = {}, []
    for port in ports:
        shape = []
        for i, dim in enumerate(port.shape or ()):
            symbol = dim if isinstance(dim, str) else f"{port.name}[{i}]"
            size = dim if isinstance(dim, int) else sizes.get(symbol, sizes.get(f"{port.name}[{i}]", 1 if not i else 0))
            if not size and not isinstance(dim, int):
                open_.append(symbol)
            shape.append(size)
        if port.shape is None:
            raise ValueError(f"input {port.name!r} declares no shape; give one: compile(input_shape=...)")
        found[port.name] = tuple(shape)
    if open_:
        names = ", ".join(dict.fromkeys(open_))
        raise ValueError(
            f"the model leaves {names} open; give sizes where it is loaded, as in "
            f"cnnkern.onnx.load(..., sizes={{{open_[0]!r}: 224}}), or shapes where it is run"
        )
    return found
