"""FractalNet: columns of 1, 2 and 4 convolutions side by side, joined by their mean wherever several end.

Paper: Larsson et al., "FractalNet: Ultra-Deep Neural Networks without Residuals", https://arxiv.org/abs/1605.07648:
the form for testing, in which no path is dropped. Blocks join before they pool; in `_pooled_columns` every column pools
before the last join, as the authors' own generator of networks has it, which is another function. The names are ours.
"""

from __future__ import annotations

from functools import partial

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

WIDTHS = (64, 128, 256, 512, 512)
COLUMNS = 3


def build(pooled_columns: bool, g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    for i, channels in enumerate(WIDTHS, 1):
        with g.scope(f"block{i}"):
            x = block(g, x, channels, pooled_columns)
    if not include_top:
        return x
    return g.linear(g.flatten(x, name="flatten"), "fc", num_classes)


def block(g: GraphBuilder, x: str, channels: int, pooled_columns: bool) -> str:
    """f_1 = unit, f_{C+1}(z) = mean of f_C(f_C(z)) and unit(z), with the means that meet taken as one of them all;
    then a max pool. Column c has a unit every 2^c steps; where columns end together, all go on from their mean.
    """
    heads, steps = [x] * COLUMNS, 2 ** (COLUMNS - 1)
    for step in range(1, steps + 1):
        ending = [column for column in range(COLUMNS) if step % 2**column == 0]
        joined = ""
        for column in ending:
            y = unit(g, heads[column], f"column{column}.{step}", channels, 1 / len(ending))
            if pooled_columns and step == steps:
                y = g.max_pool(y, 2, name=f"pool{column}")
            joined = g.add(joined, y, f"join{step}.{column}") if joined else y
        for column in ending:
            heads[column] = joined
    return heads[0] if pooled_columns else g.max_pool(heads[0], 2, name="pool")


def unit(g: GraphBuilder, x: str, name: str, channels: int, share: float) -> str:
    """3x3 convolution, batch norm, ReLU, times its share of a mean: before the ReLU, which lets positive factors
    through, and where it is a matter of the convolution's weights."""
    with g.scope(name):
        x = g.batch_norm(g.conv(x, "conv", channels, 3, padding=1, bias=False), "bn")
        return g.relu(x if share == 1 else g.scale(x, share, "share"), "relu")


for name, pooled_columns in {"fractalnet20_cifar10": False, "fractalnet20_cifar10_pooled_columns": True}.items():
    register(
        Architecture(
            name,
            partial(build, pooled_columns),
            params=33_724_618,
            macs=845_222_912,
            bn_buffers=20_608,
            input_shape=(3, 32, 32),
            num_classes=10,
            paper="https://arxiv.org/abs/1605.07648",
        )
    )
