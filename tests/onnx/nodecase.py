"""One node as a model, run by cnnkern and by two others: onnxruntime, and onnx's reference evaluator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cnnkern.onnx import loader

BACKENDS = ("reference", "cpu")
NEWEST = 23  # the newest opset that this file's onnxruntime has all operations of
IR_VERSION = 10


@dataclass
class Case:
    """A node. `inputs` are arrays, None where absent; those at the positions in `constant` are initialisers."""

    op: str
    inputs: Sequence[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    constant: Sequence[int] = ()
    opset: int = NEWEST
    outputs: int = 1

    def __str__(self) -> str:
        given = [
            a.tolist() if a is not None and a.size < 9 and a.dtype.kind != "f" else np.shape(a) for a in self.inputs
        ]
        return f"{self.op} opset {self.opset}, inputs {given}, constant {list(self.constant)}, {self.attributes}"

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": np.asarray(a) for i, a in enumerate(self.inputs) if a is not None and i not in self.constant}

    def model(self) -> onnx.ModelProto:
        """With the outputs' types, as onnx infers them."""
        return onnx.shape_inference.infer_shapes(self.model_as_it_is())

    def model_as_it_is(self) -> onnx.ModelProto:
        """Looked at by nobody: onnx's inference does not survive every node."""
        names = ["" if a is None else f"x{i}" for i, a in enumerate(self.inputs)]
        out = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, out, **self.attributes)
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in self.feeds.items()
        ]
        held = [numpy_helper.from_array(np.asarray(self.inputs[i]), f"x{i}") for i in self.constant]
        graph = helper.make_graph([node], "case", infos, [onnx.ValueInfoProto(name=name) for name in out], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSION)


def in_onnxruntime(case: Case) -> list[np.ndarray] | None:
    """Its outputs; None where it has no kernel for the node."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            case.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, case.feeds)
    except Exception as error:  # its classes are made at run time
        if any(word in str(error) for word in ("NOT_IMPLEMENTED", "Could not find an implementation")):
            return None
        raise


def in_evaluator(case: Case) -> list[np.ndarray]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(y) for y in ReferenceEvaluator(case.model()).run(None, case.feeds)]


def in_cnnkern(case: Case, backend: str, fallback: bool = False) -> list[np.ndarray]:
    """Its outputs; no step may run on the evaluator, unless that is what is asked for."""
    model = loader.load(case.model())
    found = model.run(case.feeds, backend=backend)
    slow = [row for program in model._programs._items.values() for row in program.stage.fallbacks]
    assert bool(slow) == fallback, f"{case}: on the evaluator {slow}"
    return found


def _largest(array: np.ndarray) -> float:
    """The largest finite magnitude of an array of real numbers; 0 of another."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else np.zeros(0)
    return float(np.abs(finite).max()) if finite.size else 0.0


def check(case: Case, *oracles: str, tolerance: float = 2e-6, backends: Sequence[str] = BACKENDS) -> np.ndarray:
    """Assert that cnnkern computes what the oracles do ("onnxruntime", "evaluator"; the first that can), to
    `tolerance` of the largest number that goes in or comes out, and as much of each; the first output.

    2e-6 are 16 roundings of float32: what separates two sums of a few dozen terms in another order.
    """
    expected = None
    for oracle in oracles or ("onnxruntime", "evaluator"):
        expected = in_onnxruntime(case) if oracle == "onnxruntime" else in_evaluator(case)
        if expected is not None:
            break
    assert expected is not None, f"{case}: no oracle can"
    for backend in backends:
        found = in_cnnkern(case, backend)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected):
            theirs = np.asarray(theirs)
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, f"{case}: {ours.shape} {theirs.shape}"
            scale = max(map(_largest, (theirs, *(a for a in case.inputs if a is not None))))
            np.testing.assert_allclose(
                ours, theirs, rtol=tolerance, atol=tolerance * scale, err_msg=f"{case} on {backend}", equal_nan=True
            )
    return np.asarray(expected[0])
