"""Transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Counts, Spec, io_bytes, product
from .checks import Padding, Pair, as_int, as_padding, as_pair, check_image, check_same, check_size, check_weight
from .conv import NO_PADDING


@dataclass(frozen=True)
class ConvTranspose2dSpec(Spec):
    """The gradient of a convolution by its input, as a layer of its own ("deconvolution"; Zeiler et al., 2010).

    x (N, C, H, W), weight (C, K/groups, R, S), bias (K,) or None -> (N, K, P, Q):
    y[n, k, h sh - top + r dh, w sw - left + s dw] += w[c, k, r, s] x[n, c, h, w], starting from the bias,
    P = (H - 1) sh + dh (R - 1) + 1 - top - bottom + extra_h, Q likewise; `extra` (output_padding) rows and columns at
    the end, of which no kernel reaches more than stride and dilation allow, have what is summed there, else the bias.

    Theory: one fma per input pixel, tap and output channel of its group, what the padding cuts off counted; an add per
    output for the bias.
    """

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    extra: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    op = "conv_transpose2d"
    inputs = ("x", "weight", "bias")

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "stride", as_pair("stride", self.stride))
        fix(self, "padding", as_padding("padding", self.padding))
        fix(self, "extra", as_pair("extra", self.extra, 0))
        fix(self, "dilation", as_pair("dilation", self.dilation))
        fix(self, "groups", as_int("groups", self.groups, 1))

    def infer(self, x, weight, bias=None):
        n, c, *hw = check_image(self.op, x)
        c_weight, k_group, *kernel = check_weight(self.op, weight, 4, "(C, K/groups, R, S)")
        if c_weight != c or c % self.groups:
            raise ValueError(
                f"{self.op}: weight must start with the {c} channels of x, which groups ({self.groups}) divide, got "
                f"shape {tuple(weight)}"
            )
        sizes = zip(hw, kernel, self.stride, self.padding, self.extra, self.dilation)
        pq = tuple((h - 1) * s + d * (r - 1) + 1 - sum(pad) + extra for h, r, s, pad, extra, d in sizes)
        if min(pq) < 1:
            raise ValueError(
                f"{self.op}: padding {self.padding} leaves no output of x {tuple(x)}, weight {tuple(weight)}"
            )
        out = (n, k_group * self.groups, *pq)
        check_size(self.op, "the output", out)
        check_same(self.op, "bias", bias, (out[1],))
        return (out,)

    def theory(self, x, weight, bias=None):
        (out,) = self.infer(x, weight, bias)
        counts = Counts(fma=product(x) * product(weight[1:]), add=product(out) * (bias is not None))
        return counts + Counts(**io_bytes([x, weight, bias], [out]))

    def reduction(self, x, weight, bias=None):
        """K = C/groups * the most taps that meet at one output."""
        taps = product(-(-r // s) for r, s in zip(weight[2:], self.stride))
        return weight[0] // self.groups * (taps if self.dilation == (1, 1) else product(weight[2:]))
