"""DeepFace: convolutions at the front of an aligned face, then layers with filters of their own at every position.

Paper: Taigman et al., "DeepFace: Closing the Gap to Human-Level Performance in Face Verification", CVPR 2014,
https://doi.org/10.1109/CVPR.2014.220. The layers carry the paper's names. What it compares faces by is the tap
`features(x, "descriptor")`: F7, divided by its length.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

REPRESENTATION = 4096  # F7's width, the square of SIDE
SIDE = 64


def build(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = g.relu(g.conv(x, "C1", 32, 11))
    x = g.max_pool(x, 3, 2, name="M2", ceil_mode=True)
    x = g.relu(g.conv(x, "C3", 16, 9))
    x = g.relu(g.locally_connected(x, "L4", 16, 9))
    x = g.relu(g.locally_connected(x, "L5", 16, 7, 2))
    x = g.relu(g.locally_connected(x, "L6", 16, 5))
    if not include_top:
        return x
    x = g.relu(g.linear(g.flatten(x), "F7", REPRESENTATION), "representation")
    descriptor(g, x)
    return g.softmax(g.linear(g.dropout(x, 0.5), "F8", num_classes), "prob")


def descriptor(g: GraphBuilder, x: str) -> str:
    """x / |x|, of zeros zeros. Nothing reads it: it runs when it is asked for."""
    x = g.reshape(x, (0, 1, SIDE, SIDE))
    mean = g.global_avg_pool(g.mul(x, x, "squares"), "mean_square")
    # m / (k + 256 m^2)^0.75 with a vanishing k is 1 / sqrt(4096 m)
    scale = g.lrn(mean, 1, alpha=SIDE ** (4 / 3), beta=0.75, k=1e-12, alpha_is_sum=True, name="inverse_length")
    return g.flatten(g.mul(x, scale, "normalised"), name="descriptor")


register(
    Architecture(
        "deepface",
        build,
        params=118_923_774,
        macs=517_624_448,
        input_shape=(3, 152, 152),
        num_classes=4030,
        paper="https://doi.org/10.1109/CVPR.2014.220",
    )
)
