"""Which algorithm and which tile serve a convolution: the one place that chooses.

Every choice is an estimate in cycles of the device, from the shape and the constants below. They are a model's, not a
measurement's: no GPU has been timed yet (benchmarks/gpu_run.py is what would fit them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import UnsupportedError
from .gemm import Engine, Ffma, Wgmma, engines
from .tensors import ITEM_BYTES

FMA_PER_CYCLE = 128  # of a multiprocessor
THREADS_RESIDENT = 512  # of a tile kernel on a multiprocessor, which its registers allow
STEP_LATENCY = 400  # cycles from a load to its use, where too few warps hide it
MMA_STEP_LATENCY = 150  # where three steps are under way at once
LAUNCH = 4000  # cycles a launch costs in a graph: 2 us
BYTES_PER_CYCLE = 2400  # of the device's memory: 4.3 TB/s at 1.8 GHz
CACHE_BYTES_PER_CYCLE = 3200  # of L2, from which tiles are read again
CACHE_BYTES = 40 << 20  # of L2, for what one kernel leaves to the next
SHARE = {(8, 8): 0.90, (8, 4): 0.75, (4, 4): 0.60}  # of the FMA peak, by a thread's tile
TENSOR_FMA_PER_CYCLE = {"tf32": 512, "f16": 1024, "bf16": 1024}  # of a multiprocessor, by mma.sync
TENSOR_SHARE = {(64, 32): 0.85, (32, 32): 0.70, (16, 32): 0.50, (16, 16): 0.40}  # by a warp's tile
WGMMA_FMA_PER_CYCLE = {"tf32_wgmma": 1024, "f16_wgmma": 2048, "bf16_wgmma": 2048}  # of a multiprocessor
WGMMA_SHARE = {256: 0.80, 128: 0.70, 64: 0.45}  # by a tile's columns
WGMMA_STEP_LATENCY = 200  # half of a stage's are under way at once, and longer steps than the others'
WGMMA_BLOCK = 2000  # cycles a block spends before its first product and after its last: nothing else runs beside it
DIRECT_SHARE = 0.03
WINOGRAD = ((2, 3), (4, 3), (2, 5))  # outputs and taps of a tile, along a side
PRECISE = ("strict", "tf32", "float16", "bfloat16")  # no Winograd


@dataclass(frozen=True)
class ConvProblem:
    """A convolution's sizes: what the choice hangs on."""

    n: int
    c: int
    h: int
    w: int
    k: int
    p: int
    q: int
    r: int
    s: int
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    vector: int = 4  # channels that one load of x may take

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Above and below, left and right, as a Spec has it; what lies below and right shows in p and q."""
        return (self.pad[0], 0), (self.pad[1], 0)

    @property
    def m(self) -> int:
        return self.n * self.p * self.q

    @property
    def c_group(self) -> int:
        return self.c // self.groups

    @property
    def k_group(self) -> int:
        return self.k // self.groups

    @property
    def taps(self) -> int:
        return self.r * self.s * self.c_group


def serves(problem: ConvProblem, algo: str) -> bool:
    """Whether an algorithm can compute it."""
    square = problem.r == problem.s and problem.stride == problem.dilation == (1, 1) and problem.groups == 1
    narrow = problem.c_group == problem.k_group and problem.c_group in (2, 4, 8)
    return {
        "direct": True,
        "im2col": True,
        "pointwise": problem.r == problem.s == 1 and problem.groups == 1,
        "depthwise": problem.groups > 1 and problem.c_group == 1 or problem.c == 1 == problem.groups,
        "grouped": narrow,
        "winograd": square and problem.r in (3, 5),
    }[algo]


ALGOS = ("direct", "im2col", "pointwise", "depthwise", "grouped", "winograd")


def select(problem: ConvProblem, algo: str, precision: str, multiprocessors: int, target: str) -> dict[str, Any]:
    """The decision: {"algo", and what that needs: "tile", "splits", "m"}. The tile says which engine (gemm.py) it is.

    Raises:
        UnsupportedError: the algorithm that is asked for cannot serve; the message lists those that can.
    """
    device = Device(precision, multiprocessors, target, problem.vector)
    if algo != "auto":
        banned = algo == "winograd" and precision in PRECISE
        if banned or not serves(problem, algo):
            can = [a for a in ALGOS if serves(problem, a) and not (a == "winograd" and precision in PRECISE)]
            raise UnsupportedError(
                f"algo {algo!r} cannot serve this convolution under {precision!r}: {', '.join(can)} can"
            )
        if algo in ("direct", "depthwise", "grouped"):
            return {"algo": algo}
        if algo == "winograd":
            return min(winograd(problem, precision, multiprocessors, target), key=lambda found: found[0])[1]
        if algo == "im2col":  # its matrix lies as loads want it
            device = Device(precision, multiprocessors, target, next(v for v in (4, 2, 1) if problem.taps % v == 0))
        return {"algo": algo, **device.product(problem.m, problem.k_group, problem.taps)[1]}
    if serves(problem, "depthwise") and problem.groups > 1:
        return {"algo": "depthwise"}
    if serves(problem, "grouped") and problem.groups > 1:
        return {"algo": "grouped"}
    outputs = problem.m * problem.k
    direct = outputs * problem.taps / (DIRECT_SHARE * FMA_PER_CYCLE * multiprocessors) + LAUNCH
    found = [(direct, {"algo": "direct"})]
    if problem.groups == 1 or problem.c_group % device.word == 0:
        cycles, tile = device.product(problem.m, problem.k_group, problem.taps, problem.groups)
        name = "pointwise" if serves(problem, "pointwise") else "implicit_gemm"
        found.append((cycles, {"algo": name, **tile}))
    if serves(problem, "winograd") and precision not in PRECISE and problem.r == 3:
        found += winograd(problem, precision, multiprocessors, target)
    return min(found, key=lambda pair: pair[0])[1]


class Device:
    """Estimates, in cycles, for products of one precision on so many multiprocessors; loads take `vector` channels."""

    def __init__(self, precision: str, multiprocessors: int, target: str, vector: int = 4):
        self.engines, self.multiprocessors = engines(precision, target), multiprocessors
        self.word = self.engines[0].word
        self.tiles = [(engine, tile) for engine in self.engines for tile in engine.tiles_for(vector)]

    def product(self, m: int, k: int, taps: int, groups: int = 1) -> tuple[float, dict[str, Any]]:
        """(cycles, {"tile", "splits"}) of the cheapest way to make a product."""
        best = None
        for engine, tile in self.tiles:
            steps = -(-taps // engine.step)
            blocks = -(-m // tile.rows) * -(-k // tile.columns) * groups
            for splits in (1, 2, 4, 8, 16, 32):
                if splits > 1 and (steps < 8 * splits or blocks * splits > 4 * self.multiprocessors):
                    break
                cycles = self._tile(engine, tile, blocks * splits, -(-steps // splits))
                if splits > 1:
                    cycles += LAUNCH + 4 * m * k * groups * (splits + 1) / BYTES_PER_CYCLE
                if best is None or cycles < best[0]:
                    best = cycles, {"tile": tile, "splits": splits}
        return best

    def _tile(self, engine: Engine, tile, blocks: int, steps: int) -> float:
        if isinstance(engine, Ffma):
            rate = FMA_PER_CYCLE * SHARE[tile.thread_rows, tile.thread_columns]
        elif isinstance(engine, Wgmma):
            rate = WGMMA_FMA_PER_CYCLE[engine.name] * WGMMA_SHARE[tile.columns]
        else:
            rate = TENSOR_FMA_PER_CYCLE[engine.name] * TENSOR_SHARE[tile.warp_rows, tile.warp_columns]
        work = tile.rows * tile.columns * engine.step * steps / rate
        each = -(-blocks // self.multiprocessors)  # blocks of the busiest multiprocessor
        if isinstance(engine, Wgmma):
            return LAUNCH + each * (max(work, steps * WGMMA_STEP_LATENCY) + WGMMA_BLOCK)
        resident = max(1, THREADS_RESIDENT // tile.threads)
        ffma = isinstance(engine, Ffma)
        latency = -(-each // resident) * steps * (STEP_LATENCY if ffma else MMA_STEP_LATENCY)
        read = blocks * (tile.rows + tile.columns) * steps * engine.step * ITEM_BYTES[engine.ctype]
        return LAUNCH + max(each * work, latency, read / CACHE_BYTES_PER_CYCLE)


def winograd(
    problem: ConvProblem, precision: str, multiprocessors: int, target: str
) -> list[tuple[float, dict[str, Any]]]:
    """(cycles, decision) of each tile size that fits the filter."""
    device, found = Device(precision, multiprocessors, target), []
    for m, r in WINOGRAD:
        if r != problem.r:
            continue
        positions = (m + r - 1) ** 2
        tiles = problem.n * -(-problem.p // m) * -(-problem.q // m)
        cycles, tile = device.product(tiles, problem.k, problem.c, positions)
        moved = 4 * positions * tiles * (problem.c + problem.k)  # written by one kernel, read by the next
        speed = BYTES_PER_CYCLE * (3 if moved < CACHE_BYTES else 1)
        cycles += 2 * LAUNCH + 2 * moved / speed
        found.append((cycles, {"algo": "winograd", "m": m, **tile, "splits": 1}))
    return found
