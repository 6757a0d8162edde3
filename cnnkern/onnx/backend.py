"""The interface that ONNX defines for backends: what `onnx.backend.test` and scripts written for it call.

    import cnnkern.onnx.backend as backend

    rep = backend.prepare(onnx.load("resnet50.onnx"), device="CPU")
    scores = rep.run([x])[0]

Source: `onnx.backend.base` of the onnx package, whose classes these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from .. import backends
from ..errors import ModelError, UnsupportedError
from .loader import load
from .ort_value import cuda_for

__all__ = [
    "CnnkernBackend", "CnnkernRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device",
]  # fmt: skip

_OF_THE_SUITE = {"rtol", "atol"}  # onnx.backend.test hands its tolerances to prepare as well


class CnnkernRep(BackendRep):
    """A loaded model on its device: plans are made when it first sees a shape, and kept.

    Attributes: `model`, the loaded network as `cnnkern.onnx.load` returns it; `backend`, what runs its plans.
    """

    def __init__(self, model: Any, backend: Any):
        self.model, self.backend = model, backend
        self._outputs = namedtupledict("Outputs", [port.name for port in model.outputs])

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """One inference.

        Args:
            inputs: arrays in the order of the model's inputs (initialisers that the file also lists as inputs do not
                count), or a mapping from their names; one array alone where the model has one input.
        Returns:
            A named tuple of the outputs' arrays; `result["name"]` works as `result[0]` does.
        Raises:
            TypeError, ValueError: inputs that do not fit the model; the message names the input.
        Example:
            >>> y, = cnnkern.onnx.backend.prepare(model).run([x])
        """
        _refuse(kwargs, "run")
        return self._outputs(*self.model.run(self._feeds(inputs), backend=self.backend))

    def _feeds(self, inputs: Any) -> dict[str, Any]:
        names = [port.name for port in self.model.inputs]
        if isinstance(inputs, Mapping):
            return dict(inputs)
        if isinstance(inputs, np.ndarray) or not isinstance(inputs, Sequence) or isinstance(inputs, (str, bytes)):
            inputs = [inputs]  # one array: rows of a matrix are no inputs
        if len(inputs) != len(names):
            raise ValueError(f"inputs must be {len(names)} arrays ({', '.join(names) or 'none'}), got {len(inputs)}")
        return dict(zip(names, inputs))


class CnnkernBackend(Backend):
    """cnnkern as an ONNX backend. Every method also stands as a function in this module."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> CnnkernRep:
        """Load a model for a device.

        Args:
            model: an onnx.ModelProto, the bytes of one, or a path.
            device: "CPU", or "CUDA" ("CUDA:1" for another GPU than the first) where cnnkern's cuda backend is
                available.
            backend: one of cnnkern's backends by name, in place of the fastest on that device.
        Raises:
            ModelError: a model that cannot be used. UnsupportedError: a device that is not here. ValueError: a device
            that has no such name. TypeError: an option that is not known.
        Example:
            >>> rep = cnnkern.onnx.backend.prepare("model.onnx", device="CPU")
        """
        chosen = kwargs.pop("backend", None)
        _refuse({name: value for name, value in kwargs.items() if name not in _OF_THE_SUITE}, "prepare")
        chosen = _on_device(device) if chosen is None else backends.get(chosen)
        return CnnkernRep(load(model), chosen)

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """`prepare(model, device).run(inputs)`."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """One operation.

        Args:
            node: an onnx.NodeProto.
            inputs: its arrays in order (those whose name is empty left out, or None), or a mapping from their names.
            outputs_info: (dtype, shape) of each output; results are checked against it.
            opset_version: of the node's domain; default the newest that the installed onnx knows.
        Returns:
            A named tuple of the outputs whose names are not empty.
        Raises:
            As prepare and `CnnkernRep.run` do; ModelError: an output is not as outputs_info says.
        Example:
            >>> node = onnx.helper.make_node("Relu", ["x"], ["y"])
            >>> cnnkern.onnx.backend.run_node(node, [x])["y"]
        """
        if not isinstance(node, onnx.NodeProto):
            raise TypeError(f"node must be an onnx.NodeProto, got {type(node).__name__}")
        opset = kwargs.pop("opset_version", None)
        feeds = _node_feeds(node, inputs)
        results = cls.run_model(_node_model(node, feeds, opset), feeds, device, **kwargs)
        for given, result, (dtype, shape) in zip(filter(None, node.output), results, outputs_info or ()):
            if (np.dtype(dtype), tuple(shape)) != (result.dtype, result.shape):
                wanted, found = f"{np.dtype(dtype)} {tuple(shape)}", f"{result.dtype} {result.shape}"
                raise ModelError(f"node {_called(node)}: output {given!r} is {found}, outputs_info says {wanted}")
        return results

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether prepare takes this device here: "CPU" always, "CUDA" where cnnkern's cuda backend is available."""
        try:
            _on_device(device)
        except (UnsupportedError, ValueError, TypeError):
            return False
        return True

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model loads and the device is here."""
        try:
            cls.prepare(model, device, **kwargs)
        except (ModelError, UnsupportedError):
            return False
        return True


def _refuse(options: Mapping[str, Any], where: str) -> None:
    if options:
        raise TypeError(f"{where} takes no option {', '.join(map(repr, options))}")


def _on_device(device: str) -> Any:
    """The backend for a device's name, as `onnx.backend.base.Device` reads it."""
    try:
        wanted = Device(device)
    except (AttributeError, ValueError):
        raise ValueError(f"device must be 'CPU', 'CUDA' or 'CUDA:<number>', got {device!r}") from None
    if wanted.type == DeviceType.CUDA:
        return cuda_for("cuda", wanted.device_id)
    return backends.on_cpu()


def _called(node: onnx.NodeProto) -> str:
    return f"{node.name!r} ({node.op_type})" if node.name else node.op_type


def _node_feeds(node: onnx.NodeProto, inputs: Any) -> dict[str, Any]:
    """Input name -> array, without those that are absent."""
    if isinstance(inputs, Mapping):
        return {name: np.asarray(value) for name, value in inputs.items() if value is not None}
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    names = list(node.input)
    if len(inputs) != len(names):
        names = [name for name in names if name]
    if len(inputs) != len(names):
        raise ValueError(f"inputs must be {len(names)} arrays ({', '.join(names) or 'none'}), got {len(inputs)}")
    return {
        name: value if isinstance(value, list) else np.asarray(value)
        for name, value in zip(names, inputs)
        if name and value is not None
    }


def _node_model(node: onnx.NodeProto, feeds: Mapping[str, Any], opset: int | None) -> onnx.ModelProto:
    """A model of this node alone; its outputs' types are left for the loader to find."""
    given = [helper.make_value_info(name, _type_of(value)) for name, value in feeds.items()]
    made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], node.name or node.op_type or "node", given, made)
    domain = "" if node.domain == "ai.onnx" else node.domain
    versions = {"": onnx.defs.onnx_opset_version()}
    if domain:
        newest = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain]
        versions[domain] = max(newest, default=1)
    if opset is not None:
        versions[domain] = opset
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in versions.items()])


def _type_of(value: Any) -> onnx.TypeProto:
    """The ONNX type of an array, or of a list of arrays of one type (a sequence)."""
    if isinstance(value, list):
        inner = value[0].dtype if value else np.dtype(np.float32)
        return helper.make_sequence_type_proto(helper.make_tensor_type_proto(_element(inner), None))
    return helper.make_tensor_type_proto(_element(value.dtype), value.shape)


def _element(dtype: np.dtype) -> int:
    if dtype.kind in "OUST":
        return onnx.TensorProto.STRING
    return helper.np_dtype_to_tensor_dtype(dtype)


prepare = CnnkernBackend.prepare
run_model = CnnkernBackend.run_model
run_node = CnnkernBackend.run_node
supports_device = CnnkernBackend.supports_device
is_compatible = CnnkernBackend.is_compatible
