"""Every layer of networks that hold every kind of layer, on every instruction set; and how long predicting takes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from opcases import regions

from cnnkern import config, models, ops
from cnnkern.backends.cpu.predict import conv, predict

# name -> batch and input shape, or those of all inputs: smaller than usual, and odd
MODELS = {
    "lenet5": (3, 1, 32, 32),
    "squeezenet1_1": (1, 3, 65, 63),  # concats in place
    "mobilenet_v2": (1, 3, 64, 64),
    "densenet121": (2, 3, 33, 65),  # batch norms in front of convolutions
    "shufflenet_v2_x1_0": (2, 3, 64, 64),
    "resnet18": (1, 3, 64, 64),
    "alexnet_227": (1, 3, 227, 227),  # groups, local response normalisation, wide linear layers
    "efficientnet_b0": (1, 3, 64, 64),  # gates that broadcast
    "fast_rcnn_vgg16": ((2, 3, 65, 97), (6, 5)),  # regions
}


def compiled(name: str, shape: tuple | None = None):
    """A model whose weights are all zero: what is executed does not depend on them."""
    model = models.create(name)
    model.load_state_dict({param.name: np.zeros(param.shape, np.float32) for param in model.graph.params.values()})
    return model.compile(input_shape=shape, backend="cpu", threads=2)


@pytest.mark.parametrize("name", MODELS)
def test_every_layer(isa, name, agree, rng):
    with config(isa=isa):
        executable = compiled(name, MODELS[name])
    x = [np.zeros(value.shape, np.float32) for value in executable.plan.inputs]
    if name == "fast_rcnn_vgg16":
        x[1] = regions(rng, ops.RoiMaxPoolSpec((7, 7), 1 / 16), (2, 512, 4, 6), 6)
    rows = executable.count(x)
    assert [row["name"] for row in rows] == [step.name for step in executable.steps]
    for row in rows:
        agree(row)


def test_predicting_takes_no_time():
    """resnet50 is done in a few milliseconds; the bound is for machines that do much else."""
    executable = compiled("resnet50")
    conv._executed.cache_clear()
    start = time.perf_counter()
    made = [predict(step.native, "avx512", 16) for step in executable.steps]
    seconds = time.perf_counter() - start
    assert None not in made and len(made) > 50
    assert seconds < 0.3
