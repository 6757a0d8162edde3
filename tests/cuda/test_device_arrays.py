"""Arrays on a device: they stay there, whatever layout and strides they have. The device is the host shim's."""

from __future__ import annotations

import numpy as np
import pytest
from hostruntime import HostArray, HostRuntime, host_backend

import cnnkern
from cnnkern import backends, models


@pytest.fixture
def engine():
    return host_backend()


def on(engine, array) -> HostArray:
    return engine.runtime().array(array)


def test_conv2d_stays_on_the_device(engine, rng):
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((2, 5, 9, 8), (7, 5, 3, 3)))
    b = rng.standard_normal(7, np.float32)
    y = cnnkern.conv2d(on(engine, x), on(engine, w), on(engine, b), padding=1, backend=engine)
    assert isinstance(y, HostArray)
    cnnkern.testing.assert_close(
        y.get(), cnnkern.testing.reference("conv2d", x, w, b, padding=1), cnnkern.ops.Conv2dSpec(padding=1), (x, w, b)
    )


def test_nhwc_and_strides(engine, rng):
    x = rng.standard_normal((2, 6, 9, 5), np.float32)
    given = on(engine, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    y = cnnkern.max_pool2d(given, 2, layout="NHWC", backend=engine)
    expected = cnnkern.testing.reference("max_pool2d", x, 2).transpose(0, 2, 3, 1)
    assert isinstance(y, HostArray) and np.array_equal(y.get(), expected.astype(np.float32))
    turned = on(engine, np.ascontiguousarray(x[:, :, ::-1]))
    strided = HostArray(turned._view[:, :, ::-1], turned._memory)
    assert np.array_equal(cnnkern.relu(strided, backend=engine).get(), np.maximum(x, 0))


def test_out_is_filled(engine, rng):
    x, w = (on(engine, rng.standard_normal(shape, np.float32)) for shape in ((1, 4, 5, 5), (6, 4, 1, 1)))
    out = on(engine, np.full((1, 6, 5, 5), np.nan, np.float32))
    assert cnnkern.conv2d(x, w, out=out, backend=engine) is out
    assert np.isfinite(out.get()).all()


def test_pooling_indices(engine, rng):
    x = rng.standard_normal((1, 3, 6, 6), np.float32)
    values, indices = cnnkern.max_pool2d(on(engine, x), 3, return_indices=True, backend=engine)
    expected = cnnkern.testing.reference("max_pool2d", x, 3, return_indices=True)
    assert indices.dtype == np.int64 and np.array_equal(indices.get(), expected[1])


def test_regions_are_looked_at(engine, rng):
    x, rois = rng.standard_normal((2, 9, 6, 7), np.float32), np.array([[1, 0, 2, 9, 8], [0, 4, 4, 5, 20]], np.float32)
    y = cnnkern.roi_max_pool(on(engine, x), on(engine, rois), 3, 0.5, backend=engine)
    expected = cnnkern.testing.reference("roi_max_pool", x, rois, 3, 0.5)
    assert isinstance(y, HostArray) and np.array_equal(y.get(), expected.astype(np.float32))
    for rois[1, 0] in (2, -1, np.nan):
        with pytest.raises(ValueError, match=r"roi_max_pool: rois.*0 to 1.*rois\[1\]"):
            cnnkern.roi_max_pool(on(engine, x), on(engine, rois), 3, 0.5, backend=engine)
    with pytest.raises(TypeError, match="one place"):
        cnnkern.roi_max_pool(on(engine, x), rois, 3, 0.5, backend=engine)


def test_a_network_stays_on_the_device(engine, rng):
    m = models.create("lenet5")
    x = rng.standard_normal((2, *m.input_shape), np.float32)
    y = m(on(engine, x), backend=engine)
    assert isinstance(y, HostArray)
    np.testing.assert_allclose(y.get(), m(x, backend="reference"), atol=1e-5)


def test_check_reads_device_arrays(engine, rng):
    x = on(engine, rng.standard_normal((1, 4, 5, 5), np.float32))
    with cnnkern.config(check=True):
        cnnkern.avg_pool2d(x, 2, backend=engine)


def test_two_places_at_once(engine):
    x, w = np.ones((1, 4, 5, 5), np.float32), np.ones((6, 4, 1, 1), np.float32)
    with pytest.raises(TypeError, match="host memory"):
        cnnkern.conv2d(on(engine, x), w, backend=engine)
    with pytest.raises(TypeError, match="NumPy arrays"):
        cnnkern.relu(on(engine, x), backend="reference")
    with pytest.raises(TypeError, match="out must be a float32 array on the GPU"):
        cnnkern.relu(on(engine, x), backend=engine) is None or cnnkern.conv2d(
            on(engine, x), on(engine, w), out=np.ones((1, 6, 5, 5), np.float32), backend=engine
        )
    with pytest.raises(TypeError, match="dtype float32"):
        cnnkern.relu(on(engine, x.astype(np.float64)), backend=engine)


def test_an_array_chooses_its_backend(engine):
    """Without a GPU the message says so; NumPy arrays never go to one by themselves."""
    if backends.available()["cuda"]:
        with pytest.raises(cnnkern.UnsupportedError, match="cuda"):
            cnnkern.relu(on(engine, np.ones(3, np.float32)))
    assert backends.choose(None, np.ones(3)).name != "cuda"


def test_compiled_networks_replay_a_graph(rng):
    m, runtime = models.create("lenet5"), HostRuntime()
    exe = m.compile((1, *m.input_shape), backend=cnnkern.backends.cuda.CudaBackend(runtime))
    x = rng.standard_normal((1, *m.input_shape), np.float32)
    first, again = exe(x), exe(x)
    assert runtime.recorded == 1 and np.array_equal(first, again)
    other = exe(2 * x)
    assert not np.array_equal(first, other), "a replay reads its inputs anew"
    out = np.empty_like(first)
    assert exe(x, out=out) is out and np.array_equal(out, first)
    with pytest.raises(ValueError, match="compiled shape"):
        exe(x[:, :, 1:])
