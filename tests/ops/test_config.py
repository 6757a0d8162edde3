"""Settings: the table, the environment, blocks, threads."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import cnnkern
from cnnkern import UnsupportedError, backends, config


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for setting in config.SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(config, "_threads", None)


def test_defaults_environment_and_blocks(monkeypatch):
    assert config.settings() == {s.variable: s.default for s in config.SETTINGS.values()}
    monkeypatch.setenv("CNNKERN_VERBOSE", "2")
    monkeypatch.setenv("CNNKERN_CHECK", "yes")
    monkeypatch.setenv("CNNKERN_CONV_ALGO", "im2col")
    assert (config.get("verbose"), config.get("check"), config.get("conv_algo")) == (2, True, "im2col")
    with config(verbose=0, precision="strict"):
        assert (config.get("verbose"), config.get("check"), config.get("precision")) == (0, True, "strict")
        with cnnkern.config(verbose=3):
            assert (config.get("verbose"), config.get("precision")) == (3, "strict")
        assert config.get("verbose") == 0
    assert config.get("verbose") == 2
    monkeypatch.setenv("CNNKERN_VERBOSE", "")
    assert config.get("verbose") == 0, "an empty variable is unset"


def test_a_block_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), config(check=True):
        raise ZeroDivisionError
    assert config.get("check") is False


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("VERBOSE", "loud", "integer.*loud"), ("VERBOSE", "-1", "at least 0"), ("CHECK", "maybe", "0 or 1.*maybe"),
     ("CONV_ALGO", "magic", "winograd.*magic"), ("PRECISION", "half", "strict.*half"),
     ("NUM_THREADS", "0", "at least 1")],
)  # fmt: skip
def test_bad_variables_are_named(monkeypatch, variable, value, words):
    monkeypatch.setenv(f"CNNKERN_{variable}", value)
    with pytest.raises(ValueError, match=f"CNNKERN_{variable}.*{words}"):
        config.settings()


@pytest.mark.parametrize(
    ("values", "exception", "words"),
    [({"verbos": 1}, TypeError, "verbos.*did you mean 'verbose'"), ({"zzz": 1}, TypeError, "known are backend"),
     ({"require_native": True}, TypeError, "require_native"), ({"precision": "half"}, ValueError, "half"),
     ({"check": "perhaps"}, ValueError, "perhaps"), ({"num_threads": 0}, ValueError, "at least 1"),
     ({"num_threads": 1.5}, TypeError, "1.5"), ({"backend": 3}, TypeError, "3")],
)  # fmt: skip
def test_bad_blocks_raise_at_once(values, exception, words):
    with pytest.raises(exception, match=words):
        config(**values)


def test_blocks_are_per_thread():
    seen = {}
    inside = threading.Event()

    def other():
        inside.wait()
        seen["other"] = config.get("verbose")

    thread = threading.Thread(target=other)
    thread.start()
    with config(verbose=3):
        inside.set()
        thread.join()
        seen["mine"] = config.get("verbose")
    assert seen == {"other": 0, "mine": 3}


def test_thread_counts(monkeypatch):
    usable = cnnkern.get_num_threads()
    assert usable >= 1 and cnnkern.cpu_info()["threads"] == usable
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert cnnkern.get_num_threads() == 5
    monkeypatch.setenv("CNNKERN_NUM_THREADS", "7")
    assert cnnkern.get_num_threads() == 7
    cnnkern.set_num_threads(3)
    assert cnnkern.get_num_threads() == 3
    with config(num_threads=2):
        assert cnnkern.get_num_threads() == 2
    for bad, exception in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(exception, match="n must be"):
            cnnkern.set_num_threads(bad)


def test_backends_by_name(monkeypatch):
    assert set(cnnkern.backends()) >= {"reference", "cpu"} and cnnkern.backends()["reference"] == "available"
    reference = backends.get("reference")
    assert backends.get("reference") is reference and backends.get(reference) is reference
    with config(backend="reference"):
        assert backends.get() is reference
        with config(backend=None):
            assert backends.get() is backends.default()
    monkeypatch.setenv("CNNKERN_BACKEND", "referee")
    with pytest.raises(ValueError, match="backend.*reference.*referee"):
        backends.get()
    with pytest.raises(TypeError, match="backend must be a name"):
        backends.get(7)


def test_a_missing_backend_says_so_once(monkeypatch):
    monkeypatch.setattr(backends, "_CLASSES", {"gone": ("gone", "Gone"), **backends._CLASSES})
    monkeypatch.setattr(backends, "_warned", set())
    assert "gone" in backends.available()["gone"]
    with pytest.warns(RuntimeWarning, match="the gone backend is not available.*slow"):
        first = backends.get()
    assert first.name != "gone"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.get() is first
    with pytest.raises(UnsupportedError, match="'gone' is not available"):
        backends.get("gone")


def test_forced_algorithm_reaches_the_backend():
    class Spy:
        name = "spy"

        def call(self, spec, arrays, out=None, precision=None):
            self.seen = spec.algo, precision
            return (np.zeros((1, 1, 1, 1), np.float32),)

    x, spy = np.ones((1, 1, 1, 1), np.float32), Spy()
    cnnkern.conv2d(x, x, backend=spy)
    assert spy.seen == ("auto", "float32")
    with config(conv_algo="winograd", precision="strict"):
        cnnkern.conv2d(x, x, backend=spy)
        assert spy.seen == ("winograd", "strict")
        cnnkern.conv2d(x, x, algo="direct", precision="float32", backend=spy)
        assert spy.seen == ("direct", "float32")


def test_a_block_serves_many_calls_and_threads():
    """What is in force is the same key wherever the same holds, and another where it does not."""
    block, outside, seen = config(num_threads=3), config.in_force(), []
    assert hash(outside) == hash(config.in_force()) and outside == config.in_force()

    def nested():
        with block.again():
            before = config.in_force()
            with block.again(), config(precision="strict"):
                assert config.in_force() != before
            seen.append((config.get_num_threads(), config.in_force() == before != outside))
        seen.append(config.in_force() == outside)

    threads = [threading.Thread(target=nested) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, seen)) == sorted(map(str, [(3, True), True] * 4))


def test_import_needs_numpy_alone():
    """No optional package, no native module, nothing printed."""
    code = (
        "import sys, builtins\n"
        "real = builtins.__import__\n"
        "refused = {'rich', 'PIL', 'onnx', 'torch', 'numba', 'cupy', 'safetensors', 'hypothesis', 'pytest', 'h5py'}\n"
        "def guard(name, *args, **kwargs):\n"
        "    if name.split('.')[0] in refused: raise ImportError(name)\n"
        "    return real(name, *args, **kwargs)\n"
        "builtins.__import__ = guard\n"
        "import cnnkern\n"
        "assert callable(cnnkern.conv2d) and callable(cnnkern.backends) and callable(cnnkern.config)\n"
        "assert 'cnnkern._core' not in sys.modules, 'the native module is loaded when it is first used'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
