"""What can be shown of the CuPy runtime without a GPU: what it asks of CuPy, and what it says where something is
missing. The stand-in below has a device's memory on the host; a launch on it is only noted."""

from __future__ import annotations

import ctypes
import gc
import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pytest
from rich.console import Console

from cnnkern.backends.cuda import cache, compiler, device
from cnnkern.backends.cuda.compiler import Compiled
from cnnkern.backends.cuda.device import CupyRuntime, cuda_info
from cnnkern.backends.cuda.launch import Kernel
from cnnkern.errors import DeviceMemoryError, UnsupportedError
from cnnkern.measure import contract, schema
from cnnkern.measure.profile import machine_profile
from cnnkern.report import tables

GIB = 2**30
KERNEL = Kernel("a.cu", "a<float>", "x:p n:i", 256)
COMPILED = Compiled(b"a cubin", "_Z1a", 32, 1024, 0, 0, "")


class FakeDevice:
    """Notes which device is current."""

    current: list[int] = [0]

    def __init__(self, number):
        self.id = number

    def __enter__(self):
        self.current.append(self.id)

    def __exit__(self, *_):
        self.current.pop()


class FakeArray(np.ndarray):
    """A host array that says it lies on a device."""

    device = FakeDevice(0)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


def fake_cupy(events: list, gpus=1, capability=(9, 0), driver=13000, free=100 * GIB, broken=None) -> types.ModuleType:
    """`events` gets what happens, in order. `broken`: what CUDA raises when it is asked for its devices."""

    class Stream:
        ptr = 7

        def __init__(self, non_blocking=False):
            events.append(f"stream non_blocking={non_blocking}")

        def __enter__(self):
            events.append("enter")

        def __exit__(self, *_):
            events.append("exit")

        def synchronize(self):
            events.append("synchronize")

        def begin_capture(self, mode):
            events.append(f"begin {mode} gc={gc.isenabled()}")

        def wait_event(self, event):
            events.append(f"behind an event, timed={event.timed}")

        def end_capture(self):
            events.append("end")
            return types.SimpleNamespace(
                upload=lambda stream: events.append("upload"),
                launch=lambda: events.append(f"replay on {FakeDevice.current[-1]}"),
            )

    class Module:
        def load(self, cubin):
            assert cubin == COMPILED.cubin
            events.append("load")

        def get_function(self, name):
            def function(grid, block, args, shared_mem):
                events.append((name, grid, block, shared_mem, FakeDevice.current[-1]))

            made = types.SimpleNamespace(ptr=99)
            return type("Function", (), {"ptr": made.ptr, "__call__": lambda self, *a: function(*a)})()

    class Event:
        def __init__(self, disable_timing=False):
            self.timed = not disable_timing

        def record(self):
            events.append("event")

        def synchronize(self):
            events.append("wait")

    def count():
        if broken:
            raise broken
        return gpus

    def alloc(size):
        if size > free:
            raise MemoryError("CuPy's words")
        memory = ctypes.create_string_buffer(size)
        return types.SimpleNamespace(ptr=ctypes.addressof(memory), keep=memory)

    def copy(to, source, size, kind, stream):
        events.append(f"copy {kind} on stream {stream}")
        ctypes.memmove(to, source, size)

    def empty(shape, dtype):
        if np.prod(shape) * np.dtype(dtype).itemsize > free:
            raise MemoryError
        return np.empty(shape, dtype).view(FakeArray)

    made = types.ModuleType("cupy")
    made.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    made.__version__ = "14.2.0"
    made.ndarray, made.empty = FakeArray, empty
    made.ascontiguousarray = lambda array: np.ascontiguousarray(array).view(FakeArray)
    made.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 2 * GIB)
    stream = Stream.__new__(Stream)
    properties = {"name": b"A GPU", "major": capability[0], "minor": capability[1], "multiProcessorCount": 132}
    runtime = types.SimpleNamespace(
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13020,
        getDeviceCount=count,
        getDevice=lambda: FakeDevice.current[-1],
        getDeviceProperties=lambda number: properties | {"sharedMemPerBlockOptin": 227 * 1024},
        memGetInfo=lambda: (free, 140 * GIB),
        memcpyAsync=copy,
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
        memcpyDeviceToDevice=3,
        streamCaptureModeRelaxed=2,
        deviceSynchronize=lambda: events.append("synchronize all"),
    )
    driver_api = types.SimpleNamespace(
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8, funcSetAttribute=lambda *a: events.append(a)
    )
    made.cuda = types.SimpleNamespace(
        runtime=runtime,
        driver=driver_api,
        Device=FakeDevice,
        Stream=Stream,
        Event=Event,
        alloc=alloc,
        function=types.SimpleNamespace(Module=Module),
        get_current_stream=lambda: stream,
        get_elapsed_time=lambda start, stop: 1.5,
    )
    return made


@pytest.fixture
def events() -> list:
    return []


@pytest.fixture
def gpu(events, monkeypatch):
    """A runtime of GPU 0 of those that the keywords describe."""

    def runtime(number=0, **which) -> CupyRuntime:
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy(events, **which))
        monkeypatch.setattr(compiler, "version", lambda: "13.0.88")
        monkeypatch.setattr(cache, "load", lambda kernel, target: COMPILED)
        return CupyRuntime(number)

    return runtime


# --- available


def test_a_usable_gpu(gpu):
    runtime = gpu()
    assert runtime.available() == ""
    assert (runtime.target, runtime.multiprocessors, runtime.shared_limit_bytes) == ("sm_90a", 132, 227 * 1024)
    said = runtime.describe()
    assert said["name"] == "A GPU" and said["compute_capability"] == "9.0" and said["free_bytes"] == 102 * GIB
    assert (said["driver"], said["runtime"], said["cupy"], said["nvrtc"]) == ("13.0", "13.2", "14.2.0", "13.0.88")


def test_without_cupy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert CupyRuntime().available() == "CuPy is not installed (pip install 'cnnkern[cuda]')"


@pytest.mark.parametrize(
    ("number", "which", "reason"),
    [
        (0, {"driver": 0}, "there is no NVIDIA driver"),
        (0, {"gpus": 0}, "there is no NVIDIA GPU"),
        (0, {"broken": RuntimeError("cudaErrorNoDevice\nat")}, "CuPy finds no usable GPU: cudaErrorNoDevice"),
        (0, {"broken": ImportError("\n====\nlibcuda is broken")}, "CuPy finds no usable GPU: libcuda is broken"),
        (1, {}, "there is no GPU 1; there is GPU 0 alone"),
        (5, {"gpus": 2}, "there is no GPU 5; there are GPUs 0 to 1"),
        (0, {"capability": (7, 0)}, "A GPU: no kernels are made for compute capability 7.0; supported are 7.5, 8.0"),
        (0, {"driver": 12080}, "the driver is for CUDA 12.8 and does not load what NVRTC 13.0.88 compiles"),
    ],
)
def test_why_a_gpu_is_not_usable(gpu, number, which, reason):
    said = gpu(number, **which).available()
    assert said.startswith(reason) and "\n" not in said


def test_without_a_compiler(gpu, monkeypatch):
    def version():
        raise UnsupportedError("no CUDA compiler: libnvrtc.so.13")

    runtime = gpu()
    monkeypatch.setattr(compiler, "version", version)
    assert runtime.available() == "A GPU: no CUDA compiler: libnvrtc.so.13"


# --- memory and arrays


def test_memory_goes_there_and_back(gpu, rng, events):
    runtime = gpu()
    memory = runtime.allocate(4 * 6, "six floats")
    sent = rng.standard_normal((2, 3)).astype(np.float32)
    runtime.write(memory.address, sent.T)  # its C order counts, not how it lies
    assert events == ["copy 1 on stream 7", "synchronize"]
    back = np.empty((3, 2), np.float32)
    runtime.read(memory.address, back)
    assert memory.size_bytes == 24 and np.array_equal(back, sent.T)
    assert events[2:] == ["copy 2 on stream 7", "synchronize"]
    runtime.write(memory.address, runtime.empty((2, 3)))
    runtime.copy(memory.address, memory.address + 12, 12)
    runtime.copy(memory.address, memory.address, 0)
    assert events[4:] == ["copy 3 on stream 7"] * 2  # the device's own order is enough
    with pytest.raises(ValueError, match="not C-contiguous"):
        runtime.read(memory.address, back.T)


def test_too_little_memory(gpu):
    runtime = gpu(free=GIB)
    with pytest.raises(DeviceMemoryError) as failed:
        runtime.allocate(5 * GIB, "the arena of resnet50 at batch 256")
    assert str(failed.value) == (
        "the arena of resnet50 at batch 256 needs 5.0 GiB of GPU memory; GPU 0 (A GPU) has 3.0 GiB free of 140.0 GiB"
    )
    with pytest.raises(MemoryError, match=r"an array of shape \(1024, 1024, 1024\) needs 4.0 GiB"):
        runtime.empty((1024, 1024, 1024))
    assert runtime.allocate(0, "nothing").size_bytes == 0


def test_arrays_of_this_device_and_of_others(gpu):
    runtime, other = gpu(), CupyRuntime(1)
    array = runtime.empty((2, 3))
    assert runtime.on_device(array) and runtime.address(array) == array.ctypes.data
    assert not runtime.on_device(np.zeros(3)) and not runtime.on_device([1.0])
    with pytest.raises(ValueError, match="an array of GPU 0 was given to GPU 1"):
        other.on_device(array)


# --- kernels, graphs, time


def test_a_function_is_loaded_once_and_launched_on_its_device(gpu, events):
    runtime = gpu(number=1, gpus=2)
    launch = runtime.function(KERNEL)
    assert runtime.function(KERNEL) is launch
    assert events == ["load", (99, 8, 226 * 1024)]  # all the shared memory but what it has anyway
    launch((3, 1, 1), KERNEL.block, (np.zeros(1),), shared_mem=64)
    assert events[2:] == [("_Z1a", (3, 1, 1), (256, 1, 1), 64, 1)]


def test_a_graph_is_recorded_on_a_stream_of_its_own_without_collections(gpu, events):
    runtime = gpu()
    replay = runtime.record(lambda: events.append(f"run gc={gc.isenabled()}"))
    assert gc.isenabled()
    assert events == [
        "stream non_blocking=True", "enter", "begin 2 gc=False", "run gc=False", "end", "exit", "upload", "synchronize"
    ]  # fmt: skip
    replay()
    assert events[8:] == ["replay on 0"]


def test_a_recording_that_fails_leaves_no_capture_behind(gpu, events):
    def run():
        raise UnsupportedError("its own words")

    with pytest.raises(UnsupportedError, match="its own words"):
        gpu().record(run)
    assert events[-2:] == ["end", "exit"] and gc.isenabled()


def test_time_and_waiting(gpu, events):
    runtime = gpu()
    assert runtime.time(lambda: events.append("run")) == 1.5
    assert events == ["event", "run", "event", "wait"]
    runtime.synchronize()
    assert events[-1] == "synchronize all" and FakeDevice.current == [0]


def test_marks_order_the_work_of_streams(gpu, events):
    """An event per context, used again; nothing to wait for is no event."""
    runtime = gpu()
    runtime.follow(None)
    runtime.wait(None)
    assert not events
    mark = runtime.mark()
    assert runtime.mark(mark) is mark
    runtime.follow(mark)
    runtime.wait(mark)
    assert events == ["event", "event", "behind an event, timed=False", "wait"]


# --- cnnkern info


def shown(info) -> list[str]:
    """The lines of `cnnkern info` that are about CUDA, without their label."""
    console = Console(width=160)
    with console.capture() as said:
        console.print(tables.info(machine_profile(peaks=False), {}, {"CNNKERN_X": ("", "")}, info))
    lines = said.get().splitlines()
    labels = [line.split(" ")[0] for line in lines]
    return [line[10:].strip() for line in lines[labels.index("cuda") : labels.index("settings")]]


def test_info_of_a_gpu(gpu, tmp_path, monkeypatch):
    gpu(gpus=2)
    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path))
    monkeypatch.setattr(device, "_cupy_version", lambda: "14.2.0")
    info = cuda_info()
    schema._check(info, contract.CUDA, "cuda")
    assert info["available"] and [gpu["device"] for gpu in info["devices"]] == [0, 1]
    assert shown(info) == [
        "0: A GPU, sm_90a, 132 multiprocessors, 102 GiB free of 140 GiB",
        "1: A GPU, sm_90a, 132 multiprocessors, 102 GiB free of 140 GiB",
        "driver for CUDA 13.0, CuPy 14.2.0, compiler NVRTC 13.0.88",
        f"0 compiled kernels, 0 B, in {tmp_path}/cuda",
    ]


def test_info_without_one(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(device, "_cupy_version", lambda: None)
    monkeypatch.setattr(device, "_nvrtc_version", lambda: None)
    info = cuda_info()
    schema._check(info, contract.CUDA, "cuda")
    assert not info["available"] and info["devices"] == [] and info["cupy"] is None
    assert shown(info) == ["no: CuPy is not installed (pip install 'cnnkern[cuda]')"]
