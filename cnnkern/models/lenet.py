"""LeNet-5, twice: in the form used today, and as published in 1998.

Paper: LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf. Today's has average pooling, tanh, a dense C3 and a linear output.
That of 1998 has trained subsampling (a weight and a bias per map on the sum of 2x2), a sparse C3 (each of its maps sees
three, four or all six), a tanh of 2/3 x scaled by 1.7159, and as output the squared distances to ten fixed codes: the
smallest wins. The codes are 7x12 pictures of the digits, in the style of the paper's figure 3 but drawn anew.
"""

from __future__ import annotations

from ..graph.builder import GraphBuilder
from .registry import Architecture, register

# C3 of 1998: the maps of S2 behind each of its maps, those with equally many together (table I of the paper)
C3 = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    (
        *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5)),
        *((0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    ),
    ((0, 1, 2, 3, 4, 5),),
)
HEIGHT, WIDTH = 12, 7
# Row by row, seven bits of each: 1 is ink
CODES = (
    (0x00, 0x1C, 0x36, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x36, 0x1C, 0x00),
    (0x00, 0x0C, 0x1C, 0x3C, 0x0C, 0x0C, 0x0C, 0x0C, 0x0C, 0x0C, 0x3F, 0x00),
    (0x00, 0x3E, 0x63, 0x03, 0x03, 0x06, 0x0C, 0x18, 0x30, 0x60, 0x7F, 0x00),
    (0x00, 0x3E, 0x63, 0x03, 0x03, 0x1E, 0x03, 0x03, 0x03, 0x63, 0x3E, 0x00),
    (0x00, 0x06, 0x0E, 0x1E, 0x36, 0x66, 0x66, 0x7F, 0x06, 0x06, 0x06, 0x00),
    (0x00, 0x7F, 0x60, 0x60, 0x60, 0x7E, 0x03, 0x03, 0x03, 0x63, 0x3E, 0x00),
    (0x00, 0x1E, 0x30, 0x60, 0x60, 0x7E, 0x63, 0x63, 0x63, 0x63, 0x3E, 0x00),
    (0x00, 0x7F, 0x03, 0x03, 0x06, 0x06, 0x0C, 0x0C, 0x18, 0x18, 0x18, 0x00),
    (0x00, 0x3E, 0x63, 0x63, 0x63, 0x3E, 0x63, 0x63, 0x63, 0x63, 0x3E, 0x00),
    (0x00, 0x3E, 0x63, 0x63, 0x63, 0x63, 0x3F, 0x03, 0x03, 0x06, 0x3C, 0x00),
)


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


def build_1998(g: GraphBuilder, x: str, num_classes: int, include_top: bool) -> str:
    x = squash(g, g.conv(x, "c1", 6, 5), "c1")
    x = squash(g, subsample(g, x, "s2"), "s2")
    x = squash(g, sparse_conv(g, x, "c3"), "c3")
    x = squash(g, subsample(g, x, "s4"), "s4")
    x = squash(g, g.conv(x, "c5", 120, 5), "c5")
    if not include_top:
        return x
    x = squash(g, g.linear(g.flatten(x), "f6", HEIGHT * WIDTH), "f6")
    return distances(g, x, "output", num_classes)


def squash(g: GraphBuilder, x: str, name: str) -> str:
    """1.7159 tanh(2/3 x), as the layer `<name>.squash`."""
    x = g.activation(g.scale(x, 2 / 3, f"{name}.steepness"), "tanh", f"{name}.tanh")
    return g.scale(x, 1.7159, f"{name}.squash")


def subsample(g: GraphBuilder, x: str, name: str) -> str:
    """weight * (sum of 2x2) + bias, per map."""
    return g.affine(g.avg_pool(x, 2, name=f"{name}.pool"), name, 4.0)


def sparse_conv(g: GraphBuilder, x: str, name: str) -> str:
    """5x5 convolutions, each of the maps that C3 gives it: a grouped one for those that see equally many."""
    maps = [g.slice(x, i, i + 1) for i in range(g.channels(x))]
    parts = []
    for i, group in enumerate(C3):
        seen = [maps[j] for taken in group for j in taken]
        everything = seen == maps
        y = x if everything else g.concat(seen)
        parts.append(g.conv(y, f"{name}.{i}", len(group), 5, groups=len(group)))
    return g.concat(parts, name)


def distances(g: GraphBuilder, x: str, name: str, num_classes: int) -> str:
    """|x - w|^2 = |x|^2 - 2 w x + |w|^2 for the code w of every class: a linear layer of constants -2 w, |w|^2."""
    if num_classes > len(CODES):
        raise ValueError(f"num_classes: {g.graph.name} has codes for {len(CODES)} classes, got {num_classes}")
    image = g.reshape(x, (0, 1, HEIGHT, WIDTH))
    square = g.scale(g.global_avg_pool(g.mul(image, image), f"{name}.mean"), HEIGHT * WIDTH, f"{name}.square")
    codes = tuple(tuple(-2.0 * value for value in code(digit)) for digit in range(num_classes))
    x = g.fixed_linear(x, name, codes, (float(HEIGHT * WIDTH),) * num_classes)
    x = g.add(g.reshape(x, (0, num_classes, 1, 1)), square, "distances")
    return g.flatten(x, name="scores")


def code(digit: int) -> tuple[float, ...]:
    """The 84 values that F6 should have: 1 for ink, -1 for none."""
    return tuple(1.0 if row >> (WIDTH - 1 - i) & 1 else -1.0 for row in CODES[digit] for i in range(WIDTH))


PAPER = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"
for name, build_one, params, macs in (
    ("lenet5", build, 61_706, 416_520),
    ("lenet5_1998", build_1998, 60_000, 326_520),
):
    register(Architecture(name, build_one, params, macs, input_shape=(1, 32, 32), num_classes=10, paper=PAPER))
