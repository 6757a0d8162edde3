"""The exceptions of cnnkern's own."""

from __future__ import annotations


class ModelError(ValueError):
    """A model or weight file, or a state dict, that cannot be used; the message names it and the reason."""


class UnsupportedError(NotImplementedError):
    """What no available backend can do; the message says what can."""
