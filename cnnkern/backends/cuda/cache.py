"""Compiled kernels, kept between runs and shared by processes: one file each under CNNKERN_CACHE/cuda.

A file's name holds the key: a hash of everything that decides what the compiler writes, included headers too. Its first
line is the hash of the rest, its second line JSON, then comes the cubin. Nothing is ever removed: the folder may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ... import config
from .. import warn_once
from . import compiler
from .compiler import Compiled
from .launch import Kernel

SUFFIX = ".kernel"
_FORMAT = 1
_FIGURES = ("lowered_name", "registers", "shared_bytes", "spill_bytes", "stack_bytes", "log")


def folder() -> Path:
    """Where they lie here and now; it need not exist."""
    return config.cache_folder() / "cuda"


def load(kernel: Kernel, target: str) -> Compiled:
    """The kernel from the cache; compiled, and kept, where it is not there or its file is damaged.

    Raises:
        CompileError, UnsupportedError: as `compiler.compile_kernel`.
    """
    return _Entry(kernel, target, folder()).get()


def file(kernel: Kernel, target: str) -> Path:
    """Where `load` keeps it; its name says what it was made from."""
    return _Entry(kernel, target, folder()).file


def compile_all(kernels: Sequence[Kernel], target: str) -> list[Compiled]:
    """As `load` for each, those missing side by side, with a progress bar when a terminal is there to show it."""
    entries = [_Entry(kernel, target, folder()) for kernel in dict.fromkeys(kernels)]
    found = {entry.kernel: entry.read() for entry in entries}
    missing = [entry for entry in entries if found[entry.kernel] is None]
    with _progress(len(missing), target) as advance, ThreadPoolExecutor(config.usable_cpus()) as pool:
        try:
            for entry, compiled in zip(missing, pool.map(_Entry.make, missing)):
                found[entry.kernel] = compiled
                advance()
        except BaseException:  # the first that fails, or Ctrl-C: do not compile the rest first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[kernel] for kernel in kernels]


def contents() -> tuple[int, int]:
    """How many kernels are kept, for all targets and versions, and their bytes."""
    try:
        sizes = [file.stat().st_size for file in folder().glob(f"*{SUFFIX}")]
    except OSError:
        return 0, 0
    return len(sizes), sum(sizes)


class _Entry:
    """One kernel for one target. The folder is given, for a setting of the caller's thread does not reach others."""

    def __init__(self, kernel: Kernel, target: str, place: Path):
        self.kernel, self.target = kernel, target
        self.text = compiler.flatten(kernel.source)
        deciding = (_FORMAT, self.text, kernel.name, compiler.options(target), compiler.version())
        self.key = hashlib.sha256(repr(deciding).encode()).hexdigest()
        self.file = place / f"{kernel.template}-{target}-{self.key}{SUFFIX}"

    def get(self) -> Compiled:
        return self.read() or self.make()

    def make(self) -> Compiled:
        compiled = compiler.compile_kernel(self.kernel, self.target, self.text)
        try:
            self._write(compiled)
        except OSError as error:
            warn_once(
                ("cuda cache", str(self.file.parent)),
                f"{self.file.parent} cannot be written ({error.strerror or error}), so that kernels are compiled anew"
                " each time; CNNKERN_CACHE names another folder",
            )
        return compiled

    def read(self) -> Compiled | None:
        """None where there is nothing, or not what was written."""
        try:
            digest, rest = self.file.read_bytes().split(b"\n", 1)
        except (OSError, ValueError):
            return None
        if digest.decode(errors="replace") != hashlib.sha256(rest).hexdigest():
            return None
        header, cubin = rest.split(b"\n", 1)
        return Compiled(cubin, **{name: value for name, value in json.loads(header).items() if name in _FIGURES})

    def _write(self, compiled: Compiled) -> None:
        """In one step that no reader sees half done; of two writers the later one stays, with the same content."""
        header = {"kernel": self.kernel.name, "source": self.kernel.source, "target": self.target}
        header |= {"nvrtc": compiler.version()} | {name: getattr(compiled, name) for name in _FIGURES}
        rest = json.dumps(header).encode() + b"\n" + compiled.cubin
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self.file.parent, prefix=self.kernel.template, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
            os.replace(draft, self.file)
        except BaseException:
            os.unlink(draft)
            raise


@contextmanager
def _progress(count: int, target: str) -> Iterator:
    """Yields what to call after each of `count` kernels."""
    if count < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(f"compiling CUDA kernels for {target}", total=count)
        yield lambda: bar.advance(task)
