"""Writes benchmarks/shapes/*.txt: real layers of the documented architectures, of every kind that they have.

    python benchmarks/make_shapes.py                  # writes the files anew
    python benchmarks/make_shapes.py --check          # exit code 1 where a file is not what would be written
    python benchmarks/make_shapes.py resnet50 vgg16   # prints every distinct layer of these networks instead

A line is a problem as `cnnkern bench --ops` takes it; behind the "#" stand how many layers of NETWORKS it is and where
it comes first. Of each kind the files hold a few: for one output size after the other, the problem that most networks
have and that is most work in them. Networks are taken as compiled ones run them, batch norms folded and activations
fused; element-wise layers, which mostly are fused away, as the architectures have them. Exit codes: 0, 1 as said, 2 bad
usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cnnkern import models
from cnnkern.graph import passes
from cnnkern.measure.opshapes import OpProblem, network_layers

FOLDER = Path(__file__).resolve().parent / "shapes"
NETWORKS = (
    "alexnet", "alexnet_227_grouped", "zfnet", "vgg16", "googlenet", "googlenet_2014", "inception_v3", "resnet18",
    "resnet50", "preact_resnet50_stembn", "resnext50_32x4d", "densenet121", "squeezenet1_1", "mobilenet_v1_100",
    "mobilenet_v2", "shufflenet_v1_g3", "shufflenet_v2_x1_0", "efficientnet_b0", "xception41", "seresnet50",
    "lenet5", "deepface",
)  # fmt: skip
BATCH = 16


class Kind(NamedTuple):
    """What belongs together, how many of it to take, and for how many images."""

    title: str
    fits: Callable[[OpProblem], bool]
    count: int
    batch: int = 1


class Found(NamedTuple):
    """A distinct problem, the layers that are one, and how often it occurs in all."""

    problem: OpProblem
    where: tuple[str, ...]
    times: int


def conv(size=None, stride=None, groups=1, channels=None) -> Callable[[OpProblem], bool]:
    """Convolutions with these filter sizes; `groups`: 1, "depthwise" or "grouped"; `channels`: least and most."""

    def fits(problem: OpProblem) -> bool:
        if problem.spec.op != "conv2d":
            return False
        spec, (x, weight) = problem.spec, problem.shapes[:2]
        kind = 1 if spec.groups == 1 else "depthwise" if weight[1] == 1 else "grouped"
        least, most = channels or (16, 1 << 30)
        return (
            kind == groups
            and (groups != 1 or least <= x[1] <= most)
            and (size is None or tuple(weight[2:]) in size)
            and (stride is None or spec.stride == (stride, stride))
        )

    return fits


def op(*names: str, **attributes) -> Callable[[OpProblem], bool]:
    """Operations by name, with these attributes."""

    def fits(problem: OpProblem) -> bool:
        spec = problem.spec
        return spec.op in names and all(getattr(spec, key) == value for key, value in attributes.items())

    return fits


def linear(least: int, most: int) -> Callable[[OpProblem], bool]:
    """Linear layers by their number of weights."""
    return lambda p: p.spec.op == "linear" and least <= p.shapes[1][0] * p.shapes[1][1] <= most


LONG = ((1, 7), (7, 1), (1, 3), (3, 1))
FILES: dict[str, tuple[Kind, ...]] = {
    "conv": (
        Kind("stem", conv(channels=(1, 4)), 4),
        Kind("few channels", conv(channels=(5, 15)), 1),
        Kind("1x1", conv([(1, 1)], 1), 5),
        Kind("1x1 stride 2", conv([(1, 1)], 2), 2),
        Kind("3x3", conv([(3, 3)], 1), 6),
        Kind("3x3 stride 2", conv([(3, 3)], 2), 2),
        Kind("5x5", conv([(5, 5)], 1), 2),
        Kind("1x7 and its kin", conv(LONG), 2),
        Kind("depthwise 3x3", conv([(3, 3)], 1, "depthwise"), 3),
        Kind("depthwise 3x3 stride 2", conv([(3, 3)], 2, "depthwise"), 1),
        Kind("depthwise 5x5", conv([(5, 5)], 1, "depthwise"), 2),
        Kind("grouped", conv(groups="grouped"), 3),
        Kind("batch: stem", conv(channels=(1, 4)), 1, BATCH),
        Kind("batch: 1x1", conv([(1, 1)], 1), 1, BATCH),
        Kind("batch: 3x3", conv([(3, 3)], 1), 2, BATCH),
        Kind("batch: depthwise", conv([(3, 3)], 1, "depthwise"), 1, BATCH),
    ),
    "linear": (
        Kind("large", linear(16 << 20, 1 << 40), 2),
        Kind("classifier", linear(1 << 18, 8 << 20), 3),
        Kind("small", linear(0, 1 << 18), 2),
        Kind("batch: classifier", linear(1 << 18, 8 << 20), 2, BATCH),
    ),
    "pool": (
        Kind("max", op("pool2d", kind="max"), 5),
        Kind("average", op("pool2d", kind="avg"), 3),
        Kind("global", op("global_pool2d"), 3),
        Kind("batch: max", op("pool2d", kind="max"), 1, BATCH),
    ),
    "norm": (
        Kind("batch norm before a convolution", op("batch_norm"), 5),
        Kind("local response norm", op("local_response_norm"), 3),
        Kind("batch: batch norm", op("batch_norm"), 1, BATCH),
    ),
    "eltwise": (
        Kind("residual", op("add"), 4),
        Kind("gate", op("mul"), 3),
        Kind("relu", op("activation", kind="relu"), 2),
        Kind("relu6", op("activation", kind="relu6"), 1),
        Kind("silu", op("activation", kind="silu"), 2),
        Kind("sigmoid", op("activation", kind="sigmoid"), 1),
    ),
}


@cache
def layers(fused: bool) -> tuple[Found, ...]:
    """The distinct problems of NETWORKS, those first that most of them have, then those that are most work."""
    return distinct(NETWORKS, passes.STANDARD if fused else ())


def distinct(names: Iterable[str], through: Sequence[passes.Pass] = passes.STANDARD) -> tuple[Found, ...]:
    found: dict[str, Found] = {}
    for name in names:
        for layer in network_layers(name, through):
            text = layer.problem.text
            before = found.get(text, Found(layer.problem, (), 0))
            where = (*before.where, f"{name} {layer.first}")
            found[text] = Found(layer.problem, where, before.times + layer.times)
    return tuple(sorted(found.values(), key=rank))


def rank(item: Found) -> tuple:
    work = item.times * item.problem.spec.theory(*item.problem.shapes).flops
    return -len(item.where), -work, item.problem.text


def chosen(kind: Kind, fused: bool) -> list[Found]:
    """Of each output size the first problem in rank; where sizes run out, the next of each."""
    turns: dict[tuple, list[Found]] = {}
    for item in layers(fused):
        if kind.fits(item.problem):
            (out, *_) = item.problem.spec.infer(*item.problem.shapes)
            turns.setdefault(out[2:], []).append(item)
    ranked = [(turn, size, item) for size, items in enumerate(turns.values()) for turn, item in enumerate(items)]
    return [item for _, _, item in sorted(ranked, key=lambda entry: entry[:2])[: kind.count]]


def line(item: Found, batch: int = 1) -> str:
    """A problem and whence it comes."""
    more = f" and {len(item.where) - 1} more" if len(item.where) > 1 else ""
    times = "once" if item.times == 1 else f"{item.times} layers"
    return f"{item.problem.batched(batch).text}  # {times}: {item.where[0]}{more}"


def text(name: str) -> str:
    """A file."""
    lines = [f"# Made by benchmarks/make_shapes.py from {len(NETWORKS)} networks; run it instead of editing this file."]
    for kind in FILES[name]:
        items = chosen(kind, fused=name != "eltwise")
        lines += ["", f"# {kind.title}", *(line(item, kind.batch) for item in items)]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("make_shapes.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="print all layers of these, write nothing")
    parser.add_argument("--check", action="store_true", help="write nothing: are the files what they should be?")
    args = parser.parse_args(argv)
    if args.models:
        try:
            names = [models.get(name).name for name in args.models]
        except ValueError as error:
            parser.error(str(error))
        print(*(line(item) for item in distinct(names)), sep="\n")
        return 0
    stale = []
    for name in FILES:
        path, made = FOLDER / f"{name}.txt", text(name)
        if args.check:
            stale += [] if path.is_file() and path.read_text(encoding="utf-8") == made else [path.name]
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made, encoding="utf-8")
    if stale:
        print(f"not what make_shapes.py writes: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
