"""The nine networks inside the onnx wheel, with weights for which their outputs mean something.

As they ship every weight is one constant, and so is nearly every output. Here they get seeded random weights: He's
for convolutions and linear layers, small biases and means, batch norms whose variances are measured on one picture, and
a last layer scaled so that its scores lie a few units apart: a softmax that is one-hot or flat would hide an error.

    python tests/onnx/lightmodels.py            # a table: cnnkern beside onnxruntime, the largest error per network
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = tuple(sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx")))
SCORES = 2.0  # the standard deviation of the last layer's outputs
BIAS = 0.1
SIZE = (1, 3, 224, 224)


def randomised(name: str, rng: np.random.Generator) -> onnx.ModelProto:
    """One of NAMES with fresh weights as above; its input is SIZE."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    filled = {node.output[0]: node for node in graph.node if node.op_type == "ConstantOfShape"}
    shapes = {name: tuple(numpy_helper.to_array(weights[node.input[0]])) for name, node in filled.items()}
    shapes |= {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    fresh = _random(graph.node, shapes, rng)
    gone = {node.input[0] for node in filled.values()} | set(fresh)
    _replace(graph.node, [node for node in graph.node if node.op_type != "ConstantOfShape"])
    _replace(graph.initializer, [t for t in graph.initializer if t.name not in gone])
    _replace(graph.input, [value for value in graph.input if value.name not in gone])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in fresh.items())
    model.ir_version = 4  # the first in which an initialiser need not be an input as well
    picture = rng.standard_normal(SIZE, np.float32)
    _set_variances(model, picture)
    _scale_scores(model, picture)
    return model


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two inputs: noise, and noise whose contrast runs across the picture (two of plain noise look alike to a deep
    network)."""
    first, second = rng.standard_normal((2, *SIZE), np.float32)
    return first, second * np.linspace(-2, 3, SIZE[-1], dtype=np.float32)


def input_name(model: onnx.ModelProto) -> str:
    known = {t.name for t in model.graph.initializer}
    (name,) = (value.name for value in model.graph.input if value.name not in known)
    return name


def in_onnxruntime(model: onnx.ModelProto, x: np.ndarray, wanted: Iterable[str] = ()) -> list[np.ndarray]:
    """The model's outputs, then the `wanted` values, for one input."""
    import onnxruntime

    outputs = list(model.graph.output)
    model.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in wanted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    _replace(model.graph.output, outputs)
    return session.run(None, {input_name(model): x})


def _replace(field, kept: list) -> None:
    kept = list(kept)
    del field[:]
    field.extend(kept)


def _behind(nodes, weights: Iterable[str]) -> dict[str, str]:
    """What an Unsqueeze or a Reshape makes of a weight -> that weight."""
    weights = set(weights)
    return {
        node.output[0]: node.input[0]
        for node in nodes
        if node.op_type in ("Unsqueeze", "Reshape") and node.input[0] in weights
    }


def _random(nodes, shapes: dict[str, tuple], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A value for every weight, by the operation that reads it."""
    found: dict[str, np.ndarray] = {}
    behind = _behind(nodes, shapes)
    for node in nodes:
        if node.output[0] in behind:
            continue
        for position, name in enumerate(behind.get(i, i) for i in node.input):
            if name in shapes and name not in found:
                found[name] = _weight(node, position, shapes[name], rng).astype(np.float32, copy=False)
    return found


def _weight(node: onnx.NodeProto, position: int, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    if node.op_type == "Conv" and position == 1:
        return _normal(rng, shape, np.sqrt(2 / np.prod(shape[1:])))
    if node.op_type == "Gemm" and position == 1:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return _normal(rng, shape, np.sqrt(2 / (np.prod(shape[1:]) if transposed else shape[0])))
    if (node.op_type, position) in {("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)}:
        return rng.uniform(0.7, 1.3, shape)
    return _normal(rng, shape, BIAS)


def _normal(rng: np.random.Generator, shape: tuple, deviation: float) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)


def _norms(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for node in model.graph.node if node.op_type == "BatchNormalization")


def _set_variances(model: onnx.ModelProto, picture: np.ndarray) -> None:
    """Every batch norm gets, as its variances, its random weights times the energy (mean square) of what one picture
    brings it, so that activations neither die nor grow. onnxruntime computes these in one run of a copy in which each
    batch norm stands written out. The channels' own means and variances would not do: without what all pictures share
    a hundred such layers magnify where two pictures differ, and rounding errors with it."""
    if not any(_norms(model)):
        return
    written = onnx.ModelProto()
    written.CopyFrom(model)
    _replace(written.graph.node, [part for node in model.graph.node for part in _written_out(node)])
    weights = {t.name: t for t in model.graph.initializer}
    taps = [f"{norm.output[0]}/var" for norm in _norms(model)]
    for norm, value in zip(_norms(model), in_onnxruntime(written, picture, taps)[len(model.graph.output) :]):
        weights[norm.input[4]].CopyFrom(numpy_helper.from_array(value.ravel(), norm.input[4]))


def _written_out(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A batch norm whose variance is taken from its input, its values called <output>/<part>; others as they are."""
    if node.op_type != "BatchNormalization":
        return [node]
    x, (y, *_) = node.input[0], node.output
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)

    def step(op: str, of: list[str], made: str, **attributes) -> onnx.NodeProto:
        return helper.make_node(op, of, [f"{y}/{made}"], **attributes)

    columns = [
        step("Unsqueeze", [name], part, axes=[0, 2, 3])
        for name, part in zip(node.input[1:], ("scale", "shift", "mean", "weight"))
    ]
    return [
        *columns,
        step("Mul", [x, x], "square"),
        step("ReduceMean", [f"{y}/square"], "energy", axes=[0, 1, 2, 3]),
        step("Mul", [f"{y}/energy", f"{y}/weight"], "var"),
        step("Constant", [], "epsilon", value=numpy_helper.from_array(np.float32(epsilon))),
        step("Add", [f"{y}/var", f"{y}/epsilon"], "above"),
        step("Sqrt", [f"{y}/above"], "std"),
        step("Sub", [x, f"{y}/mean"], "centred"),
        step("Div", [f"{y}/centred", f"{y}/std"], "unit"),
        step("Mul", [f"{y}/unit", f"{y}/scale"], "scaled"),
        helper.make_node("Add", [f"{y}/scaled", f"{y}/shift"], [y]),
    ]


def _scale_scores(model: onnx.ModelProto, picture: np.ndarray) -> None:
    """The last layer's weights by the factor that brings its scores to SCORES: what follows it is a relu or a mean."""
    last = model.graph.node[-1]
    scores = last.input[0] if last.op_type == "Softmax" else last.output[0]
    factor = SCORES / in_onnxruntime(model, picture, [scores])[-1].std()
    layer = next(node for node in reversed(model.graph.node) if node.op_type in ("Conv", "Gemm"))
    behind = _behind(model.graph.node, (t.name for t in model.graph.initializer))
    for tensor in model.graph.initializer:
        if tensor.name in {behind.get(i, i) for i in layer.input[1:]}:
            tensor.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(tensor), tensor.name))


def compare(name: str, rng: np.random.Generator, backend: str | None = "cpu") -> tuple[float, float, list]:
    """(largest error as a share of the range over two inputs, how far the outputs of the two lie apart as such a share,
    the steps without a kernel)."""
    import cnnkern
    from cnnkern.measure.accuracy import range_error, variation

    model, inputs = randomised(name, rng), pictures(rng)
    theirs = [in_onnxruntime(model, x)[0] for x in inputs]
    network = cnnkern.onnx.load(model)
    mine = [network.run({input_name(model): x}, backend=backend)[0] for x in inputs]
    error = max(range_error(a, b) for a, b in zip(mine, theirs))
    return error, variation(np.concatenate(theirs)), network.fallbacks()


def main() -> None:
    seed = int(sys.argv[1]) if sys.argv[1:] else 0
    print(f"{'network':<14}{'error / range':>15}{'variation':>11}{'fallbacks':>11}{'seconds':>9}   seed {seed}")
    for name in NAMES:
        begin = time.perf_counter()
        error, moved, fallbacks = compare(name, np.random.default_rng(seed))
        seconds = time.perf_counter() - begin
        print(f"{name:<14}{error:>15.1e}{moved:>11.2f}{len(fallbacks):>11}{seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
