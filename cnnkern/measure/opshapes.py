"""Which operations to time: lines of text, the layers of networks, and what a word on the command line stands for.

A line is a problem (graph/problem.py); behind a "#" stands what it is and where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from .. import models
from ..backends.base import WEIGHTS
from ..graph import passes
from ..graph.problem import format_problem, parse_problem
from ..ops import SPECS, Shape, Spec

# What `cnnkern bench --ops` runs without a word: one of each kind, from the networks that stand behind.
SHORT = """
conv2d 1x3x224x224 64x3x7x7 64 stride=(2,2) padding=((3,3),(3,3)) activation=relu  # stem: resnet50
conv2d 1x64x56x56 64x64x3x3 64 padding=((1,1),(1,1)) activation=relu               # 3x3, large: resnet50
conv2d 1x256x14x14 256x256x3x3 256 padding=((1,1),(1,1)) activation=relu           # 3x3, deep: resnet50
conv2d 1x512x7x7 2048x512x1x1 2048 1x2048x7x7 activation=relu                      # 1x1 with residual: resnet50
conv2d 1x128x56x56 128x128x3x3 128 stride=(2,2) padding=((1,1),(1,1)) activation=relu  # 3x3, stride 2: resnet50
conv2d 1x144x56x56 144x1x3x3 144 padding=((1,1),(1,1)) groups=144 activation=relu6 # depthwise: mobilenet_v2
conv2d 1x96x56x56 24x96x1x1 24                                                     # 1x1, project: mobilenet_v2
linear 1x2048 1000x2048 1000                                                       # classifier: resnet50
pool2d 1x64x112x112 kernel=(3,3) stride=(2,2) padding=((1,1),(1,1))                # max pool: resnet50
global_pool2d 1x2048x7x7                                                           # global average: resnet50
batch_norm 1x256x56x56 256 256 256 256 activation=relu                             # before a convolution: densenet121
local_response_norm 1x192x56x56 size=5                                             # googlenet_2014
add 1x256x56x56 1x256x56x56                                                        # residual, not fused: resnet50
activation 1x96x112x112 kind=silu                                                  # not fused: efficientnet_b0
"""

# Ops that are a step of their own wherever they stand; the others may be views of what lies beside them.
TIMED = (
    "conv2d", "fused_block", "linear", "locally_connected2d", "pool2d", "global_pool2d", "adaptive_avg_pool2d",
    "roi_max_pool", "batch_norm", "local_response_norm", "local_contrast_norm", "activation", "add", "mul", "softmax",
    "channel_shuffle",
)  # fmt: skip


@dataclass(frozen=True)
class OpProblem:
    """An operation on inputs of these shapes (None where absent), and where it comes from."""

    spec: Spec
    shapes: tuple[Shape | None, ...]
    note: str = ""

    @property
    def text(self) -> str:
        """As `parse_problem` takes it."""
        return format_problem(self.spec, self.shapes)

    @property
    def activations(self) -> list[int]:
        """The positions of the inputs that other steps make."""
        constant = WEIGHTS.get(self.spec.op, ())
        return [i for i, shape in enumerate(self.shapes) if shape is not None and i not in constant]

    def batched(self, batch: int) -> OpProblem:
        """The same for so many images. Raises ValueError where the op forbids it."""
        if batch < 1:
            raise ValueError(f"batch: at least 1 is accepted, got {batch}")
        shapes, before = list(self.shapes), self.shapes[0][:1]
        for i in self.activations:
            if i not in self.spec.by_value and shapes[i][:1] == before:
                shapes[i] = (batch, *shapes[i][1:])
        self.spec.infer(*shapes)
        return replace(self, shapes=tuple(shapes))


def read_lines(text: str, source: str = "") -> list[OpProblem]:
    """The problems of a text, one a line; comments stay as notes. Raises ValueError naming the line of `source`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words, _, note = line.partition("#")
        if words.strip():
            try:
                found.append(OpProblem(*parse_problem(words), note.strip()))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{source or 'line'}:{number}: {error}") from None
    return found


@dataclass(frozen=True)
class Layer:
    """A distinct problem of a network, how often it occurs there, and where first."""

    problem: OpProblem
    times: int
    first: str


def network_layers(name: str, through: Sequence[passes.Pass] = passes.STANDARD) -> list[Layer]:
    """The distinct operations of a network, in order: by default as a compiled one runs them, batch norms folded and
    activations fused; without passes, `through=()`, as the architecture has them. Weights are not drawn."""
    graph = models.get(name).graph().bind(1)
    weights = {param.name: np.zeros(param.shape, np.float32) for param in graph.params.values()}
    graph, _ = passes.apply(graph, weights, through)
    found: dict[str, Layer] = {}
    for node in graph.nodes:
        if node.spec.op in TIMED:
            shapes = tuple(graph.shape(i) if i else None for i in node.inputs)
            problem = OpProblem(node.spec, shapes, f"{name} {node.name}")
            seen = found.get(problem.text)
            found[problem.text] = replace(seen, times=seen.times + 1) if seen else Layer(problem, 1, node.name)
    return list(found.values())


def resolve(words: Iterable[str]) -> list[OpProblem]:
    """What words of the command line mean, each once: a problem, a file of them, a network's layers, or a pattern over
    the short list ("conv", "3x3", "pool*"); no word at all is the short list.

    Raises ValueError for a word that means nothing, OSError for a file that cannot be read.
    """
    found: dict[str, OpProblem] = {}
    for problem in (p for word in words for p in _meant(word)):
        found.setdefault(problem.text, problem)
    return list(found.values()) if words else read_lines(SHORT)


def _meant(word: str) -> Iterator[OpProblem]:
    first = word.split()[:1]
    if len(word.split()) > 1 and first[0] in SPECS:
        yield OpProblem(*parse_problem(word))
    elif Path(word).is_file():
        yield from read_lines(Path(word).read_text(encoding="utf-8"), word)
    elif word in models.list():
        yield from (layer.problem for layer in network_layers(word))
    else:
        pattern = word if any(sign in word for sign in "*?[") else f"*{word}*"
        matching = [p for p in read_lines(SHORT) if fnmatch(f"{p.text} {p.note}".lower(), pattern.lower())]
        if not matching:
            raise ValueError(
                f"--ops: {word!r} is no problem (`conv2d 1x64x56x56 64x64x3x3 padding=((1,1),(1,1))`), no file, no "
                "network, and nothing in the short list matches it"
            )
        yield from matching
