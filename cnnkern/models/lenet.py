"""LeNet-5 in the form used today: average pooling, tanh, dense C3, a linear output.

Paper: LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf. The 1998 network differs: trainable subsampling, a sparse C3, an RBF
output, 60,000 parameters.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.activation(g.conv(x, "c1", 6, 5), "tanh")
    x = g.avg_pool(x, 2, name="s2")
    x = g.activation(g.conv(x, "c3", 16, 5), "tanh")
    x = g.avg_pool(x, 2, name="s4")
    x = g.activation(g.conv(x, "c5", 120, 5), "tanh")
    if not include_top:
        return x
    x = g.activation(g.linear(g.flatten(x), "f6", 84), "tanh")
    return g.linear(x, "output", num_classes)


register(
    Architecture(
        "lenet5",
        build,
        params=61_706,
        macs=416_520,
        input_shape=(1, 32, 32),
        num_classes=10,
        paper="http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf",
    )
)
