"""Builds cnnkern: CMake makes the extension module, setuptools packs it. What is not code stands in pyproject.toml."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
REASON_FILE = "_native_build_failed.txt"


class CMakeBuild(build_ext):
    """Runs CMake and Ninja in a temporary folder; a failure leaves a pure-Python package that knows why."""

    def build_extension(self, ext: Extension) -> None:
        package = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        package.mkdir(parents=True, exist_ok=True)
        reason = package / REASON_FILE
        reason.unlink(missing_ok=True)
        try:
            self.run_cmake(package)
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CNNKERN_REQUIRE_NATIVE", "") not in ("", "0"):
                raise
            why = explain(error)
            reason.write_text(why + "\n")
            announce(why)

    def run_cmake(self, package: Path) -> None:
        cmake = shutil.which("cmake")
        if cmake is None:
            raise FileNotFoundError("cmake was not found")
        kept = os.environ.get("CNNKERN_BUILD_DIR")  # keeps CMake's folder: a second build is incremental
        with contextlib.nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="cnnkern-cmake-") as folder:
            built = Path(folder).resolve() / "out"
            options = [
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-DCNNKERN_OUTPUT_DIR={built}",
                "-DCMAKE_BUILD_TYPE=Release",
            ]
            if ninja := shutil.which("ninja"):  # by path: a kept folder knows one of an environment that is gone
                options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
            run([cmake, "-S", str(ROOT), "-B", folder, *options])
            jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(usable_cpus()))
            run([cmake, "--build", folder, "--parallel", jobs])
            for module in built.glob("_core*"):
                shutil.copy2(module, package / module.name)


def run(command: list[str]) -> None:
    """Runs a command, shows what it prints, and keeps it for the message of a failure."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout, flush=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)


def explain(error: Exception) -> str:
    """The first lines of the compiler's or CMake's output that name an error."""
    lines = (getattr(error, "output", None) or str(error)).splitlines()
    telling = [i for i, line in enumerate(lines) if "error" in line.lower() or "not found" in line.lower()]
    start = telling[0] if telling else max(0, len(lines) - 6)
    return "\n".join(line.rstrip() for line in lines[start : start + 6] if line.strip())


def announce(why: str) -> None:
    """Says that the package will be slow. pip hides what a build prints, so a terminal is told directly."""
    bar = "!" * 100
    text = (
        f"\n{bar}\ncnnkern: THE NATIVE MODULE COULD NOT BE BUILT; installing the slow pure-Python package instead.\n"
        f"Why:\n{why}\n"
        f"Needed: a C++17 compiler (GCC >= 11 or Clang >= 14). CNNKERN_REQUIRE_NATIVE=1 makes this an error.\n{bar}\n"
    )
    try:
        with open("/dev/tty", "w") as terminal:
            terminal.write(text)
    except OSError:
        print(text, file=sys.stderr, flush=True)


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# A fresh folder each time: setuptools packs whatever an earlier build left in ./build, deleted files included.
build_base = tempfile.mkdtemp(prefix="cnnkern-wheel-")
atexit.register(shutil.rmtree, build_base, ignore_errors=True)

setup(
    packages=[*find_packages(include=["cnnkern", "cnnkern.*"]), "cnnkern.kernels"],
    package_dir={"cnnkern.kernels": "kernels"},  # the CUDA sources live at the top and ship inside the package
    package_data={
        "cnnkern": ["py.typed", "data/*.npz", "data/*.jpg", "data/*.png", "data/*.md"],
        "cnnkern.kernels": ["*.md", "*.cu", "*.cuh"],
    },
    include_package_data=False,
    ext_modules=[Extension("cnnkern._core", sources=[], optional=True)],
    cmdclass={"build_ext": CMakeBuild},
    options={"build": {"build_base": build_base}},
)
