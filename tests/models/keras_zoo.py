"""What the tests against Keras share: the library itself, and random numbers for its networks."""

from __future__ import annotations

import importlib
import os
from contextlib import contextmanager

import numpy as np
import pytest

from cnnkern.keras_weights import our_variable, snake_case


@contextmanager
def keras_on_torch():
    """Keras on PyTorch; NASNet, which refuses to be built there and then works, thinks that it is elsewhere."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    nasnet = importlib.import_module("keras.src.applications.nasnet")
    real = nasnet.backend
    nasnet.backend = type("Backend", (), {"__getattr__": lambda self, name: getattr(real, name)})()
    nasnet.backend.backend = lambda: "jax"
    yield keras
    nasnet.backend = real


def variables(net):
    """(layer, variable) of everything a network holds, nested models included, preprocessing not."""
    for layer in net.layers:
        if hasattr(layer, "layers"):
            yield from variables(layer)
        elif type(layer).__name__ != "Normalization":
            yield from ((layer, variable) for variable in layer.weights)


def ours(layer, variable, array) -> tuple[str, np.ndarray]:
    """The library's name and layout of a variable."""
    leaf, array = our_variable(snake_case(type(layer).__name__), variable.name, array)
    return f"{layer.name}.{leaf}", array


def state(keras, net) -> dict[str, np.ndarray]:
    return dict(ours(layer, v, keras.ops.convert_to_numpy(v)) for layer, v in variables(net))


def assign(net, random: dict[str, np.ndarray], wider: float = 1) -> None:
    """Put our arrays, by Keras's names of layers, into a network of Keras; variances times `wider`."""
    for layer, variable in variables(net):
        places = np.arange(np.prod(variable.shape), dtype=np.int64).reshape(variable.shape)
        name, places = ours(layer, variable, places)
        array = np.empty(places.size, np.float32)
        array[places.ravel()] = random[name].ravel() * np.float32(wider if name.endswith("running_var") else 1)
        variable.assign(array.reshape(variable.shape))
