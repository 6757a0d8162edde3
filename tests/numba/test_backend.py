"""What the Numba backend does beside computing: its threads, fork, and where compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from engines import numba

import cnnkern
from cnnkern import config

pytestmark = pytest.mark.skipif(bool(cnnkern.backends.available()["numba"]), reason="no numba backend")
ENGINE = numba()


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# --- threads


def test_units_are_claimed_once():
    from cnnkern.backends.numba.team import run_on_team

    def work(units, done):
        while True:
            try:
                done.append(units.pop())
            except IndexError:
                return

    for threads in (1, 2, 7):
        done: list[int] = []
        run_on_team(work, (list(range(1000)), done), threads)
        assert sorted(done) == list(range(1000))


def test_what_fails_on_a_helper_is_raised_to_its_caller():
    from cnnkern.backends.numba.team import run_on_team

    caller, begun = threading.current_thread(), threading.Event()

    def work():
        if threading.current_thread() is caller:
            assert begun.wait(30)
        else:
            begun.set()
            raise MemoryError("none left")

    with pytest.raises(MemoryError, match="none left"):
        run_on_team(work, (), 2)
    done: list[int] = []
    run_on_team(done.append, (1,), 2)
    assert done, "helpers go on"


@pytest.mark.parametrize("engine", [ENGINE])
def test_bits_of_forced_algorithms_agree_with_any_threads(engine, rng):
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 40, 19, 21), (40, 40, 1, 1)))
    for algo in ("direct", "im2col", "pointwise"):
        made = []
        for threads in (1, 2, 6):
            with config(num_threads=threads):
                made.append(cnnkern.conv2d(x, w, algo=algo, backend=engine))
        assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_fork_goes_on():
    done = python(
        "import os, warnings, numpy as np, cnnkern\n"
        "warnings.simplefilter('ignore')  # Python's own word about fork and threads\n"
        "x, w = np.ones((1, 8, 30, 30), 'f4'), np.ones((9, 8, 3, 3), 'f4')\n"
        "run = lambda: cnnkern.conv2d(x, w, padding=1, backend='numba')\n"
        "with cnnkern.config(num_threads=3):\n"
        "    before = run()\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os._exit(0 if np.array_equal(run(), before) else 1)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    assert os.waitstatus_to_exitcode(status) == 0\n"
        "    assert np.array_equal(run(), before)\n"
    )
    assert done.returncode == 0, done.stderr


# --- compiled kernels

ONE_KERNEL = (
    "import numpy as np, cnnkern\nassert cnnkern.relu(np.array([-1, 2], 'f4'), backend='numba').tolist() == [0, 2]\n"
)


def test_kernels_are_kept_and_found_again(tmp_path):
    seen = []
    for _ in range(2):
        done = python(ONE_KERNEL, CNNKERN_CACHE=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        seen.append({file: file.stat().st_mtime_ns for file in tmp_path.glob("numba/*/**/*.nb*")})
    assert seen[0] and seen[0] == seen[1], "nothing was compiled anew"


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = python(
        ONE_KERNEL + "cnnkern.linear(np.ones((1, 2), 'f4'), np.ones((3, 2), 'f4'), backend='numba')\n",
        CNNKERN_CACHE=str(tmp_path / "file"),
    )
    assert done.returncode == 0 and done.stderr.count("cannot be written") == 1, done.stderr


def test_numbas_own_settings_are_left_alone():
    done = python(
        "import numba\nbefore = numba.config.CACHE_DIR, numba.get_num_threads()\n" + ONE_KERNEL
        + "assert (numba.config.CACHE_DIR, numba.get_num_threads()) == before"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_numba_is_loaded_when_it_is_first_used():
    done = python("import sys, cnnkern\ncnnkern.backends.get('reference')\nassert 'numba' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_a_numba_that_does_not_load_is_not_available():
    done = python(
        "import sys, types, importlib.machinery as m\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return m.ModuleSpec(name, self, origin='here') if name == 'numba' else None\n"
        "    def create_module(self, spec): return None\n"
        "    def exec_module(self, module): raise SystemError('made for another NumPy')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "import cnnkern\n"
        "print(cnnkern.backends()['numba'])"
    )
    assert done.returncode == 0 and "does not load: made for another NumPy" in done.stdout, done.stderr
