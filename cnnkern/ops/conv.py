"""Convolution, its untied form, and im2col."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .base import Counts, Spec, io_bytes, product
from .checks import (
    Padding,
    Pair,
    as_choice,
    as_int,
    as_padding,
    as_pair,
    check_image,
    check_same,
    check_size,
    check_weight,
    sliding_size,
)
from .eltwise import activation_counts, activation_fields

PROLOGUES = ("relu", "relu6")  # the clamps: what costs nothing on the way into a convolution
CONV_ALGOS = ("auto", "direct", "im2col", "pointwise", "depthwise", "grouped", "winograd", "fft")
NO_PADDING: Padding = ((0, 0), (0, 0))


def _output_hw(op: str, hw, kernel, stride, padding, dilation) -> Pair:
    p, q = (sliding_size(op, axis, *sizes) for axis, *sizes in zip(("H", "W"), hw, kernel, stride, padding, dilation))
    return p, q


@dataclass(frozen=True)
class Conv2dSpec(Spec):
    """y = act(conv(prologue(x scale + shift), weight) + bias + residual): cross-correlation, as every CNN framework.

    x (N, C, H, W), weight (K, C/groups, R, S), bias (K,) or None, residual (N, K, P, Q) or None -> (N, K, P, Q):
    y[n,k,p,q] = act(b[k] + res[n,k,p,q] + sum_{c,r,s} w[k,c,r,s] x[n, g(k)+c, p sh - top + r dh, q sw - left + s dw]),
    P = floor((H + top + bottom - dh (R - 1) - 1) / sh) + 1. `algo` forces an algorithm ("auto": the backend chooses).
    With scale and shift, (C,) each or None both, x stands for prologue(x[n,c,h,w] scale[c] + shift[c]), a batch norm's
    work; the padding stays zero.

    Theory: one fma per output and tap of its group, padded taps counted; an add per output for the bias, another for
    the residual; the activation's per output; an fma and the prologue's per element of a scaled x.
    """

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: str | None = None
    activation_param: float | None = None
    algo: str = "auto"
    prologue: str | None = None
    op = "conv2d"
    inputs = ("x", "weight", "bias", "residual", "scale", "shift")

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "stride", as_pair("stride", self.stride))
        fix(self, "padding", as_padding("padding", self.padding))
        fix(self, "dilation", as_pair("dilation", self.dilation))
        fix(self, "groups", as_int("groups", self.groups, 1))
        fix(self, "activation_param", activation_fields(self.activation, self.activation_param)[1])
        as_choice("algo", self.algo, CONV_ALGOS)
        if self.prologue is not None:
            as_choice("prologue", self.prologue, PROLOGUES)

    def infer(self, x, weight, bias=None, residual=None, scale=None, shift=None):
        n, c, *hw = check_image(self.op, x)
        k, c_group, *kernel = check_weight(self.op, weight, 4, "(K, C/groups, R, S)")
        if c % self.groups or k % self.groups:
            raise ValueError(
                f"{self.op}: groups must divide the channels of x and of weight: groups {self.groups}, x has {c}, "
                f"weight has {k} outputs"
            )
        if c_group * self.groups != c:
            raise ValueError(
                f"{self.op}: weight must have C/groups = {c // self.groups} input channels for x of shape {tuple(x)} "
                f"and groups {self.groups}, got shape {tuple(weight)}"
            )
        out = (n, k, *_output_hw(self.op, hw, kernel, self.stride, self.padding, self.dilation))
        check_size(self.op, "the output", out)
        check_same(self.op, "bias", bias, (k,))
        check_same(self.op, "residual", residual, out)
        check_same(self.op, "scale", scale, (c,))
        check_same(self.op, "shift", shift, (c,))
        if (scale is None) != (shift is None):
            raise ValueError(f"{self.op}: scale and shift come together, got shapes {scale} and {shift}")
        if self.prologue is not None and scale is None:
            raise ValueError(f"{self.op}: the prologue {self.prologue!r} needs scale and shift, got neither")
        return (out,)

    def theory(self, x, weight, bias=None, residual=None, scale=None, shift=None):
        (out,) = self.infer(x, weight, bias, residual, scale, shift)
        n = product(out)
        adds = n * ((bias is not None) + (residual is not None))
        scaled = product(x) * (scale is not None)
        return (
            Counts(fma=n * self.reduction(x, weight) + scaled, add=adds)
            + activation_counts(self.activation, n)
            + activation_counts(self.prologue, scaled)
            + Counts(**io_bytes([x, weight, bias, residual, scale, shift], [out]))
        )

    def reduction(self, x, weight, *others):
        """K = C/groups * R * S."""
        return product(weight[1:])


@dataclass(frozen=True)
class FusedBlockSpec(Spec):
    """Convolutions in a row, as one step: 1x1 expand, depthwise, and 1x1 project where it has a weight (Sandler et al.,
    MobileNetV2, 2018: the inverted residual block).

    x (N, C, H, W), expand_weight (E, C, 1, 1), depthwise_weight (E, 1, R, S), project_weight (K, E, 1, 1) or None, each
    with a bias or None, residual of the output's shape or None -> (N, K or E, P, Q):
    y = act3(project(act2(depthwise(act1(expand(x))))) + residual); without project act2 follows the residual.

    Theory: that of the convolutions, but for the bytes between them.
    """

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    expand_activation: str | None = None
    depthwise_activation: str | None = None
    project_activation: str | None = None
    op = "fused_block"
    inputs = (
        "x", "expand_weight", "expand_bias", "depthwise_weight", "depthwise_bias", "project_weight", "project_bias",
        "residual",
    )  # fmt: skip

    def __post_init__(self):
        object.__setattr__(self, "stride", as_pair("stride", self.stride))
        object.__setattr__(self, "padding", as_padding("padding", self.padding))
        for name in ("expand_activation", "depthwise_activation", "project_activation"):
            activation_fields(getattr(self, name), None)

    def stages(self, x, expand_weight, expand_bias, depthwise_weight, depthwise_bias=None, project_weight=None,
               project_bias=None, residual=None):  # fmt: skip
        """The convolutions as (Conv2dSpec, weight, bias, residual), from shapes or arrays alike."""
        wide = getattr(depthwise_weight, "shape", depthwise_weight)[0]
        expand = Conv2dSpec(activation=self.expand_activation)
        depthwise = Conv2dSpec(self.stride, self.padding, groups=wide, activation=self.depthwise_activation)
        found = [(expand, expand_weight, expand_bias, None), (depthwise, depthwise_weight, depthwise_bias, None)]
        if project_weight is not None:
            found.append((Conv2dSpec(activation=self.project_activation), project_weight, project_bias, None))
        found[-1] = (*found[-1][:3], residual)
        return found

    def infer(self, x, expand_weight, expand_bias=None, depthwise_weight=None, *others):
        check_weight(self.op, depthwise_weight, 4, "(E, 1, R, S)")
        for spec, *shapes in self.stages(x, expand_weight, expand_bias, depthwise_weight, *others):
            (x,) = spec.infer(x, *shapes)
        return (x,)

    def theory(self, *shapes):
        x, total = shapes[0], Counts()
        for spec, *given in self.stages(*shapes):
            total += replace(spec.theory(x, *given), bytes_read=0, bytes_written=0)
            (x,) = spec.infer(x, *given)
        return total + Counts(**io_bytes(shapes, [x]))

    def reduction(self, x, expand_weight, expand_bias, depthwise_weight, *others):
        """The longest K of the convolutions."""
        stages = self.stages(x, expand_weight, expand_bias, depthwise_weight, *others)
        return max(product(weight[1:]) for _, weight, _, _ in stages)


@dataclass(frozen=True)
class LocallyConnected2dSpec(Spec):
    """Convolution with untied weights: a filter bank per output position (Taigman et al., DeepFace, 2014).

    x (N, C, H, W), weight (P, Q, K, C, R, S), bias (K, P, Q), (K,) or None -> (N, K, P, Q):
    y[n,k,p,q] = b[k(,p,q)] + sum_{c,r,s} w[p,q,k,c,r,s] x[n, c, p sh - top + r, q sw - left + s].
    Theory: as a convolution.
    """

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    op = "locally_connected2d"
    inputs = ("x", "weight", "bias")

    def __post_init__(self):
        object.__setattr__(self, "stride", as_pair("stride", self.stride))
        object.__setattr__(self, "padding", as_padding("padding", self.padding))

    def infer(self, x, weight, bias=None):
        n, c, *hw = check_image(self.op, x)
        p, q, k, c_weight, *kernel = check_weight(self.op, weight, 6, "(P, Q, K, C, R, S)")
        if c_weight != c:
            raise ValueError(f"{self.op}: weight must have C = {c} input channels, got shape {tuple(weight)}")
        positions = _output_hw(self.op, hw, kernel, self.stride, self.padding, (1, 1))
        if positions != (p, q):
            raise ValueError(
                f"{self.op}: weight must start with the output's {positions} for x of shape {tuple(x)}, stride "
                f"{self.stride} and padding {self.padding}, got shape {tuple(weight)}"
            )
        out = (n, k, p, q)
        check_size(self.op, "the output", out)
        check_same(self.op, "bias", bias, (k, p, q), (k,))
        return (out,)

    def theory(self, x, weight, bias=None):
        (out,) = self.infer(x, weight, bias)
        n = product(out)
        counts = Counts(fma=n * self.reduction(x, weight), add=n * (bias is not None))
        return counts + Counts(**io_bytes([x, weight, bias], [out]))

    def reduction(self, x, weight, bias=None):
        """K = C * R * S."""
        return product(weight[3:])


@dataclass(frozen=True)
class Im2colSpec(Spec):
    """The patches of an image as columns: x (N, C, H, W) -> (N, C R S, P Q), as torch.nn.functional.unfold.

    y[n, (c R + r) S + s, p Q + q] = x[n, c, p sh - top + r dh, q sw - left + s dw], 0 outside. Theory: bytes alone.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    op = "im2col"

    def __post_init__(self):
        fix = object.__setattr__
        fix(self, "kernel", as_pair("kernel", self.kernel))
        fix(self, "stride", as_pair("stride", self.stride))
        fix(self, "padding", as_padding("padding", self.padding))
        fix(self, "dilation", as_pair("dilation", self.dilation))

    def output_hw(self, x) -> Pair:
        """(P, Q) behind the flattened last axis."""
        return _output_hw(self.op, x[2:], self.kernel, self.stride, self.padding, self.dilation)

    def infer(self, x):
        n, c, *_ = check_image(self.op, x)
        out = (n, c * product(self.kernel), product(self.output_hw(x)))
        check_size(self.op, "the output", out)
        return (out,)

    def theory(self, x):
        return Counts(**io_bytes([x], self.infer(x)))
