"""State dicts: reading the files they come in, and fitting their tensors to a graph's parameters."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import ModelError
from .graph.ir import Graph
from .keras_order import by_order
from .keras_weights import by_name, counted_anew, named, read_layers
from .models.registry import ARCHITECTURES

Rename = Callable[[str], "str | None"]

SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
BATCHES = "num_batches_tracked"  # torch counts training batches under this name; inference has no use for it
SUGGESTED = 3  # networks that an error suggests
LISTED = 8  # names an error shows of each kind; the rest is a number


class Mismatch(NamedTuple):
    """How a state dict and a model differ: names the model lacks values for, names it has no use for, and tensors of
    another shape as (name, shape in the file, shape in the model)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple, tuple], ...] = ()

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        shapes = tuple(f"{name} {theirs}, the model's is {ours}" for name, theirs, ours in self.misshaped)
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", shapes))
        return "; ".join(f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds if names)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


# --- files


def read_state_dict(path: str | PathLike, graph: Graph | None = None) -> dict[str, Any]:
    """The tensors of a file by name: .safetensors, .npz, .pth/.pt through PyTorch (with weights_only), and Keras's .h5,
    .weights.h5 and .keras, whose variables get our names and layouts.

    Args:
        graph: the network that is to take them; for files that do not name their layers (.weights.h5 of Keras before
            3.6), which are then matched by type and order.
    Raises:
        FileNotFoundError: there is no such file.
        ModelError: another suffix, a truncated or corrupt file, or PyTorch is missing; names the file and the reason.
    """
    path = Path(fspath(path))
    readers = {".safetensors": _read_safetensors, ".npz": _read_npz, ".pth": _read_torch, ".pt": _read_torch}
    readers |= dict.fromkeys((".h5", ".hdf5", ".keras"), lambda path: _read_keras(path, graph))
    read = readers.get(path.suffix.lower())
    if read is None:
        raise ModelError(f"{path}: weights are read from {', '.join(readers)}, not from {path.suffix or 'no suffix'!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return read(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error.__cause__
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: truncated or corrupt ({error or type(error).__name__})") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        raise ModelError("reading it needs safetensors; pip install 'cnnkern[weights]', or save it as .npz") from None
    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"truncated or corrupt ({error})") from error
    return {name: _safetensor(name, entry["dtype"], entry["shape"], entry["data"]) for name, entry in entries}


def _safetensor(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    if dtype not in SAFETENSORS_DTYPES:
        raise ModelError(f"{name} has dtype {dtype}; {', '.join(SAFETENSORS_DTYPES)} are read")
    array = np.frombuffer(data, SAFETENSORS_DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        if not hasattr(archive, "files"):
            raise ModelError("a single array, not an .npz archive")
        return {name: archive[name] for name in archive.files}


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise ModelError("reading it needs PyTorch; pip install torch, or save it as .safetensors or .npz") from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError and others for a broken file
        raise ModelError(f"PyTorch cannot read it ({str(error).splitlines()[0] if str(error) else error!r})") from error
    for key in ("state_dict", "model_state_dict", "model"):  # training checkpoints wrap it
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"holds a {type(loaded).__name__}, not a state dict")
    return dict(loaded)


def _read_keras(path: Path, graph: Graph | None) -> dict[str, np.ndarray]:
    layers = read_layers(path)
    tensors = by_name(layers)
    if graph is None:
        return tensors
    try:
        placed = by_order(graph, layers)
    except ModelError as error:
        if named(layers):
            return tensors
        raise ModelError(f"{error}{looks_like(tensors, graph.name)}") from None
    if not named(layers):
        return placed
    # Keras itself goes by the order, and what it published has layers that it calls otherwise today. Here the order
    # counts where most names say the same, and none another thing.
    names = our_names(tensors, graph.params, ARCHITECTURES[graph.name].rename)
    known = [key for key, name in names.items() if name in graph.params]
    agrees = all(placed.get(names[key]) is tensors[key] for key in known)
    return placed if agrees and 2 * len(known) > len(tensors) else tensors


# --- fitting


def fit(
    graph: Graph, tensors: Mapping[str, Any], rename: Rename | None = None, ignore: frozenset[str] = frozenset()
) -> tuple[dict[str, np.ndarray], Mismatch]:
    """The graph's weights from a state dict, as float32 arrays, and what did not fit.

    Args:
        tensors: arrays or torch tensors; float16, bfloat16 and float64 are converted.
        rename: their key -> ours, or None to leave it out (auxiliary heads).
        ignore: names that may be there and are not wanted (the classifier of a network built without its top).
    Raises:
        ModelError: two keys that mean the same parameter, or a tensor that does not hold floating-point numbers.
    """
    found: dict[str, np.ndarray] = {}
    unexpected, misshaped, met = [], [], set()
    for key, name in our_names(tensors, graph.params.keys() | ignore, rename).items():
        tensor = tensors[key]
        if name is None or name in ignore or name.endswith(BATCHES):
            continue
        if name not in graph.params:
            unexpected.append(key)
            continue
        if name in met:
            raise ModelError(f"two tensors for {name}: {key} is the second")
        met.add(name)
        param, shape = graph.params[name], tuple(np.shape(tensor))
        if same_weight(shape, param.shape):
            found[name] = as_float32(key, tensor).reshape(param.shape)
        else:
            misshaped.append((key, shape, param.shape))
    for name, param in graph.params.items():
        if param.value is not None:  # part of the network's definition
            found[name] = np.full(param.shape, param.value, np.float32)
            met.add(name)
    missing = tuple(name for name in graph.params if name not in met)
    return found, Mismatch(missing, tuple(unexpected), tuple(misshaped))


def our_names(keys: Collection[str], params: Collection[str], rename: Rename | None) -> dict[str, str | None]:
    """Keys of a state dict -> the params they mean, None where they are left out, or what is no param at all."""
    counted = counted_anew(keys, params)
    return {key: counted[key] if key in counted else _our_name(key, params, rename) for key in keys}


def _our_name(key: str, params: Collection[str], rename: Rename | None) -> str | None:
    if key.startswith("module.") and key not in params:  # torch.nn.DataParallel writes it
        key = key.removeprefix("module.")
    return key if key in params or rename is None else rename(key)


def same_weight(shape: tuple, ours: tuple) -> bool:
    """Whether it is the shape of ours, or a linear layer stored as a convolution over the whole map, or a 1x1
    convolution as a linear one."""
    linear = len(ours) == 2 and len(shape) == 4
    pointwise = len(ours) == 4 and ours[2:] == (1, 1) and len(shape) == 2
    return shape == ours or (linear or pointwise) and shape[0] == ours[0] and math.prod(shape) == math.prod(ours)


def as_float32(name: str, tensor: Any) -> np.ndarray:
    """A C-contiguous float32 array that belongs to nobody else, from an array or a torch tensor of any float dtype."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()  # NumPy has no bfloat16
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.kind != "f":
        raise ModelError(f"{name}: floating-point weights are accepted, got {array.dtype}")
    return np.array(array, np.float32, order="C")


# --- what a state dict may be of


def looks_like(tensors: Mapping[str, Any], name: str) -> str:
    """The end of an error: the networks that a state dict resembles; "" where the network `name` is one of them."""
    others = resembles(tensors)
    if not others or name in others:
        return ""
    return f"; it looks like {' or '.join(others[:SUGGESTED])}"


def resembles(tensors: Mapping[str, Any]) -> tuple[str, ...]:
    """The architectures that a state dict fits best, () when it fits none.

    By names and shapes, where half of them fit, else by shapes alone, where nearly all do. Networks that differ in what
    no state dict holds (strides, paddings, epsilons) fit alike.
    """
    shapes = {key: tuple(np.shape(tensor)) for key, tensor in tensors.items() if not key.endswith(BATCHES)}
    values = sum(math.prod(shape) for shape in shapes.values())
    as_large = [name for name, known in ARCHITECTURES.items() if known.params + known.bn_buffers == values]
    exact = tuple(name for name in as_large if _share(shapes, name) == 1)  # nothing else can be, so none is built
    alike = exact or _best({name: _share(shapes, name) for name in ARCHITECTURES}, 0.5)
    return alike or _best({name: _share_of_shapes(shapes, name) for name in ARCHITECTURES}, 0.9)


def _best(shares: dict[str, float], least: float) -> tuple[str, ...]:
    most = max(shares.values())
    return tuple(name for name, share in shares.items() if share == most) if most > least else ()


@cache
def _shapes(name: str) -> dict[str, tuple]:
    """What a state dict of an architecture holds; kept, for building all of them takes a second."""
    return {key: param.shape for key, param in ARCHITECTURES[name].graph().params.items() if param.value is None}


def _share(shapes: dict[str, tuple], name: str) -> float:
    """How much of an architecture and a state dict is in both, by name and shape."""
    ours, rename = _shapes(name), ARCHITECTURES[name].rename
    if rename is None and 2 * min(len(ours), len(shapes)) <= max(len(ours), len(shapes)):
        return 0.0  # less than half, whatever the names are
    names = our_names(shapes, ours, rename)
    hits = sum(names[key] in ours and same_weight(shape, ours[names[key]]) for key, shape in shapes.items())
    left_out = sum(name is None for name in names.values())
    return hits / max(len(ours), len(shapes) - left_out, 1)


def _share_of_shapes(shapes: dict[str, tuple], name: str) -> float:
    ours = _shapes(name)
    return (Counter(shapes.values()) & Counter(ours.values())).total() / max(len(ours), len(shapes), 1)
