"""Tensors that lie in files beside the model: only in its folder, and only as many bytes as there are."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import ModelError


class Folder:
    """The folder of a model file; None where the model came as bytes, and no file is read."""

    def __init__(self, path: Path | None):
        self._root = None if path is None else os.path.realpath(path)

    def read(self, proto: Any, size: int, where: str) -> bytes:
        """The `size` bytes of a tensor that says `location`, `offset` and `length`.

        Raises: ModelError for a place outside the folder, a file that is none, or one that is too short.
        """
        entries = {entry.key: entry.value for entry in proto.external_data}
        location = entries.get("location", "")
        path = self._path(location, where)
        offset = _number(entries.get("offset", "0"), "offset", where)
        length = _number(entries.get("length", str(size)), "length", where)
        if length != size:
            raise ModelError(f"{where} of shape {tuple(proto.dims)} needs {size:,} bytes, its length says {length:,}")
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ModelError(f"{where}: {location!r} is no file")
                if offset + length > status.st_size:
                    raise ModelError(
                        f"{where} lies at bytes {offset:,} to {offset + length:,} of {location!r}, which has "
                        f"{status.st_size:,}"
                    )
                file.seek(offset)
                data = file.read(length)
        except OSError as error:
            raise ModelError(f"{where}: {location!r} cannot be read: {error.strerror or error}") from error
        if len(data) != length:
            raise ModelError(f"{where}: {location!r} ended after {len(data):,} of {length:,} bytes")
        return data

    def _path(self, location: str, where: str) -> str:
        """Where the file is, links followed; ModelError where that is not inside the folder."""
        if self._root is None:
            raise ModelError(f"{where} lies in the file {location!r}: load the model by its path, not as bytes")
        windows = PureWindowsPath(location)
        parts = {*PurePosixPath(location).parts, *windows.parts}
        if not location or "\0" in location or location.startswith("/") or windows.drive or windows.root:
            raise ModelError(f"{where}: its data lies at {location!r}; a path inside the model's folder is accepted")
        if ".." in parts:
            raise ModelError(f"{where}: its data lies at {location!r}, which leaves the model's folder")
        path = os.path.realpath(os.path.join(self._root, location))
        if os.path.commonpath([self._root, path]) != self._root:
            raise ModelError(f"{where}: {location!r} is a link that leaves the model's folder")
        if not os.path.isfile(path):  # nor is a pipe opened, which could wait for ever
            raise ModelError(f"{where}: there is no file {location!r} beside the model")
        return path


def _number(text: str, what: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ModelError(f"{where}: its {what} is {text!r}; a number of bytes is accepted")
    return int(text)
