"""The kernels under AddressSanitizer and UBSan: the operations of the suite again, in a child process.

What the shim's own checks cannot see (an overrun of a local array, a shift too far, an overflow of an index) ends the
child with a report.
"""

from __future__ import annotations

from pathlib import Path

import host
import pytest

TESTS = Path(__file__).resolve().parents[1]
CHILD = """
import sys
sys.path[:0] = {paths!r}
import hostruntime, pytest
hostruntime.build_all()
sys.exit(pytest.main({arguments!r}))
"""


@pytest.mark.skipif(host.sanitized(), reason="this is the child already")
@pytest.mark.skipif(host.compiler() is None, reason="no C++ compiler")
def test_every_operation_sanitized():
    chosen = "cuda-host and (equals_oracle or larger or nonfinite or nan)"
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-k", f"test_counts or ({chosen})"]
    files = ("cuda/test_counts.py", "cuda/test_wgmma.py", "ops/test_ops.py")
    arguments += [str(TESTS / file) for file in files]
    script = CHILD.format(paths=[str(TESTS / "shared"), str(TESTS / "cuda")], arguments=arguments)
    try:
        done = host.run_sanitized(["-c", script], capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    assert " passed" in done.stdout and "skipped" not in done.stdout.splitlines()[-1], done.stdout[-500:]
