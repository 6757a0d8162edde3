"""LiteRT, TensorFlow Lite's successor, with XNNPACK, which its interpreter hands to all operations that XNNPACK has; in
float32. The model is written by tflite_graph.py."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Task

DELEGATE = "DELEGATE"  # the interpreter's name for a part of the graph that XNNPACK runs


class LiteRt:
    def __init__(self, task: Task):
        from ai_edge_litert.interpreter import Interpreter

        from .tflite_graph import from_onnx

        self._interpreter = Interpreter(model_content=from_onnx(task.onnx), num_threads=task.threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        left = undelegated(self._interpreter._get_ops_details())  # it has no public list
        self.version = importlib.metadata.version("ai-edge-litert")
        self.notes = ("not on XNNPACK: " + ", ".join(f"{n} {name}" for name, n in left.items()),) if left else ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input, x)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def undelegated(operators: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many operators of each name no delegate has taken.

    Args: `operators` as the interpreter lists them: dicts of "op_name", "inputs", "outputs", the tensors by number; the
    model's own, and the delegates that run parts of it. A delegate has taken what leads from its inputs to its outputs.
    """
    own = [operator for operator in operators if operator["op_name"] != DELEGATE]
    makers = {int(tensor): number for number, operator in enumerate(own) for tensor in operator["outputs"]}
    taken: set[int] = set()
    for delegate in operators:
        if delegate["op_name"] != DELEGATE:
            continue
        given = {int(tensor) for tensor in delegate["inputs"]}
        open_ends = [int(tensor) for tensor in delegate["outputs"]]
        while open_ends:
            tensor = open_ends.pop()
            if tensor in makers and tensor not in given and makers[tensor] not in taken:
                taken.add(makers[tensor])
                open_ends += [int(t) for t in own[makers[tensor]]["inputs"]]
    return dict(Counter(operator["op_name"] for number, operator in enumerate(own) if number not in taken))
