"""CUDA kernels behind the Backend protocol.

`launch` is what a step is made of, `tensors` where every value lies, `lower` what each node becomes (a module per
family of ops), `conv_select` which algorithm, `predict` what that must execute; `compiler` and `cache` make machine
code of kernels/*.cu, `device` runs it through CuPy, `runner` replays a plan.
"""

from __future__ import annotations

from .backend import CudaBackend

__all__ = ["CudaBackend"]
