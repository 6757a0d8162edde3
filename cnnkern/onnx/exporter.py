"""A cnnkern graph and its weights as an ONNX model: node by node as the graph stands, nothing folded or fused.

One function per operation below says how ONNX spells it, as one node where ONNX has it, else as a few.
Specification: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .. import __version__
from ..errors import UnsupportedError
from ..graph.ir import Graph, Node
from ..ops.base import Shape, Spec
from . import emit_general

OPSET = 17  # old enough for every engine of the last years; what needs a newer one raises the model's
OPSET_OVERHANG = 19  # AveragePool: dilations, and ceil_mode's overhang is no longer counted as padding


def to_onnx(graph: Graph, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The graph as a checked ONNX model.

    Args:
        graph: symbolic batch ("N", kept as ONNX's `dim_param`) or bound; best before any pass, so that the engine that
            loads it does its own folding.
        weights: every param by name, float32.
    Returns:
        A ModelProto with the graph's names: inputs, outputs, layers (nodes) and params (initializers).
    Raises:
        UnsupportedError: an operation that ONNX cannot express; the message names the layer.
        KeyError: a param without weights. onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the
            result is no valid model, or ONNX infers other shapes than the graph says.
    Example:
        >>> m = cnnkern.models.create("lenet5")
        >>> [node.op_type for node in to_onnx(m.graph, m.weights).graph.node][:3]
        ['Conv', 'Tanh', 'AveragePool']
    """
    writer = _Writer(graph, weights)
    for node in graph.nodes:
        writer.write(node)
    inner = [name for node in graph.nodes for name in node.outputs if name not in graph.outputs]
    made = helper.make_graph(
        writer.nodes,
        graph.name,
        [_info(graph, name) for name in graph.inputs],
        [_info(graph, name) for name in graph.outputs],
        list(writer.initializers.values()),
        value_info=[_info(graph, name) for name in inner],
    )
    opsets = [helper.make_opsetid("", writer.opset)]
    model = helper.make_model(
        made,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="cnnkern",
        producer_version=__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Collects ONNX nodes and initializers. While a layer is written, `emit` adds nodes to it; the last one carries the
    layer's name and makes its value."""

    def __init__(self, graph: Graph, weights: Mapping[str, np.ndarray]):
        self.graph, self.weights, self.opset = graph, weights, OPSET
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._layer = ""

    def write(self, node: Node) -> None:
        emitter = EMITTERS.get(node.spec.op)
        if emitter is None or len(node.outputs) > 1:
            raise UnsupportedError(f"layer {node.name!r}: no ONNX form of {node.spec}; there are {list(EMITTERS)}")
        self._layer = node.name
        for name in node.inputs:
            if name in self.graph.params and name not in self.initializers:
                self._initializer(name, self.weights[name])
        try:
            emitter(self, node.spec, list(node.inputs))
        except UnsupportedError as error:
            raise UnsupportedError(f"layer {node.name!r}: {error}") from None
        last = self.nodes[-1]
        last.name, last.output[0] = node.name, node.outputs[0]

    def emit(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; returns its output's name. Trailing absent inputs are dropped."""
        present = list(inputs)
        while present and not present[-1]:
            present.pop()
        name = f"{self._layer}/{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, present, [name], name, **attributes))
        return name

    def constant(self, label: str, values: Any, dtype: Any = np.float32) -> str:
        """An initializer of the layer's own."""
        return self._initializer(f"{self._layer}/{label}", np.asarray(values, dtype))

    def instead(self, name: str, values: np.ndarray) -> None:
        """A weight in another order of its values: what the file holds under its name."""
        del self.initializers[name]
        self._initializer(name, values)

    def shape(self, name: str) -> Shape:
        return self.graph.shape(name)

    def needs(self, opset: int) -> None:
        self.opset = max(self.opset, opset)

    def _initializer(self, name: str, values: np.ndarray) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name


def _info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shape(name))


def _window(spec: Spec, kernel: Sequence[int], dilations: bool = True) -> dict[str, Any]:
    (top, bottom), (left, right) = spec.padding
    window = {"kernel_shape": list(kernel), "strides": spec.stride, "pads": [top, left, bottom, right]}
    return {**window, "dilations": spec.dilation} if dilations else window


# --- activations, alone or at the end of another operation


def _clip(w: _Writer, x: str, low: float, high: float) -> str:
    return w.emit("Clip", [x, w.constant("min", low), w.constant("max", high)])


def _gelu(w: _Writer, x: str) -> str:
    """x/2 (1 + erf(x / sqrt 2)): ONNX has Gelu from opset 20 on only."""
    erf = w.emit("Erf", [w.emit("Mul", [x, w.constant("rsqrt2", 1 / math.sqrt(2))])])
    half = w.emit("Mul", [x, w.constant("half", 0.5)])
    return w.emit("Mul", [half, w.emit("Add", [erf, w.constant("one", 1)])])


ACTIVATIONS: dict[str, Callable[[_Writer, str, float | None], str]] = {
    "relu": lambda w, x, _: w.emit("Relu", [x]),
    "relu6": lambda w, x, _: _clip(w, x, 0, 6),
    "leaky_relu": lambda w, x, slope: w.emit("LeakyRelu", [x], alpha=slope),
    "sigmoid": lambda w, x, _: w.emit("Sigmoid", [x]),
    "tanh": lambda w, x, _: w.emit("Tanh", [x]),
    "silu": lambda w, x, _: w.emit("Mul", [x, w.emit("Sigmoid", [x])]),
    "hardswish": lambda w, x, _: w.emit("HardSwish", [x]),
    "hardsigmoid": lambda w, x, _: w.emit("HardSigmoid", [x], alpha=1 / 6, beta=0.5),
    "gelu": lambda w, x, _: _gelu(w, x),
}


def _activate(w: _Writer, kind: str | None, param: float | None, x: str) -> str:
    if kind is None:
        return x
    if kind not in ACTIVATIONS:
        raise UnsupportedError(f"activation {kind!r} has no ONNX form here; there are {list(ACTIVATIONS)}")
    return ACTIVATIONS[kind](w, x, param)


def activation(w, spec, inputs):
    _activate(w, spec.kind, spec.param, inputs[0])


# --- convolution and linear


def conv2d(w, spec, inputs):
    x, weight, bias, residual, scale, shift = (inputs + [""] * 4)[:6]
    if scale:
        none, one = (w.constant(label, np.full(w.shape(scale), value)) for label, value in (("mean", 0), ("var", 1)))
        x = w.emit("BatchNormalization", [x, scale, shift, none, one], epsilon=0.0)
        x = _activate(w, spec.prologue, None, x)
    y = w.emit("Conv", [x, weight, bias], **_window(spec, w.shape(weight)[2:]), group=spec.groups)
    if residual:
        y = w.emit("Add", [y, residual])
    _activate(w, spec.activation, spec.activation_param, y)


def locally_connected2d(w, spec, inputs):
    """The windows side by side, (P, Q, N, R S C), times each position's own filters, (P, Q, R S C, K)."""
    x, weight, bias = (inputs + [""])[:3]
    p, q, k, c, r, s = w.shape(weight)
    if any(side for pair in spec.padding for side in pair):
        (top, bottom), (left, right) = spec.padding
        x = w.emit("Pad", [x, w.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)])
    axes, steps = w.constant("axes", [2, 3], np.int64), w.constant("steps", spec.stride, np.int64)
    taps = []
    for i, j in np.ndindex(r, s):
        ends = (i + (p - 1) * spec.stride[0] + 1, j + (q - 1) * spec.stride[1] + 1)
        bounds = (w.constant(f"{label}_{i}_{j}", v, np.int64) for label, v in (("first", (i, j)), ("end", ends)))
        taps.append(w.emit("Slice", [x, *bounds, axes, steps]))
    windows = w.emit("Transpose", [w.emit("Concat", taps, axis=1)], perm=(2, 3, 0, 1))
    own = w.weights[weight].transpose(0, 1, 4, 5, 3, 2).reshape(p, q, r * s * c, k)
    w.instead(weight, own)
    y = w.emit("Transpose", [w.emit("MatMul", [windows, weight])], perm=(2, 3, 0, 1))
    if bias:
        w.emit("Add", [y, bias if len(w.shape(bias)) == 3 else _reshape(w, bias, "column", (k, 1, 1))])


def linear(w, spec, inputs):
    _activate(w, spec.activation, spec.activation_param, w.emit("Gemm", inputs, transB=1))


# --- pooling


def pool2d(w, spec, inputs):
    if spec.kind == "sum":
        raise UnsupportedError("ONNX has no sum pooling")
    x = w.shape(inputs[0])
    if spec.kind == "avg" and spec.kernel == (1, 1) and spec.count_include_pad:
        _every_stride(w, spec, inputs[0])
        return
    # Where ceil_mode changes nothing it stays out: ONNX's shape inference does not always drop a last empty window.
    ceil_mode = int(spec.ceil_mode and _hangs_over(spec, x))
    window = _window(spec, spec.kernel, dilations=spec.kind == "max" or spec.dilation != (1, 1))
    if spec.kind == "max":
        w.emit("MaxPool", inputs, **window, ceil_mode=ceil_mode)
        return
    if spec.dilation != (1, 1) or ceil_mode:
        w.needs(OPSET_OVERHANG)
    included = int(spec.count_include_pad)
    w.emit("AveragePool", inputs, **window, ceil_mode=ceil_mode, count_include_pad=included)


def _every_stride(w, spec, x):
    """Windows of one value: every stride-th of the padded x. onnxruntime takes no pool whose padding is as large as its
    kernel, and puts a Pad before a pool back into it."""
    steps, ends = w.constant("steps", spec.stride, np.int64), spec.infer(w.shape(x))[0][2:]
    if any(side for pair in spec.padding for side in pair):
        (top, bottom), (left, right) = spec.padding
        x = w.emit("Pad", [x, w.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)])
    ends = w.constant("ends", [(count - 1) * step + 1 for count, step in zip(ends, spec.stride)], np.int64)
    w.emit("Slice", [x, w.constant("starts", [0, 0], np.int64), ends, w.constant("axes", [2, 3], np.int64), steps])


def _hangs_over(spec, x) -> bool:
    try:
        return spec.infer(x) != replace(spec, ceil_mode=False).infer(x)
    except ValueError:  # its one window does
        return True


def global_pool2d(w, spec, inputs):
    w.emit({"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}[spec.kind], inputs)


def adaptive_avg_pool2d(w, spec, inputs):
    """Equal windows are an ordinary average pool; unequal ones two products, y = rows x columns^T, whose matrices hold
    1 / size of each window."""
    sizes = w.shape(inputs[0])[2:]
    if all(size % count == 0 for size, count in zip(sizes, spec.output_size)):
        kernel = [size // count for size, count in zip(sizes, spec.output_size)]
        w.emit("AveragePool", inputs, kernel_shape=kernel, strides=kernel)
        return
    rows, columns = (np.zeros((count, size)) for size, count in zip(sizes, spec.output_size))
    for matrix in (rows, columns):
        count, size = matrix.shape
        for i, (start, stop) in enumerate(spec.windows(size, count)):
            matrix[i, start:stop] = 1 / (stop - start)
    y = w.emit("MatMul", [w.constant("rows", rows), inputs[0]])
    w.emit("MatMul", [y, w.constant("columns", columns.T)])


def roi_max_pool(w, spec, inputs):
    w.emit("MaxRoiPool", inputs, pooled_shape=spec.output_size, spatial_scale=spec.spatial_scale)


# --- normalisation


def batch_norm(w, spec, inputs):
    x, mean, var, weight, bias = (inputs + ["", ""])[:5]
    channels = w.shape(mean)
    weight = weight or w.constant("weight", np.ones(channels))
    bias = bias or w.constant("bias", np.zeros(channels))
    y = w.emit("BatchNormalization", [x, weight, bias, mean, var], epsilon=spec.eps)
    _activate(w, spec.activation, spec.activation_param, y)


def local_response_norm(w, spec, inputs):
    if spec.size % 2 == 0:
        raise UnsupportedError(f"LRN over an even number of channels ({spec.size}): engines disagree on its window")
    w.emit("LRN", inputs, size=spec.size, alpha=spec.factor * spec.size, beta=spec.beta, bias=spec.k)


def softmax(w, spec, inputs):
    w.emit("LogSoftmax" if spec.log else "Softmax", inputs, axis=spec.axis)


# --- element-wise


def add(w, spec, inputs):
    _activate(w, spec.activation, spec.activation_param, w.emit("Add", inputs))


def mul(w, spec, inputs):
    _activate(w, spec.activation, spec.activation_param, w.emit("Mul", inputs))


# --- shape


def _reshape(w: _Writer, x: str, label: str, shape: Sequence[int]) -> str:
    return w.emit("Reshape", [x, w.constant(label, shape, np.int64)])  # 0 keeps a dimension, as in ReshapeSpec


def concat(w, spec, inputs):
    w.emit("Concat", inputs, axis=spec.axis)


def channel_shuffle(w, spec, inputs):
    _, c, *hw = w.shape(inputs[0])
    split = _reshape(w, inputs[0], "split", [0, spec.groups, c // spec.groups, *hw])
    _reshape(w, w.emit("Transpose", [split], perm=[0, 2, 1, 3, 4]), "join", [0, c, *hw])


def pad(w, spec, inputs):
    (top, bottom), (left, right) = spec.padding
    pads = w.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    w.emit("Pad", [inputs[0], pads, w.constant("value", spec.value)], mode="constant")


def flatten(w, spec, inputs):
    x = inputs[0]
    if spec.order == "HWC":
        x = w.emit("Transpose", [x], perm=[0, 2, 3, 1])
    w.emit("Flatten", [x], axis=1)


def slice_(w, spec, inputs):
    axis, start, stop = spec.bounds(w.shape(inputs[0]))
    ends = [w.constant(label, [v], np.int64) for label, v in (("start", start), ("stop", stop), ("axis", axis))]
    w.emit("Slice", [inputs[0], *ends])


def reshape(w, spec, inputs):
    _reshape(w, inputs[0], "shape", spec.shape)


def transpose(w, spec, inputs):
    w.emit("Transpose", inputs, perm=spec.axes)


def reorder(w, spec, inputs):
    w.emit("Identity", inputs)


EMITTERS: dict[str, Callable[[_Writer, Any, list[str]], None]] = emit_general.EMITTERS | {
    function.__name__.rstrip("_"): function
    for function in (
        conv2d, locally_connected2d, linear, pool2d, global_pool2d, adaptive_avg_pool2d, roi_max_pool, batch_norm,
        local_response_norm, activation, add, mul, softmax, concat, channel_shuffle, pad, flatten, slice_, reshape,
        transpose, reorder,
    )
}  # fmt: skip
