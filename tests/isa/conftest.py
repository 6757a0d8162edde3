"""Where the ISA tests find the compiled code: the installed module, and one object per ISA."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def core_path() -> Path:
    """The extension module that `import cnnkern` uses."""
    spec = importlib.util.find_spec("cnnkern._core")
    if spec is None:
        pytest.skip("cnnkern._core was not built")
    return Path(spec.origin)


@pytest.fixture(scope="session")
def isa_objects(pytestconfig, tmp_path_factory) -> dict[str, Path]:
    """ISA name -> its object file: from CNNKERN_BUILD_DIR where the build kept one, else compiled here (and kept in
    pytest's cache, so that a second run compiles only what changed)."""
    kept = os.environ.get("CNNKERN_BUILD_DIR")
    folder = Path(kept) if kept else cache_folder(pytestconfig) or tmp_path_factory.mktemp("isa-objects")
    if not kept:
        compile_objects(folder)
    found = {path.parents[2].name: path for path in folder.glob("CMakeFiles/cnnkern_isa_*.dir/csrc/ukernels/*.o")}
    objects = {name.removeprefix("cnnkern_isa_").removesuffix(".dir"): path for name, path in found.items()}
    assert "vec128" in objects, f"no ISA object under {folder}"
    return objects


def cache_folder(pytestconfig) -> Path | None:
    cache = getattr(pytestconfig, "cache", None)  # not there under -p no:cacheprovider
    try:
        return cache and cache.mkdir("isa-objects")
    except OSError:  # a checkout that may not be written to
        return None


def compile_objects(folder: Path) -> None:
    if not (ROOT / "CMakeLists.txt").exists():
        pytest.skip("csrc/ is not here (not a checkout)")
    if shutil.which("cmake") is None or importlib.util.find_spec("pybind11") is None:
        pytest.skip("cmake and pybind11 are needed to compile the objects")
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2", "--target", "isa_objects"]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="session")
def binutils():
    """Runs nm or objdump and returns what it prints."""

    def run(tool: str, *arguments: str) -> str:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} (binutils) is needed to read compiled code")
        return subprocess.run([tool, *arguments], check=True, capture_output=True, text=True).stdout

    return run
