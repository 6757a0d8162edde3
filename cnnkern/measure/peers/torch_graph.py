"""An ONNX file as `cnnkern.onnx.save` writes it, rebuilt as a torch.fx module: a node per ONNX node.

Only what that writer emits is known here; EMITTERS has a line per ONNX operation. Convolutions, batch norms and linear
layers become modules, so that torch.fx can fold the one into the other; the rest are calls of torch's functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn
from torch.fx.experimental.optimization import fuse


def from_onnx(path: str) -> tuple[torch.fx.GraphModule, tuple[int, ...]]:
    """The network of an ONNX file as a module in evaluation mode, batch norms folded, and its input's shape.

    Raises: NotImplementedError, naming the operation that has no line in EMITTERS.
    """
    graph = onnx.load(path).graph
    reader = _Reader({tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer})
    (given,) = (value for value in graph.input if value.name not in reader.constants)
    reader.values[given.name] = reader.graph.placeholder("x")
    for node in graph.node:
        if node.op_type not in EMITTERS:
            raise NotImplementedError(f"no PyTorch form of ONNX's {node.op_type} (layer {node.name!r})")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        reader.values[node.output[0]] = EMITTERS[node.op_type](reader, list(node.input), attributes)
    reader.graph.output(reader.values[graph.output[0].name])
    module = torch.fx.GraphModule(reader.root, reader.graph).eval()
    shape = tuple(d.dim_value for d in given.type.tensor_type.shape.dim)
    return fuse(module), shape


class _Reader:
    """The fx graph so far, the module that holds its layers, the file's constants and the values made."""

    def __init__(self, constants: dict[str, np.ndarray]):
        self.constants, self.values = constants, {}
        self.root, self.graph = nn.Module(), torch.fx.Graph()

    def array(self, name: str) -> np.ndarray | None:
        return self.constants[name] if name else None

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.constants[name]))

    def value(self, name: str) -> torch.fx.Node:
        """A value of the graph; a constant becomes a buffer."""
        if name not in self.values:
            label = f"constant_{len(self.values)}"
            self.root.register_buffer(label, self.tensor(name))
            self.values[name] = self.graph.get_attr(label)
        return self.values[name]

    def call(self, function: Callable[..., Any], *values: Any, **arguments: Any) -> torch.fx.Node:
        return self.graph.call_function(function, values, arguments)

    def layer(self, module: nn.Module, x: torch.fx.Node) -> torch.fx.Node:
        label = f"layer_{len(self.graph.nodes)}"
        self.root.add_module(label, module)
        return self.graph.call_module(label, (x,))

    def padded(self, x: torch.fx.Node, pads: list[int], fill: float) -> tuple[torch.fx.Node, tuple[int, int]]:
        """`x` and the symmetrical padding that remains to be done; what is not symmetrical becomes a step."""
        top, left, bottom, right = pads
        if (top, left) == (bottom, right):
            return x, (top, left)
        return self.call(F.pad, x, [left, right, top, bottom], value=fill), (0, 0)


def _conv(r: _Reader, inputs: list[str], a: dict[str, Any]):
    weight, bias = r.tensor(inputs[1]), inputs[2:] and inputs[2]
    x, padding = r.padded(r.value(inputs[0]), a["pads"], 0.0)
    outputs, channels = weight.shape[0], weight.shape[1] * a["group"]
    arguments = {"stride": a["strides"], "padding": padding, "dilation": a["dilations"], "groups": a["group"]}
    layer = nn.Conv2d(channels, outputs, tuple(weight.shape[2:]), bias=bool(bias), **arguments)
    layer.load_state_dict({"weight": weight, **({"bias": r.tensor(bias)} if bias else {})})
    return r.layer(layer, x)


def _batch_norm(r: _Reader, inputs: list[str], a: dict[str, Any]):
    layer = nn.BatchNorm2d(len(r.array(inputs[1])), eps=a["epsilon"])
    names = ("weight", "bias", "running_mean", "running_var")
    layer.load_state_dict({name: r.tensor(key) for name, key in zip(names, inputs[1:])}, strict=False)
    return r.layer(layer, r.value(inputs[0]))


def _gemm(r: _Reader, inputs: list[str], a: dict[str, Any]):
    weight, bias = r.tensor(inputs[1]), inputs[2:] and inputs[2]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(bias))
    layer.load_state_dict({"weight": weight, **({"bias": r.tensor(bias)} if bias else {})})
    return r.layer(layer, r.value(inputs[0]))


def _max_pool(r: _Reader, inputs: list[str], a: dict[str, Any]):
    x, padding = r.padded(r.value(inputs[0]), a["pads"], -torch.inf)
    stride, ceil = a["strides"], bool(a.get("ceil_mode"))
    return r.call(
        F.max_pool2d, x, a["kernel_shape"], stride=stride, padding=padding, dilation=a["dilations"], ceil_mode=ceil
    )


def _average_pool(r: _Reader, inputs: list[str], a: dict[str, Any]):
    if a.get("dilations", [1, 1]) != [1, 1]:
        raise NotImplementedError("PyTorch has no dilated average pool")
    included = bool(a.get("count_include_pad"))
    pads = a.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:] and not included:
        raise NotImplementedError("PyTorch has no average pool over one-sided padding that is not counted")
    x, padding = r.padded(r.value(inputs[0]), pads, 0.0)
    ceil = bool(a.get("ceil_mode"))
    return r.call(
        F.avg_pool2d, x, a["kernel_shape"], stride=a["strides"], padding=padding, ceil_mode=ceil,
        count_include_pad=included,
    )  # fmt: skip


def _clip(r: _Reader, inputs: list[str], a: dict[str, Any]):
    low, high = (float(r.array(name)) for name in inputs[1:3])
    return r.call(F.hardtanh, r.value(inputs[0]), low, high)


def _reshape(r: _Reader, inputs: list[str], a: dict[str, Any]):
    """0 keeps a dimension, as torch.reshape does not know."""
    x = r.value(inputs[0])
    sizes = [int(size) for size in r.array(inputs[1])]
    return r.call(torch.reshape, x, [r.graph.call_method("size", (x, i)) if s == 0 else s for i, s in enumerate(sizes)])


def _pad(r: _Reader, inputs: list[str], a: dict[str, Any]):
    *_, top, left, _, _, bottom, right = (int(size) for size in r.array(inputs[1]))
    return r.call(F.pad, r.value(inputs[0]), [left, right, top, bottom], value=float(r.array(inputs[2])))


def _slice(r: _Reader, inputs: list[str], a: dict[str, Any]):
    start, stop, axis = (int(r.array(name)[0]) for name in inputs[1:4])
    return r.call(torch.narrow, r.value(inputs[0]), axis, start, stop - start)


def _plain(function: Callable[..., Any], **fixed: Any):
    """An operation without attributes whose inputs are values."""
    return lambda r, inputs, a: r.call(function, *(r.value(name) for name in inputs), **fixed)


EMITTERS: dict[str, Callable[[_Reader, list[str], dict[str, Any]], torch.fx.Node]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _plain(F.adaptive_avg_pool2d, output_size=(1, 1)),
    "GlobalMaxPool": _plain(F.adaptive_max_pool2d, output_size=(1, 1)),
    "LRN": lambda r, inputs, a: r.call(
        F.local_response_norm, r.value(inputs[0]), a["size"], alpha=a["alpha"], beta=a["beta"], k=a["bias"]
    ),
    "Softmax": lambda r, inputs, a: r.call(F.softmax, r.value(inputs[0]), dim=a["axis"]),
    "LogSoftmax": lambda r, inputs, a: r.call(F.log_softmax, r.value(inputs[0]), dim=a["axis"]),
    "Relu": _plain(F.relu),
    "Clip": _clip,
    "LeakyRelu": lambda r, inputs, a: r.call(F.leaky_relu, r.value(inputs[0]), a["alpha"]),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "HardSwish": _plain(F.hardswish),
    "HardSigmoid": _plain(F.hardsigmoid),
    "Erf": _plain(torch.erf),
    "Add": _plain(torch.add),
    "Mul": _plain(torch.mul),
    "Concat": lambda r, inputs, a: r.call(torch.cat, [r.value(name) for name in inputs], dim=a["axis"]),
    "Reshape": _reshape,
    "Transpose": lambda r, inputs, a: r.call(torch.permute, r.value(inputs[0]), a["perm"]),
    "Pad": _pad,
    "Flatten": lambda r, inputs, a: r.call(torch.flatten, r.value(inputs[0]), a["axis"]),
    "Slice": _slice,
    "Identity": lambda r, inputs, a: r.value(inputs[0]),
}
