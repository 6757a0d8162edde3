"""The Numba backend: kernels in Python, compiled for this machine when they are first called."""

from .backend import NumbaBackend

__all__ = ["NumbaBackend"]
