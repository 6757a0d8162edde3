"""Teams and arenas, through a small C++ program: with OpenMP, without it, and under ThreadSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
SOURCES = [Path(__file__).with_name("team_test.cpp"), ROOT / "csrc/core/team.cpp", ROOT / "csrc/core/arena.cpp"]

needs_sources = pytest.mark.skipif(not SOURCES[1].exists(), reason="csrc/ is not here (not a checkout)")


@needs_sources
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        pytest.param(["-fopenmp"], [], id="openmp"),
        pytest.param([], [], id="threads"),
        pytest.param(["-fsanitize=thread", "-g"], ["nofork"], id="tsan"),
    ],
)
def test_team_and_arena(flags, arguments, tmp_path):
    program = tmp_path / "team_test"
    command = [COMPILER, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    build = subprocess.run(
        [*command, *flags, *map(str, SOURCES), "-o", str(program), "-pthread"], capture_output=True, text=True
    )
    if build.returncode and flags and ("libtsan" in build.stderr or "omp" in build.stderr):
        pytest.skip(f"{COMPILER} has no runtime for {flags[0]}")
    assert build.returncode == 0, build.stderr
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, timeout=120)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run under this kernel's address randomisation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "ok"
