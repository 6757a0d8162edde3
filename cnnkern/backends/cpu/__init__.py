"""The cpu backend: plans in Python, runs in `cnnkern._core`.

`edges` decides what crosses the border in which layout, `buffers` where every value lies, `lower` what each node
becomes, `runner` runs it, `predict` says beforehand what it will execute.
"""

from .backend import CpuBackend

__all__ = ["CpuBackend"]
