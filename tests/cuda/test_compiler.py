"""The way from a source to a cubin: includes, targets, errors, and the cache that processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkern import backends, config
from cnnkern.backends.cuda import cache, compiler
from cnnkern.backends.cuda.launch import Kernel
from cnnkern.errors import CompileError, UnsupportedError


def has_nvrtc() -> bool:
    try:
        return bool(compiler.version())
    except UnsupportedError:
        return False


needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")

SCALE = """#include "once.cuh"
#include "factor.cuh"
#include "elsewhere.h_"
template <class T> __global__ void scale(Args a) { a.y[threadIdx.x] = a.x[threadIdx.x] * T(FACTOR); }
template <class T> __global__ void broken(Args a) {
    a.y[0] = nowhere;
}
"""
ONCE = """#pragma once
struct Args { const float* x; float* y; };
"""
FACTOR = """#pragma once
#include "once.cuh"
#define FACTOR 3
"""
KERNEL = Kernel("scale.cu", "scale<float>", "x:p y:p", 256)


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "scale.cu").write_text(SCALE.replace('#include "elsewhere.h_"', ""))
    (folder / "once.cuh").write_text(ONCE)
    (folder / "factor.cuh").write_text(FACTOR)
    monkeypatch.setattr(compiler, "kernels_folder", lambda: folder)
    return folder


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "cuda"


@pytest.fixture
def compilations(monkeypatch) -> list[tuple[str, str]]:
    """What was compiled, as it happens."""
    made, real = [], compiler.compile_kernel

    def compile_kernel(kernel, target, text=None):
        made.append((kernel.name, target))
        return real(kernel, target, text)

    monkeypatch.setattr(compiler, "compile_kernel", compile_kernel)
    return made


# --- targets


@pytest.mark.parametrize(
    ("capability", "target"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 6), "sm_86"),
        ((8, 9), "sm_89"),
        ((9, 0), "sm_90a"),
        ((10, 0), "sm_100"),
        ((10, 3), "sm_100"),
        ((12, 0), "sm_120"),
        ((12, 1), "sm_120"),
    ],
)
def test_target_of_a_device(capability, target):
    assert compiler.target_for(*capability) == target


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (7, 2), (8, 7), (11, 0), (13, 0)])
def test_no_target_for_a_device(capability):
    with pytest.raises(UnsupportedError, match=r"capability \d+\.\d; supported are 7\.5, 8\.0, .*12\.0"):
        compiler.target_for(*capability)


def test_targets_of_a_kernel():
    assert compiler.targets(KERNEL) == list(compiler.TARGETS)
    assert compiler.targets(replace(KERNEL, sm=80)) == list(compiler.TARGETS[1:])
    assert compiler.targets(replace(KERNEL, sm=90, arch="a")) == ["sm_90a"]
    assert {compiler.shared_limit_bytes(target) // 1024 for target in compiler.TARGETS} == {64, 163, 99, 227}


# --- sources


def test_flatten_includes_each_file_once_where_it_is_first_asked_for(sources):
    (sources / "scale.cu").write_text(SCALE)
    lines = compiler.flatten("scale.cu").splitlines()
    assert [line for line in lines if "Args {" in line] == ["struct Args { const float* x; float* y; };"]
    assert not [line for line in lines if "pragma" in line]
    assert [line for line in lines if line.startswith("#include")] == ['#include "elsewhere.h_"']
    assert lines[0] == '#line 1 "scale.cu"' and lines[1] == '#line 1 "once.cuh"'
    # Every line is where its #line says it is.
    name, number = "", 0
    for line in lines:
        if line.startswith("#line"):
            _, text, quoted = line.split()
            name, number = quoted.strip('"'), int(text)
            continue
        original = (sources / name).read_text().splitlines()[number - 1]
        assert line == original or (not line and original.startswith(("#pragma once", "#include")))
        number += 1


def test_the_sources_are_found():
    assert (compiler.kernels_folder() / "prims.cuh").is_file()
    assert '#line 1 "prims.cuh"' in compiler.flatten("conv_direct.cu")


# --- the compiler


@needs_nvrtc
def test_compile(sources):
    for target in compiler.TARGETS:
        made = compiler.compile_kernel(KERNEL, target)
        assert made.cubin.startswith(b"\x7fELF") and made.lowered_name.encode() in made.cubin
        assert made.lowered_name == "_Z5scaleIfEv4Args"
        assert 0 < made.registers < 32 and (made.shared_bytes, made.spill_bytes, made.stack_bytes) == (0, 0, 0)


@needs_nvrtc
def test_an_error_names_kernel_target_file_and_line(sources):
    with pytest.raises(CompileError) as failed:
        compiler.compile_kernel(Kernel("scale.cu", "broken<float>", "x:p y:p", 256), "sm_80")
    first, second, *_ = str(failed.value).splitlines()
    assert first == f"scale.cu: broken<float> does not compile for sm_80 (NVRTC {compiler.version()}):"
    assert second == 'scale.cu(6): error: identifier "nowhere" is undefined'
    (sources / "factor.cuh").write_text(FACTOR + "#error not here\n")
    with pytest.raises(CompileError, match=r"factor\.cuh\(4\): .*error: #error"):
        compiler.compile_kernel(KERNEL, "sm_80")
    with pytest.raises(CompileError, match="scale<flat>.*\n.*flat"):
        (sources / "factor.cuh").write_text(FACTOR)
        compiler.compile_kernel(replace(KERNEL, name="scale<flat>"), "sm_80")


def test_a_target_that_is_not_the_kernels():
    with pytest.raises(UnsupportedError, match="not made for sm_75; it is for sm_80, sm_86"):
        compiler.compile_kernel(replace(KERNEL, sm=80), "sm_75")
    with pytest.raises(UnsupportedError, match="not made for sm_70"):
        compiler.compile_kernel(KERNEL, "sm_70")


def test_the_wheel_is_found_without_loading_it(tmp_path, monkeypatch):
    def wheel(folder, name):
        site = tmp_path / name
        (site / "nvidia" / folder / "lib").mkdir(parents=True)
        (site / "nvidia" / folder / "lib" / "libnvrtc.so.13").touch()
        if name[-1].isdigit():
            (site / f"{name}.dist-info").mkdir()
        spec = type("spec", (), {"submodule_search_locations": [str(site / "nvidia")]})
        monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda _: spec)
        return compiler._wheel.__wrapped__()

    assert wheel("cu13", "nvidia_cuda_nvrtc-13.0.88")[1] == "13.0.88"
    assert wheel("cuda_nvrtc", "nvidia_cuda_nvrtc_cu12-12.9.86")[1] == "12.9.86"
    assert wheel("cu13", "nowhere")[1] == ""
    assert wheel("cudnn", "nvidia_cudnn_cu13-9.1") is None


def test_without_nvrtc_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(compiler, "_wheel", lambda: None)
    monkeypatch.setattr(compiler, "_system", lambda: iter([Path("libnvrtc.so.0")]))
    with pytest.raises(UnsupportedError, match=r"libnvrtc\.so\.0.*pip install 'cnnkern\[cuda\]'"):
        compiler._library.__wrapped__()


# --- the cache


@needs_nvrtc
def test_a_kernel_is_compiled_once(sources, kept, compilations):
    first = cache.load(KERNEL, "sm_80")
    assert cache.load(KERNEL, "sm_80") == first and len(compilations) == 1
    assert cache.load(KERNEL, "sm_86") != first and len(compilations) == 2
    assert cache.contents() == (2, sum(file.stat().st_size for file in kept.iterdir()))
    assert sorted(file.name.split("-")[1] for file in kept.iterdir()) == ["sm_80", "sm_86"]


LOAD = """
import sys
from pathlib import Path
from cnnkern.backends.cuda import cache, compiler
from cnnkern.backends.cuda.launch import Kernel
compiler.kernels_folder = lambda: Path(sys.argv[1])
made = cache.load(Kernel("scale.cu", "scale<float>", "x:p y:p", 256), "sm_80")
print(made.lowered_name, len(made.cubin), made.registers, "libnvrtc" in open("/proc/self/maps").read())
"""


def in_a_process(sources: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", LOAD, str(sources)], stdout=subprocess.PIPE, text=True)


@needs_nvrtc
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_processes_share_it_and_what_is_there_needs_no_compiler(sources, kept):
    racing = [in_a_process(sources) for _ in range(4)]
    said = [process.communicate()[0].split() for process in racing]
    assert {process.returncode for process in racing} == {0}
    assert len({tuple(words[:3]) for words in said}) == 1
    assert [file.suffix for file in kept.iterdir()] == [cache.SUFFIX]
    later, _ = in_a_process(sources).communicate()
    assert later.split()[:3] == said[0][:3]
    if compiler._wheel():  # whose version is known without loading it
        assert later.split()[3] == "False"


@needs_nvrtc
@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "no newline", "header"])
def test_a_damaged_file_is_written_anew(sources, kept, compilations, damage):
    good = cache.load(KERNEL, "sm_80")
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "truncated": whole[:middle],
            "empty": b"",
            "one bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "no newline": b"\xff" * 100,
            "header": whole.replace(b'"registers": ', b'"registers": 1', 1),
        }[damage]
    )
    assert cache.load(KERNEL, "sm_80") == good and len(compilations) == 2
    assert file.read_bytes() == whole


@needs_nvrtc
def test_whatever_decides_the_cubin_is_in_the_key(sources, kept, compilations, monkeypatch):
    def key(kernel=KERNEL, target="sm_80"):
        return cache._Entry(kernel, target, kept).key

    keys = [key(), key(target="sm_86"), key(replace(KERNEL, name="scale<double>"))]
    (sources / "factor.cuh").write_text(FACTOR.replace("3", "4"))
    keys.append(key())
    monkeypatch.setattr(compiler, "OPTIONS", (*compiler.OPTIONS, "--fmad=true"))
    keys.append(key())
    monkeypatch.setattr(compiler, "version", lambda: "13.1.0")
    keys.append(key())
    assert len(set(keys)) == len(keys)


@needs_nvrtc
def test_an_edited_header_is_seen(sources, kept, compilations):
    three = cache.load(KERNEL, "sm_80")
    (sources / "factor.cuh").write_text(FACTOR.replace("3", "4"))
    four = cache.load(KERNEL, "sm_80")
    (sources / "factor.cuh").write_text(FACTOR)
    assert three.cubin != four.cubin and cache.load(KERNEL, "sm_80") == three and len(compilations) == 2


@needs_nvrtc
def test_a_folder_that_cannot_be_written_is_said_once(sources, tmp_path, monkeypatch, compilations):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNNKERN_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(backends, "_warned", set())
    with pytest.warns(RuntimeWarning, match="file/cuda cannot be written .*compiled anew") as said:
        assert cache.load(KERNEL, "sm_80") == cache.load(KERNEL, "sm_80")
    assert len(said) == 1 and len(compilations) == 2 and cache.contents() == (0, 0)


@needs_nvrtc
def test_compile_all(sources, kept, tmp_path, compilations):
    kernels = [replace(KERNEL, name=f"scale<{kind}>") for kind in ("float", "double", "int", "float")]
    cache.load(kernels[1], "sm_80")
    made = cache.compile_all(kernels, "sm_80")
    assert [one.lowered_name[9] for one in made] == ["f", "d", "i", "f"] and len(compilations) == 3
    assert cache.compile_all(kernels, "sm_80") == made and len(compilations) == 3
    with config(cache=str(tmp_path / "other")):  # a setting of this thread reaches those that compile
        cache.compile_all(kernels, "sm_80")
        assert cache.contents()[0] == 3
    with pytest.raises(CompileError, match="broken"):
        cache.compile_all([replace(KERNEL, name="broken<int>"), replace(KERNEL, name="scale<char>")], "sm_80")


@needs_nvrtc
def test_progress_is_shown_on_a_terminal_alone(sources, kept, capsys, monkeypatch):
    kernels = [replace(KERNEL, name=f"scale<{kind}>") for kind in ("float", "double")]
    cache.compile_all(kernels, "sm_80")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(os, "environ", {**os.environ, "TERM": "xterm", "COLUMNS": "100"})
    cache.compile_all(kernels, "sm_80")
    assert capsys.readouterr().err == ""  # all are there
    cache.compile_all(kernels, "sm_86")
    assert "compiling CUDA kernels for sm_86" in capsys.readouterr().err
