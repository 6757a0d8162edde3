"""cnnkern.onnx.save: a file that others read, and clear words where it cannot be."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest

import cnnkern
from cnnkern import models


def test_bad_arguments():
    m = models.create("lenet5")
    with pytest.raises(TypeError, match="m must be a cnnkern Model, as models.create returns, got str"):
        cnnkern.onnx.save("lenet5", "x.onnx")
    for batch, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="batch"):
            cnnkern.onnx.save(m, "x.onnx", batch=batch)


def test_without_onnx_the_extra_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "cnnkern.onnx.exporter", raising=False)
    monkeypatch.delattr(cnnkern.onnx, "exporter", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'cnnkern\[onnx\]'"):
        cnnkern.onnx.save(models.create("lenet5"), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("batch", [1, 3, None])
def test_a_file_that_onnxruntime_runs(tmp_path, rng, batch):
    onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    onnxruntime = pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
    m, path = models.create("lenet5"), tmp_path / "net.onnx"
    cnnkern.onnx.save(m, path, batch=batch)
    (dim, *_) = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert (dim.dim_value, dim.dim_param) == ((batch, "") if batch else (0, "N"))
    x = rng.standard_normal((batch or 2, 1, 32, 32), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    y = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert np.abs(y - m(x, backend="reference")).max() < 1e-5 * np.ptp(y)


def test_two_inputs(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    path = tmp_path / "net.onnx"
    cnnkern.onnx.save(models.create("fast_rcnn_vgg16", input_shape=(3, 32, 32)), path, batch=2)
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["input", "rois"]
    assert [value.name for value in graph.output] == ["cls_prob", "bbox_pred"]
    (rois,) = [node for node in graph.node if node.op_type == "MaxRoiPool"]
    assert list(rois.input) == ["relu5_3", "rois"]


def test_clip_takes_scalars(tmp_path):
    """Its bounds are of rank 0 in the specification, whatever onnxruntime lets pass."""
    onnx = pytest.importorskip("onnx", reason="onnx is an extra: pip install 'cnnkern[test]'")
    path = tmp_path / "net.onnx"
    cnnkern.onnx.save(models.create("mobilenet_v2", input_shape=(3, 32, 32)), path)
    graph = onnx.load(path).graph
    bounds = {name for node in graph.node if node.op_type == "Clip" for name in node.input[1:]}
    assert bounds and all(list(t.dims) == [] for t in graph.initializer if t.name in bounds)
