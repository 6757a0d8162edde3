"""The fixed set of operations that `cnnkern verify --ops` runs, on shapes drawn from a printed seed.

Each entry of CASES makes a Spec and its float32 arrays from a random generator. Shapes are small and awkward on
purpose: 1x1 images, 1, 3, 17 and 31 channels, even kernels, strides beyond the kernel, asymmetric padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from .. import ops
from ..ops.base import Spec

Arrays = tuple["np.ndarray | None", ...]

CHANNELS = (1, 2, 3, 8, 16, 17, 31, 32, 48)
ACTIVATIONS = (None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu")
PER_OP = 8  # cases each


class OpCase(NamedTuple):
    """One operation on concrete arrays; `label` is its line in the table."""

    label: str
    spec: Spec
    arrays: Arrays


def cases(seed: int, per_op: int = PER_OP) -> Iterator[OpCase]:
    """Every case of this seed, the same on every machine; an entry's cases do not depend on the other entries."""
    for label, make in CASES.items():
        for i in range(per_op):
            yield OpCase(label, *make(_Draw(np.random.default_rng((seed, crc32(label.encode()), i)))))


class _Draw:
    """Random choices in the vocabulary of the ops."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def one(self, values) -> Any:
        return values[int(self._rng.integers(len(values)))]

    def int(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def maybe(self) -> bool:
        return bool(self._rng.integers(2))

    def array(self, *shape: int) -> np.ndarray:
        return self._rng.standard_normal(shape, dtype=np.float32)

    def positive(self, *shape: int) -> np.ndarray:
        return np.abs(self.array(*shape)) + np.float32(0.5)

    def image(self, channels: int | None = None, least: int = 1) -> np.ndarray:
        """(N, C, H, W), H and W at least `least`."""
        return self.array(self.int(1, 3), channels or self.one(CHANNELS), self.int(least, 19), self.int(least, 19))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.int(low, high), self.int(low, high)

    def padding(self, high: int) -> tuple[tuple[int, int], tuple[int, int]]:
        return self.pair(0, high), self.pair(0, high)


def _conv(
    d: _Draw, algo: str = "auto", *, kernel=None, stride=None, dilation=None, groups=None, depth=1, multiplier=None
):
    """Any convolution; what is given is fixed, for an algorithm that needs it. `multiplier`: outputs of a group, each
    of `depth` inputs."""
    groups = groups or d.one((1, 1, 1, 2, 4))
    c_group = depth if multiplier else d.one((1, 3, 8, 16, 17))
    k_group = multiplier or d.one((1, 3, 8, 16, 17, 31))
    r, s = kernel or d.pair(1, 5)
    dh, dw = dilation or d.pair(1, 2)
    spec = ops.Conv2dSpec(
        stride=stride or d.pair(1, 3),
        padding=d.padding(0 if (r, s) == (1, 1) else 2),
        dilation=(dh, dw),
        groups=groups,
        activation=d.one(ACTIVATIONS),
        algo=algo,
    )
    x = d.image(groups * c_group, least=1 + max(dh * (r - 1), dw * (s - 1)))
    weight = d.array(groups * k_group, c_group, r, s) / np.float32(np.sqrt(c_group * r * s))
    [out] = spec.infer(x.shape, weight.shape)
    bias = d.array(groups * k_group) if d.maybe() else None
    return spec, (x, weight, bias, d.array(*out) if d.maybe() else None)


def _depthwise(d: _Draw):
    return _conv(d, "depthwise", groups=d.one(CHANNELS), multiplier=d.one((1, 1, 2, 3)))


def _grouped(d: _Draw):
    depth = d.one((2, 4, 8))
    return _conv(d, "grouped", groups=d.int(1, 9), depth=depth, multiplier=depth)


def _pointwise(d: _Draw):
    return _conv(d, "pointwise", kernel=(1, 1), dilation=(1, 1), groups=1)


def _winograd(d: _Draw):
    return _conv(d, "winograd", kernel=d.one(((3, 3), (5, 5))), stride=(1, 1), dilation=(1, 1), groups=1)


def _fused_block(d: _Draw):
    r, s = kernel = d.one(((3, 3), (5, 5), (2, 2), (4, 3)))
    pads = tuple((d.int(0, size - 1), d.int(0, size - 1)) for size in kernel)
    wide, acts = d.one((1, 3, 16, 17, 31, 130)), [d.one(ACTIVATIONS) for _ in range(3)]
    x, projects = d.image(least=5), d.maybe()
    spec = ops.FusedBlockSpec(d.one(((1, 1), (2, 2))), pads, *acts[: 2 + projects])
    arrays = [x]
    shapes = [(wide, x.shape[1], 1, 1), (wide, 1, r, s), *[(d.one(CHANNELS), wide, 1, 1)] * projects]
    for shape in shapes:
        weight = d.array(*shape) / np.float32(np.sqrt(np.prod(shape[1:])))
        arrays += [weight, d.array(shape[0]) if d.maybe() else None]
    arrays += [None] * (7 - len(arrays))
    [out] = spec.infer(*(None if a is None else a.shape for a in arrays))
    return spec, (*arrays, d.array(*out) if d.maybe() else None)


def _locally_connected(d: _Draw):
    r, s = d.pair(1, 3)
    spec = ops.LocallyConnected2dSpec(stride=d.pair(1, 2), padding=d.padding(1))
    x = d.image(d.one((1, 3, 17)), least=max(r, s))
    k, (sh, sw) = d.one((1, 3, 17)), spec.stride
    p = (x.shape[2] + sum(spec.padding[0]) - r) // sh + 1
    q = (x.shape[3] + sum(spec.padding[1]) - s) // sw + 1
    weight = d.array(p, q, k, x.shape[1], r, s)
    return spec, (x, weight, d.array(k, p, q) if d.maybe() else None)


def _linear(d: _Draw):
    features, outputs = d.one((1, 17, 64, 257)), d.one((1, 10, 31, 100))
    bias = d.array(outputs) if d.maybe() else None
    x, weight = d.array(d.int(1, 5), features), d.array(outputs, features)
    return ops.LinearSpec(activation=d.one(ACTIVATIONS)), (x, weight, bias)


def _im2col(d: _Draw):
    kernel = d.pair(1, 3)
    return ops.Im2colSpec(kernel, d.pair(1, 3), d.padding(2), d.pair(1, 2)), (d.image(d.one((1, 3, 17)), least=5),)


def _pool(kind: str) -> Callable:
    def make(d: _Draw):
        kernel = d.pair(2, 4)
        spec = ops.Pool2dSpec(
            kind=kind,
            kernel=kernel,
            stride=d.pair(1, 5),
            padding=d.padding(1),
            dilation=d.pair(1, 2) if kind == "max" else (1, 1),
            ceil_mode=d.maybe(),
            count_include_pad=d.maybe(),
            return_indices=kind == "max" and d.maybe(),
        )
        return spec, (d.image(least=7),)

    return make


def _roi_max_pool(d: _Draw):
    x, scale = d.image(), d.one((1.0, 1 / 16, 0.3))
    count, (n, _, h, w) = d.int(1, 5), x.shape
    corners = d.array(count, 4) * np.array([w, h, w, h], np.float32) / np.float32(scale)
    images = np.array([d.int(0, n - 1) for _ in range(count)], np.float32)
    return ops.RoiMaxPoolSpec(d.pair(1, 7), scale), (x, np.column_stack([images, corners]))


def _batch_norm(d: _Draw):
    x = d.image()
    c = x.shape[1]
    affine = (d.array(c), d.array(c)) if d.maybe() else (None, None)
    return ops.BatchNormSpec(d.one((1e-5, 1e-3))), (x, d.array(c), d.positive(c), *affine)


def _response_norm(d: _Draw):
    spec = ops.LocalResponseNormSpec(d.one((1, 2, 5)), d.one((1e-4, 0.1)), 0.75, d.one((1.0, 2.0)), d.maybe())
    return spec, (d.image(),)


def _activation(kind: str) -> Callable:
    return lambda d: (ops.ActivationSpec(kind), (3 * d.image(),))


def _binary(spec: type) -> Callable:
    def make(d: _Draw):
        a = d.image()
        return spec(d.one(ACTIVATIONS)), (a, d.array(*a.shape) if d.maybe() else d.array(*a.shape[:2], 1, 1))

    return make


PARAMETERS = {
    "affine": (1.5, -0.25), "clip": (-0.7, 1.2), "hardsigmoid": (0.2, 0.5), "elu": (1.3,), "selu": (1.67, 1.05),
    "celu": (0.8,), "thresholded_relu": (0.3,), "swish": (1.7,),
}  # fmt: skip


def _any_rank(d: _Draw) -> np.ndarray:
    return d.array(*(d.int(1, 9) for _ in range(d.int(1, 5)))) if d.maybe() else d.image()


def _unary(d: _Draw):
    kind, x = d.one(tuple(ops.UNARY)), 3 * _any_rank(d)
    return ops.UnarySpec(kind, *PARAMETERS.get(kind, ())), (np.abs(x) if kind in ("log", "sqrt") else x,)


def _two(d: _Draw):
    a, kind = _any_rank(d), d.one(tuple(ops.BINARY))
    b = d.array(*(1 if d.maybe() else size for size in a.shape)) if d.maybe() else d.array(*a.shape[d.int(0, 1) :])
    return ops.BinarySpec(kind), (np.abs(a), b) if kind == "pow" else d.one(((a, b), (b, a)))


def _reduce(d: _Draw):
    x, kind = _any_rank(d), d.one(tuple(ops.REDUCTIONS))
    axes = tuple(axis for axis in range(x.ndim) if d.maybe())
    return ops.ReduceSpec(kind, axes, d.maybe()), (np.abs(x) if kind == "log_sum" else x,)


def _matmul(d: _Draw):
    (m, n), k, lead = (d.one((1, 3, 17, 40)), d.one((1, 16, 33, 65))), d.one((1, 3, 17, 64)), d.one(((), (2,), (3, 2)))
    return ops.MatMulSpec(), (d.array(*lead, m, k), d.array(*(lead if d.maybe() else ()), k, n))


def _softmax(d: _Draw):
    if d.maybe():
        x = 4 * _any_rank(d)
        return ops.SoftmaxSpec(d.int(0, x.ndim - 1), log=d.maybe()), (x,)
    return ops.SoftmaxSpec(-1, log=d.maybe()), (4 * d.array(d.int(1, 5), d.one((1, 10, 17, 1000))),)


def _concat(d: _Draw):
    first = d.image()
    n, _, h, w = first.shape
    return ops.ConcatSpec(1), (first, *(d.array(n, d.one(CHANNELS), h, w) for _ in range(d.int(0, 3))))


def _shuffle(d: _Draw):
    groups = d.one((1, 2, 3))
    return ops.ChannelShuffleSpec(groups), (d.image(groups * d.one((1, 8, 29))),)


def _slice(d: _Draw):
    x = d.image(d.one((3, 17, 32)))
    start = d.int(0, x.shape[1] - 1)
    return ops.SliceSpec(1, start, d.int(start + 1, x.shape[1])), (x,)


def _conv_transpose(d: _Draw):
    groups, (r, s), dilation = d.one((1, 1, 2, 3)), d.pair(1, 5), d.pair(1, 2)
    c_group, k_group = d.one((1, 3, 16, 17)), d.one((1, 3, 16, 31))
    spec = ops.ConvTranspose2dSpec(d.pair(1, 4), d.padding(1), d.pair(0, 1), dilation, groups)
    weight = d.array(groups * c_group, k_group, r, s) / np.float32(np.sqrt(c_group * r * s))
    bias = d.array(groups * k_group) if d.maybe() else None
    return spec, (d.image(groups * c_group, least=3), weight, bias)


def _stride(d: _Draw):
    x = d.image()
    axis, step = d.int(1, 3), d.one((2, 3, -1))
    size = x.shape[axis]
    return ops.StrideSpec(axis, size - 1 if step < 0 else 0, step, -(-size // abs(step))), (x,)


def _pad_nd(d: _Draw):
    x = d.array(*(d.int(2, 9) for _ in range(d.int(1, 5))))
    pads = tuple(d.pair(0, 3) for _ in x.shape)
    return ops.PadNdSpec(pads, d.one(("constant", "reflect", "edge", "wrap")), d.one((0.0, 1.5))), (x,)


def _depth(d: _Draw):
    block = d.int(1, 3)
    return ops.DepthToSpaceSpec(block, d.one(("DCR", "CRD"))), (d.image(d.one((1, 3, 17)) * block**2),)


def _space(d: _Draw):
    b = d.int(1, 3)
    return ops.SpaceToDepthSpec(b), (d.array(d.int(1, 2), d.one((1, 3, 17)), b * d.int(1, 7), b * d.int(1, 7)),)


def _resample(weighted: bool) -> Callable:
    def make(d: _Draw):
        x, axis = d.image(), d.int(0, 3)
        taps, outputs = d.int(1, 4) if weighted else 1, d.int(1, 24)
        index = [[d.int(0, x.shape[axis] - 1) for _ in range(taps)] for _ in range(outputs)]
        weight = d.array(outputs, taps).tolist() if weighted else None
        return ops.ResampleSpec(axis, index, weight), (x,)

    return make


CASES: dict[str, Callable[[_Draw], tuple[Spec, Arrays]]] = {
    "conv2d": _conv,
    "conv2d direct": lambda d: _conv(d, "direct", groups=1),
    "conv2d im2col": lambda d: _conv(d, "im2col"),
    "conv2d pointwise": _pointwise,
    "conv2d depthwise": _depthwise,
    "conv2d grouped": _grouped,
    "conv2d winograd": _winograd,
    "conv2d fft": lambda d: _conv(d, "fft"),
    "locally_connected2d": _locally_connected,
    "conv_transpose2d": _conv_transpose,
    "linear": _linear,
    "fused_block": _fused_block,
    "im2col": _im2col,
    "pool2d max": _pool("max"),
    "pool2d avg": _pool("avg"),
    "pool2d sum": _pool("sum"),
    "global_pool2d": lambda d: (ops.GlobalPool2dSpec(d.one(("avg", "max"))), (d.image(),)),
    "adaptive_avg_pool2d": lambda d: (ops.AdaptiveAvgPool2dSpec(d.pair(1, 7)), (d.image(),)),
    "roi_max_pool": _roi_max_pool,
    "batch_norm": _batch_norm,
    "local_response_norm": _response_norm,
    "local_contrast_norm": lambda d: (ops.LocalContrastNormSpec(d.one((3, 7))), (d.image(d.one((1, 3, 17))),)),
    **{f"activation {kind}": _activation(kind) for kind in ACTIVATIONS if kind},
    "add": _binary(ops.AddSpec),
    "mul": _binary(ops.MulSpec),
    "unary": _unary,
    "binary": _two,
    "reduce": _reduce,
    "matmul": _matmul,
    "softmax": _softmax,
    "concat": _concat,
    "channel_shuffle": _shuffle,
    "pad": lambda d: (ops.PadSpec(d.padding(3), d.one((0.0, 1.5))), (d.image(),)),
    "flatten": lambda d: (ops.FlattenSpec(d.one(("CHW", "HWC"))), (d.image(),)),
    "slice": _slice,
    "reshape": lambda d: (ops.ReshapeSpec((2, -1)), (d.array(4, 3, d.int(1, 9)),)),
    "reorder": lambda d: (ops.ReorderSpec(), (d.image(),)),
    "transpose": lambda d: (ops.TransposeSpec(d.one(((0, 2, 3, 1), (0, 3, 1, 2)))), (d.image(),)),
    "stride": _stride,
    "pad_nd": _pad_nd,
    "expand": lambda d: (ops.ExpandSpec((d.int(1, 3), 17, d.int(1, 5), 9)), (d.array(17, 1, d.one((1, 9))),)),
    "tile": lambda d: (ops.TileSpec((1, *d.pair(1, 3), 2)), (d.image(d.one((1, 3, 17))),)),
    "depth_to_space": _depth,
    "space_to_depth": _space,
    "resample": _resample(True),
    "resample gather": _resample(False),
}
