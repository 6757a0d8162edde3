"""The activations as kernels number them (enum Act in kernels/epilogue.cuh)."""

from __future__ import annotations

from typing import Any

ACTIVATIONS = (
    None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu",
)  # fmt: skip


def act_args(kind: str | None, param: float | None) -> dict[str, Any]:
    """The fields `act` and `param` of a kernel's struct."""
    return {"act": ACTIVATIONS.index(kind), "param": float(param or 0.0)}
