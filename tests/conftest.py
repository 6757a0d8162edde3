"""What every test has: fresh random numbers whose seed a failure prints, and hypothesis profiles.

`pytest --seed 123` repeats the numbers of the `rng` fixture; hypothesis prints its own falsifying example and a line
that repeats it. `pytest --hypothesis-profile=long` searches twenty times as long.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Teams larger than the machine are tested too; OpenMP's idle workers would spin in the way of those that have work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parent / "shared"))  # opcases, engines and the like, for the folders below
sys.path.insert(1, str(Path(__file__).parent / "cuda"))  # host.py and hostruntime.py, likewise

_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": list(HealthCheck)}
settings.register_profile("short", max_examples=20, **_COMMON)
settings.register_profile("long", max_examples=400, **_COMMON)
settings.load_profile("short")


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, default=None, help="seed of the rng fixture (default: fresh, printed on failure)"
    )


def pytest_report_header() -> str:
    import cnnkern

    return f"cnnkern {cnnkern.__version__} from {Path(cnnkern.__file__).parent}, backends: {cnnkern.backends()}"


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory):
    """`python -c` imports from the working directory first: from the checkout it would not find what pip installed.
    Nor do tests read what was kept for this machine."""
    before = os.getcwd()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.chdir(elsewhere)
    os.environ["CNNKERN_CACHE"] = str(elsewhere / "cache")
    yield
    os.chdir(before)


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator with a fresh seed; pytest shows the line below when the test fails."""
    seed = request.config.getoption("--seed")
    seed = secrets.randbits(32) if seed is None else seed
    print(f"numbers from --seed {seed}")
    return np.random.default_rng(seed)
