"""The exceptions of cnnkern's own."""

from __future__ import annotations


class ModelError(ValueError):
    """A model or weight file, or a state dict, that cannot be used; the message names it and the reason."""


class UnsupportedError(NotImplementedError):
    """What no available backend can do; the message says what can."""


class CompileError(RuntimeError):
    """A kernel source that the CUDA compiler refuses; the message names kernel and target and has its first errors."""


class DeviceMemoryError(MemoryError):
    """A GPU has too little memory; the message names what for, how much that needs, and how much is free."""
