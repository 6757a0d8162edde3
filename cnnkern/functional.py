"""The functions users call: arguments checked, a Spec made, a backend asked.

Every function takes float32 arrays of any strides, NumPy's or, for the cuda backend, CuPy's: those stay on their device
and current stream, and so does the result. `backend=` is a name, a backend object, or None: where the arrays live, else
what `cnnkern.config` says, else the fastest. Functions on images take layout="NCHW" or "NHWC": the layout of the images
they take and return; weights, results that are no images, and the values of pooling indices do not depend on it.

All raise TypeError for what is no float32 array, ValueError for shapes and attributes that do not fit (naming the
argument, what was received and what is accepted), UnsupportedError for what the backend cannot do.
(The file is long because it is a list: one entry per operation, most of it documentation.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from ._dispatch import as_array, as_image, padding_for, run, split_activation
from .ops.checks import as_pair

Array = np.ndarray
__all__ = [
    "conv2d", "separable_conv2d", "locally_connected2d", "linear",
    "max_pool2d", "avg_pool2d", "sum_pool2d", "global_avg_pool2d", "global_max_pool2d", "adaptive_avg_pool2d",
    "roi_max_pool",
    "batch_norm", "local_response_norm", "local_contrast_norm",
    "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu", "softmax",
    "log_softmax", "add", "mul", "concat", "channel_shuffle", "pad", "flatten", "im2col",
]  # fmt: skip


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, stride=1, padding=0, dilation=1, groups: int = 1, *,
    activation=None, residual: Array | None = None, flip_kernel: bool = False, algo: str = "auto",
    precision: str | None = None, layout: str = "NCHW", out: Array | None = None, backend: Any = None,
) -> Array:  # fmt: skip
    """2-D convolution: act(x * weight + bias + residual).

    Args:
        x: images (N, C, H, W). weight: (K, C/groups, R, S). bias: (K,).
        stride, dilation: an int or (vertical, horizontal), in pixels.
        padding: an int, (vertical, horizontal), ((top, bottom), (left, right)), "valid", "same" (output ceil(input /
            stride), an odd pixel at the end) or "same_lower" (at the start).
        activation: None, a name ("relu", "silu", ...) or ("leaky_relu", slope). residual: images of the output's shape.
        flip_kernel: True for convolution as mathematics defines it, False (as every framework) for cross-correlation.
        algo: "auto", "direct", "im2col", "pointwise", "depthwise", "grouped", "winograd" or "fft" (through NumPy's
            Fourier transform, on the cpu backend's eager road alone; "auto" never takes it).
        precision: "float32", "strict" (no Winograd or FFT), on CUDA also "tf32", "float16" and "bfloat16" (operands
            rounded to that type, sums in float32); None: the configured one.
        out: where to put the result: float32, the output's shape, any strides.
    Returns:
        (N, K, P, Q): y[n,k,p,q] = act(b[k] + res[n,k,p,q] + sum_{c,r,s} w[k,c,r,s] x[n, c, p sh - top + r dh,
        q sw - left + s dw]), c over the channels of k's group, P = floor((H + top + bottom - dh (R - 1) - 1) / sh) + 1.
    Raises:
        UnsupportedError: the forced algo cannot serve this shape.
    Example:
        >>> x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
        >>> cnnkern.conv2d(x, w, stride=2, padding="same").shape
        (1, 4, 4, 4)
    """
    x, weight = as_image("x", x, layout), as_array("weight", weight, 4)
    stride, dilation = as_pair("stride", stride), as_pair("dilation", dilation)
    spec = ops.Conv2dSpec(
        stride, padding_for(padding, x, weight.shape[2:], stride, dilation), dilation, groups,
        *split_activation(activation), algo=algo,
    )  # fmt: skip
    if flip_kernel:
        weight = weight[:, :, ::-1, ::-1]
    residual = None if residual is None else as_image("residual", residual, layout)
    return run(spec, (x, weight, as_array("bias", bias, optional=True), residual), backend, precision, layout, out)


def separable_conv2d(
    x: Array, depthwise_weight: Array, pointwise_weight: Array, bias: Array | None = None, stride=1, padding=0,
    dilation=1, *, depthwise_bias: Array | None = None, depthwise_activation=None, activation=None,
    precision: str | None = None, layout: str = "NCHW", out: Array | None = None, backend: Any = None,
) -> Array:  # fmt: skip
    """A depthwise convolution, then a pointwise one (Chollet, Xception, 2017).

    Args:
        x: images (N, C, H, W). depthwise_weight: (C M, 1, R, S), M filters per channel.
        pointwise_weight: (K, C M, 1, 1). bias: (K,). depthwise_bias: (C M,).
        stride, padding, dilation: the depthwise one's, as `conv2d`.
        depthwise_activation, activation, precision, layout, out: as `conv2d`.
    Returns:
        (N, K, P, Q): conv2d(conv2d(x, depthwise_weight, depthwise_bias, ..., groups=C), pointwise_weight, bias).
    Example:
        >>> x, d = np.ones((1, 3, 12, 12), np.float32), np.ones((3, 1, 5, 5), np.float32)
        >>> cnnkern.separable_conv2d(x, d, np.ones((256, 3, 1, 1), np.float32)).shape
        (1, 256, 8, 8)
    """
    x, first = as_image("x", x, layout), as_array("depthwise_weight", depthwise_weight, 4)
    second = as_array("pointwise_weight", pointwise_weight, 4)
    if first.shape[1] != 1:
        raise ValueError(f"depthwise_weight must have shape (C M, 1, R, S), got {first.shape}")
    if second.shape[1:] != (len(first), 1, 1):
        raise ValueError(f"pointwise_weight must have shape (K, {len(first)}, 1, 1), got {second.shape}")
    stride, dilation = as_pair("stride", stride), as_pair("dilation", dilation)
    padding = padding_for(padding, x, first.shape[2:], stride, dilation)
    spec = ops.Conv2dSpec(stride, padding, dilation, x.shape[1], *split_activation(depthwise_activation))
    biases = [as_array(n, v, optional=True) for n, v in (("depthwise_bias", depthwise_bias), ("bias", bias))]
    y = run(spec, (x, first, biases[0], None), backend, precision)
    spec = ops.Conv2dSpec((1, 1), 0, (1, 1), 1, *split_activation(activation))
    return run(spec, (y, second, biases[1], None), backend, precision, layout, out)


def locally_connected2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride=1,
    padding=0,
    *,
    layout: str = "NCHW",
    backend: Any = None,
) -> Array:
    """Convolution with untied weights, a filter bank per output position (Taigman et al., DeepFace, 2014).

    Args:
        x: images (N, C, H, W). weight: (P, Q, K, C, R, S). bias: (K, P, Q) or (K,). stride, padding: as `conv2d`.
    Returns:
        (N, K, P, Q): y[n,k,p,q] = b[k,p,q] + sum_{c,r,s} w[p,q,k,c,r,s] x[n, c, p sh - top + r, q sw - left + s].
    Example:
        >>> x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 3, 4, 2, 3, 3), np.float32)
        >>> cnnkern.locally_connected2d(x, w).shape
        (1, 4, 3, 3)
    """
    x, weight, stride = as_image("x", x, layout), as_array("weight", weight, 6), as_pair("stride", stride)
    spec = ops.LocallyConnected2dSpec(stride, padding_for(padding, x, weight.shape[4:], stride))
    return run(spec, (x, weight, as_array("bias", bias, optional=True)), backend, layout=layout)


def linear(x: Array, weight: Array, bias: Array | None = None, *, activation=None, backend: Any = None) -> Array:
    """act(x weight^T + bias). x (..., F), weight (O, F), bias (O,) -> (..., O).

    Example:
        >>> cnnkern.linear(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))
        array([[3.],
               [3.]], dtype=float32)
    """
    x, weight = as_array("x", x), as_array("weight", weight, 2)
    if x.ndim == 0:
        raise ValueError("linear: x must have rank 1 or more (..., F), got a scalar")
    rows = x if x.ndim == 2 else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    y = run(
        ops.LinearSpec(*split_activation(activation)), (rows, weight, as_array("bias", bias, optional=True)), backend
    )
    return y.reshape(*x.shape[:-1], weight.shape[0])


def _pool(kind, x, kernel, stride, padding, layout, backend, *, dilation=1, **options):
    x, kernel = as_image("x", x, layout), as_pair("kernel_size", kernel)
    stride, dilation = kernel if stride is None else as_pair("stride", stride), as_pair("dilation", dilation)
    padding = padding_for(padding, x, kernel, stride, dilation)
    spec = ops.Pool2dSpec(kind, kernel, stride, padding, dilation, **options)
    return run(spec, (x,), backend, layout=layout)


def max_pool2d(
    x: Array, kernel_size, stride=None, padding=0, *, dilation=1, ceil_mode: bool = False, return_indices: bool = False,
    layout: str = "NCHW", backend: Any = None,
) -> Any:  # fmt: skip
    """The largest value of each window; the padding never wins, a NaN always does.

    Args:
        x: images (N, C, H, W). kernel_size, stride (None: kernel_size), dilation: an int or (vertical, horizontal).
        padding: as `conv2d`; no window may hold padding alone.
        ceil_mode: also take the last, partial window, if it starts inside the input or the padding before it.
        return_indices: also return where: h * W + w in the input plane, int64, the first of equals.
    Returns:
        (N, C, P, Q), P = floor or ceil((H + top + bottom - d (R - 1) - 1) / s) + 1; with return_indices (y, indices).
    Example:
        >>> cnnkern.max_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2, return_indices=True)[1].tolist()
        [[[[5, 7], [13, 15]]]]
    """
    options = {"dilation": dilation, "ceil_mode": ceil_mode, "return_indices": return_indices}
    return _pool("max", x, kernel_size, stride, padding, layout, backend, **options)


def avg_pool2d(
    x: Array, kernel_size, stride=None, padding=0, *, dilation=1, ceil_mode: bool = False,
    count_include_pad: bool = True, layout: str = "NCHW", backend: Any = None,
) -> Array:  # fmt: skip
    """The mean of each window, (N, C, P, Q): its sum over its taps inside the padded input, or with
    count_include_pad=False over those inside the input. Other arguments and P as `max_pool2d`.

    Example:
        >>> cnnkern.avg_pool2d(np.ones((1, 1, 2, 2), np.float32), 2, padding=1)[0, 0].tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    options = {"dilation": dilation, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pool("avg", x, kernel_size, stride, padding, layout, backend, **options)


def sum_pool2d(
    x: Array, kernel_size, stride=None, padding=0, *, dilation=1, ceil_mode: bool = False, layout: str = "NCHW",
    backend: Any = None,
) -> Array:  # fmt: skip
    """The sum of each window, padding counting as 0, (N, C, P, Q). Arguments and P as `max_pool2d`.

    Example:
        >>> cnnkern.sum_pool2d(np.ones((1, 1, 2, 2), np.float32), 2).item()
        4.0
    """
    return _pool("sum", x, kernel_size, stride, padding, layout, backend, dilation=dilation, ceil_mode=ceil_mode)


def global_avg_pool2d(x: Array, *, layout: str = "NCHW", backend: Any = None) -> Array:
    """The mean of each plane: x (N, C, H, W) -> (N, C, 1, 1) (Lin et al., Network in Network, 2013).

    Example:
        >>> cnnkern.global_avg_pool2d(np.ones((2, 3, 7, 7), np.float32)).shape
        (2, 3, 1, 1)
    """
    return run(ops.GlobalPool2dSpec("avg"), (as_image("x", x, layout),), backend, layout=layout)


def global_max_pool2d(x: Array, *, layout: str = "NCHW", backend: Any = None) -> Array:
    """The largest value of each plane: x (N, C, H, W) -> (N, C, 1, 1).

    Example:
        >>> cnnkern.global_max_pool2d(np.ones((2, 3, 7, 7), np.float32)).shape
        (2, 3, 1, 1)
    """
    return run(ops.GlobalPool2dSpec("max"), (as_image("x", x, layout),), backend, layout=layout)


def adaptive_avg_pool2d(x: Array, output_size, *, layout: str = "NCHW", backend: Any = None) -> Array:
    """Means over windows that tile the input: x (N, C, H, W) -> (N, C, P, Q), output_size P = Q or (P, Q).

    Output row p averages input rows floor(p H / P) ... ceil((p + 1) H / P) - 1, columns likewise.
    Example:
        >>> cnnkern.adaptive_avg_pool2d(np.ones((1, 3, 5, 7), np.float32), (2, 3)).shape
        (1, 3, 2, 3)
    """
    spec = ops.AdaptiveAvgPool2dSpec(as_pair("output_size", output_size))
    return run(spec, (as_image("x", x, layout),), backend, layout=layout)


def roi_max_pool(
    x: Array, rois: Array, output_size, spatial_scale: float, *, layout: str = "NCHW", backend: Any = None
) -> Array:
    """The largest value in each cell of a grid over regions of interest (Girshick, Fast R-CNN, 2015).

    Args:
        x: images (N, C, H, W).
        rois: (R, 5), a row per region: the image's index in the batch, then x1, y1, x2, y2, corners that lie inside the
            region; times spatial_scale they are pixels of x, rounded to the nearest. May reach beyond the image.
        output_size: P = Q, or (P, Q).
        spatial_scale: pixels of x per pixel of the image that the regions were found in, such as 1/16.
    Returns:
        (R, C, P, Q): cell (p, q) of region r covers rows y1 + floor(p h / P) ... y1 + ceil((p + 1) h / P) - 1, where h
        is the region's height in pixels of x, at least 1, and columns likewise; 0 where none of it lies inside the
        image; a NaN wins.
    Raises:
        ValueError: an image's index that is no whole number from 0 to N - 1, a corner that is not finite.
    Example:
        >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> cnnkern.roi_max_pool(x, np.array([[0, 2, 2, 7, 5]], np.float32), 2, 0.5)[0, 0].tolist()
        [[10.0, 11.0], [14.0, 15.0]]
    """
    spec = ops.RoiMaxPoolSpec(as_pair("output_size", output_size), spatial_scale)
    return run(spec, (as_image("x", x, layout), as_array("rois", rois, 2)), backend, layout=layout)


def batch_norm(
    x: Array, running_mean: Array, running_var: Array, weight: Array | None = None, bias: Array | None = None,
    eps: float = 1e-5, *, layout: str = "NCHW", backend: Any = None,
) -> Array:  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias per channel (Ioffe and Szegedy, 2015).

    x is (N, C, ...) of rank 2 or more (layout "NHWC": rank 4); the vectors are (C,), weight and bias optional.
    Example:
        >>> one = np.ones(3, np.float32)
        >>> cnnkern.batch_norm(np.ones((2, 3), np.float32), one, one).tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    x = as_image("x", x, layout) if layout != "NCHW" else as_array("x", x)
    statistics = as_array("running_mean", running_mean), as_array("running_var", running_var)
    affine = as_array("weight", weight, optional=True), as_array("bias", bias, optional=True)
    return run(ops.BatchNormSpec(eps), (x, *statistics, *affine), backend, layout=layout)


def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, alpha_is_sum: bool = False,
    layout: str = "NCHW", backend: Any = None,
) -> Array:  # fmt: skip
    """x / (k + a sum of squares over `size` neighbouring channels)^beta, x (N, C, H, W) (Krizhevsky et al., 2012).

    a = alpha / size as torch, Caffe and ONNX have it, or alpha with alpha_is_sum=True as the paper has it. The window
    of channel c is c - size//2 ... c + (size-1)//2. k must be positive, alpha not negative.
    Example:
        >>> cnnkern.local_response_norm(np.ones((1, 8, 2, 2), np.float32), 5, 1e-4, 0.75, 2.0, alpha_is_sum=True).shape
        (1, 8, 2, 2)
    """
    spec = ops.LocalResponseNormSpec(size, alpha, beta, k, alpha_is_sum)
    return run(spec, (as_image("x", x, layout),), backend, layout=layout)


def local_contrast_norm(
    x: Array, size: int = 7, eps: float = 1e-5, *, layout: str = "NCHW", backend: Any = None
) -> Array:
    """x less its Gaussian-weighted local mean over all maps, over max(local deviation, its mean over the image, eps)
    (Jarrett et al., 2009). x (N, C, H, W), size odd; `ops.LocalContrastNormSpec` has the formula.

    Example:
        >>> float(cnnkern.local_contrast_norm(np.ones((1, 3, 9, 9), np.float32)).max())
        0.0
    """
    return run(ops.LocalContrastNormSpec(size, eps), (as_image("x", x, layout),), backend, layout=layout)


def _activation(kind: str, formula: str):
    def function(x: Array, *, backend: Any = None) -> Array:
        return run(ops.ActivationSpec(kind), (as_array("x", x),), backend)

    function.__name__ = function.__qualname__ = kind
    function.__doc__ = f"""{formula}, element by element; x of any shape.

    Example:
        >>> cnnkern.{kind}(np.zeros(3, np.float32)).shape
        (3,)
    """
    return function


relu = _activation("relu", "max(x, 0)")
relu6 = _activation("relu6", "min(max(x, 0), 6)")
sigmoid = _activation("sigmoid", "1 / (1 + exp(-x))")
tanh = _activation("tanh", "The hyperbolic tangent")
silu = _activation("silu", "x / (1 + exp(-x)), also called swish")
hardswish = _activation("hardswish", "x min(max(x/6 + 1/2, 0), 1)")
hardsigmoid = _activation("hardsigmoid", "min(max(x/6 + 1/2, 0), 1)")
gelu = _activation("gelu", "x/2 (1 + erf(x / sqrt 2)), the exact form")


def leaky_relu(x: Array, negative_slope: float = 0.01, *, backend: Any = None) -> Array:
    """x where x > 0, else negative_slope * x, element by element; x of any shape.

    Example:
        >>> cnnkern.leaky_relu(np.array([-1, 1], np.float32), 0.5).tolist()
        [-0.5, 1.0]
    """
    return run(ops.ActivationSpec("leaky_relu", negative_slope), (as_array("x", x),), backend)


def softmax(x: Array, axis: int = -1, *, backend: Any = None) -> Array:
    """exp(x - max) / sum(exp(x - max)) along `axis`; x of any rank from 1.

    Example:
        >>> cnnkern.softmax(np.zeros((1, 4), np.float32)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    return run(ops.SoftmaxSpec(axis), (as_array("x", x),), backend)


def log_softmax(x: Array, axis: int = -1, *, backend: Any = None) -> Array:
    """(x - max) - log(sum(exp(x - max))) along `axis`; x of any rank from 1.

    Example:
        >>> cnnkern.log_softmax(np.zeros((1, 1), np.float32)).item()
        0.0
    """
    return run(ops.SoftmaxSpec(axis, log=True), (as_array("x", x),), backend)


def add(a: Array, b: Array, *, activation=None, backend: Any = None) -> Array:
    """act(a + b) with NumPy's broadcasting; `activation` as `conv2d`.

    Example:
        >>> one = np.ones(2, np.float32)
        >>> cnnkern.add(one, one).tolist()
        [2.0, 2.0]
    """
    return run(ops.AddSpec(*split_activation(activation)), (as_array("a", a), as_array("b", b)), backend)


def mul(a: Array, b: Array, *, activation=None, backend: Any = None) -> Array:
    """act(a * b) with NumPy's broadcasting; `activation` as `conv2d`.

    Example:
        >>> x, gate = np.ones((1, 3, 2, 2), np.float32), np.zeros((1, 3, 1, 1), np.float32)
        >>> float(cnnkern.mul(x, gate).max())
        0.0
    """
    return run(ops.MulSpec(*split_activation(activation)), (as_array("a", a), as_array("b", b)), backend)


def concat(arrays: Sequence[Array], axis: int = 1, *, backend: Any = None) -> Array:
    """Arrays of one rank joined along `axis` as they lie (channels are axis 1 of NCHW, axis 3 of NHWC).

    Example:
        >>> x = np.ones((1, 3, 2, 2), np.float32)
        >>> cnnkern.concat([x, x]).shape
        (1, 6, 2, 2)
    """
    if isinstance(arrays, np.ndarray) or not isinstance(arrays, Sequence):
        raise TypeError(f"arrays must be a sequence of arrays, got {type(arrays).__name__}")
    return run(ops.ConcatSpec(axis), tuple(as_array(f"arrays[{i}]", a) for i, a in enumerate(arrays)), backend)


def channel_shuffle(x: Array, groups: int, *, layout: str = "NCHW", backend: Any = None) -> Array:
    """y[:, j groups + i] = x[:, i C/groups + j], x (N, C, H, W) (Zhang et al., ShuffleNet, 2017).

    Example:
        >>> cnnkern.channel_shuffle(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1), 2).ravel().tolist()
        [0.0, 2.0, 1.0, 3.0]
    """
    return run(ops.ChannelShuffleSpec(groups), (as_image("x", x, layout),), backend, layout=layout)


def pad(x: Array, padding, value: float = 0.0, *, layout: str = "NCHW", backend: Any = None) -> Array:
    """x (N, C, H, W) framed by `value`: padding an int, (vertical, horizontal) or ((top, bottom), (left, right)).

    Example:
        >>> cnnkern.pad(np.ones((1, 1, 2, 2), np.float32), ((0, 1), (2, 0))).shape
        (1, 1, 3, 4)
    """
    return run(ops.PadSpec(padding, value), (as_image("x", x, layout),), backend, layout=layout)


def flatten(x: Array, order: str = "CHW", *, layout: str = "NCHW", backend: Any = None) -> Array:
    """x (N, ...) -> (N, F), the elements of an image in the order C, H, W (torch) or "HWC" (Keras).

    Example:
        >>> cnnkern.flatten(np.arange(4, dtype=np.float32).reshape(1, 2, 1, 2), "HWC").tolist()
        [[0.0, 2.0, 1.0, 3.0]]
    """
    x = as_image("x", x, layout) if layout != "NCHW" else as_array("x", x)
    return run(ops.FlattenSpec(order), (x,), backend)


def im2col(
    x: Array, kernel_size, stride=1, padding=0, dilation=1, *, layout: str = "NCHW", backend: Any = None
) -> Array:
    """The patches of x (N, C, H, W) as columns: (N, C R S, P Q), as torch.nn.functional.unfold; arguments as `conv2d`.

    Example:
        >>> cnnkern.im2col(np.ones((1, 3, 5, 5), np.float32), 3, padding=1).shape
        (1, 27, 25)
    """
    x, kernel = as_image("x", x, layout), as_pair("kernel_size", kernel_size)
    stride, dilation = as_pair("stride", stride), as_pair("dilation", dilation)
    padding = padding_for(padding, x, kernel, stride, dilation)
    return run(ops.Im2colSpec(kernel, stride, padding, dilation), (x,), backend)
