"""OrtValue and IOBinding, on the host and on a GPU (the host shim's), beside onnxruntime's."""

from __future__ import annotations

import numpy as np
import pytest
from sessionmodels import CPU, feeds, network, ours, theirs, two_in_two_out

import cnnkern
from cnnkern import OrtValue, backends, errors


def packages():
    onnxruntime = pytest.importorskip("onnxruntime", "1.25", reason="needs onnxruntime >= 1.25, of 'cnnkern[test]'")
    return (cnnkern, ours), (onnxruntime, theirs)


# --- OrtValue


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool", "int32"])
def test_a_value_says_what_onnxruntimes_says(rng, dtype):
    x = (9 * rng.random((2, 3, 4))).astype(dtype)
    said = []
    for package, _ in packages():
        value = package.OrtValue.ortvalue_from_numpy(x)
        names = "data_type device_name element_type has_value is_tensor is_sparse_tensor is_tensor_sequence shape"
        said.append([getattr(value, name)() for name in (*names.split(), "tensor_size_in_bytes", "data_ptr")])
        assert np.array_equal(value.numpy(), x) and np.array_equal(np.asarray(value), x)
        if dtype != "bool":
            assert np.array_equal(np.from_dlpack(value), x)
        made = package.OrtValue.ortvalue_from_shape_and_type([2, 3, 4], x.dtype.type)
        made.update_inplace(x)
        assert np.array_equal(made.numpy(), x) and made.shape() == [2, 3, 4]
    assert said[0] == said[1]


def test_a_value_is_the_callers_array(rng):
    x = rng.standard_normal((3, 4), np.float32)
    value = OrtValue.ortvalue_from_numpy(x)
    assert value.numpy() is x or np.shares_memory(value.numpy(), x)
    value.update_inplace(x + 1)
    assert value.data_ptr() == x.ctypes.data
    across = OrtValue.ortvalue_from_numpy(x.T)
    assert across.shape() == [4, 3] and across.numpy().flags.c_contiguous and np.array_equal(across.numpy(), x.T)
    assert OrtValue.from_dlpack(x).data_ptr() == x.ctypes.data
    halves = OrtValue.ortvalue_from_numpy_with_onnx_type(np.arange(3, dtype=np.uint16), 10)
    assert halves.data_type() == "tensor(float16)"
    assert repr(value) == "OrtValue(tensor(float), [3, 4], cpu)"


def test_values_that_cannot_be(rng):
    x = rng.standard_normal((3, 4), np.float32)
    for bad in ([1.0], 3.0, None):
        with pytest.raises(RuntimeError, match="must be a NumPy array"):
            OrtValue.ortvalue_from_numpy(bad)
    value, before = OrtValue.ortvalue_from_numpy(x), x.copy()
    for other in (x[:2], x.astype(np.float64), [1.0]):
        with pytest.raises(errors.InvalidArgument, match="data: an array"):
            value.update_inplace(other)
    assert np.array_equal(x, before)
    for kind in ("floaty", None, 99, object()):
        with pytest.raises(TypeError, match="element_type"):
            OrtValue.ortvalue_from_shape_and_type([2], kind)
    with pytest.raises(ValueError, match=r"shape\[0\] must be at least 0"):
        OrtValue.ortvalue_from_shape_and_type([-2], np.float32)
    with pytest.raises(errors.InvalidArgument, match="device_type must be 'cpu' or 'cuda', got 'xpu'"):
        OrtValue.ortvalue_from_numpy(x, "xpu")
    if backends.available()["cuda"]:
        with pytest.raises(cnnkern.UnsupportedError, match="cuda"):
            OrtValue.ortvalue_from_numpy(x, "cuda", 0)


def test_run_with_values(rng):
    given, results = feeds(rng), []
    for package, open_session in packages():
        values = {name: package.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        session = open_session(two_in_two_out())
        found = session.run_with_ort_values(["z", "y"], values)
        assert all(isinstance(value, package.OrtValue) for value in found)
        results.append([value.numpy() for value in found] + session.run(None, {**given, "x": values["x"]}))
        for bad in ({**values, "x": given["x"]}, {"x": values["x"]}):
            with pytest.raises((TypeError, AttributeError, ValueError)):
                session.run_with_ort_values(None, bad)
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-6)


# --- IOBinding on the host


def test_what_is_bound_is_read_and_filled(rng):
    given = feeds(rng)
    for package, open_session in packages():
        session, x = open_session(two_in_two_out()), given["x"].copy()
        expected = session.run(None, {**given, "x": x})
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_input("v", "cpu", 0, np.float32, given["v"].shape, given["v"].ctypes.data)
        y, z = np.full_like(expected[0], 9), package.OrtValue.ortvalue_from_shape_and_type([2], np.float32)
        binding.bind_ortvalue_output("z", z)
        binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
        session.run_with_iobinding(binding)
        assert np.array_equal(y, expected[0]) and np.array_equal(z.numpy(), expected[1])
        values = binding.get_outputs()
        assert [value.data_ptr() for value in values] == [z.data_ptr(), y.ctypes.data]
        copies = binding.copy_outputs_to_cpu()
        assert np.array_equal(copies[1], y) and not np.shares_memory(copies[1], y)
        x += 1  # read when the next run begins
        session.run_with_iobinding(binding)
        assert np.array_equal(y, session.run(["y"], {**given, "x": x})[0]) and not np.array_equal(y, copies[1])
        binding.clear_binding_outputs()
        binding.bind_output("y")
        session.run_with_iobinding(binding)
        assert np.array_equal(binding.copy_outputs_to_cpu()[0], y)
        binding.synchronize_inputs()
        binding.synchronize_outputs()


def test_onnx_numbers_and_values_as_inputs(rng):
    given = feeds(rng)
    for package, open_session in packages():
        session = open_session(two_in_two_out())
        binding = session.io_binding()
        binding.bind_input("x", "cpu", 0, 1, given["x"].shape, given["x"].ctypes.data)
        binding.bind_ortvalue_input("v", package.OrtValue.ortvalue_from_numpy(given["v"]))
        binding.bind_output("z", "cpu")
        session.run_with_iobinding(binding)
        assert np.array_equal(binding.copy_outputs_to_cpu()[0], 2 * given["v"])
        binding.bind_cpu_input("v", np.repeat(given["v"], 2)[::2])
        session.run_with_iobinding(binding)
        assert np.array_equal(binding.copy_outputs_to_cpu()[0], 2 * given["v"])


def test_an_output_without_memory_follows_the_shapes(rng):
    """onnxruntime keeps the first run's memory and refuses other shapes; here each run has its own."""
    session = ours(network(rng))
    binding = session.io_binding()
    binding.bind_output("scores")
    assert [value.has_value() for value in binding.get_outputs()] == [False]
    assert repr(binding.get_outputs()[0]) == "OrtValue()"
    with pytest.raises(errors.InvalidArgument, match="no run has made it"):
        binding.copy_outputs_to_cpu()
    for shape in ((1, 3, 8, 8), (3, 3, 6, 9)):
        x = rng.standard_normal(shape, np.float32)
        binding.bind_cpu_input("x", x)
        session.run_with_iobinding(binding)
        assert np.array_equal(binding.copy_outputs_to_cpu()[0], session.run(None, {"x": x})[0])


def test_bindings_that_cannot_be(rng):
    session, given = ours(two_in_two_out()), feeds(rng)
    binding, other = session.io_binding(), ours(two_in_two_out())
    x, v = given["x"], given["v"]
    for call, words in (
        (lambda: binding.bind_cpu_input("q", x), "no input 'q'; it has 'x', 'v'"),
        (lambda: binding.bind_cpu_input("x", x.tolist()), "'x': a NumPy array is accepted, got list"),
        (lambda: binding.bind_input("q", "cpu", 0, np.float32, (1,), x.ctypes.data), "no input 'q'"),
        (lambda: binding.bind_input("x", "cpu", 0, np.float32, (1, 3, 2), 0), "buffer_ptr must be an address, got 0"),
        (lambda: binding.bind_output("s"), "no output 's'; it has 'y', 'z'"),
        (lambda: binding.bind_output("y", buffer_ptr=x.ctypes.data), "element_type and shape are needed"),
        (lambda: session.run_with_iobinding(binding), "no output is bound: bind_output at least one of 'y', 'z'"),
    ):
        with pytest.raises(RuntimeError, match=words):
            call()
    for call in (lambda: binding.bind_ortvalue_input("x", x), lambda: binding.bind_ortvalue_output("y", x)):
        with pytest.raises(TypeError, match="an OrtValue is accepted, got ndarray"):
            call()
    binding.bind_output("y")
    binding.bind_cpu_input("x", x)
    with pytest.raises(RuntimeError, match="lacks 'v'"):
        session.run_with_iobinding(binding)
    binding.bind_cpu_input("v", v.astype(np.float64))
    with pytest.raises(errors.InvalidArgument, match="'v': dtype float32"):
        session.run_with_iobinding(binding)
    binding.bind_cpu_input("v", v)
    with pytest.raises(ValueError, match="one of another session"):
        other.run_with_iobinding(binding)
    with pytest.raises(TypeError, match="io_binding"):
        session.run_with_iobinding(given)
    binding.clear_binding_inputs()
    with pytest.raises(RuntimeError, match="lacks 'x', 'v'"):
        session.run_with_iobinding(binding)


def test_memory_that_does_not_fit_stays_as_it_is(rng):
    session, given = ours(two_in_two_out()), feeds(rng)
    frozen = np.full((4, 3, 5), 9, np.float32)
    frozen.flags.writeable = False
    for bad, words in (
        (
            np.full((4, 3, 6), 9, np.float32),
            r"bound to memory of float32 \(4, 3, 6\), this run makes float32 \(4, 3, 5\)",
        ),
        (np.full((4, 3, 5), 9, np.float64), "bound to memory of float64"),
        (np.full((60,), 9, np.float32), "bound to memory"),
        (frozen, "read-only"),
    ):
        binding, z = session.io_binding(), np.full(2, 9, np.float32)
        binding.bind_ortvalue_output("z", OrtValue.ortvalue_from_numpy(z))
        binding.bind_ortvalue_output("y", OrtValue.ortvalue_from_numpy(bad))
        for name, array in given.items():
            binding.bind_cpu_input(name, array)
        with pytest.raises(errors.InvalidArgument, match=words):
            session.run_with_iobinding(binding)
        assert (bad == 9).all() and (z == 9).all()


# --- on a GPU


@pytest.fixture
def gpu(monkeypatch):
    """The cuda backend on the host shim, in the place of CuPy's."""
    pytest.importorskip("host", reason="the shim compiles with the C++ compiler that the build needs")
    from hostruntime import HostRuntime

    from cnnkern.backends.cuda import CudaBackend

    backend = CudaBackend(HostRuntime())
    monkeypatch.setitem(backends._objects, ("cuda",), backend)
    return backend


def _on_device(backend, array):
    made = backend.empty(array.shape, array.dtype)
    made[...] = array
    return made


def test_a_binding_on_a_gpu(gpu, rng):
    assert cnnkern.get_available_providers()[0] == "CUDAExecutionProvider" and cnnkern.get_device() == "GPU"
    data, x = network(rng), rng.standard_normal((2, 3, 8, 8), np.float32)
    expected = ours(data).run(None, {"x": x})[0]
    session = ours(data, providers=["CUDAExecutionProvider", *CPU])
    assert session.get_providers() == ["CUDAExecutionProvider", *CPU]
    assert session.get_provider_options() == {"CUDAExecutionProvider": {"device_id": "0"}, CPU[0]: {}}
    close(session.run(None, {"x": x})[0], expected)

    value = OrtValue.ortvalue_from_numpy(x, "cuda", 0)
    assert (value.device_name(), value.shape(), value.data_type()) == ("cuda", [2, 3, 8, 8], "tensor(float)")
    assert np.array_equal(value.numpy(), x)
    close(session.run(None, {"x": value})[0], expected)  # `run` answers with NumPy arrays
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("scores", "cuda")
    session.run_with_iobinding(binding)
    (scores,) = binding.get_outputs()
    assert scores.device_name() == "cuda"
    close(binding.copy_outputs_to_cpu()[0], expected)

    target = OrtValue.ortvalue_from_shape_and_type(expected.shape, np.float32, "cuda", 0)
    binding.bind_ortvalue_output("scores", target)
    value.update_inplace(x[::-1].copy())
    session.run_with_iobinding(binding)
    close(target.numpy(), expected[::-1])
    binding.synchronize_outputs()


def test_addresses_on_a_gpu(gpu, rng):
    data, x = network(rng), rng.standard_normal((2, 3, 8, 8), np.float32)
    expected = ours(data).run(None, {"x": x})[0]
    session = ours(data, providers=[("CUDAExecutionProvider", {"device_id": 0})])
    there, result = _on_device(gpu, x), gpu.empty(expected.shape)
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, x.shape, gpu.runtime().address(there))
    binding.bind_output("scores", "cuda", 0, np.float32, expected.shape, gpu.runtime().address(result))
    session.run_with_iobinding(binding)
    close(result.get(), expected)
    assert binding.get_outputs()[0].data_ptr() == gpu.runtime().address(result)
    close(binding.copy_outputs_to_cpu()[0], expected)


def test_host_and_gpu_mixed(gpu, rng):
    data, x = network(rng), rng.standard_normal((2, 3, 8, 8), np.float32)
    on_cpu, on_gpu = ours(data), ours(data, providers=["CUDAExecutionProvider"])
    expected = on_cpu.run(None, {"x": x})[0]
    for session in (on_cpu, on_gpu):
        for on_device in (False, True):
            for kind in ("cpu", "cuda"):
                binding = session.io_binding()
                if on_device:
                    binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(x, "cuda"))
                else:
                    binding.bind_cpu_input("x", x)
                binding.bind_output("scores", kind)
                session.run_with_iobinding(binding)
                assert binding.get_outputs()[0].device_name() == kind
                close(binding.copy_outputs_to_cpu()[0], expected)


def test_no_such_gpu(gpu):
    for device_id, error in (("x", errors.InvalidArgument), ("-1", errors.InvalidArgument)):
        with pytest.raises(error, match="device_id"):
            ours(two_in_two_out(), providers=[("CUDAExecutionProvider", {"device_id": device_id})])


def close(a, b) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
