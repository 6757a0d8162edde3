"""HDF5 files that nobody vouches for: their groups, arrays and texts, and never a byte from outside the file.

What Keras writes is plain: groups, contiguous arrays, texts. Links that lead elsewhere, arrays kept in other files,
groups reachable twice, and sizes that the file cannot hold are refused before anything is read.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import ModelError
from .ops.base import product

EXPANSION = 32  # what is read over what is stored: weights hardly compress, those with many zeros some more
ALLOWANCE_BYTES = 1 << 20  # for small files
HEAP = b"GCOL\1\0\0\0"
DEPTH = 64  # groups within groups


def most_bytes(stored_bytes: int) -> int:
    """The most that this many bytes of a file may unfold to."""
    return EXPANSION * stored_bytes + ALLOWANCE_BYTES


@contextmanager
def opened(file: str | io.BytesIO, size_bytes: int) -> Iterator[Group]:
    """The root group of an HDF5 file, a path or a file in memory, of this size.

    Raises:
        ModelError: h5py is missing, or the file is not HDF5, truncated or corrupt; so does whatever the group is asked.
    """
    try:
        import h5py
    except ImportError:
        raise ModelError("reading it needs h5py; pip install 'cnnkern[weights]', or save it as .npz") from None
    try:
        _check_heaps(file)
        with h5py.File(file, "r") as root:
            yield Group(h5py, root, "", _Limits(size_bytes))
    except ModelError:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, TypeError and others for a broken file
        raise ModelError(f"truncated or corrupt ({_first_line(error)})") from error


def _check_heaps(file: str | io.BytesIO) -> None:
    """Refuse texts whose places do not add up: HDF5 1.14 and 2.0 walk over such a heap without end, or crash.

    A heap is "GCOL", its version and size, then objects: number, references, size, and bytes up to a multiple of 8;
    number 0 is what is free, up to the end (HDF5 file format, III.E).
    """
    if isinstance(file, io.BytesIO):
        return _check_heaps_in(file.getvalue())
    with open(file, "rb") as opened_file, mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _check_heaps_in(data)


def _check_heaps_in(data: bytes | mmap.mmap) -> None:
    start = data.find(HEAP)
    while 0 <= start <= len(data) - 16:
        end = start + struct.unpack_from("<Q", data, start + 8)[0]
        at, number = start + 16, 1
        while number and at + 16 <= end <= len(data):
            number, _, _, size = struct.unpack_from("<HHIQ", data, at)
            at += 16 + -(-size // 8) * 8 if number else size
        if at > end or end > len(data) or (not number and at != end):
            raise ModelError("truncated or corrupt (its heap of texts)")
        start = data.find(HEAP, start + 8)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


class _Limits:
    """What is left to read, and where the groups were met: one that is met twice may hold itself."""

    def __init__(self, size_bytes: int):
        self.file_bytes, self.left_bytes = size_bytes, most_bytes(size_bytes)
        self.met: dict[int, str] = {}

    def take(self, what: str, wanted_bytes: int) -> None:
        if wanted_bytes > self.left_bytes:
            raise ModelError(f"{what} would take {wanted_bytes:,} bytes; the whole file has {self.file_bytes:,}")
        self.left_bytes -= wanted_bytes


class Group:
    """A group of an open file: children by name, texts by the name of an attribute."""

    def __init__(self, h5py: Any, group: Any, path: str, limits: _Limits):
        self._h5py, self._group, self._limits, self.path = h5py, group, limits, path
        address = h5py.h5o.get_info(group.id).addr
        met = limits.met.setdefault(address, path)
        if met != path:
            raise ModelError(f"the groups /{met} and /{path} are one and the same")
        if path.count("/") > DEPTH:
            raise ModelError(f"/{path[:80]}... lies more than {DEPTH} groups deep")

    def __iter__(self) -> Iterator[str]:
        return iter([name if isinstance(name, str) else repr(name) for name in self._group])

    def __contains__(self, name: str) -> bool:
        return name in self._group.keys()  # noqa: SIM118  (h5py resolves links when asked without keys)

    def get(self, path: str) -> Group | Array | None:
        """What lies there, a path with "/" between the names; None where nothing does."""
        found: Group | Array | None = self
        for name in path.split("/"):
            if not isinstance(found, Group) or name in ("", "."):
                return None
            found = found._child(name)
        return found

    def group(self, path: str) -> Group | None:
        found = self.get(path)
        return found if isinstance(found, Group) else None

    def _child(self, name: str) -> Group | Array | None:
        link = self._group.get(name, getclass=True, getlink=True)
        if link is None:
            return None
        path = f"{self.path}/{name}" if self.path else name
        if link is not self._h5py.HardLink:
            raise ModelError(f"/{path} is a link ({link.__name__}); only what lies in the file itself is read")
        child = self._group[name]
        if isinstance(child, self._h5py.Group):
            return Group(self._h5py, child, path, self._limits)
        return Array(child, path, self._limits) if isinstance(child, self._h5py.Dataset) else None

    def texts(self, name: str) -> list[str] | None:
        """A list of texts; None where there is no such attribute. Keras cuts long ones into name0, name1, and so on."""
        if name in self._group.attrs:
            return self._texts(name)
        parts: list[str] = []
        while (part := f"{name}{len(parts)}") in self._group.attrs:
            parts.append(part)
        return [text for part in parts for text in self._texts(part)] if parts else None

    def text(self, name: str) -> str | None:
        """A text; None where there is no such attribute."""
        texts = self._texts(name) if name in self._group.attrs else [None]
        if len(texts) != 1:
            raise ModelError(f"/{self.path} has {len(texts)} texts as {name}, not one")
        return texts[0]

    def _texts(self, name: str) -> list[str]:
        attribute = self._group.attrs.get_id(name)
        where = f"the attribute {name} of /{self.path}"
        if 0 in attribute.shape:  # h5py writes an empty list as one of numbers
            return []
        if not isinstance(attribute.get_type(), self._h5py.h5t.TypeStringID):
            raise ModelError(f"{where} holds something else than texts")
        self._limits.take(where, product(attribute.shape) * max(attribute.dtype.itemsize, 1))
        values = np.asarray(self._group.attrs[name]).reshape(-1).tolist()
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


class Array:
    """An array of an open file, read when asked."""

    def __init__(self, dataset: Any, path: str, limits: _Limits):
        if dataset.external or dataset.is_virtual:  # before its shape, which may look into the other files
            raise ModelError(f"/{path} keeps its numbers in another file")
        self._dataset, self._limits, self.path = dataset, limits, path
        self.shape: tuple[int, ...] = dataset.shape
        if self.shape is None:
            raise ModelError(f"/{path} holds nothing")

    def read(self) -> np.ndarray:
        """The numbers; bfloat16, which NumPy does not know and Keras stores as two bytes of no type, as float32."""
        dtype, dataset = self._dataset.dtype, self._dataset
        brain = dtype == np.dtype("V2")
        if dtype.kind not in "fiub" and not brain:
            raise ModelError(f"/{self.path} holds {dtype}, not numbers")
        wanted_bytes, stored_bytes = product(self.shape) * dtype.itemsize, dataset.id.get_storage_size()
        most = most_bytes(stored_bytes) if dataset.chunks and stored_bytes else stored_bytes
        if wanted_bytes > most:
            raise ModelError(f"/{self.path} {self.shape} has only {stored_bytes:,} bytes in the file")
        chunk_bytes = product(dataset.chunks or ()) * dtype.itemsize
        self._limits.take(f"/{self.path} {self.shape}", max(wanted_bytes, chunk_bytes))
        array = np.asarray(dataset[()])
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if brain else array
