"""What can be done beside running: print each step (`verbose`), check each step against the oracle (`check`), tell a
caller further out of each (`listening`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .. import config
from ..backends.base import Step
from ..backends.trace import print_step

Fetch = Callable[[str], Any]  # the name of a value or param -> its NCHW-shaped array, None for ""
Watch = Callable[[Step, float, Fetch], None]  # step, ms, fetch

_listener: ContextVar[Watch | None] = ContextVar("cnnkern_listener", default=None)


@contextmanager
def listening(watch: Watch) -> Iterator[None]:
    """`with listening(watch): ...`: whatever executable runs inside, in this thread, tells `watch` of each step."""
    token = _listener.set(watch)
    try:
        yield
    finally:
        _listener.reset(token)


def in_force() -> tuple:
    """A key of what `watching` hangs on, but for the environment."""
    return (_listener.get(), *config.in_force())


def watching(backend: str) -> Watch | None:
    """What the settings ask for here and now (CNNKERN_VERBOSE, CNNKERN_CHECK), and who listens; None for the fast
    road."""
    watches: list[Watch] = []
    if listener := _listener.get():
        watches.append(listener)
    if verbose := config.get("verbose"):
        watches.append(verbose_watch(backend, verbose))
    if config.get("check"):
        watches.append(check_watch)
    if not watches:
        return None

    def watch(step: Step, ms: float, fetch: Fetch) -> None:
        for each in watches:
            each(step, ms, fetch)

    return watch


def verbose_watch(backend: str, level: int = 1) -> Watch:
    """A line per step on stderr: backend, layer, kernel, problem, ms, GFLOP/s; from level 2 on also why."""

    def watch(step: Step, ms: float, fetch: Fetch) -> None:
        why = step.why if level >= 2 else ""
        print_step(backend, step.kernel, step.spec, step.in_shapes, ms / 1e3, why, step.name)

    return watch


def check_watch(step: Step, ms: float, fetch: Fetch) -> None:
    """Run the step's Spec on its inputs through the oracle and compare every output.

    Raises:
        AssertionError: an output is beyond its tolerance (cnnkern/testing.py); the message starts with the layer.
    """
    from .. import testing  # which imports every function of the library

    arrays = [fetch(name) for name in step.inputs]
    with config.overrides(check=False, verbose=0):
        expected = testing.reference(step.spec, *arrays)
        for name, theirs in zip(step.outputs, expected if len(step.outputs) > 1 else (expected,)):
            try:
                testing.assert_close(fetch(name), theirs, step.spec, arrays)
            except AssertionError as error:
                raise AssertionError(f"layer {step.name!r}, kernel {step.kernel}: {error}") from None
