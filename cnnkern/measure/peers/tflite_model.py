"""A TFLite model while it is written: the flatbuffer itself, through the classes of the schema that come with
ai-edge-litert. The weights lie behind the flatbuffer, so that no builder copies them.

Schema: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT_BYTES = 16  # of weights in the file


def order(rank: int) -> tuple[int, ...]:
    """The axes of an ONNX value as the model stores them: the two of the image before the channels, be these one axis
    or, within a channel shuffle, two."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2)) if rank >= 4 else tuple(range(rank))


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in order(len(shape)))


class Writer:
    """The model so far: tensors, operators, and which tensor holds which of the file's values."""

    def __init__(self, graph: onnx.GraphProto, constants: dict[str, np.ndarray]):
        self.constants = constants
        (given,) = (value for value in graph.input if value.name not in self.constants)
        self.shapes = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in (given, *graph.value_info, *graph.output)
        }
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(output.name for output in graph.output)
        self.tensors: list[schema.TensorT] = []
        self.arrays: dict[int, np.ndarray] = {}  # of the tensors that are constant
        self.operators: list[schema.OperatorT] = []
        self.codes: list[str] = []
        self.makers: dict[int, schema.OperatorT] = {}  # of a tensor
        self.nonnegative: set[int] = set()  # tensors that a ReLU made
        shape = self.shapes[given.name]
        self.given = self.tensor(shape)
        self.values = {given.name: self.permuted(self.given, shape, order(len(shape)))}

    def tensor(self, shape: Sequence[int], kind: int = schema.TensorType.FLOAT32) -> int:
        index = len(self.tensors)
        self.tensors.append(schema.TensorT(shape=list(shape), type=kind, name=f"tensor_{index}"))
        return index

    def constant(self, values: Any, dtype: Any = np.float32) -> int:
        array = np.asarray(values, dtype, order="C")
        kinds = {np.float32: schema.TensorType.FLOAT32, np.int32: schema.TensorType.INT32}
        index = self.tensor(array.shape, kinds[dtype])
        self.arrays[index] = array
        return index

    def value(self, name: str, rank: int = 0) -> int:
        """The tensor of a value; a constant's, filled up to `rank` axes, is made for each use."""
        if name not in self.constants:
            return self.values[name]
        array = self.constants[name]
        array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        return self.constant(array.transpose(order(array.ndim)))

    def shape(self, name: str) -> tuple[int, ...]:
        """ONNX's."""
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def emit(self, code: str, inputs: Sequence[int], shape: Sequence[int], options: Any = None) -> int:
        """Add an operator; returns its output. `shape` as the model stores it."""
        if code not in self.codes:
            self.codes.append(code)
        output = self.tensor(shape)
        kind = getattr(schema.BuiltinOptions, type(options).__name__[:-1]) if options else 0
        self.makers[output] = schema.OperatorT(
            opcodeIndex=self.codes.index(code),
            inputs=list(inputs),
            outputs=[output],
            builtinOptionsType=kind,
            builtinOptions=options,
        )
        self.operators.append(self.makers[output])
        return output

    def maker(self, name: str, codes: Any) -> schema.OperatorT | None:
        """The operator that makes a value for its only reader, and takes that reader over: one of `codes` that has no
        activation yet."""
        operator = self.makers.get(self.values.get(name, -1))
        if operator is None or self.uses[name] > 1 or self.codes[operator.opcodeIndex] not in codes:
            return None
        return None if operator.builtinOptions.fusedActivationFunction else operator

    def permuted(self, x: int, shape: Sequence[int], axes: Sequence[int]) -> int:
        """`x`, of that shape, with its axes in another order."""
        made = [shape[axis] for axis in axes]
        if keeps_order(shape, axes):
            return x if list(shape) == made else self.reshaped(x, made)
        return self.emit("TRANSPOSE", [x, self.constant(axes, np.int32)], made, schema.TransposeOptionsT())

    def as_onnx(self, name: str) -> int:
        """A value with its axes in ONNX's order."""
        shape = self.shapes[name]
        return self.permuted(self.values[name], stored(shape), [int(axis) for axis in np.argsort(order(len(shape)))])

    def reshaped(self, x: int, shape: Sequence[int]) -> int:
        options = schema.ReshapeOptionsT(newShape=list(shape))
        return self.emit("RESHAPE", [x, self.constant(shape, np.int32)], shape, options)

    def padded(self, x: int, shape: Sequence[int], ends: Sequence[Sequence[int]], fill: float) -> tuple[int, list[int]]:
        """`x`, an image of that ONNX shape, with ((top, bottom), (left, right)) around it; and the ONNX shape."""
        made = [*shape[:2], *(size + sum(both) for size, both in zip(shape[2:], ends))]
        amounts = self.constant([(0, 0), *ends, (0, 0)], np.int32)
        if fill:
            return self.emit("PADV2", [x, amounts, self.constant(fill)], stored(made), schema.PadV2OptionsT()), made
        return self.emit("PAD", [x, amounts], stored(made), schema.PadOptionsT()), made

    def finish(self, outputs: Sequence[str]) -> bytes:
        """The file, its weights behind the flatbuffer."""
        results = [self.as_onnx(output) for output in outputs]
        codes = [getattr(schema.BuiltinOperator, code) for code in self.codes]
        model = schema.ModelT(
            version=3,
            operatorCodes=[schema.OperatorCodeT(min(code, 127), builtinCode=code) for code in codes],
            subgraphs=[schema.SubGraphT(self.tensors, [self.given], results, self.operators, "main")],
            buffers=[schema.BufferT(), *(schema.BufferT(size=array.nbytes) for array in self.arrays.values())],
        )
        for number, index in enumerate(self.arrays, 1):
            self.tensors[index].buffer = number
        place(model.buffers, ALIGNMENT_BYTES)
        place(model.buffers, len(packed(model)))  # whose length does not hang on where that is
        head = packed(model)
        pieces = [head]
        for array in self.arrays.values():
            pieces += [array.data, b"\0" * (-array.nbytes % ALIGNMENT_BYTES)]
        return b"".join(pieces)


def keeps_order(shape: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether values stay where they are when axes change places: those of length 1 do not count."""
    long = [axis for axis in axes if shape[axis] != 1]
    return long == sorted(long)


def place(buffers: list[schema.BufferT], begin_bytes: int) -> None:
    """Say where each buffer but the first, which is empty, lies in the file."""
    for buffer in buffers[1:]:
        buffer.offset = begin_bytes
        begin_bytes += buffer.size + -buffer.size % ALIGNMENT_BYTES


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    made = bytes(builder.Output())
    return made + b"\0" * (-len(made) % ALIGNMENT_BYTES)
