"""How ONNX spells the operations on arrays of any rank; `exporter.py` has those of images and calls these."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

OPSET_WRAP = 19  # Pad's mode "wrap"

Emitter = Callable[[Any, Any, list[str]], Any]

UNARY_NAMES = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "exp": "Exp", "log": "Log", "erf": "Erf", "softplus": "Softplus",
    "softsign": "Softsign",
}  # fmt: skip
# With parameters: the operation, and its attributes' names for alpha and beta.
UNARY_ATTRIBUTES = {
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta")),
    "elu": ("Elu", ("alpha",)),
    "selu": ("Selu", ("alpha", "gamma")),
    "celu": ("Celu", ("alpha",)),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
}


def unary(w, spec, inputs):
    (x,), kind = inputs, spec.kind
    if kind in UNARY_NAMES:
        w.emit(UNARY_NAMES[kind], [x])
    elif kind in UNARY_ATTRIBUTES:
        name, attributes = UNARY_ATTRIBUTES[kind]
        w.emit(name, [x], **dict(zip(attributes, (spec.alpha, spec.beta))))
    else:
        SPELLED[kind](w, spec, x)


def _clip(w, spec, x):
    bounds = ((label, v) for label, v in (("low", spec.alpha), ("high", spec.beta)))
    w.emit("Clip", [x, *(w.constant(label, v) if math.isfinite(v) else "" for label, v in bounds)])


def _affine(w, spec, x):
    w.emit("Add", [w.emit("Mul", [x, w.constant("factor", spec.alpha)]), w.constant("term", spec.beta)])


def _gelu_tanh(w, spec, x):
    cube = w.emit("Mul", [w.emit("Mul", [w.emit("Mul", [x, x]), x]), w.constant("cubic", 0.044715)])
    inner = w.emit("Mul", [w.emit("Add", [x, cube]), w.constant("root", math.sqrt(2 / math.pi))])
    gate = w.emit("Add", [w.emit("Tanh", [inner]), w.constant("one", 1.0)])
    w.emit("Mul", [w.emit("Mul", [x, w.constant("half", 0.5)]), gate])


def _swish(w, spec, x):
    w.emit("Mul", [x, w.emit("Sigmoid", [w.emit("Mul", [x, w.constant("alpha", spec.alpha)])])])


SPELLED: dict[str, Emitter] = {
    "affine": _affine,
    "clip": _clip,
    "gelu_tanh": _gelu_tanh,
    "swish": _swish,
    "mish": lambda w, spec, x: w.emit("Mul", [x, w.emit("Tanh", [w.emit("Softplus", [x])])]),
}


def binary(w, spec, inputs):
    a, b = inputs
    if spec.kind != "prelu":
        w.emit({"sub": "Sub", "div": "Div", "pow": "Pow", "min": "Min", "max": "Max"}[spec.kind], inputs)
    elif spec.infer(w.shape(a), w.shape(b)) == (tuple(w.shape(a)),):
        w.emit("PRelu", inputs)
    else:  # PRelu's slope broadcasts to x, never the other way round
        zero = w.constant("zero", 0.0)
        w.emit("Add", [w.emit("Max", [a, zero]), w.emit("Mul", [w.emit("Min", [a, zero]), b])])


REDUCE_NAMES = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "l1": "ReduceL1", "l2": "ReduceL2", "sum_square": "ReduceSumSquare", "log_sum": "ReduceLogSum",
    "log_sum_exp": "ReduceLogSumExp",
}  # fmt: skip


def reduce(w, spec, inputs):
    axes, keepdims = spec.over(len(w.shape(inputs[0]))), int(spec.keepdims)
    if not axes:  # ONNX reads no axes as all of them: a new one of size 1 is reduced instead
        x = w.emit("Unsqueeze", [inputs[0], w.constant("axis", [0], np.int64)])
        axes, keepdims, inputs = (0,), 0, [x]
    if spec.kind == "sum":  # the only one whose axes are an input at this opset
        w.emit("ReduceSum", [inputs[0], w.constant("axes", axes, np.int64)], keepdims=keepdims)
    else:
        w.emit(REDUCE_NAMES[spec.kind], inputs, axes=axes, keepdims=keepdims)


def matmul(w, spec, inputs):
    w.emit("MatMul", inputs)


def resample(w, spec, inputs):
    """A gather, or a product with the matrix that the table is."""
    shape = w.shape(inputs[0])
    axis = spec.axis % len(shape)
    if spec.weight is None:
        index = [row[0] for row in spec.index]
        w.emit("Gather", [inputs[0], w.constant("index", index, np.int64)], axis=axis)
        return
    matrix = np.zeros((shape[axis], len(spec.index)))
    for i, (index, weight) in enumerate(zip(spec.index, spec.weight)):
        np.add.at(matrix[:, i], list(index), weight)
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    back = [order.index(i) for i in range(len(shape))]
    x = w.emit("Transpose", inputs, perm=order)
    w.emit("Transpose", [w.emit("MatMul", [x, w.constant("table", matrix)])], perm=back)


def stride(w, spec, inputs):
    axis = spec.axis % len(w.shape(inputs[0]))
    stop = spec.start + spec.count * spec.step
    stop = stop if stop >= 0 else -(2**31)  # a negative end would count from the back
    parts = (("start", spec.start), ("stop", stop), ("axis", axis), ("step", spec.step))
    w.emit("Slice", [inputs[0], *(w.constant(label, [v], np.int64) for label, v in parts)])


def pad_nd(w, spec, inputs):
    if spec.mode == "wrap":
        w.needs(OPSET_WRAP)
    pads = w.constant("pads", [*(a for a, _ in spec.pads), *(b for _, b in spec.pads)], np.int64)
    value = [w.constant("value", spec.value)] if spec.mode == "constant" else []
    w.emit("Pad", [inputs[0], pads, *value], mode=spec.mode)


def expand(w, spec, inputs):
    w.emit("Expand", [inputs[0], w.constant("shape", spec.shape, np.int64)])


def tile(w, spec, inputs):
    w.emit("Tile", [inputs[0], w.constant("repeats", spec.repeats, np.int64)])


def depth_to_space(w, spec, inputs):
    w.emit("DepthToSpace", inputs, blocksize=spec.block, mode=spec.mode)


def space_to_depth(w, spec, inputs):
    w.emit("SpaceToDepth", inputs, blocksize=spec.block)


def conv_transpose2d(w, spec, inputs):
    (top, bottom), (left, right) = spec.padding
    w.emit(
        "ConvTranspose",
        inputs,
        strides=spec.stride,
        pads=(top, left, bottom, right),
        output_padding=spec.extra,
        dilations=spec.dilation,
        group=spec.groups,
    )


EMITTERS: dict[str, Emitter] = {
    function.__name__: function
    for function in (
        unary, binary, reduce, matmul, resample, stride, pad_nd, expand, tile, depth_to_space, space_to_depth,
        conv_transpose2d,
    )
}  # fmt: skip
