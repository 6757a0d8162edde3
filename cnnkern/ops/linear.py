"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import check_same, check_shape, check_size, check_weight
from .eltwise import activation_counts, activation_fields


@dataclass(frozen=True)
class LinearSpec(Spec):
    """y = act(x weight^T + bias): x (N, F), weight (O, F), bias (O,) or None -> (N, O).

    Theory: N O F fma, an add per output for the bias, the activation's per output.
    """

    activation: str | None = None
    activation_param: float | None = None
    op = "linear"
    inputs = ("x", "weight", "bias")

    def __post_init__(self):
        object.__setattr__(self, "activation_param", activation_fields(self.activation, self.activation_param)[1])

    def infer(self, x, weight, bias=None):
        n, features = check_shape(self.op, "x", x, 2, "(N, F)")
        outputs, columns = check_weight(self.op, weight, 2, "(O, F)")
        if columns != features:
            raise ValueError(f"{self.op}: weight must have F = {features} columns, got shape {tuple(weight)}")
        check_same(self.op, "bias", bias, (outputs,))
        check_size(self.op, "the output", (n, outputs))
        return ((n, outputs),)

    def theory(self, x, weight, bias=None):
        (out,) = self.infer(x, weight, bias)
        n = product(out)
        return (
            Counts(fma=n * self.reduction(x, weight), add=n * (bias is not None))
            + activation_counts(self.activation, n)
            + Counts(**io_bytes([x, weight, bias], [out]))
        )

    def reduction(self, x, weight, bias=None):
        """K = F."""
        return int(weight[1])
