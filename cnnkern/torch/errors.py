"""Why an operation stays in PyTorch."""

from __future__ import annotations


class Decline(Exception):
    """cnnkern has no form of this operation for these arguments; the text says what is missing."""
