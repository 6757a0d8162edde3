"""What is packed: the installed package, the sdist, and the pure-Python wheel that a failed native build leaves."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REASON = "cnnkern/_native_build_failed.txt"
SHIPPED = ["setup.py", "pyproject.toml", "CMakeLists.txt", "MANIFEST.in", "README.md", "LICENSE"]


def has_build_tools() -> bool:
    found = importlib.util.find_spec("setuptools") is not None and shutil.which("cmake") is not None
    return found and int(importlib.metadata.version("setuptools").split(".")[0]) >= 77


needs_build_tools = pytest.mark.skipif(
    not (ROOT / "setup.py").exists() or not has_build_tools(), reason="needs a checkout, setuptools >= 77 and cmake"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what a build reads, so that no test writes into the tree."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "_native_build_failed.txt")
    for folder in ("cnnkern", "csrc", "kernels", "tests", "benchmarks", "examples"):
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for name in SHIPPED:
        shutil.copy(ROOT / name, copy / name)
    return copy


def setup_py(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if k not in ("CNNKERN_REQUIRE_NATIVE", "CNNKERN_BUILD_DIR")}
    return subprocess.run(
        [sys.executable, "setup.py", *arguments],
        cwd=checkout,
        env={**env, **environment},
        capture_output=True,
        text=True,
        start_new_session=True,  # without a terminal: the loud message then goes to stderr
    )


@pytest.fixture(scope="module")
def installed() -> importlib.metadata.Distribution:
    """The distribution that `import cnnkern` comes from, as pip recorded it."""
    site = Path(importlib.util.find_spec("cnnkern").origin).parents[1]
    found = [d for d in importlib.metadata.distributions(path=[str(site)]) if d.metadata["Name"] == "cnnkern"]
    if not found or not list(site.glob("cnnkern-*.dist-info")):
        pytest.skip("cnnkern runs from a checkout")
    return found[0]


def test_the_installed_package_is_the_one_tested():
    """The checkout, whose name is the package's, must not shadow what pip installed."""
    import cnnkern

    copies = [
        Path(d.locate_file("cnnkern")) for d in importlib.metadata.distributions() if d.metadata["Name"] == "cnnkern"
    ]
    installed = [copy for copy in copies if copy.parent != ROOT and (copy / "__init__.py").exists()]
    if not installed:
        pytest.skip("cnnkern runs from a checkout")
    assert Path(cnnkern.__file__).parent.resolve() == installed[0].resolve()


def test_installed_files(installed):
    files = {str(path) for path in installed.files}
    assert {"cnnkern/py.typed", "cnnkern/kernels/README.md", "cnnkern/data/grace_hopper.jpg"} <= files
    assert any(name.endswith("licenses/LICENSE") for name in files)
    assert not any(name.startswith(("tests/", "csrc/", "benchmarks/", "cnnkern/tests/")) for name in files)


def test_version_and_command(installed):
    import cnnkern

    assert installed.version == cnnkern.__version__
    assert [e.value for e in installed.entry_points if e.group == "console_scripts"] == ["cnnkern.cli:main"]


@needs_build_tools
def test_sdist_holds_the_sources(checkout, tmp_path):
    done = setup_py(checkout, "sdist", "--dist-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {path.relative_to(checkout).as_posix() for path in checkout.glob("csrc/**/*") if path.is_file()}
    wanted |= {"kernels/README.md", "cnnkern/data/grace_hopper.jpg", "cnnkern/py.typed", *SHIPPED}
    assert wanted <= names
    assert not any(name.endswith((".so", ".pyc")) for name in names)


@pytest.fixture(scope="module")
def without_compiler(checkout, tmp_path_factory) -> Path:
    """Where the wheel lies unpacked that an installation without a compiler makes."""
    place = tmp_path_factory.mktemp("pure")
    done = setup_py(checkout, "bdist_wheel", "--dist-dir", str(place), CXX="/nonexistent/c++")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("THE NATIVE MODULE COULD NOT BE BUILT") == 1
    assert "/nonexistent/c++" in done.stderr, "the message says why"
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        assert REASON in names and not any(name.endswith(".so") for name in names)
        wheel.extractall(place / "site")
    return place / "site"


@needs_build_tools
@pytest.mark.parametrize("chosen", ["numba", "reference"])
def test_failed_native_build_leaves_a_working_package(without_compiler, tmp_path, chosen):
    """On Numba where it is installed, else on the reference; which, and why, is said once."""
    if chosen == "numba":
        pytest.importorskip("numba")
    use = (
        "import sys, warnings; sys.path.insert(0, sys.argv[1])\n"
        "if sys.argv[2] == 'reference': sys.modules['numba'] = None  # as if it were not installed\n"
        "import numpy as np, cnnkern\n"
        "assert cnnkern.__file__.startswith(sys.argv[1]), cnnkern.__file__\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(3):\n"
        "        y = cnnkern.conv2d(np.ones((1, 2, 4, 4), 'f4'), np.ones((3, 2, 3, 3), 'f4'))\n"
        "assert y.shape == (1, 3, 2, 2) and (y == 18).all()\n"
        "assert cnnkern.backends.default().name == sys.argv[2]\n"
        "(only,) = [str(w.message) for w in said if w.category is RuntimeWarning]\n"
        "assert f'runs on {sys.argv[2]}' in only and '/nonexistent/c++' in only, only\n"
        "assert ('Numba is not installed' in only) is (sys.argv[2] == 'reference'), only\n"
        "print(cnnkern.backends())"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CNNKERN_", "PYTHONPATH"))}
    env["CNNKERN_CACHE"] = str(tmp_path / "cache")

    def run(*command) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", *command, chosen], capture_output=True, text=True, env=env, cwd=tmp_path
        )

    used = run(use, str(without_compiler))
    assert used.returncode == 0, used.stderr
    assert "/nonexistent/c++" in used.stdout, "the package says why it is slow"
    verb = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if sys.argv[2] == 'reference': sys.modules['numba'] = None\n"
        "from cnnkern.cli import main; sys.exit(main(['flops', 'lenet5']))"
    )
    counted = run(verb, str(without_compiler))
    assert counted.returncode == 0 and counted.stderr.count(f"runs on {chosen}") == 1, counted.stderr


@needs_build_tools
def test_native_can_be_required(checkout, tmp_path):
    done = setup_py(
        checkout, "bdist_wheel", "--dist-dir", str(tmp_path), CXX="/nonexistent/c++", CNNKERN_REQUIRE_NATIVE="1"
    )
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.whl"))
