"""What the benchmarks share: the clock that kernels are timed by, and where to run."""

from __future__ import annotations

from cnnkern import backends, config

SECONDS = 0.25  # of each benchmark's rounds
MIN_ROUNDS, MAX_ROUNDS = 5, 100


class Clock:
    """Seconds that native code has measured, added up."""

    def __init__(self):
        self._seconds = 0.0

    def advance(self, ms: float) -> None:
        self._seconds += ms / 1e3

    def now(self) -> float:
        return self._seconds


NATIVE = Clock()


def timer() -> float:
    """For `pytest.mark.benchmark(timer=...)`."""
    return NATIVE.now()


def backend_name() -> str:
    """The backend that is timed: CNNKERN_BACKEND's, else the compiled one, else the fastest there is."""
    return config.get("backend") or backends.default().name


def isas() -> list[str | None]:
    """The instruction sets to time on, best last; [None] off the cpu backend."""
    if backend_name() != "cpu":
        return [None]
    from cnnkern import cpu_info

    return list(cpu_info()["isas"])
