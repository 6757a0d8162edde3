"""An ONNX file as `cnnkern.onnx.save` writes it, as a TFLite model. No converter is asked: the one there is needs
TensorFlow.

Only what that writer emits is known here; EMITTERS has a line per ONNX operation. As TensorFlow's own converter does
it, images are NHWC inside, batch norms are folded into the convolution before them, and ReLUs belong to the operation
before them. Padding that is not TensorFlow's "SAME" is an operation of its own. The model takes and returns what the
ONNX file does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from .tflite_model import Writer, keeps_order, order, stored

CONCAT_LIMIT = 5  # XNNPACK joins no more at a time
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
FUSING = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL"}  # with an activation behind
FOLDING = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # a batch norm; the weights' axis of outputs


def from_onnx(path: str) -> bytes:
    """The network of an ONNX file as the content of a .tflite file.

    Raises: NotImplementedError, naming the operation that has no line in EMITTERS, or no TFLite form as it is used.
    """
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:  # shapes are inferred from the sizes of weights alone
            tensor.ClearField("raw_data")
    graph = onnx.shape_inference.infer_shapes(model).graph
    writer = Writer(graph, constants)
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        try:
            if node.op_type not in EMITTERS:
                raise NotImplementedError(f"no TFLite form of ONNX's {node.op_type}")
            made = EMITTERS[node.op_type](writer, list(node.input), attributes, writer.shapes[node.output[0]])
        except NotImplementedError as error:
            raise NotImplementedError(f"{error} (layer {node.name!r})") from None
        if any(writer.values.get(name) == made and writer.uses[name] > 1 for name in node.input):
            writer.makers.pop(made, None)  # two names for one tensor: nothing may join with what made it
        writer.values[node.output[0]] = made
    return writer.finish([output.name for output in graph.output])


# --- windows


def _window(w: Writer, name: str, a: dict[str, Any], kernel: Sequence[int], shape: Sequence[int], fill: float = 0.0):
    """The image that a window slides over, padded as far as "SAME" does not do it, and TFLite's name for the rest."""
    x, sizes = w.value(name), w.shapes[name][2:]
    dilations, begins = a.get("dilations", (1, 1)), a.get("pads", (0, 0))[:2]
    ends, same = [], True
    for size, made, k, stride, dilation, begin in zip(sizes, shape[2:], kernel, a["strides"], dilations, begins):
        needed = max(0, (made - 1) * stride + (k - 1) * dilation + 1 - size)
        ends.append((begin, max(0, needed - begin)))
        same = same and made == -(-size // stride) and ends[-1] == (needed // 2, needed - needed // 2)
    if not np.any(ends):
        return x, VALID
    if same:
        return x, SAME
    return w.padded(x, w.shapes[name], ends, 0.0 if x in w.nonnegative else fill)[0], VALID


def _conv(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    weight = w.constants[inputs[1]]
    outputs, per_group, *kernel = weight.shape
    x, padding = _window(w, inputs[0], a, kernel, shape)
    bias = w.constant(w.constants[inputs[2]] if len(inputs) > 2 else np.zeros(outputs))
    options = {
        "padding": padding,
        **dict(zip(("strideH", "strideW"), a["strides"])),
        **dict(zip(("dilationHFactor", "dilationWFactor"), a["dilations"])),
    }
    if per_group == 1 and a["group"] > 1:
        laid_out = w.constant(weight.transpose(1, 2, 3, 0))
        options = schema.DepthwiseConv2DOptionsT(**options, depthMultiplier=outputs // a["group"])
        return w.emit("DEPTHWISE_CONV_2D", [x, laid_out, bias], stored(shape), options)
    laid_out = w.constant(weight.transpose(0, 2, 3, 1))  # fewer channels than the image has: that many groups
    return w.emit("CONV_2D", [x, laid_out, bias], stored(shape), schema.Conv2DOptionsT(**options))


def _pool(w: Writer, code: str, x: int, padding: int, kernel: Sequence[int], strides: Sequence[int], shape) -> int:
    sizes = dict(zip(("filterHeight", "filterWidth", "strideH", "strideW"), (*kernel, *strides)))
    return w.emit(code, [x], stored(shape), schema.Pool2DOptionsT(padding=padding, **sizes))


def _max_pool(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    if a["dilations"] != [1, 1]:
        raise NotImplementedError("TFLite has no dilated pooling")
    x, padding = _window(w, inputs[0], a, a["kernel_shape"], shape, -np.inf)
    y = _pool(w, "MAX_POOL_2D", x, padding, a["kernel_shape"], a["strides"], shape)
    if w.value(inputs[0]) in w.nonnegative:
        w.nonnegative.add(y)
    return y


def _average_pool(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    """TFLite's divides by the pixels within the image, or within what a PAD made of it; where ONNX's divides by others,
    a product puts it right."""
    if a.get("dilations", [1, 1]) != [1, 1]:
        raise NotImplementedError("TFLite has no dilated pooling")
    kernel, strides, pads = a["kernel_shape"], a["strides"], a.get("pads", [0, 0, 0, 0])
    included = bool(a.get("count_include_pad"))
    sizes = w.shapes[inputs[0]][2:]
    x, padding = _window(w, inputs[0], a, kernel, shape)
    counts = [1.0, 1.0]  # pixels of each window along either axis: those that ONNX counts, those that TFLite does
    for size, made, k, stride, begin, end in zip(sizes, shape[2:], kernel, strides, pads[:2], pads[2:]):
        first = np.arange(made) * stride - begin
        inside = np.minimum(first + k, size) - np.maximum(first, 0)
        with_pads = np.minimum(first + k, size + end) - first
        counts[0] = np.multiply.outer(counts[0], with_pads if included else inside)
        counts[1] = np.multiply.outer(counts[1], inside if padding == SAME else np.full(made, k))
    y = _pool(w, "AVERAGE_POOL_2D", x, padding, kernel, strides, shape)
    if np.array_equal(*counts):
        return y
    factors = w.constant((counts[1] / counts[0])[None, :, :, None])
    return w.emit("MUL", [y, factors], stored(shape), schema.MulOptionsT())


def _global_average_pool(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    axes = w.constant([1, 2], np.int32)
    return w.emit("MEAN", [w.value(inputs[0]), axes], stored(shape), schema.ReducerOptionsT(keepDims=True))


def _global_max_pool(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    return _pool(w, "MAX_POOL_2D", w.value(inputs[0]), VALID, w.shapes[inputs[0]][2:], (1, 1), shape)


# --- products, normalisation, activations


def _gemm(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    weight = w.constants[inputs[1]]
    bias = w.constants[inputs[2]] if len(inputs) > 2 else np.zeros(len(weight))
    given = [w.value(inputs[0]), w.constant(weight), w.constant(bias)]
    return w.emit("FULLY_CONNECTED", given, shape, schema.FullyConnectedOptionsT())


def _matmul(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    """A matrix times every channel of an image, or the other way round."""
    given = [w.constant(w.constants[name]) if name in w.constants else w.as_onnx(name) for name in inputs]
    y = w.emit("BATCH_MATMUL", given, shape, schema.BatchMatMulOptionsT())
    return w.permuted(y, shape, order(len(shape)))


def _batch_norm(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    scale, shift, mean, var = (w.constants[name].astype(np.float64) for name in inputs[1:])
    scale = scale / np.sqrt(var + a["epsilon"])
    shift = shift - mean * scale
    before = w.maker(inputs[0], FOLDING)
    if before is None:
        y = w.emit("MUL", [w.value(inputs[0]), w.constant(scale)], stored(shape), schema.MulOptionsT())
        return w.emit("ADD", [y, w.constant(shift)], stored(shape), schema.AddOptionsT())
    weight, bias = before.inputs[1:]
    along = FOLDING[w.codes[before.opcodeIndex]]
    factors = scale.reshape([-1 if axis == along else 1 for axis in range(w.arrays[weight].ndim)])
    w.arrays[weight] = np.float32(w.arrays[weight] * factors)
    w.arrays[bias] = np.float32(w.arrays[bias] * scale + shift)
    return before.outputs[0]


def _lrn(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    options = schema.LocalResponseNormalizationOptionsT(
        radius=a["size"] // 2, bias=a["bias"], alpha=a["alpha"] / a["size"], beta=a["beta"]
    )
    return w.emit("LOCAL_RESPONSE_NORMALIZATION", [w.value(inputs[0])], stored(shape), options)


def _softmax(code: str, options: Callable[[], Any]):
    """TFLite's go over the last axis of what it stores."""

    def emit(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
        if order(len(shape))[-1] != a["axis"] % len(shape):
            raise NotImplementedError(f"TFLite's {code} is over the channels alone, not over axis {a['axis']}")
        return w.emit(code, [w.value(inputs[0])], stored(shape), options())

    return emit


def _relu(code: str):
    def emit(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
        before = w.maker(inputs[0], FUSING)
        if before is None:
            y = w.emit(code, [w.value(inputs[0])], stored(shape))
        else:
            before.builtinOptions.fusedActivationFunction = getattr(schema.ActivationFunctionType, code)
            y = before.outputs[0]
        w.nonnegative.add(y)
        return y

    return emit


def _clip(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    low, high = (float(w.constants[name]) for name in inputs[1:3])
    if (low, high) != (0, 6):
        raise NotImplementedError(f"TFLite has no Clip to {low:g} .. {high:g}")
    return _relu("RELU6")(w, inputs, a, shape)


def _hard_sigmoid(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    """relu6(x + 3) / 6, as TensorFlow spells it."""
    if not np.allclose((a["alpha"], a["beta"]), (1 / 6, 0.5)):
        raise NotImplementedError("TFLite has no HardSigmoid but relu6(x + 3) / 6")
    fused = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU6)
    y = w.emit("ADD", [w.value(inputs[0]), w.constant(3)], stored(shape), fused)
    return w.emit("MUL", [y, w.constant(1 / 6)], stored(shape), schema.MulOptionsT())


def _leaky_relu(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    return w.emit("LEAKY_RELU", [w.value(inputs[0])], stored(shape), schema.LeakyReluOptionsT(alpha=a["alpha"]))


def _plain(code: str, options: Callable[[], Any] = lambda: None):
    """An operation without attributes, element by element."""

    def emit(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
        return w.emit(code, [w.value(name, len(shape)) for name in inputs], stored(shape), options())

    return emit


# --- shapes


def _concat(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    """The last ones first where they are more than XNNPACK joins."""
    axis = order(len(shape)).index(a["axis"] % len(shape))
    parts = [(w.value(name, len(shape)), list(stored(w.shape(name)))) for name in inputs]
    nonnegative = all(part in w.nonnegative for part, _ in parts)
    while len(parts) > 1:
        last = parts[-CONCAT_LIMIT:]
        made = list(last[0][1])
        made[axis] = sum(sizes[axis] for _, sizes in last)
        options = schema.ConcatenationOptionsT(axis=axis)
        parts[-CONCAT_LIMIT:] = [(w.emit("CONCATENATION", [part for part, _ in last], made, options), made)]
    y = parts[0][0]
    if nonnegative:
        w.nonnegative.add(y)
    return y


def _reshape(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    """Where channels are split or joined, a RESHAPE; else values must first lie as ONNX has them."""
    x, old = w.value(inputs[0]), w.shapes[inputs[0]]
    if min(len(old), len(shape)) >= 4 and (old[0], *old[-2:]) == (shape[0], *shape[-2:]):
        return w.reshaped(x, stored(shape))
    back = [int(axis) for axis in np.argsort(order(len(old)))]
    if not keeps_order(stored(old), back):
        x = w.permuted(x, stored(old), back)
    if keeps_order(shape, order(len(shape))):
        return w.reshaped(x, stored(shape))
    return w.permuted(w.reshaped(x, shape), shape, order(len(shape)))


def _transpose(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    old = w.shapes[inputs[0]]
    axes = [order(len(old)).index(a["perm"][axis]) for axis in order(len(shape))]
    return w.permuted(w.value(inputs[0]), stored(old), axes)


def _pad(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    *_, top, left, _, _, bottom, right = (int(size) for size in w.constants[inputs[1]])
    fill = float(w.constants[inputs[2]])
    return w.padded(w.value(inputs[0]), w.shapes[inputs[0]], ((top, bottom), (left, right)), fill)[0]


def _slice(w: Writer, inputs: list[str], a: dict[str, Any], shape: Sequence[int]) -> int:
    start, _, axis = (int(w.constants[name][0]) for name in inputs[1:4])
    begins = [0] * len(shape)
    begins[axis] = start
    ends = [w.constant(stored(sizes), np.int32) for sizes in (begins, shape)]
    return w.emit("SLICE", [w.value(inputs[0]), *ends], stored(shape), schema.SliceOptionsT())


EMITTERS: dict[str, Callable[[Writer, list[str], dict[str, Any], Sequence[int]], int]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "LRN": _lrn,
    "Softmax": _softmax("SOFTMAX", lambda: schema.SoftmaxOptionsT(beta=1.0)),
    "LogSoftmax": _softmax("LOG_SOFTMAX", schema.LogSoftmaxOptionsT),
    "Relu": _relu("RELU"),
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "Sigmoid": _plain("LOGISTIC"),
    "Tanh": _plain("TANH"),
    "HardSwish": _plain("HARD_SWISH", schema.HardSwishOptionsT),
    "HardSigmoid": _hard_sigmoid,
    "Add": _plain("ADD", schema.AddOptionsT),
    "Mul": _plain("MUL", schema.MulOptionsT),
    "Concat": _concat,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Pad": _pad,
    "Flatten": _reshape,
    "Slice": _slice,
    "Identity": lambda w, inputs, a, shape: w.value(inputs[0]),
}
