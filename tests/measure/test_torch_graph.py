"""Every operation that the writer emits, rebuilt for PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkern import models
from cnnkern.measure.accuracy import range_error

torch = pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'cnnkern[peers]'")
onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")

import cnnkern  # noqa: E402
from cnnkern.measure.peers.torch_graph import from_onnx  # noqa: E402

# lrn, one-sided padding, relu6, silu, shuffle, ceil_mode, softmax: what the architectures have between them
SHAPES = {
    "lenet5": (1, 32, 32),
    "keras_mnist_convnet": (1, 28, 28),
    "squeezenet1_1": (3, 65, 65),
    "mobilenet_v2": (3, 33, 33),
    "shufflenet_v2_x1_0": (3, 32, 32),
    "efficientnet_b0": (3, 97, 97),
    "googlenet_2014": (3, 224, 224),
    "xception41": (3, 97, 97),
}


@pytest.mark.parametrize("name", SHAPES)
def test_architectures(name, rng, tmp_path):
    network = models.create(name, input_shape=SHAPES[name])
    path = tmp_path / "net.onnx"
    cnnkern.onnx.save(network, path, batch=2)
    module, shape = from_onnx(str(path))
    assert shape == (2, *SHAPES[name])
    x = rng.standard_normal(shape, np.float32)
    with torch.inference_mode():
        y = module(torch.from_numpy(x)).numpy()
    assert range_error(y, network(x, backend="reference")) < 1e-4
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules())


def test_what_it_does_not_know_is_named(tmp_path):
    helper = onnx.helper
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Cos", ["x"], ["y"], "wave")], "g", value[:1], value[1:])
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(NotImplementedError, match="Cos.*'wave'"):
        from_onnx(str(path))
