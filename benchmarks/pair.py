"""Two builds of cnnkern against each other: what did a change bring, to about one percent?

    git worktree add ../before HEAD~1 && (cd ../before && python setup.py build_ext --inplace)
    python benchmarks/pair.py ../before . resnet50 mobilenet_v2 --batch 1,16 --threads 2

Each build runs in a process of its own, with its tree first on the path. The two take turns of 150 ms, so that what
slows the machine slows both; who begins changes from round to round. "before / after" is the median over the rounds of
the quotient of the two medians, so above 1 the second build is faster; "minima" is the quotient of the fastest calls.
Of either build it needs `models.create` and `compile` alone, so it measures builds older than itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 0.15  # of a turn
AGREE = 1e-3  # of the output's range: the two builds must compute the same


def work(model: str, batch: int, threads: int, size: int | None) -> None:
    """One build's process: answers each line with a turn's median and fastest call, in ms."""
    import numpy as np

    from cnnkern import models

    made = models.create(model, seed=0)
    shape = (batch, *made.input_shape) if size is None else (batch, made.input_shape[0], size, size)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    run = made.compile(shape, backend="cpu", threads=threads)
    print(json.dumps(np.asarray(run(x)).ravel()[:4096].tolist()), flush=True)
    for _ in sys.stdin:
        run(x)
        end, times = time.perf_counter() + SECONDS, []
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            run(x)
            times.append(1e3 * (time.perf_counter() - begin))
        print(json.dumps([statistics.median(times), min(times)]), flush=True)


class Build:
    """A tree's process, and what it measured."""

    def __init__(self, tree: Path, job: Sequence[str]):
        path = os.pathsep.join(filter(None, [str(tree.resolve()), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, str(Path(__file__).resolve()), "--work", *job]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # Not in a tree: the current folder would come before the path.
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, cwd=os.sep, **pipes)
        self.medians: list[float] = []
        self.minima: list[float] = []
        self.answer = self._read()

    def _read(self) -> list[float]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"pair: a build ended with exit code {self._process.wait()}")
        return json.loads(line)

    def turn(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        median, least = self._read()
        self.medians.append(median)
        self.minima.append(least)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def pair(trees: Sequence[Path], job: Sequence[str], rounds: int) -> str:
    """The line of one network and batch."""
    before, after = builds = [Build(tree, job) for tree in trees]
    scale = max(map(abs, before.answer)) or 1.0
    if max(abs(a - b) for a, b in zip(before.answer, after.answer)) > AGREE * scale:
        raise SystemExit(f"pair: the builds' answers differ for {job[0]}: no times for a wrong one")
    for i in range(rounds):
        for build in builds[:: 1 if i % 2 else -1]:
            build.turn()
    for build in builds:
        build.close()
    quotient = statistics.median(a / b for a, b in zip(before.medians, after.medians))
    times = "  ".join(f"{statistics.median(b.medians):9.3f} ({min(b.minima):9.3f})" for b in builds)
    return f"{job[0]:22} batch {job[1]:>3}  {times}  before / after {quotient:.3f}  minima " + (
        f"{min(before.minima) / min(after.minima):.3f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pair.py", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, metavar="TREE", help="with its native module built in place")
    parser.add_argument("after", type=Path, metavar="TREE")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--batch", default="1", metavar="N[,N]", help="default: 1")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="default: as there are cores")
    parser.add_argument("--size", type=int, metavar="N", help="images of N x N; default: the model's own")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="default: 8")
    args = parser.parse_args(argv)
    print("median ms (fastest) before and after")
    for model in args.models:
        for batch in args.batch.split(","):
            job = [model, batch, str(args.threads), *([str(args.size)] if args.size else [])]
            print(pair([args.before, args.after], job, args.rounds), flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        name, *numbers = sys.argv[2:]
        work(name, *map(int, numbers[:2]), int(numbers[2]) if numbers[2:] else None)
    else:
        raise SystemExit(main())
