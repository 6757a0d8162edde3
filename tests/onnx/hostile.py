"""Models that may do harm are tried in a process of their own, with little memory and little time.

`Trial` starts one clean process, which has imported what it takes, and forks a child from it for every model: a crash,
a hang or a lack of memory is an answer like another.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import select
import signal
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

MEMORY_BYTES = 1 << 30  # of address space beyond what the process has when the model arrives
SECONDS = 20
LARGEST_FEED = 1 << 20  # elements


@dataclass(frozen=True)
class Outcome:
    """What became of a model: "ok", "raised", "died" or "slow".

    Attributes:
        stage: "load" or "run". error: the exception's class and those it derives from, by name. text: its message.
        peak_bytes: what the child's resident memory grew by.
    """

    what: str
    stage: str = ""
    error: tuple[str, ...] = ()
    text: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0

    def __str__(self) -> str:
        name = self.error[0] if self.error else ""
        return f"{self.what} in {self.stage or '?'}: {name} {self.text[:500]} ({self.seconds:.1f} s)"


class Trial:
    """The process that models are tried in; use it with `with`."""

    def __enter__(self) -> Trial:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.poll(120) and self._pipe.recv() == "ready"
        return self

    def __exit__(self, *error: Any) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __call__(self, source: bytes | str, feeds: dict[str, np.ndarray] | None = None, **options: Any) -> Outcome:
        """Load a model (bytes or a path), then run it.

        Args:
            feeds: the inputs; None makes them as the model declares them. options: of `cnnkern.onnx.load`.
        """
        self._pipe.send((source, feeds, options))
        if not self._pipe.poll(SECONDS + 60):
            raise TimeoutError("the process that watches over the models does not answer")
        return self._pipe.recv()


def _serve(pipe) -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "CNNKERN_NUM_THREADS": "1"}
    import cnnkern  # noqa: F401
    import cnnkern.onnx.backend  # noqa: F401  and with it the loader and the evaluator

    for model in warm_up():  # what is imported and looked up once
        cnnkern.onnx.load(model).run({"x": np.zeros((2, 3), np.float32)})
    pipe.send("ready")
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(_forked(job))


def warm_up() -> list[Any]:
    """A model of kernels, and one for the evaluator."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    found = []
    for op, kind in (("Relu", TensorProto.FLOAT), ("NonZero", TensorProto.INT64)):
        y = helper.make_tensor_value_info("y", kind, None)
        found.append(helper.make_model(helper.make_graph([helper.make_node(op, ["x"], ["y"])], "warm", [x], [y])))
    return found


def _forked(job: tuple) -> Outcome:
    """The outcome of one job, which a child of this process finds out."""
    begin = time.monotonic()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            answer = _attempt(*job)
            os.write(theirs, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        data, slow = _read(ours, begin + SECONDS)
    finally:
        os.close(ours)
    if slow:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - begin
    if slow:
        return Outcome("slow", seconds=seconds)
    if not data:
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        return Outcome("died", text=how, seconds=seconds)
    what, stage, error, text = pickle.loads(data)
    grown = usage.ru_maxrss * 1024 - _resident()
    return Outcome(what, stage, error, text, seconds, max(0, grown))


def _read(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """All that a pipe brings, and whether the deadline came first."""
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return data, True
        part = os.read(pipe, 1 << 16)
        if not part:
            return data, False
        data += part


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _attempt(source: bytes | str, feeds: dict[str, np.ndarray] | None, options: dict[str, Any]) -> tuple:
    """Runs in the child: (what, stage, classes of the error, its text)."""
    import cnnkern

    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stage = "load"
    try:
        model = cnnkern.onnx.load(source, **options)
        stage = "run"
        feeds = feeds if feeds is not None else made_feeds(model.inputs)
        if feeds is None:
            return "ok", "load", (), "inputs too large to try"
        with np.errstate(all="ignore"):
            model.run(feeds)
    except BaseException as error:
        return "raised", stage, tuple(c.__name__ for c in type(error).__mro__[:-2]), str(error)
    return "ok", stage, (), ""


def made_feeds(ports) -> dict[str, np.ndarray] | None:
    """An array for every input, open dimensions 2; None where one would be too large."""
    found = {}
    for port in ports:
        if not port.is_tensor:
            found[port.name] = []
            continue
        shape = tuple(dim if isinstance(dim, int) else 2 for dim in port.shape or ())
        if np.prod(shape, dtype=float) > LARGEST_FEED:
            return None
        dtype = np.dtype(port.dtype)
        found[port.name] = np.full(shape, "a" if dtype.kind == "O" else 1, dtype)
    return found
